"""What a write that was given up may still change, and until when."""

import pytest

from bot.exts.backend.sync._core.model.members import RoleId
from bot.exts.backend.sync._core.policy.doubt import Doubts

from .examples import user_ids

ONE, TWO = user_ids(1, 2)
ROLE = RoleId(5)


@pytest.fixture
def doubts() -> Doubts:
    """Return those of a process that has lost nothing yet."""
    return Doubts(deadline_s=30, recheck_s=120)


def test_nothing_is_in_doubt_at_first(doubts: Doubts) -> None:
    """There is nothing to wait for, and nothing due."""
    assert (len(doubts), doubts.due_at, doubts.ended_at((ONE,))) == (0, None, float("-inf"))


def test_a_write_has_ended_a_deadline_after_it_was_given_up(doubts: Doubts) -> None:
    """Whoever it did not name does not wait for it."""
    doubts.lost((ONE,), now=100)
    doubts.lost((), (ROLE,), now=110)

    assert doubts.ended_at((ONE, TWO)) == 130
    assert doubts.ended_at((), (ROLE,)) == 140
    assert doubts.ended_at((TWO,)) == float("-inf")
    assert (len(doubts), doubts.roles) == (2, frozenset({ROLE}))


def test_what_is_lost_again_waits_from_then_on(doubts: Doubts) -> None:
    """It comes due with its latest write, behind all that were lost before."""
    doubts.lost((ONE, TWO), (ROLE,), now=100)
    doubts.lost((ONE,), (ROLE,), now=150)

    assert doubts.due_at == 220
    assert doubts.take_due(now=219) == ((), ())
    assert doubts.take_due(now=220) == ((TWO,), ())
    assert doubts.due_at == 270
    assert doubts.take_due(now=270) == ((ONE,), (ROLE,))
    assert len(doubts) == 0


def test_nothing_is_due_before_it_has_ended() -> None:
    """However soon the operator wants a second look."""
    doubts = Doubts(deadline_s=30, recheck_s=1)
    doubts.lost((ONE,), now=0)

    assert doubts.due_at == 30
