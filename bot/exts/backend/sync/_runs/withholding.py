"""What of a run's departures and role deletions may be written, and what people are asked about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from .._core.messages.notice import quote
from .._core.messages.report import carried_out, withheld_because
from .._core.model.members import RoleId, UserId
from .._core.policy import departures
from .._core.policy.departures import Decision, Subject

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from .._core.model.members import Member, Role
    from .._core.plan.diff import RoleDiff
    from .._core.plan.planner import Planner
    from .._core.policy.departures import WithheldList
    from .._ports import Proof
    from .progress import Progress
    from .requester import Requester, Services
    from .work_queue import WorkQueue


_REVOKED: Final = "A moderator decided otherwise while Discord was asked about them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """Ids that may be written, those of an approved list among them; the others are withheld."""

    ids: tuple[int, ...]
    approved: WithheldList | None = None
    withheld: int = 0
    reason: str = ""


class Withholding:
    """What one run believes to be gone. One that is `dry` asks nobody and forgets nothing.

    `used` are the approved lists that the run carries out: it has to forget them once it is
    verified. `names` are the site's names of some of those who seem to have left. Where Discord did
    not say who has left, it `is_unanswered`.
    """

    def __init__(
        self,
        services: Services,
        requests: Requester,
        queue: WorkQueue,
        progress: Progress,
        *,
        dry: bool,
    ) -> None:
        self._repository = services.repository
        self._guild = services.guild
        self._limits = services.departures
        self._clock = services.clock
        self._requests = requests
        self._queue = queue
        self._progress = progress
        self._dry = dry
        self.used: list[Subject] = []
        self.names: dict[int, str] = {}
        self.is_unanswered = False

    def note(self, rows: Iterable[Member], members: Mapping[UserId, Member]) -> None:
        """Keep some names of those rows whose members seem to have left."""
        room = departures.KEPT_NAMES - len(self.names)
        absent = (row for row in rows if row.in_guild and row.id not in members)
        self.names |= {row.id: row.name for row in islice(absent, room)}

    async def add(self, planner: Planner, proof: Proof) -> None:
        """Plan the departures that the guild confirms, or say why they are withheld."""
        absent = planner.absent
        if not proof.complete:
            reason = f"The member list could not be proven whole: {quote(proof.reason)}."
            self._progress.show(withheld=len(absent), withheld_reason=reason)
            return
        believed = await self._believe(
            Subject.DEPARTURES, absent, total=planner.in_guild_rows, names=self.names
        )
        self._progress.show(withheld=believed.withheld, withheld_reason=believed.reason)
        if not believed.ids:
            return
        await self._requests.prove()
        ids = [UserId(id_) for id_ in believed.ids]
        gone = await self._requests.wait(self._guild.departed(ids))
        if gone is None:
            reason = "Discord did not answer who has left; it is asked again in a minute."
            self._progress.show(withheld=len(absent), withheld_reason=reason)
            self.is_unanswered = True
            return
        if not self._dry:
            # Here after all, though the cache did not have them when they were compared.
            self._queue.mark(set(ids) - gone)
        revoked = await self._carry_out(believed, gone)
        if revoked:
            left = believed.withheld + len(revoked.intersection(ids))
            self._progress.show(withheld=left, withheld_reason=_REVOKED)
        planner.add_departures(sorted(gone - revoked))

    async def of_roles(self, diff: RoleDiff, site_roles: Sequence[Role]) -> RoleDiff:
        """Return the difference with those deletions only that may be written."""
        believed = await self._believe(
            Subject.ROLE_DELETIONS,
            diff.delete,
            total=len(site_roles),
            names={role.id: role.name for role in site_roles},
        )
        self._progress.show(withheld_roles=believed.withheld, withheld_roles_reason=believed.reason)
        revoked = await self._carry_out(believed, believed.ids)
        if revoked:
            left = believed.withheld + len(revoked.intersection(believed.ids))
            self._progress.show(withheld_roles=left, withheld_roles_reason=_REVOKED)
        return replace(
            diff, delete=tuple(RoleId(id_) for id_ in believed.ids if id_ not in revoked)
        )

    async def _believe(
        self, what: Subject, ids: Sequence[int], *, total: int, names: Mapping[int, str]
    ) -> Believed:
        """Say which of these ids may be written; people are asked about those that are too many.

        The site has `total` of their kind. Raises `StoreError`.
        """
        if not departures.too_many(what, len(ids), total, limits=self._limits):
            if not self._dry:
                await self._repository.withhold_no_longer(what)
            return Believed(ids=tuple(ids))
        standing = self._repository.withheld.get(what)
        allowed = departures.approved(standing, now=self._clock.now()).intersection(ids)
        if standing is not None and standing.decision is Decision.APPROVED and not allowed:
            # Nothing is left of it to write: the others are news.
            standing = None
            if not self._dry:
                await self._repository.withhold_no_longer(what)
        approved = standing if allowed else None
        rest = [id_ for id_ in ids if id_ not in allowed]
        if approved is not None and not departures.too_many(
            what, len(rest), total, limits=self._limits
        ):
            return Believed(ids=tuple(ids), approved=approved)
        run_id = self._progress.view.run_id
        asked = departures.withheld(
            what, rest, total=total, run_id=run_id, names=names, now=self._clock.now()
        )
        list_ = asked if self._dry else await self._repository.withhold(asked)
        return Believed(
            ids=tuple(id_ for id_ in ids if id_ in allowed),
            approved=approved,
            withheld=len(rest),
            reason=withheld_because(list_),
        )

    async def _carry_out(self, believed: Believed, due: Collection[int]) -> frozenset[int]:
        """Note that an approved list is written as far as it is `due`, and show it.

        Return what of it may not be written, since somebody decided otherwise while Discord was
        asked. Raises `StoreError`: what may have been written can't be taken back.
        """
        list_ = believed.approved
        if list_ is None:
            return frozenset()
        if not self._dry:
            if not await self._repository.begin_list(list_):
                return frozenset(list_.ids)
            self.used.append(list_.what)
        line = carried_out(list_, due=len(frozenset(list_.ids).intersection(due)))
        self._progress.show(approved=(*self._progress.view.approved, line))
        return frozenset()
