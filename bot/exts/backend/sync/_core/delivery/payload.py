"""Build a chunk's rows from what the guild says at the moment it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model.changes import Kind
from ..model.members import faults, without_roles
from ..site import wire
from .chunks import ParkedRow, Sent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from ..model.members import Member, RoleId, UserId
    from .chunks import Batch


def compose(
    batch: Batch,
    members: Mapping[UserId, Member],
    *,
    max_bytes: int,
    lacking: AbstractSet[RoleId] = frozenset(),
) -> tuple[Sent, bytes | None]:
    """Return what becomes of a batch's ids, and the request's body, or None if no row is left.

    `members` are those of the ids whom the guild has now. Whoever was planned to be created or
    updated and is not among them is left out: unknown, not gone. Whoever was planned to depart and
    is among them came back. Roles that the site is `lacking`, and does not take, are left out of
    the rows: it would refuse them.
    """
    rows: list[dict[str, object]] = []
    ids: list[UserId] = []
    left_out: list[UserId] = []
    faulty: list[ParkedRow] = []
    for id_ in batch.ids:
        member = members.get(id_)
        if (member is None) is not (batch.kind is Kind.DEPARTURE):
            left_out.append(id_)
        elif member is None:
            ids.append(id_)
            rows.append(wire.departure_row(id_))
        elif (fault := faults(member)) is not None:
            faulty.append(ParkedRow(id=id_, reason=fault))
        else:
            ids.append(id_)
            rows.append(wire.member_row(without_roles(member, lacking), batch.fields))
    body, count = wire.encode_rows(rows, max_bytes=max_bytes) if rows else (None, 0)
    sent = Sent(
        batch=batch,
        ids=tuple(ids[:count]),
        unsent=tuple(ids[count:]),
        left_out=tuple(left_out),
        faulty=tuple(faulty),
    )
    return sent, body
