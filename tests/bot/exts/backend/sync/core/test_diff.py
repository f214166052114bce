"""Who differs, and in what."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.members import (
    ALL_FIELDS,
    Field,
    Member,
    Role,
    RoleId,
    without_roles,
)
from bot.exts.backend.sync._core.plan.diff import RoleDiff, diff_roles, differing_fields

from .examples import member, members, role, role_ids, roles

ROLES = st.lists(roles(st.integers(1, 8)), max_size=8, unique_by=lambda known: known.id)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, ()),
        ({"name": "older"}, (Field.NAME,)),
        ({"display_name": "older"}, (Field.DISPLAY_NAME,)),
        ({"discriminator": 1}, (Field.DISCRIMINATOR,)),
        ({"roles": role_ids(1, 2)}, (Field.ROLES,)),
        ({"roles": ()}, (Field.ROLES,)),
        ({"in_guild": False}, (Field.IN_GUILD,)),
        (
            {"in_guild": False, "roles": (), "name": "older"},
            (Field.NAME, Field.ROLES, Field.IN_GUILD),
        ),
        (
            {
                "name": "a",
                "display_name": "b",
                "discriminator": 1,
                "roles": (),
                "in_guild": False,
            },
            ALL_FIELDS,
        ),
    ],
)
def test_differing_fields_are_named(changes: dict[str, object], fields: tuple[Field, ...]) -> None:
    """Each in which the row is not the member's, always in one order, so that rows group."""
    assert differing_fields(member(5), member(5, **changes)) == fields


@pytest.mark.parametrize("kept", [(2, 1), (1, 1, 2), (2, 1, 2)])
def test_the_order_of_roles_makes_a_difference_only_where_it_is_hashed(
    kept: tuple[int, ...],
) -> None:
    """Sites keep roles in whatever order and number they were given."""
    due, row = member(5, roles=role_ids(1, 2)), member(5, roles=role_ids(*kept))

    assert differing_fields(due, row) == ()
    assert differing_fields(due, row, as_stored=True) == (Field.ROLES,)


LACKING = frozenset(role_ids(3, 5))


@given(members(), members())
def test_a_role_that_the_site_lacks_makes_no_difference(known: Member, row: Member) -> None:
    """On whichever side it stands; all other roles, and all other fields, do as ever."""
    row = replace(row, id=known.id)
    without = [
        replace(each, roles=tuple(held for held in each.roles if held not in LACKING))
        for each in (known, row)
    ]

    assert differing_fields(known, row, lacking=LACKING) == differing_fields(*without)
    assert [without_roles(each, LACKING) for each in (known, row)] == without


@given(members(), members())
def test_writing_the_differing_fields_leaves_no_difference(known: Member, row: Member) -> None:
    """What a change would send is enough, and nothing of it is needless."""
    row = replace(row, id=known.id)
    fields = differing_fields(known, row)

    written = replace(row, **{field.value: getattr(known, field.value) for field in fields})

    assert written == known
    assert all(getattr(known, field.value) != getattr(row, field.value) for field in fields)


@pytest.mark.parametrize(
    ("guild", "site", "diff", "total"),
    [
        ([], [], RoleDiff(), 0),
        ([role(1), role(2)], [role(2), role(1)], RoleDiff(), 0),
        ([role(3), role(1)], [], RoleDiff(create=role_ids(1, 3)), 2),
        ([], [role(9), role(2)], RoleDiff(delete=role_ids(2, 9)), 2),
        (
            [role(1), role(2, name="newer"), role(3, position=-1), role(4, colour=7), role(8)],
            [role(7), role(4), role(3), role(2), role(1), role(6)],
            RoleDiff(create=role_ids(8), update=role_ids(2, 3, 4), delete=role_ids(6, 7)),
            6,
        ),
    ],
)
def test_roles_are_created_updated_and_deleted(
    guild: list[Role], site: list[Role], diff: RoleDiff, total: int
) -> None:
    """Ids ascending, whatever the order in which either side lists them."""
    found = diff_roles({known.id: known for known in guild}, site)

    assert (found, found.total) == (diff, total)


@given(ROLES, ROLES)
def test_applying_the_diff_gives_the_guilds_roles(guild: list[Role], site: list[Role]) -> None:
    """And a second look finds nothing to do."""
    due: dict[RoleId, Role] = {known.id: known for known in guild}
    held = {known.id: known for known in site}

    diff = diff_roles(due, site)
    for id_ in (*diff.create, *diff.update):
        held[id_] = due[id_]
    for id_ in diff.delete:
        del held[id_]

    assert (held, diff_roles(due, held.values())) == (due, RoleDiff())
    assert len({*diff.create, *diff.update, *diff.delete}) == diff.total
