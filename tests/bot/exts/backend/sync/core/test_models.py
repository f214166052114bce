"""Which rows the site's contract can take at all."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.members import (
    ALL_FIELDS,
    MAX_ID,
    Member,
    Role,
    RoleId,
    faults,
    holding_only,
    role_faults,
)

from .examples import member, members, role, role_ids, roles

# Any text at all: JSON can carry half of a surrogate pair, and so can a name from Discord.
ANY_TEXT = st.text(st.characters(), max_size=101)


def test_the_fields_of_a_row_have_the_sites_names() -> None:
    """The site's columns that a sync keeps, in the order in which a change names them."""
    assert [str(field) for field in ALL_FIELDS] == [
        "name",
        "display_name",
        "discriminator",
        "roles",
        "in_guild",
    ]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (member(5), None),
        (member(0), None),
        (member(MAX_ID), None),
        (member(MAX_ID + 1), f"id {2**63} is not between 0 and 2^63-1"),
        (member(-1), "id -1 is not between 0 and 2^63-1"),
        (member(5, discriminator=9999), None),
        (member(5, discriminator=10_000), "discriminator 10000 is not between 0 and 9999"),
        (member(5, discriminator=-1), "discriminator -1 is not between 0 and 9999"),
        (member(5, name=""), "name is empty"),
        (member(5, display_name=""), "display_name is empty"),
        (member(5, name="x" * 32), None),
        (member(5, name="x" * 33), "name has 33 characters, more than 32"),
        (member(5, display_name="x" * 40), "display_name has 40 characters, more than 32"),
        (member(5, name="\U0001f9d1" * 32), None),  # 128 bytes and 64 UTF-16 units are no matter
        (member(5, name="a\0b"), "name holds a NUL character"),
        (member(5, display_name="\ud83e"), "display_name holds half of a surrogate pair"),
        (member(5, name="\udfff" * 33), "name has 33 characters, more than 32"),
        (member(-1, name="", discriminator=-1), "id -1 is not between 0 and 2^63-1"),
        (member(5, roles=(), in_guild=False), None),
    ],
)
def test_a_member_that_the_site_would_refuse_is_known(row: Member, fault: str | None) -> None:
    """The first fault is named with its value, so that the row is parked and not sent."""
    assert faults(row) == fault


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (role(5), None),
        (role(MAX_ID, permissions=MAX_ID, position=-1, colour=0xFFFFFF), None),
        (role(MAX_ID + 1), f"id {2**63} is not between 0 and 2^63-1"),
        (role(-1), "id -1 is not between 0 and 2^63-1"),
        (role(5, permissions=2**63), f"permissions {2**63} are not between 0 and 2^63-1"),
        (role(5, permissions=-1), "permissions -1 are not between 0 and 2^63-1"),
        (role(5, name="x" * 100), None),
        (role(5, name="x" * 101), "name has 101 characters, more than 100"),
        (role(5, name=""), "name is empty"),
        (role(5, name="\0"), "name holds a NUL character"),
        (role(5, name="a\udc00"), "name holds half of a surrogate pair"),
    ],
)
def test_a_role_that_the_site_would_refuse_is_known(row: Role, fault: str | None) -> None:
    """Roles have longer names than members, and permissions that must fit a column."""
    assert role_faults(row) == fault


@given(row=members(), known_role=roles())
def test_what_discord_gives_is_no_fault(row: Member, known_role: Role) -> None:
    """No row within the contract's limits is ever kept from the site."""
    assert (faults(row), role_faults(known_role)) == (None, None)


def is_storable(text: str) -> bool:
    """Say whether a database and UTF-8 take the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


@given(name=ANY_TEXT)
@example(name="x" * 32)
@example(name="x" * 33)
@example(name="x" * 100)
@example(name="x" * 101)
@example(name="\ud7ff")
@example(name="\ud800")
@example(name="\udfff")
@example(name="\ue000")
def test_a_name_has_no_fault_exactly_if_it_can_be_stored(name: str) -> None:
    """Neither is a row sent that would be refused, nor one kept back that would be taken."""
    known = member(5, name=name, display_name=name)

    taken = [faults(known) is None, role_faults(role(5, name=name)) is None]

    assert taken == [is_storable(name) and 1 <= len(name) <= limit for limit in (32, 100)]


def test_a_member_holds_no_role_that_is_gone() -> None:
    """Nobody tells of that loss; whoever holds none of them stays the very same."""
    held = member(7, roles=role_ids(1, 2, 3))

    assert holding_only(held, {RoleId(1), RoleId(3)}) == member(7, roles=role_ids(1, 3))
    assert holding_only(held, {RoleId(1), RoleId(2), RoleId(3)}) is held
