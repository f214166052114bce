"""Roles and members, as a row of the site shows them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NewType

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

RoleId = NewType("RoleId", int)
UserId = NewType("UserId", int)

MAX_ID: Final = 2**63 - 1
MAX_MEMBER_NAME: Final = 32
MAX_ROLE_NAME: Final = 100
MAX_DISCRIMINATOR: Final = 9999


class Field(StrEnum):
    """A column of the site's user table that a sync keeps; the value is its name on the wire."""

    NAME = "name"
    DISPLAY_NAME = "display_name"
    DISCRIMINATOR = "discriminator"
    ROLES = "roles"
    IN_GUILD = "in_guild"


ALL_FIELDS: Final = tuple(Field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role; `permissions` is the bit set as an integer, `position` counts from the bottom."""

    id: RoleId
    name: str
    colour: int
    permissions: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of the guild, or the site's row of one.

    `roles` are the ids of all roles held, @everyone included, ascending and without repeats; those
    of a row are in the order and number in which the site keeps them. Names carry no white space at
    their ends.
    """

    id: UserId
    name: str
    display_name: str
    discriminator: int
    roles: tuple[RoleId, ...]
    in_guild: bool = True


def holding_only(member: Member, roles: AbstractSet[RoleId]) -> Member:
    """Return a member without the roles that the guild has no more: nobody tells of their loss."""
    if all(role in roles for role in member.roles):
        return member
    return replace(member, roles=tuple(role for role in member.roles if role in roles))


def without_roles(member: Member, roles: AbstractSet[RoleId]) -> Member:
    """Return a member, or a row, without roles that the site lacks and does not take."""
    if roles.isdisjoint(member.roles):
        return member
    return replace(member, roles=tuple(role for role in member.roles if role not in roles))


def faults(member: Member) -> str | None:
    """Say why the site's contract cannot take this row, or None if it can.

    Source: the validation errors in the site contract's samples. A row that is known to be
    refused would only make the site refuse its whole chunk.
    """
    if not 0 <= member.id <= MAX_ID:
        return f"id {member.id} is not between 0 and 2^63-1"
    if not 0 <= member.discriminator <= MAX_DISCRIMINATOR:
        return f"discriminator {member.discriminator} is not between 0 and {MAX_DISCRIMINATOR}"
    for label, text in (("name", member.name), ("display_name", member.display_name)):
        fault = _text_fault(text, limit=MAX_MEMBER_NAME)
        if fault is not None:
            return f"{label} {fault}"
    return None


def role_faults(role: Role) -> str | None:
    """Say why the site's contract cannot take this role, or None if it can."""
    if not 0 <= role.id <= MAX_ID:
        return f"id {role.id} is not between 0 and 2^63-1"
    if not 0 <= role.permissions <= MAX_ID:
        return f"permissions {role.permissions} are not between 0 and 2^63-1"
    fault = _text_fault(role.name, limit=MAX_ROLE_NAME)
    return None if fault is None else f"name {fault}"


def _text_fault(text: str, *, limit: int) -> str | None:
    if not text:
        return "is empty"
    if len(text) > limit:
        return f"has {len(text)} characters, more than {limit}"
    if "\0" in text:
        return "holds a NUL character"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half of a surrogate pair"
    return None
