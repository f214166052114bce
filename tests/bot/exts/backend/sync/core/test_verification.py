"""What is read again after writing: few pages, or a sample that misses few faults."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.policy.verification import SAMPLED_ROWS, Look, Positions, look

from .examples import user_ids

if TYPE_CHECKING:
    from bot.exts.backend.sync._core.model.members import UserId

EVERYBODY = user_ids(*range(10, 10_010))
POSITIONS = Positions.of(EVERYBODY)


def looked(
    ids: list[UserId], answered: list[UserId] | None = None, *, seed: int = 1, size: int = 100
) -> Look | None:
    """Return what is read again of these ids, among 10,000 rows."""
    return look(
        ids,
        POSITIONS,
        size=size,
        answered=frozenset(ids if answered is None else answered),
        chance=random.Random(seed),
    )


def test_rows_that_were_created_have_their_places_too() -> None:
    """Pages are those of all rows, merged."""
    positions = Positions.of(user_ids(2, 4, 8), user_ids(3, 9))

    assert list(positions.ids) == [2, 3, 4, 8, 9]
    assert positions.pages(2) == 3
    assert positions.by_page(user_ids(3, 8, 9), size=2) == {1: [3], 2: [8], 3: [9]}


def test_few_pages_are_read_and_nothing_is_drawn() -> None:
    """Less than a third of all pages hold what was written."""
    ids = [*EVERYBODY[:50], *EVERYBODY[990:1010]]

    assert looked(ids) == Look(pages=(1, 10, 11), expected=frozenset(ids), is_sample=False)


def test_a_change_everywhere_is_sampled() -> None:
    """Pages drawn by chance, until 300 written rows are on them; others go by their answers."""
    ids = list(EVERYBODY[::2])
    found = [looked(ids, seed=seed) for seed in range(3)]

    for one in found:
        assert one is not None
        assert one.is_sample
        assert len(one.pages) == 6
        assert len(one.expected) == SAMPLED_ROWS
    assert len({one and one.pages for one in found}) == 3


def test_what_was_not_answered_is_read_whatever_else() -> None:
    """Created rows on two pages, and pages of others to make up for a sample."""
    ids = list(EVERYBODY)
    unsaid = EVERYBODY[150:250]
    found = looked(ids, [id_ for id_ in ids if id_ not in unsaid])

    assert found is not None
    assert {2, 3} <= {*found.pages}
    assert len(found.pages) == 3
    assert found.is_sample


@pytest.mark.parametrize(
    ("ids", "answered"),
    [
        (EVERYBODY, []),
        (EVERYBODY, EVERYBODY[5_000:]),
        # A third of the pages are enough to hold a sample, and then all can be read.
        (EVERYBODY[::50], EVERYBODY[::50]),
    ],
)
def test_everything_is_read_where_a_sample_would_not_do(
    ids: list[UserId], answered: list[UserId]
) -> None:
    """Nothing answered, too much unanswered, or so few rows that a sample is all of them."""
    assert looked(list(ids), list(answered)) is None


def test_a_fault_in_one_row_of_a_hundred_is_missed_once_in_twenty() -> None:
    """Of 10,000 written rows 100 are wrong, anywhere: at most one sample in twenty has none."""
    chance = random.Random(1)
    ids = list(EVERYBODY)
    missed = 0
    for seed in range(400):
        wrong = set(chance.sample(ids, 100))
        found = looked(ids, seed=seed)
        assert found is not None
        missed += wrong.isdisjoint(found.expected)

    assert missed / 400 <= 0.08


@given(
    st.lists(st.integers(0, 9_999), unique=True, min_size=1, max_size=400),
    st.integers(1, 2500),
    st.randoms(use_true_random=False),
)
def test_whatever_is_looked_for_is_on_the_pages_that_are_read(
    places: list[int], size: int, chance: random.Random
) -> None:
    """And what is not expected there was answered."""
    ids = [EVERYBODY[place] for place in places]
    answered = frozenset(chance.sample(ids, len(ids) // 2))
    found = look(ids, POSITIONS, size=size, answered=answered, chance=chance)
    if found is None:
        return
    assert all(EVERYBODY.index(id_) // size + 1 in found.pages for id_ in found.expected)
    assert found.expected | answered >= set(ids)
    assert found.is_sample or found.expected == set(ids)
