"""Laws of a delivery: whatever the site does, every planned change ends where it should."""

from collections import Counter
from dataclasses import replace
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.delivery import chunks
from bot.exts.backend.sync._core.model.members import Member, UserId
from bot.exts.backend.sync._core.policy.pace import PaceLimits

from .delivering import Course, begin, compare, deliver, updates
from .examples import member, members
from .site import Site, Trouble

pytestmark = pytest.mark.unmeasured

WITNESS = 10**6
FEW_IDS = st.integers(1, 60)


def differing_site(guild: dict[UserId, Member], **site: object) -> Site:
    """Return a site that holds an older name of each member, and one row that is right."""
    rows = {id_: replace(known, name="older") for id_, known in guild.items()}
    guild[UserId(WITNESS)] = rows[UserId(WITNESS)] = member(WITNESS)
    return Site(rows=dict(rows), roles={1}, **site)  # type: ignore[arg-type]  # fields of Site


def numbered(count: int) -> dict[UserId, Member]:
    """Return the members 1 to `count`."""
    return {UserId(id_): member(id_) for id_ in range(1, count + 1)}


def assert_accounted_once(course: Course, planned: list[UserId]) -> None:
    """Assert that each planned id was applied, parked or left out, exactly once."""
    state = course.state
    ended = Counter(course.applied)
    ended.update(row.id for row in state.parked)
    ended.update(state.left_out)
    assert ended == Counter(planned)


@given(
    guild=st.lists(members(FEW_IDS), max_size=40, unique_by=lambda known: known.id),
    rows=st.lists(members(FEW_IDS), max_size=40, unique_by=lambda row: row.id),
    page_items=st.integers(1, 50),
    first_items=st.integers(1, 20),
    max_bytes=st.integers(1, 2000),
)
def test_applying_the_plan_gives_the_guild(
    guild: list[Member], rows: list[Member], page_items: int, first_items: int, max_bytes: int
) -> None:
    """After a delivery the site shows the guild; rows of others differ by `in_guild` alone."""
    of_guild = {known.id: replace(known, in_guild=True) for known in guild}
    before = {row.id: row for row in rows}
    site = Site(rows={int(id_): row for id_, row in before.items()}, roles={1, 2, 3, 4, 5})
    plan, _ = compare(site, of_guild, page_items=page_items)
    limits = PaceLimits(first_items=first_items, max_bytes=max_bytes)

    course = deliver(begin(*plan.groups, pace=limits), site, of_guild)
    again, planner = compare(site, of_guild, page_items=page_items)

    others = {id_: replace(row, in_guild=False) for id_, row in before.items()}
    assert (course.last, site.rows) == (chunks.Done(), others | of_guild)
    assert (again.groups, again.causes, planner.absent) == ((), (), [])
    assert course.state.tally.total == plan.total
    assert_accounted_once(course, [id_ for group in plan.groups for id_ in group.ids])


@given(
    count=st.integers(1, 80),
    unknown=st.sets(st.integers(1, 80), max_size=20),
    gone=st.lists(st.integers(1, 80), max_size=10),
    first_items=st.integers(1, 80),
    troubles=st.lists(st.sampled_from(Trouble), max_size=12),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_each_planned_change_ends_once(  # noqa: PLR0917 - hypothesis draws them by name
    count: int,
    unknown: set[int],
    gone: list[int],
    first_items: int,
    troubles: list[Trouble],
    jitter: float,
) -> None:
    """Rows unknown to the site, members who leave meanwhile, any troubles: nothing ends twice."""
    guild = numbered(count)
    planned = list(guild)
    site = differing_site(guild, troubles=troubles)
    for id_ in unknown:
        site.rows.pop(id_, None)
    leaving = [UserId(id_) for id_ in gone]

    def leave(_: Site) -> None:
        if leaving:
            guild.pop(leaving.pop(), None)

    course = deliver(
        begin(updates(*planned), witness=WITNESS, pace=PaceLimits(first_items=first_items)),
        site,
        guild,
        jitter=jitter,
        before_send=leave,
    )

    if course.last == chunks.Done():
        assert_accounted_once(course, planned)
    else:
        assert isinstance(course.last, chunks.Stop)
        assert course.state.remaining > 0


@given(count=st.integers(1, 300), data=st.data(), first_items=st.integers(1, 300))
@pytest.mark.parametrize(
    "kind",
    [
        "breaking",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("blocked", "nameless", "named")),
    ],
)
def test_bad_rows_alone_are_parked(
    kind: str, count: int, data: st.DataObject, first_items: int
) -> None:
    """Up to 20 rows that the site can't take are parked, all others are written, at low cost."""
    bad = data.draw(st.sets(st.integers(1, count), max_size=20))
    guild = numbered(count)
    planned = list(guild)
    site = differing_site(guild, **{kind: bad})
    limits = PaceLimits(first_items=first_items, floor_items=10)

    course = deliver(begin(updates(*planned), witness=WITNESS, pace=limits), site, guild)

    written = {id_ for id_, row in site.rows.items() if row == guild[UserId(id_)]}
    assert course.last == chunks.Done()
    assert {row.id for row in course.state.parked} == bad
    assert written == set(guild) - bad
    assert_accounted_once(course, planned)
    plain = deliver(
        begin(updates(*planned), witness=WITNESS, pace=limits),
        differing_site(numbered(count)),
        guild,
    )
    per_row = 1 if kind == "named" else 2 * ceil(log2(count + 1)) + 8

    assert len(course.sizes) <= len(plain.sizes) + count // 10 + len(bad) * per_row
