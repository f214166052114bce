"""Two readings in id order, joined page by page: as good as holding both sides whole."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.members import Member, UserId
from bot.exts.backend.sync._core.plan.merging import (
    LAST,
    DisorderError,
    Merge,
    Stretch,
    Window,
)
from bot.exts.backend.sync._core.plan.planner import Planner

from .examples import member, members, role_ids, user_ids
from .readings import Reading, by_id, plain, whole, windows

pytestmark = pytest.mark.unmeasured

FEW = st.integers(0, 60)
SIDE = st.lists(members(FEW), max_size=40, unique_by=lambda known: known.id)
SIZES = st.integers(1, 20)
NONE = UserId(0)


@given(guild=SIDE, site=SIDE, guild_size=SIZES, site_size=SIZES, by_number=st.booleans())
def test_joining_pages_gives_the_plan_of_the_whole(
    *, guild: list[Member], site: list[Member], guild_size: int, site_size: int, by_number: bool
) -> None:
    """Whatever the sizes of the pages: the same changes, causes, departures to ask about."""
    present = {known.id: replace(known, in_guild=True) for known in guild}
    rows = by_id(site)
    stretch = Stretch(through=UserId(-1))
    sides = (
        Reading(rows=present, size=guild_size),
        Reading(rows=rows, size=site_size, by_number=by_number),
    )
    begun = Merge.begin(after=UserId(-1), rows_from=UserId(-1))

    for window, _ in windows(begun, *sides):
        stretch.add(window)

    due = whole(present, rows)
    assert plain(stretch.planner.plan()) == plain(due.plan())
    assert (sorted(stretch.planner.absent), stretch.read) == (sorted(due.absent), len(present))
    assert stretch.through == LAST


@given(guild=SIDE, site=SIDE, size=SIZES, moving=st.sets(FEW))
def test_who_is_moving_is_left_alone(
    guild: list[Member], site: list[Member], size: int, moving: set[int]
) -> None:
    """As if neither side had them; only that they were read is counted."""
    stretch = Stretch(through=UserId(-1))
    sides = Reading(rows=by_id(guild), size=size), Reading(rows=by_id(site), size=size)
    begun = Merge.begin(after=UserId(-1), rows_from=UserId(-1))

    for window, _ in windows(begun, *sides):
        stretch.add(window, moving=set(map(UserId, moving)))

    still = (by_id([row for row in side if row.id not in moving]) for side in (guild, site))
    due = whole(*still)
    assert plain(stretch.planner.plan()) == plain(due.plan())
    assert (sorted(stretch.planner.absent), stretch.read) == (sorted(due.absent), len(guild))
    assert moving.isdisjoint(stretch.members)


@given(guild=SIDE, site=SIDE, guild_size=SIZES, site_size=SIZES)
def test_no_more_than_a_page_of_each_side_is_held(
    guild: list[Member], site: list[Member], guild_size: int, site_size: int
) -> None:
    """The memory of a merge depends on the sizes of the pages alone."""
    sides = Reading(rows=by_id(guild), size=guild_size), Reading(rows=by_id(site), size=site_size)
    begun = Merge.begin(after=UserId(-1), rows_from=UserId(-1))

    for window, merge in windows(begun, *sides):
        assert len(window.members) + len(merge.guild.left) <= guild_size
        assert len(window.rows) + len(merge.site.left) <= site_size


@given(
    guild=SIDE,
    site=SIDE,
    sizes=st.tuples(SIZES, SIZES),
    bounds=st.tuples(FEW, FEW),
    by_number=st.booleans(),
)
def test_a_part_of_the_ids_is_gone_through(
    *,
    guild: list[Member],
    site: list[Member],
    sizes: tuple[int, int],
    bounds: tuple[int, int],
    by_number: bool,
) -> None:
    """Windows follow each other, ascending, and have every id between the bounds, once."""
    after, until = user_ids(*sorted(bounds))
    sides = (
        Reading(rows=by_id(guild), size=sizes[0]),
        Reading(rows=by_id(site), size=sizes[1], by_number=by_number),
    )
    begun = Merge.begin(after=after, until=until, rows_from=UserId(-1) if by_number else after)
    seen: list[list[UserId]] = [[], []]
    reached = after
    for window, _ in windows(begun, *sides):
        for ids, side in zip(seen, (window.members, window.rows), strict=True):
            assert all(reached < each.id <= window.through for each in side)
            ids += [each.id for each in side]
        assert window.through > reached
        reached = window.through

    due = [sorted(e.id for e in side if after < e.id <= until) for side in (guild, site)]
    assert (seen, reached) == (due, until)


@given(
    count=st.integers(1, 60),
    size=st.integers(1, 10),
    inserted=st.sets(st.integers(1, 10**6), max_size=20),
    seed=st.integers(),
)
def test_rows_that_shift_pages_are_read_once(
    count: int, size: int, inserted: set[int], seed: int
) -> None:
    """Rows inserted while pages are read by number push others onto the next page, which is fine.

    Those that were there from the beginning are seen, each once.
    """
    there = by_id([member(id_ * 1000) for id_ in range(1, count + 1)])
    site = Reading(rows=dict(there), size=size, by_number=True)
    coming = sorted(inserted)
    random.Random(seed).shuffle(coming)
    seen: list[UserId] = []
    begun = Merge.begin(after=NONE, rows_from=NONE)
    for window, _ in windows(begun, Reading(rows={}, size=1), site):
        seen += [row.id for row in window.rows]
        if coming:
            id_ = coming.pop()
            site.rows.setdefault(UserId(id_), member(id_))

    assert sorted(set(seen)) == seen
    assert there.keys() <= set(seen)


MERGE = Merge.begin(after=UserId(10), rows_from=UserId(10))


@pytest.mark.parametrize("page", [[11, 13, 12], [11, 11], [2, 1]])
@pytest.mark.parametrize("side", ["with_members", "with_rows"])
def test_a_page_out_of_order_is_refused(side: str, page: Sequence[int]) -> None:
    """What a reading lacks can be known only if it is in order."""
    rows = [member(id_) for id_ in page]

    with pytest.raises(DisorderError, match=r"^a page is not in the order of its ids$"):
        getattr(MERGE, side)(rows, ended=False)


@pytest.mark.parametrize("page", [[], [7, 9], [10]])
def test_pages_without_anything_new_are_counted(page: Sequence[int]) -> None:
    """The next page is wanted after one, and somebody has to see to it that this ends."""
    rows = [member(id_) for id_ in page]
    once = MERGE.with_rows(rows, ended=False)
    twice = once.with_rows(rows, ended=False)
    news = twice.with_rows([member(10), member(11)], ended=False)

    assert [each.site.barren for each in (once, twice, news)] == [1, 2, 0]
    assert [each.wants_rows for each in (once, twice, news)] == [True, True, False]
    assert (once.site.left, once.site.through, news.site.left) == ((), 10, (member(11),))


def test_a_last_page_may_repeat() -> None:
    """By number the last page may hold nothing but rows that were pushed onto it."""
    merge = MERGE.with_rows([member(9), member(10)], ended=True)

    assert (merge.site.left, merge.site.through) == ((), LAST)


def test_a_stretch_keeps_the_values_of_who_is_to_be_written() -> None:
    """And of one witness; who agrees with their row is forgotten."""
    window = Window(
        through=UserId(9),
        members=tuple(member(id_) for id_ in (1, 2, 3, 4)),
        rows=(member(1), member(2), member(3, name="older"), member(5), member(6, in_guild=False)),
    )
    stretch = Stretch(through=NONE)
    stretch.add(window)

    assert stretch.members == by_id([member(1), member(3), member(4)])
    assert (stretch.planner.witness, stretch.planner.absent) == (1, [5])
    assert (stretch.through, stretch.read) == (9, 4)
    assert [
        stretch.is_long(members=3, rows=100),
        stretch.is_long(members=4, rows=100),
        stretch.is_long(members=4, rows=5),
        stretch.is_long(members=4, rows=6),
    ] == [True, False, True, False]


def test_a_stretch_keeps_nobody_for_a_role_that_the_site_lacks() -> None:
    """They are not to be written, however many hold it."""
    stretch = Stretch(through=NONE, planner=Planner(lacking=frozenset(role_ids(7))))
    holders = tuple(member(id_, roles=role_ids(1, 7)) for id_ in range(1, 10))

    stretch.add(
        Window(through=UserId(9), members=holders, rows=tuple(member(id_) for id_ in range(1, 10)))
    )

    assert (stretch.members, stretch.planner.plan().groups) == ({UserId(1): holders[0]}, ())
