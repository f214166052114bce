"""Plans: who is to change and why, from pages in any size, and when a moderator must agree."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.changes import Group, Kind
from bot.exts.backend.sync._core.model.members import (
    ALL_FIELDS,
    Field,
    Member,
    RoleId,
    UserId,
)
from bot.exts.backend.sync._core.plan.diff import differing_fields
from bot.exts.backend.sync._core.plan.planner import (
    Cause,
    Causes,
    Plan,
    Planner,
    Reason,
)
from bot.exts.backend.sync._core.policy.departures import (
    DepartureLimits,
    role_deletions_need_approval,
)

from .examples import member, members, role_ids, user_ids

FEW = st.integers(1, 30)
SIDE = st.lists(members(FEW), max_size=30, unique_by=lambda known: known.id)


def guild_of(*known: Member) -> dict[UserId, Member]:
    """Return members by id."""
    return {each.id: each for each in known}


def test_a_plan_of_everything() -> None:
    """Creates, then updates by what they change, then departures; causes by how many they touch.

    The rows of those who are gone and whom the site knows as gone are left alone.
    """
    guild = guild_of(
        *(member(id_, roles=role_ids(1, 5)) for id_ in (1, 2, 3)),
        member(4, name="newer", display_name="Newer", discriminator=0),
        member(5),
        member(6),
        member(9),
    )
    planner = Planner()
    new = planner.add_rows(
        [
            member(1, roles=role_ids(1, 5, 7)),
            member(2, roles=role_ids(1, 5, 7)),
            member(3, roles=role_ids(1)),
            member(4, discriminator=1234),
            member(5, in_guild=False),
            member(6),
            member(7),
            member(8, in_guild=False, roles=role_ids(404)),
        ],
        guild,
    )
    planner.add_missing(guild)
    absent = list(planner.absent)
    planner.add_departures(absent)

    plan = planner.plan()

    assert (new, absent, planner.witness) == (8, [*user_ids(7)], UserId(6))
    assert plan == Plan(
        groups=(
            Group(kind=Kind.CREATE, fields=ALL_FIELDS, ids=user_ids(9)),
            Group(kind=Kind.UPDATE, fields=(Field.ROLES,), ids=user_ids(1, 2, 3)),
            Group(
                kind=Kind.UPDATE,
                fields=(Field.NAME, Field.DISPLAY_NAME, Field.DISCRIMINATOR),
                ids=user_ids(4),
            ),
            Group(kind=Kind.UPDATE, fields=(Field.IN_GUILD,), ids=user_ids(5)),
            Group(kind=Kind.DEPARTURE, fields=(Field.IN_GUILD,), ids=user_ids(7)),
        ),
        causes=(
            Cause(reason=Reason.ROLE_REMOVED, role_id=RoleId(7), count=2),
            Cause(reason=Reason.ROLE_ADDED, role_id=RoleId(5), count=1),
            Cause(reason=Reason.NAME, role_id=None, count=1),
            Cause(reason=Reason.DISPLAY_NAME, role_id=None, count=1),
            Cause(reason=Reason.DISCRIMINATOR, role_id=None, count=1),
            Cause(reason=Reason.RETURNED, role_id=None, count=1),
            Cause(reason=Reason.JOINED, role_id=None, count=1),
            Cause(reason=Reason.LEFT, role_id=None, count=1),
        ),
        rows=8,
        in_guild_rows=6,
    )
    assert [plan.total, *map(plan.count, Kind)] == [7, 1, 5, 1]


def test_both_sides_in_step_make_an_empty_plan() -> None:
    """First contact with a site that a correct older syncer filled changes nothing."""
    guild = guild_of(member(1), member(2, roles=role_ids(1, 5)))
    planner = Planner()
    planner.add_rows([*guild.values(), member(3, in_guild=False)], guild)
    planner.add_missing(guild)

    assert planner.plan() == Plan(groups=(), causes=(), rows=3, in_guild_rows=2)
    assert (planner.plan().total, planner.absent, planner.witness) == (0, [], UserId(1))


def test_a_row_counts_where_it_was_read_first() -> None:
    """Pages shift when rows are inserted meanwhile: a row read again is passed over."""
    guild = guild_of(member(1), member(2))
    planner = Planner()

    new = [
        planner.add_rows([member(1, name="a"), member(2)], guild),
        planner.add_rows([member(2, name="b"), member(3)], guild),
        planner.add_rows([member(1), member(3)], guild),
    ]

    assert (new, planner.absent) == ([2, 1, 0], [*user_ids(3)])
    assert planner.plan() == Plan(
        groups=(Group(kind=Kind.UPDATE, fields=(Field.NAME,), ids=user_ids(1)),),
        causes=(Cause(reason=Reason.NAME, role_id=None, count=1),),
        rows=3,
        in_guild_rows=3,
    )


def test_who_is_absent_is_not_gone() -> None:
    """Somebody whom the cache does not know departs only once the guild was asked about them."""
    planner = Planner()
    planner.add_rows([member(1), member(2)], {})
    before = planner.plan().groups
    planner.add_departures(user_ids(2))

    assert (before, planner.absent) == ((), [*user_ids(1, 2)])
    assert planner.plan().groups == (
        Group(kind=Kind.DEPARTURE, fields=(Field.IN_GUILD,), ids=user_ids(2)),
    )


@pytest.mark.parametrize("as_stored", [True, False])
def test_the_order_of_roles_differs_where_it_is_hashed(
    as_stored: bool,  # noqa: FBT001 - a parameter of pytest's
) -> None:
    """And is a cause of its own: nobody has won or lost a role."""
    planner = Planner(as_stored=as_stored)
    planner.add_rows([member(1, roles=role_ids(5, 1))], guild_of(member(1, roles=role_ids(1, 5))))

    causes = (Cause(reason=Reason.ROLE_ORDER, role_id=None, count=1),) if as_stored else ()
    assert (planner.differs, planner.plan().causes) == (as_stored, causes)


def test_ids_can_be_left_out() -> None:
    """Who changes under the run's eyes is not judged by it; what is left of a group stays."""
    guild = guild_of(member(1), member(2), member(3))
    planner = Planner()
    planner.add_rows([member(1, name="a"), member(2, name="b"), member(9)], guild)
    planner.add_missing(guild)
    planner.add_departures(planner.absent)

    plan = planner.plan(without=set(user_ids(2, 3, 9)))

    assert plan.groups == (Group(kind=Kind.UPDATE, fields=(Field.NAME,), ids=user_ids(1)),)
    assert (plan.total, planner.plan().total) == (1, 4)


@given(guild=SIDE, rows=SIDE, left_out=st.sets(FEW))
def test_who_is_left_out_is_no_cause(
    guild: list[Member], rows: list[Member], left_out: set[int]
) -> None:
    """Or people would be told of changes that are not made."""
    without = {UserId(id_) for id_ in left_out}
    whole, kept = Planner(), Planner()
    whole.add_rows(rows, guild_of(*guild))
    whole.add_missing(guild_of(*guild))
    whole.add_departures(whole.absent)
    kept.add_rows([row for row in rows if row.id not in without], guild_of(*guild))
    kept.add_missing(one.id for one in guild if one.id not in without)
    kept.add_departures(kept.absent)

    assert Counter(whole.plan(without=without).causes) == Counter(kept.plan().causes)


@given(guild=SIDE, rows=SIDE, cuts=st.lists(st.integers(1, 30), max_size=8))
def test_the_size_of_pages_is_no_matter(
    guild: list[Member], rows: list[Member], cuts: list[int]
) -> None:
    """Read in one page or in many, with rows repeated between them: the plan is the same."""
    known = guild_of(*guild)
    whole, paged = Planner(), Planner()
    whole.add_rows(rows, known)
    start = 0
    for cut in [*cuts, len(rows)]:
        # A page overlaps the one before it, as after an insertion.
        paged.add_rows(rows[max(0, start - 1) : start + cut], known)
        start += cut

    for planner in (whole, paged):
        planner.add_missing(known)
        planner.add_departures(planner.absent)

    assert paged.plan() == whole.plan()


@given(guild=SIDE, rows=SIDE)
def test_a_plan_names_each_id_once_and_rightly(guild: list[Member], rows: list[Member]) -> None:
    """Who is new is created, who differs updated in just that, who is gone departs, no one else."""
    known = guild_of(*(replace(each, in_guild=True) for each in guild))
    held = guild_of(*rows)
    planner = Planner()
    planner.add_rows(rows, known)
    planner.add_missing(known)
    planner.add_departures(planner.absent)

    plan = planner.plan()

    due: dict[UserId, tuple[Kind, tuple[Field, ...]]] = {}
    for id_ in known.keys() | held.keys():
        if id_ not in held:
            due[id_] = (Kind.CREATE, ALL_FIELDS)
        elif id_ not in known:
            if held[id_].in_guild:
                due[id_] = (Kind.DEPARTURE, (Field.IN_GUILD,))
        elif fields := differing_fields(known[id_], held[id_]):
            due[id_] = (Kind.UPDATE, fields)
    assert Counter(id_ for group in plan.groups for id_ in group.ids) == Counter(due.keys())
    assert {id_: (group.kind, group.fields) for group in plan.groups for id_ in group.ids} == due
    assert plan.in_guild_rows == sum(row.in_guild for row in rows)
    assert plan.rows == len(rows)
    kinds = [group.kind for group in plan.groups]
    assert kinds == sorted(kinds, key=list(Kind).index)
    for kind in Kind:
        sizes = [len(group.ids) for group in plan.groups if group.kind is kind]
        assert sizes == sorted(sizes, reverse=True)
    assert planner.witness in {None, *(known.keys() & held.keys() - due.keys())}
    assert [c.count for c in plan.causes] == sorted((c.count for c in plan.causes), reverse=True)


@given(guild=SIDE, rows=SIDE)
def test_every_change_has_a_cause(guild: list[Member], rows: list[Member]) -> None:
    """The causes that people are shown are counted member by member."""
    known = guild_of(*guild)
    planner = Planner()
    planner.add_rows(rows, known)
    planner.add_missing(known)
    planner.add_departures(planner.absent)
    causes = planner.plan().causes

    pairs = [(known[row.id], row) for row in rows if row.id in known]
    counted: Counter[tuple[Reason, RoleId | None]] = Counter()
    for now, before in pairs:
        for role_id in {*now.roles} ^ {*before.roles}:
            added = role_id in now.roles
            counted[Reason.ROLE_ADDED if added else Reason.ROLE_REMOVED, role_id] += 1
        counted[Reason.NAME, None] += now.name != before.name
        counted[Reason.DISPLAY_NAME, None] += now.display_name != before.display_name
        counted[Reason.DISCRIMINATOR, None] += now.discriminator != before.discriminator
        counted[Reason.RETURNED, None] += now.in_guild != before.in_guild
    counted[Reason.JOINED, None] = len(known.keys() - {row.id for row in rows})
    counted[Reason.LEFT, None] = sum(row.in_guild for row in rows if row.id not in known)
    assert {(cause.reason, cause.role_id): cause.count for cause in causes} == dict(+counted)


@given(parts=st.lists(SIDE, max_size=4), known=SIDE)
def test_causes_of_several_plans_are_counted_together(
    parts: list[list[Member]], known: list[Member]
) -> None:
    """As if all had been planned at once, the largest first."""
    guild = guild_of(*known)
    counted: Counter[tuple[Reason, RoleId | None]] = Counter()
    causes = Causes()
    for part in parts:
        planner = Planner()
        planner.add_rows(part, guild)
        planner.add_missing(guild)
        plan = planner.plan()
        causes.add(plan.causes)
        counted.update({(cause.reason, cause.role_id): cause.count for cause in plan.causes})

    found = causes.largest_first()
    assert {(cause.reason, cause.role_id): cause.count for cause in found} == dict(counted)
    assert sorted((cause.count for cause in found), reverse=True) == [c.count for c in found]


@pytest.mark.parametrize(
    ("departures", "in_guild_rows", "needed"),
    [
        (0, 0, False),
        (10, 0, False),
        (11, 0, True),
        (10, 50, False),
        (11, 50, True),
        (12, 61, False),
        (13, 61, True),
        (30, 61, True),
        (99, 499, False),
        (100, 499, True),
        (500, 500, False),
        (501, 500, True),
        (501, 10_019, True),
        (501, 10_020, False),
        (4000, 80_000, False),
        (4001, 80_000, True),
    ],
)
def test_many_departures_wait_for_a_moderator(
    departures: int, in_guild_rows: int, *, needed: bool
) -> None:
    """Beyond 500 and 5 % of those whom the site has in the guild; below 500, a fifth, or ten."""
    assert DepartureLimits().need_approval(departures, in_guild_rows) is needed


@pytest.mark.parametrize(
    ("minimum", "part", "rows", "most"),
    [
        (50, 0.5, 49, 10),
        (50, 0.5, 50, 50),
        (50, 0.5, 1000, 500),
        (5, 0.0, 4, 5),
        (5, 0.0, 80_000, 5),
        (0, 1.0, 80_000, 80_000),
        (0, 0.0, 80_000, 0),
    ],
)
def test_how_many_are_believed_can_be_set(minimum: int, part: float, rows: int, most: int) -> None:
    """A small guild has no more room than others."""
    limits = DepartureLimits(minimum=minimum, part=part)

    assert limits.need_approval(most, rows) is False
    assert limits.need_approval(most + 1, rows) is True


@pytest.mark.parametrize(
    ("deletions", "site_roles", "needed"),
    [
        (0, 0, False),
        (5, 5, False),
        (6, 29, True),
        (6, 30, False),
        (50, 250, False),
        (51, 250, True),
    ],
)
def test_many_role_deletions_wait_for_a_moderator(
    deletions: int, site_roles: int, *, needed: bool
) -> None:
    """Beyond 5 and a fifth of the site's roles."""
    assert role_deletions_need_approval(deletions, site_roles) is needed


def test_a_role_that_the_site_lacks_is_no_cause() -> None:
    """Whoever differs in nothing else is right, and can be a witness."""
    planner = Planner(lacking=frozenset(role_ids(7)))

    planner.add_rows(
        [member(1), member(2, name="older"), member(3, roles=role_ids(1, 7))],
        guild_of(
            member(1, roles=role_ids(1, 7)),
            member(2, roles=role_ids(1, 7)),
            member(3, roles=role_ids(1, 8)),
        ),
    )
    plan = planner.plan()

    assert {group.fields: group.ids for group in plan.groups} == {
        (Field.NAME,): user_ids(2),
        (Field.ROLES,): user_ids(3),
    }
    assert [(cause.reason, cause.role_id) for cause in plan.causes] == [
        (Reason.NAME, None),
        (Reason.ROLE_ADDED, RoleId(8)),
    ]
    assert planner.witness == UserId(1)
