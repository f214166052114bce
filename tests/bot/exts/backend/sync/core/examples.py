"""Members, roles and times for the tests of the core: plain ones, and drawn ones."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.members import (
    MAX_DISCRIMINATOR,
    MAX_ID,
    MAX_MEMBER_NAME,
    MAX_ROLE_NAME,
    Member,
    Role,
    RoleId,
    UserId,
)

NOW: Final = datetime(2026, 1, 12, 12, 0, tzinfo=UTC)
EVERYONE: Final = RoleId(1)


def user_ids(*ids: int) -> tuple[UserId, ...]:
    """Give plain integers the type of user ids."""
    return tuple(UserId(id_) for id_ in ids)


def role_ids(*ids: int) -> tuple[RoleId, ...]:
    """Give plain integers the type of role ids."""
    return tuple(RoleId(id_) for id_ in ids)


def member(id_: int, **changes: object) -> Member:
    """Return a member with this id and plain values, but for `changes`."""
    plain = Member(
        id=UserId(id_),
        name=f"user{id_}",
        display_name=f"User {id_}",
        discriminator=0,
        roles=(EVERYONE,),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # the tests name fields of Member


def role(id_: int, **changes: object) -> Role:
    """Return a role with this id and plain values, but for `changes`."""
    plain = Role(id=RoleId(id_), name=f"role{id_}", colour=0, permissions=8, position=id_)
    return replace(plain, **changes)  # type: ignore[arg-type]  # the tests name fields of Role


def _names(limit: int) -> st.SearchStrategy[str]:
    """Draw names that the contract takes: no NUL, no lone surrogate, no white space at the ends."""
    characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    stripped = st.text(characters, min_size=1, max_size=limit).map(str.strip)
    return stripped.map(lambda name: name or "x")


def members(ids: st.SearchStrategy[int] | None = None) -> st.SearchStrategy[Member]:
    """Draw members that the contract takes; their roles are some of 1 to 5."""
    return st.builds(
        Member,
        id=st.builds(UserId, ids if ids is not None else st.integers(0, MAX_ID)),
        name=_names(MAX_MEMBER_NAME),
        display_name=_names(MAX_MEMBER_NAME),
        discriminator=st.integers(0, MAX_DISCRIMINATOR),
        roles=st.sets(st.integers(1, 5)).map(lambda held: role_ids(*sorted(held))),
        in_guild=st.booleans(),
    )


def roles(ids: st.SearchStrategy[int] | None = None) -> st.SearchStrategy[Role]:
    """Draw roles that the contract takes."""
    return st.builds(
        Role,
        id=st.builds(RoleId, ids if ids is not None else st.integers(0, MAX_ID)),
        name=_names(MAX_ROLE_NAME),
        colour=st.integers(0, 0xFFFFFF),
        permissions=st.integers(0, MAX_ID),
        position=st.integers(-1, 250),
    )
