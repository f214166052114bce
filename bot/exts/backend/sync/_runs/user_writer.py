"""Users: written as a plan says, read back, sent once more, and parked if they differ then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from .._core.delivery import chunks
from .._core.messages.progress import Phase
from .._core.model.changes import Kind
from .._core.model.ids import Remaining
from .._core.policy.pace import Pace
from .._core.policy.request_backoff import Failure, FailureKind
from .._errors import CancelledByPersonError, RunStoppedError
from .work_queue import look_after

if TYPE_CHECKING:
    from collections.abc import Collection

    from .._core.model.members import UserId
    from .._core.plan.planner import Plan
    from .._core.policy.pace import PaceLimits
    from .._state.parking import Parking
    from .progress import Progress
    from .requester import Services
    from .runner import Runner
    from .verifier import Verifier
    from .work_queue import WorkQueue

log = structlog.get_logger(__name__)


class UserWriter:
    """The users that one run writes, in one part or in many.

    `limits` bound its pace.
    """

    def __init__(
        self,
        services: Services,
        runner: Runner,
        verifier: Verifier,
        progress: Progress,
        *,
        parking: Parking,
        queue: WorkQueue,
        limits: PaceLimits,
    ) -> None:
        self._services = services
        self._runner = runner
        self._verifier = verifier
        self._progress = progress
        self._parking = parking
        self._queue = queue
        self.limits = limits
        self._pace: Pace | None = None
        self._known_parked = parking.known
        self._departing: frozenset[UserId] = frozenset()

    async def write(self, plan: Plan, witness: UserId | None) -> None:
        """Bring a plan to the site, and verify it; `witness` is somebody whose row is right."""
        if not plan.total:
            return
        self._progress.show(phase=Phase.USERS)
        self._departing = frozenset(
            id_ for group in plan.groups if group.kind is Kind.DEPARTURE for id_ in group.ids
        )
        self._progress.begin_writing()
        view = self._progress.view
        before = view.parked
        # What this run has planned, written and parked until now counts: it may write in parts.
        delivery = replace(
            chunks.start(
                plan.groups,
                pace=self._pace or Pace.start(self.limits),
                patience=self._runner.requests.patience,
                witness=witness,
                known_parked=self._known_parked,
            ),
            planned=view.planned,
            tally=view.tally,
            parked=before,
        )
        try:
            delivery = await self._runner.deliver(delivery)
            self._pace = delivery.pace
            self._progress.end_writing()
            taken = await self._verify(plan, delivery)
        except (RunStoppedError, CancelledByPersonError) as exc:
            if isinstance(exc, RunStoppedError) and exc.failure.kind is FailureKind.REJECTED:
                # The data or the contract is wrong: thousands of rows must not wait for it.
                self._progress.show(parked=before)
            # What else it found out about single rows is true however it ended.
            await self._settle(before, taken=())
            raise
        await self._settle(before, taken=taken)

    async def _settle(
        self, before: Collection[chunks.ParkedRow], *, taken: Collection[UserId]
    ) -> None:
        view = self._progress.view
        await self._parking.settle(view.parked[len(before) :], taken=taken, run_id=view.run_id)

    async def _verify(self, plan: Plan, delivery: chunks.Delivery) -> Collection[UserId]:
        """Look again at what was written; send what differs once more; park what differs then.

        Return the ids that the site has taken.
        """
        await self._look_after(delivery.left_out)
        touched = Remaining(group.ids for group in plan.groups if group.counted)
        touched.discard(row.id for row in delivery.parked)
        differing = await self._verifier.still_differing(
            touched, departing=self._departing, again=False
        )
        if not differing.total:
            return touched
        log.warning("sync.verify.differs", rows=differing.total)
        again = await self._runner.deliver(
            replace(
                chunks.start(
                    # What is sent once more has been counted, as whatever it was.
                    (replace(group, counted=False) for group in differing.groups),
                    pace=delivery.pace,
                    patience=self._runner.requests.patience,
                    witness=delivery.witness,
                    known_parked=delivery.known_parked,
                ),
                tally=delivery.tally,
                parked=delivery.parked,
                planned=delivery.planned,
            )
        )
        sent = Remaining(group.ids for group in differing.groups)
        sent.discard(row.id for row in again.parked)
        rest = await self._verifier.still_differing(sent, departing=self._departing, again=True)
        if rest.total > self._services.patience.tolerated(plan.total):
            reason = f"{rest.total:,} of {plan.total:,} rows"
            raise RunStoppedError(Failure(kind=FailureKind.UNVERIFIED, reason=reason))
        altered = tuple(
            chunks.ParkedRow(id=id_, reason="the site alters it")
            for group in rest.groups
            for id_ in group.ids
        )
        self._progress.show(parked=(*again.parked, *altered))
        touched.discard(row.id for row in self._progress.view.parked)
        return touched

    async def _look_after(self, left_out: Collection[UserId]) -> None:
        """Let the live worker see to those of whom the guild spoke differently by then."""
        if not left_out:
            return
        await self._runner.requests.prove()
        # The site has no row of some who left, and nothing to mark them on: asked about once more,
        # Discord would say again that they left, and so on without end.
        by_kind = {
            Kind.DEPARTURE: [id_ for id_ in left_out if id_ in self._departing],
            Kind.UPDATE: [id_ for id_ in left_out if id_ not in self._departing],
        }
        try:
            for kind, ids in by_kind.items():
                await look_after(
                    ids,
                    kind=kind,
                    guild=self._services.guild,
                    queue=self._queue,
                    limits=self._services.departures,
                )
        except RunStoppedError as exc:
            log.warning("sync.members.unasked", ids=len(left_out), error=str(exc))
            self._queue.mark(left_out)
