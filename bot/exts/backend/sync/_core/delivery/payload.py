"""Build a chunk's rows from what the guild says at the moment it is sent."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from ..model.changes import Kind
from ..model.members import faults, without_roles
from ..plan.diff import differing_fields
from ..site import wire
from .chunks import ParkedRow, Sent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from ..model.members import Field, Member, RoleId, UserId
    from .chunks import Batch


def answered(
    sent: Sent,
    members: Mapping[UserId, Member],
    rows: Iterable[Member],
    *,
    lacking: AbstractSet[RoleId] = frozenset(),
) -> frozenset[UserId]:
    """Return those of the sent ids whose row the site has repeated as it was sent.

    `members` and `lacking` are what the request was composed of.
    """
    said = {row.id: row for row in rows}
    if sent.batch.kind is Kind.DEPARTURE:
        return frozenset(id_ for id_ in sent.ids if id_ in said and not said[id_].in_guild)
    fields = {*sent.batch.fields}
    return frozenset(
        id_
        for id_ in sent.ids
        if id_ in said
        and fields.isdisjoint(differing_fields(members[id_], said[id_], lacking=lacking))
    )


def encoded(
    member: Member, fields: Sequence[Field], *, lacking: AbstractSet[RoleId] = frozenset()
) -> wire.EncodedRow | None:
    """Return the row that sets these fields of a member; None where the contract takes none."""
    if faults(member) is not None:
        return None
    return wire.encode_row(wire.member_row(without_roles(member, lacking), fields))


def compose(
    batch: Batch,
    members: Mapping[UserId, Member],
    *,
    max_bytes: int,
    lacking: AbstractSet[RoleId] = frozenset(),
    ready: Mapping[UserId, wire.EncodedRow] = MappingProxyType({}),
) -> tuple[Sent, bytes | None]:
    """Return what becomes of a batch's ids, and the request's body, or None if no row is left.

    `members` are those of the ids whom the guild has now. Whoever was planned to be created or
    updated and is not among them is left out: unknown, not gone. Whoever was planned to depart and
    is among them came back. Roles that the site is `lacking`, and does not take, are left out of
    the rows: it would refuse them. Rows that are `ready` were made of the same members, for the
    same fields.
    """
    rows: list[dict[str, object] | wire.EncodedRow] = []
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
        elif id_ in ready:
            ids.append(id_)
            rows.append(ready[id_])
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
