"""Rounds: begun anywhere, they come to every id once; what they may claim at their end."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.members import MAX_ID, Member, UserId
from bot.exts.backend.sync._core.plan import rounds
from bot.exts.backend.sync._core.plan.merging import LAST, Stretch
from bot.exts.backend.sync._core.plan.rounds import (
    KEPT_ABSENT,
    Bookmark,
    Round,
    is_whole,
)

from .examples import NOW, members
from .readings import Reading, by_id, plain, whole, windows

IDS = st.integers(1, 60)
SIDE = st.lists(members(IDS), max_size=40, unique_by=lambda known: known.id)


def go_round(
    round_: Round, guild: list[Member], site: list[Member], *, pages_by_id: bool
) -> list[Stretch]:
    """Go round both sides, a stretch a window; return the stretches."""
    stretches = []
    while not round_.ended:
        sides = (
            Reading(rows=by_id(guild), size=7),
            Reading(rows=by_id(site), size=5, by_number=not pages_by_id),
        )
        for window, _ in windows(round_.merge(by_id=pages_by_id), *sides):
            stretch = Stretch(through=round_.after)
            stretch.add(window)
            round_.passed(stretch)
            stretches.append(stretch)
    return stretches


@given(guild=SIDE, site=SIDE, after=st.integers(0, 70), pages_by_id=st.booleans())
def test_a_round_comes_to_every_id_once(
    *, guild: list[Member], site: list[Member], after: int, pages_by_id: bool
) -> None:
    """Wherever it begins, it finds what comparing both sides whole finds."""
    guild = [replace(known, in_guild=True) for known in guild]
    round_ = Round.begin(UserId(after), epoch=1)

    stretches = go_round(round_, guild, site, pages_by_id=pages_by_id)

    due = whole(by_id(guild), by_id(site))
    found = [id_ for each in stretches for group in each.planner.plan().groups for id_ in group.ids]
    assert sorted(found) == sorted(id_ for group in due.plan().groups for id_ in group.ids)
    assert sorted(round_.absent) == sorted(due.absent)
    assert (round_.members, round_.in_guild_rows) == (len(guild), due.in_guild_rows)
    assert plain(due.plan())[-1] == round_.in_guild_rows


def stretch(through: int, *, absent: int = 0, read: int = 0) -> Stretch:
    """Return a stretch that found so many rows of absent members."""
    made = Stretch(through=UserId(through), read=read)
    made.planner.absent = [UserId(id_) for id_ in range(1, absent + 1)]
    return made


def test_a_round_that_begins_in_the_middle_ends_there() -> None:
    """From where it begins to the last id, and from the first to where it began."""
    round_ = Round.begin(UserId(50), epoch=3)
    places = []
    for through in (70, LAST, 20, 50):
        places.append((round_.after, round_.until, round_.ended))
        round_.passed(stretch(through))

    assert places == [
        (50, LAST, False),
        (70, LAST, False),
        (0, 50, False),
        (20, 50, False),
    ]
    assert round_.ended


@pytest.mark.parametrize("after", [0, MAX_ID, LAST])
def test_a_round_from_the_first_id_has_one_leg(after: int) -> None:
    """Also one that would begin where no row can follow."""
    round_ = Round.begin(UserId(after), epoch=1)
    before = round_.ended
    round_.passed(stretch(LAST))

    assert (before, round_.began_after, round_.ended, round_.has_wrapped) == (False, 0, True, False)


def test_more_absent_members_than_can_be_kept_are_counted() -> None:
    """The list is bounded, whatever the site has."""
    round_ = Round.begin(UserId(0), epoch=1)
    round_.passed(stretch(70, absent=KEPT_ABSENT - 1))
    round_.passed(stretch(80, absent=3))
    round_.passed(stretch(90, absent=2))

    assert (len(round_.absent), round_.beyond) == (KEPT_ABSENT, 4)
    assert round_.absent[-1] == 1


@pytest.mark.parametrize(
    ("read", "told", "whole_"),
    [
        (100, 100, True),
        (90, 100, True),
        (89, 100, False),
        (110, 100, True),
        (111, 100, False),
        (999_000, 1_000_000, True),
        (998_999, 1_000_000, False),
        (0, 10, True),
        (0, 0, True),
        (5, None, False),
    ],
)
def test_a_count_that_is_near_enough(read: int, told: int | None, whole_: bool) -> None:  # noqa: FBT001 - a column
    """Within 10 or a thousandth of what Discord tells; without a count nothing is proven."""
    assert is_whole(read, told) is whole_


@pytest.mark.parametrize(
    ("age", "fresh"),
    [
        (timedelta(), True),
        (timedelta(days=1), True),
        (timedelta(days=1, seconds=1), False),
        (timedelta(seconds=-1), False),
    ],
)
def test_a_bookmark_is_used_for_a_day(age: timedelta, fresh: bool) -> None:  # noqa: FBT001 - a column
    """After that its place is no better than any other; one from the future is a clock's fault."""
    assert Bookmark(through=UserId(5), at=NOW - age).is_fresh(NOW) is fresh


@given(through=st.integers(0, LAST))
def test_a_bookmark_is_read_back_as_it_was(through: int) -> None:
    """What the store keeps is what the next process gets."""
    bookmark = Bookmark(through=UserId(through), at=NOW)

    assert rounds.from_json(rounds.to_json(bookmark)) == bookmark


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "the bookmark is missing, not an object"),
        ({"at": NOW.isoformat()}, "through of the bookmark is missing, not an integer"),
        (
            {"through": LAST + 1, "at": NOW.isoformat()},
            f"through of the bookmark is {LAST + 1}, above 2^64-1",
        ),
        ({"through": -1, "at": NOW.isoformat()}, "through of the bookmark is -1, below 0"),
        ({"through": 1, "at": "now"}, "at of the bookmark is 'now', not a time with its zone"),
    ],
)
def test_a_damaged_bookmark_is_named(value: Any, fault: str) -> None:
    """A place that is no place is refused, with the field at fault."""
    with pytest.raises(ValueError, match="^" + fault.replace("^", r"\^") + "$"):
        rounds.from_json(value)
