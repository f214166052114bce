"""The rows of the next request, made while one is on its way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from .._clock import give_way
from .._core.delivery.payload import encoded
from .._core.model.changes import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._core.delivery.chunks import Batch
    from .._core.model.members import Field, Member, RoleId, UserId
    from .._core.site.wire import EncodedRow
    from .requester import Services

_AT_ONCE: Final = 250  # rows that are made without a break
_HEAD_START_S: Final = 0.005  # in which the request leaves that these come after


@dataclass(frozen=True, slots=True, kw_only=True)
class _Basis:
    """For what rows were made, and of what guild; for anything else they are made anew."""

    kind: Kind
    fields: tuple[Field, ...]
    epoch: int
    roles: frozenset[RoleId]
    lacking: frozenset[RoleId]


class Ahead:
    """Rows that are made before their turn, where reading a member costs no request.

    Whatever an event names since then is taken out again, and so are all of them where a role was
    deleted, of whose loss no member's event tells, and in a new epoch. So no row is sent that is
    older than its member.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._is_cached = services.hashes is not None
        self._basis: _Basis | None = None
        self._made: dict[UserId, tuple[Member, EncodedRow]] = {}
        self._marked: set[UserId] = set()
        self._making: asyncio.Task[None] | None = None

    def begin(self, queue: Sequence[Batch], *, items: int) -> None:
        """Begin to make so many of the first rows that are to be sent next."""
        self.close()
        is_readable = self._is_cached and self._services.guild.proof is not None
        batch = queue[0] if queue and is_readable else None
        if batch is None or batch.kind is Kind.DEPARTURE:
            return
        self._basis = self._basis_of(batch)
        self._marked = self._services.queue.watch()
        self._making = asyncio.ensure_future(self._make(batch, tuple(batch.ids[:items])))

    def take(self, batch: Batch) -> dict[UserId, tuple[Member, EncodedRow]]:
        """Return those rows of a batch that are right still, each with its member of now."""
        made, basis, marked = self._made, self._basis, self._marked
        self.close()
        if basis is None or not self._holds(basis, batch):
            return {}
        return {id_: made[id_] for id_ in batch.ids if id_ in made and id_ not in marked}

    def close(self) -> None:
        """Make no more, and forget what was made."""
        if self._making is not None:
            self._making.cancel()
            self._services.queue.unwatch(self._marked)
        self._making = self._basis = None
        self._made, self._marked = {}, set()

    def _basis_of(self, batch: Batch) -> _Basis:
        guild = self._services.guild
        return _Basis(
            kind=batch.kind,
            fields=batch.fields,
            epoch=guild.epoch,
            roles=frozenset(guild.roles()),
            lacking=self._services.writes.lacking,
        )

    def _holds(self, basis: _Basis, batch: Batch) -> bool:
        now = self._basis_of(batch)
        # Whoever has got a new role was named by an event.
        return basis.roles <= now.roles and now == replace(basis, roles=now.roles)

    async def _make(self, batch: Batch, ids: Sequence[UserId]) -> None:
        guild, made = self._services.guild, self._made
        lacking = self._services.writes.lacking
        await self._services.clock.sleep(_HEAD_START_S)
        for start in range(0, len(ids), _AT_ONCE):
            if guild.proof is None:
                return
            members = await guild.members(ids[start : start + _AT_ONCE])
            for id_, member in members.items():
                row = encoded(member, batch.fields, lacking=lacking)
                if row is not None:
                    made[id_] = (member, row)
            await give_way()
