"""What of a run's departures and role deletions may be written, and what people are asked about."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from .._core.messages.report import carried_out, withheld_because
from .._core.policy import withheld
from .._core.policy.withheld import Decision

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from .._core.model.members import Member, UserId
    from .._core.policy.withheld import DepartureLimits, Subject, WithheldList
    from .._ports import Clock
    from .._state.repository import StateRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """Ids that may be written, those of an approved list among them; the others are withheld."""

    ids: tuple[int, ...]
    approved: WithheldList | None = None
    withheld: int = 0
    reason: str = ""


class Withholding:
    """The lists of one run. One that is `dry` asks nobody and forgets nothing.

    `used` are the approved lists that the run carries out: it has to forget them once it is
    verified. `names` are the site's names of some of those who seem to have left.
    """

    def __init__(
        self,
        repository: StateRepository,
        run_id: str,
        *,
        clock: Clock,
        limits: DepartureLimits,
        dry: bool,
    ) -> None:
        self._repository = repository
        self._limits = limits
        self._clock = clock
        self._run_id = run_id
        self._dry = dry
        self.used: list[Subject] = []
        self.names: dict[int, str] = {}

    def note(self, rows: Iterable[Member], members: Mapping[UserId, Member]) -> None:
        """Keep some names of those rows whose members seem to have left."""
        room = withheld.KEPT_NAMES - len(self.names)
        absent = (row for row in rows if row.in_guild and row.id not in members)
        self.names |= {row.id: row.name for row in islice(absent, room)}

    async def believe(
        self, what: Subject, ids: Sequence[int], *, total: int, names: Mapping[int, str]
    ) -> Believed:
        """Say which of these ids may be written; people are asked about those that are too many.

        The site has `total` of their kind. Raises `StoreError`.
        """
        if not withheld.too_many(what, len(ids), total, limits=self._limits):
            if not self._dry:
                await self._repository.withhold_no_longer(what)
            return Believed(ids=tuple(ids))
        standing = self._repository.withheld.get(what)
        allowed = withheld.approved(standing, now=self._clock.now()).intersection(ids)
        if standing is not None and standing.decision is Decision.APPROVED and not allowed:
            # Nothing is left of it to write: the others are news.
            standing = None
            if not self._dry:
                await self._repository.withhold_no_longer(what)
        approved = standing if allowed else None
        rest = [id_ for id_ in ids if id_ not in allowed]
        if approved is not None and not withheld.too_many(
            what, len(rest), total, limits=self._limits
        ):
            return Believed(ids=tuple(ids), approved=approved)
        asked = withheld.withheld(
            what, rest, total=total, run_id=self._run_id, names=names, now=self._clock.now()
        )
        list_ = asked if self._dry else await self._repository.withhold(asked)
        return Believed(
            ids=tuple(id_ for id_ in ids if id_ in allowed),
            approved=approved,
            withheld=len(rest),
            reason=withheld_because(list_),
        )

    async def carry_out(self, believed: Believed, due: Collection[int]) -> str | None:
        """Note that an approved list is written as far as it is `due`; return the words for it.

        Raises `StoreError`: what may have been written can't be taken back.
        """
        list_ = believed.approved
        if list_ is None:
            return None
        self.used.append(list_.what)
        if not self._dry:
            await self._repository.begin_list(list_)
        return carried_out(list_, due=len(frozenset(list_.ids).intersection(due)))
