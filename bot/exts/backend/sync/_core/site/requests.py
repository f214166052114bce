"""Every request that the site's contract knows, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..model.changes import Kind
from . import wire
from .outcome import Purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..model.members import Role, RoleId, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to the site; `path` is relative to the API's base.

    `rows` is how many rows the body holds, `read` turns the body of a success into a value.
    `minimal` asks for an answer without the rows, where the site offers that. `users` and `role`
    are whom, or what, a write names.
    """

    method: str
    path: str
    purpose: Purpose
    params: Mapping[str, Any] | None = None
    body: bytes | None = None
    rows: int = 1
    read: Callable[[object], object] | None = None
    minimal: bool = False
    users: tuple[UserId, ...] = ()
    role: RoleId | None = None

    @property
    def writes(self) -> bool:
        return self.method != "GET"


def healthcheck() -> Request:
    """Ask whether the site is well; an answer of another shape is not a healthcheck's."""
    return Request(method="GET", path="healthcheck", purpose=Purpose.READ, read=_read_health)


def capabilities() -> Request:
    """Ask what the site offers beyond the contract."""
    return Request(
        method="GET",
        path="bot/sync/capabilities",
        purpose=Purpose.DISCOVER,
        read=wire.read_capabilities,
    )


def page(number: int, *, size: int) -> Request:
    """Read a page of users by its number, from 1."""
    return Request(
        method="GET",
        path="bot/users",
        params={"page": number, "page_size": size},
        purpose=Purpose.READ,
        read=wire.read_page,
    )


def page_after(id_: int, *, size: int) -> Request:
    """Read the page of users whose ids are above `id_`, where the site offers that."""
    return Request(
        method="GET",
        path="bot/users",
        params={"after": id_, "page_size": size},
        purpose=Purpose.READ,
        read=wire.read_page_by_id,
    )


def digests(bounds: Sequence[int]) -> Request:
    """Ask for the digest of each range between two bounds, where the site offers that."""
    return Request(
        method="GET",
        path="bot/sync/digests",
        params={"bounds": ",".join(map(str, bounds))},
        purpose=Purpose.READ,
        read=wire.read_digests,
    )


def user(id_: UserId) -> Request:
    """Read one user."""
    return Request(
        method="GET", path=f"bot/users/{id_}", purpose=Purpose.READ_ONE, read=wire.read_user
    )


def write_users(kind: Kind, body: bytes, *, users: tuple[UserId, ...]) -> Request:
    """Create users, or update the given fields of users that the site knows.

    `body` holds a row for each of `users`.
    """
    creating = kind is Kind.CREATE
    return Request(
        method="POST" if creating else "PATCH",
        path="bot/users" if creating else "bot/users/bulk_patch",
        purpose=Purpose.CREATE if creating else Purpose.UPDATE,
        body=body,
        rows=len(users),
        users=users,
        read=wire.read_written_users,
        minimal=True,
    )


def roles() -> Request:
    """Read all roles."""
    return Request(method="GET", path="bot/roles", purpose=Purpose.READ, read=wire.read_roles)


def create_role(role: Role) -> Request:
    """Create a role."""
    return Request(
        method="POST",
        path="bot/roles",
        purpose=Purpose.CREATE_ROLE,
        body=wire.encode(wire.role_row(role)),
        role=role.id,
        read=wire.read_written_role,
    )


def update_role(role: Role) -> Request:
    """Write all fields of a role."""
    return Request(
        method="PUT",
        path=f"bot/roles/{role.id}",
        purpose=Purpose.UPDATE_ROLE,
        body=wire.encode(wire.role_row(role)),
        role=role.id,
        read=wire.read_written_role,
    )


def delete_role(id_: RoleId) -> Request:
    """Delete a role."""
    return Request(method="DELETE", path=f"bot/roles/{id_}", purpose=Purpose.DELETE_ROLE, role=id_)


def _read_health(value: object) -> None:
    if not wire.is_healthy(value):
        raise wire.WireError("not a healthcheck's answer")
