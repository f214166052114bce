"""Rows that the site does not take: which to leave out of a run, and which to remember after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.messages import alert
from .._core.policy.memory import due, hash_of, parked_again
from .._core.site import wire

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from .._core.delivery.chunks import ParkedRow
    from .._core.model.members import Member, UserId
    from .._core.policy.memory import ParkedRecord
    from .._ports import Clock, Guild, Telemetry
    from .repository import StateRepository


class Parking:
    """The parked records of the repository, held against what would be sent now."""

    def __init__(
        self, repository: StateRepository, guild: Guild, clock: Clock, *, telemetry: Telemetry
    ) -> None:
        self._repository = repository
        self._telemetry = telemetry
        self._clock = clock
        self._guild = guild

    @property
    def records(self) -> Mapping[UserId, ParkedRecord]:
        """What is parked, due or not."""
        return self._repository.parked

    @property
    def known(self) -> frozenset[UserId]:
        """The ids that are parked, due or not."""
        return frozenset(self._repository.parked)

    async def held(self, among: Collection[UserId] | None = None) -> frozenset[UserId]:
        """Return the ids that are parked, unchanged, and not yet to be tried again.

        Of all that are parked, or only `among` these.
        """
        records = {
            id_: record
            for id_, record in self._repository.parked.items()
            if among is None or id_ in among
        }
        if not records:
            return frozenset()
        members = await self._guild.members(records)
        now = self._clock.now()
        return frozenset(
            id_
            for id_, record in records.items()
            if not due(record, payload_hash=_hash(id_, members), now=now)
        )

    async def settle(
        self, rows: Iterable[ParkedRow], *, taken: Collection[UserId], run_id: str
    ) -> None:
        """Keep the rows that a run parked, tell of new ones, and forget those that it `taken`.

        Raises `StoreError`.
        """
        rows = tuple(rows)
        before = self._repository.parked_lately | self._repository.parked
        members = await self._guild.members(row.id for row in rows)
        now = self._clock.now()
        records = [
            parked_again(
                before.get(row.id),
                id_=row.id,
                reason=row.reason,
                payload_hash=_hash(row.id, members),
                now=now,
            )
            for row in rows
        ]
        parked = self._repository.parked
        fewer, others = (taken, parked) if len(taken) < len(parked) else (parked, taken)
        no_longer = [id_ for id_ in fewer if id_ in others]
        if not records and not no_longer:
            return
        await self._repository.park(records, no_longer=no_longer)
        if rows:
            self._telemetry.parked(rows, run_id=run_id)
        if any(_is_news(record, before) for record in records):
            news = sorted(
                self._repository.parked.values(), key=lambda row: row.parked_at, reverse=True
            )
            await self._repository.tell(alert.parked(news, run_id=run_id))


def _is_news(record: ParkedRecord, before: Mapping[UserId, ParkedRecord]) -> bool:
    known = before.get(record.id)
    return known is None or known.reason != record.reason


def _hash(id_: UserId, members: Mapping[UserId, Member]) -> str:
    member = members.get(id_)
    return hash_of(wire.departure_row(id_) if member is None else wire.member_row(member))
