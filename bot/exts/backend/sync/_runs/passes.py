"""Passes over the parts of a run: how the users are read, compared and written, and in which order.

A guild with a member cache is compared as a whole (here), one without it stretch by stretch
(`streamed`); changes that were heard of are written without reading the site before (here).
"""

from __future__ import annotations

from array import array
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import structlog

from .._clock import give_way
from .._core.messages import alert
from .._core.messages.progress import Phase
from .._core.model.changes import Kind
from .._core.plan.planner import Cause, Plan, Reason
from .._core.policy.verification import Positions
from .comparing import put_in_order
from .site_reader import one_ahead, protocol_failure
from .work_queue import group_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from .._core.model.changes import Group
    from .._core.model.members import RoleId, UserId
    from .._core.plan.planner import Planner
    from .._core.plan.waiting import Claim
    from .._ports import Proof
    from .._state.parking import Parking
    from .comparing import Comparing
    from .digests import Digests
    from .drift_check import DriftCheck
    from .progress import Progress
    from .requester import Requester, Services
    from .site_reader import SiteReader
    from .user_writer import UserWriter
    from .verifier import Verifier
    from .withholding import Withholding

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a run is made of. `drift` is there where it checks for drift."""

    services: Services
    requests: Requester
    reader: SiteReader
    comparing: Comparing
    withholding: Withholding
    writer: UserWriter
    verifier: Verifier
    progress: Progress
    parking: Parking
    digests: Digests
    drift: DriftCheck | None
    dry: bool

    async def tell_of_source(self, proof: Proof) -> None:
        """Tell people whether the guild's member list is whole, where that is news."""
        if proof.complete:
            await self.services.repository.proven()
        else:
            draft = alert.source_unproven(proof.reason, run_id=self.progress.view.run_id)
            await self.services.repository.tell(draft)


class Pass(Protocol):
    """A way through the users of guild and site."""

    async def tell_of_source(self, proof: Proof) -> None:
        """Tell whether the guild's members are whole, as soon as that is known."""

    async def bring_users(
        self, names: Mapping[RoleId, str], proof: Proof, *, roles: int
    ) -> Plan | None:
        """Compare all users and write what differs, beside so many `roles` that do.

        Return what of the plan there is yet to note in a file.
        """


class WholePass:
    """All rows are compared with the cached members, then all that differs is written."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def tell_of_source(self, proof: Proof) -> None:
        """Tell at once: the cache is known before anything is read."""
        await self._parts.tell_of_source(proof)

    async def bring_users(
        self, names: Mapping[RoleId, str], proof: Proof, *, roles: int
    ) -> Plan | None:
        """Compare all users, then write."""
        parts = self._parts
        plan, witness = await self._compare(names, proof, roles=roles)
        if not parts.dry:
            await parts.writer.write(plan, witness)
        return plan

    async def _compare(
        self, names: Mapping[RoleId, str], proof: Proof, *, roles: int
    ) -> tuple[Plan, UserId | None]:
        """Compare all users; return the plan, and somebody whose row is right."""
        parts = self._parts
        parts.progress.show(phase=Phase.SITE)
        planner, ids = await self._read_what_differs() or await self._read()
        if not planner.differs:
            await parts.digests.found_nothing()
        await parts.withholding.add(planner, proof)
        held = await parts.parking.held()
        plan = planner.plan(without=held)
        parts.services.writes.witnessed(planner.witness)
        if parts.drift is not None:
            await give_way()  # a plan of a million takes a while
            unexplained = parts.drift.unexplained(planner, held)
            parts.drift.note(unexplained.total, unexplained.causes)
        parts.progress.show(
            planned=plan.total,
            still_parked=len(held),
            causes=plan.causes,
            role_names=role_names(plan.causes, names),
        )
        parts.progress.due = bool(plan.total or roles)
        log.info("sync.plan.made", users=plan.total, roles=roles)
        if plan.total and ids is not None and not parts.dry:
            created = (group.ids for group in plan.groups if group.kind is Kind.CREATE)
            parts.verifier.positions = Positions.of(ids, *created)
        return plan, planner.witness

    async def _read_what_differs(self) -> tuple[Planner, None] | None:
        """Compare only rows of ranges whose digests differ; None where that is no way, or no use.

        A dry run reads all rows: what it finds is kept for people.
        """
        parts = self._parts
        if parts.dry:
            return None
        if not parts.digests.offered:
            parts.digests.unused()
            return None
        found = await parts.digests.compare()
        if found is None:
            return None
        planner = parts.comparing.planner()
        planner.in_guild_rows = found.right
        async for rows in parts.digests.rows(found.ranges):
            await parts.comparing.compare(planner, rows)
            parts.progress.show(rows_read=found.right + len(planner.seen))
        parts.progress.show(rows_read=found.right + len(planner.seen))
        for range_ in found.ranges:
            await parts.comparing.add_missing(planner, parts.digests.ids(range_))
        return planner, None

    async def _read(self) -> tuple[Planner, array[int] | None]:
        """Compare every row of the site with the guild.

        Return the ids of all rows, too, where they tell on which page a row stands.
        """
        parts = self._parts
        planner = parts.comparing.planner()
        ids = None if parts.reader.offers.pages_by_id else array("Q")
        async with aclosing(one_ahead(parts.reader.pages())) as pages:
            async for page in pages:
                if ids is not None:
                    ids.extend(row.id for row in page.rows if row.id not in planner.seen)
                new = await parts.comparing.compare(planner, page.rows)
                if page.rows and not new and page.next is not None:
                    raise protocol_failure(f"the page before {page.next} repeats rows already read")
                parts.progress.show(rows_read=len(planner.seen))
        await parts.requests.prove()
        members = await put_in_order(parts.services.guild.member_ids())
        await parts.comparing.add_missing(planner, members)
        return planner, ids


async def bring_changes(parts: Parts, changes: Collection[Claim]) -> None:
    """Bring what events have marked to the site, which isn't read before."""
    held = await parts.parking.held()
    ids = {claim.kind: tuple(i for i in claim.ids if i not in held) for claim in changes}
    count = sum(len(kept) for kept in ids.values())
    plan = Plan(
        groups=tuple(_groups(ids)),
        causes=(Cause(reason=Reason.SEEN, role_id=None, count=count),),
        rows=0,
        in_guild_rows=0,
    )
    parts.progress.show(
        planned=count,
        still_parked=len(held),
        causes=plan.causes,
    )
    await parts.writer.write(plan, None)


def _groups(ids: Mapping[Kind, tuple[UserId, ...]]) -> Iterator[Group]:
    for kind in Kind:
        if ids.get(kind):
            yield group_of(kind, ids[kind])
        if ids.get(kind) and kind is Kind.CREATE:
            # A create passes over the rows that exist, so an update follows it.
            yield replace(group_of(Kind.UPDATE, ids[kind]), counted=False)


def role_names(
    causes: Iterable[Cause], names: Mapping[RoleId, str]
) -> tuple[tuple[RoleId, str], ...]:
    """Return the names of those roles that causes speak of."""
    return tuple(
        (cause.role_id, names.get(cause.role_id, ""))
        for cause in causes
        if cause.role_id is not None
    )
