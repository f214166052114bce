"""One run, from its first request to its summary: what it is made of, and how it ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final, assert_never

import structlog

from .._core.delivery.chunks import Tally
from .._core.messages.progress import (
    Ending,
    Phase,
    RoleTally,
    RunKind,
    RunView,
)
from .._core.messages.report import tuned
from .._core.model.redaction import without_quoted
from .._core.plan.diff import RoleDiff
from .._core.policy.attempt import ending_of_stop
from .._core.policy.breaker import AttemptEnding
from .._core.policy.request_backoff import Failure, FailureKind
from .._core.site.wire import shown
from .._errors import CancelledByPersonError, RunStoppedError, StoreError
from .._ports import PagedGuild
from .._state.parking import Parking
from .comparing import Comparing
from .digests import Digests
from .drift_check import DriftCheck
from .passes import Parts, WholePass, bring_changes
from .plan_file import PlanFile
from .progress import Progress
from .role_sync import RoleSync
from .runner import Runner
from .site_reader import SiteReader
from .snapshot import PageSnapshot
from .streamed import StreamedPass
from .user_writer import UserWriter
from .verifier import Verifier
from .withholding import Withholding

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from .._core.messages.listing import File
    from .._core.model.members import RoleId
    from .._core.plan.drift import Drift
    from .._core.plan.waiting import Claim
    from .._core.policy.attempt import StopEvidence
    from .._core.policy.pace import PaceLimits
    from .._core.site.figures import RunFigures
    from .._ports import ModLog, Proof
    from .passes import Pass
    from .requester import Services
    from .work_queue import WorkQueue


class Scope(Enum):
    """What a sync covers; the value is how people are told of it."""

    ALL = "roles and users"
    ROLES = "roles"
    USERS = "users"
    CHANGES = "live changes"


AS_PROBE: Final = ", as a probe of the site"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What a run is to do, and why: its `cause`, as people read it.

    A `dry` one writes nothing; one with `drift` looks for drift.

    `changes` are what one of `Scope.CHANGES` has to bring; what it doesn't, it puts back. `begin`
    writes the attempt down, before the first request to the site.
    """

    run_id: str
    scope: Scope
    cause: str
    begin: Callable[[], Awaitable[None]]
    changes: Collection[Claim] = ()
    probe: bool = False
    dry: bool = False
    drift: bool = False


class Run:
    """One attempt at bringing the site in step with the guild, composed of its parts."""

    def __init__(
        self,
        services: Services,
        spec: RunSpec,
        *,
        queue: WorkQueue,
        mod_log: ModLog,
        parking: Parking,
        pace: PaceLimits,
        page_items: int,
    ) -> None:
        guild = services.guild
        snapshot = PageSnapshot(guild) if isinstance(guild, PagedGuild) else None
        if snapshot is not None:
            services = replace(services, guild=snapshot)
            parking = Parking(
                services.repository, snapshot, services.clock, telemetry=services.telemetry
            )
        self.spec = spec
        self._services = services
        self._queue = queue
        now = services.clock.now()
        view = RunView(
            run_id=spec.run_id,
            what=spec.scope.value,
            trigger=f"{spec.cause}{AS_PROBE}" if spec.probe else spec.cause,
            phase=Phase.GUILD,
            started_at=now,
            now=now,
            kind=_kind(spec),
            probe=spec.probe,
        )
        self._progress = progress = Progress(
            view,
            clock=services.clock,
            repository=services.repository,
            mod_log=mod_log,
            telemetry=services.telemetry,
            dry=spec.dry,
            drift=spec.drift,
        )
        self._runner = runner = Runner(
            services,
            spec.run_id,
            attempt=True,
            changed=progress.show_delivery,
            waits=progress.show_wait,
        )
        requests = runner.requests
        self._reader = SiteReader(requests, progress, page_items=page_items, target_s=pace.target_s)
        self.withholding = Withholding(services, requests, queue, progress, dry=spec.dry)
        self._file = PlanFile() if spec.dry else None
        digests = Digests(services, requests, self._reader, services.hashes, queue=queue)
        self._comparing = Comparing(
            services, requests, self.withholding, digests=digests, file=self._file
        )
        self._roles = RoleSync(services, runner, self._reader, progress)
        verifier = Verifier(
            services,
            runner,
            self._reader,
            self._comparing,
            progress,
            digests=digests,
            queue=queue,
            probe=spec.probe,
        )
        self._writer = UserWriter(
            services,
            runner,
            verifier,
            progress,
            parking=parking,
            queue=queue,
            limits=pace,
        )
        self._drift = DriftCheck(services, queue) if spec.drift else None
        self._parts = parts = Parts(
            services=services,
            requests=requests,
            reader=self._reader,
            comparing=self._comparing,
            withholding=self.withholding,
            writer=self._writer,
            verifier=verifier,
            digests=digests,
            progress=progress,
            parking=parking,
            drift=self._drift,
            dry=spec.dry,
        )
        self._pass: Pass = (
            StreamedPass(parts, guild, snapshot)
            if isinstance(guild, PagedGuild) and snapshot is not None
            else WholePass(parts)
        )
        self.attempted = False
        self.read_from_s = float("-inf")  # when its reading began, by the monotonic clock
        self._stopping_reason = ""

    @property
    def view(self) -> RunView:
        """How it stands."""
        return self._progress.view

    @property
    def run_id(self) -> str:
        """Its id, which stands in every trace of it."""
        return self.spec.run_id

    @property
    def is_shown(self) -> bool:
        """Whether mod-log shows it."""
        return self._progress.is_shown

    @property
    def found(self) -> Drift | None:
        """What its check for drift has found, if it made one."""
        return None if self._drift is None else self._drift.found

    @property
    def evidence(self) -> StopEvidence:
        """What it leaves at the site if it was stopped."""
        return self._runner.requests.evidence(due=self._progress.due)

    @property
    def figures(self) -> RunFigures:
        """Its requests, and how long they have taken."""
        return self._runner.requests.figures

    @property
    def file(self) -> File | None:
        """What a plan found, once it has ended."""
        return None if self._file is None else self._file.done(f"plan-{self.run_id}.csv")

    def cancel(self, reason: str) -> None:
        """Stop before the next request; `reason` is shown."""
        self._stopping_reason = reason
        self._runner.requests.cancel()

    def tune(self, *, by: str, target_s: float | None, max_items: int | None) -> None:
        """Set the pace's target or ceiling for the rest of this run; never above the site's own."""
        tuning = self._runner.tuning
        if target_s is not None:
            tuning = replace(tuning, target_s=target_s)
        if max_items is not None:
            max_items = min(max_items, self._reader.offers.max_items or max_items)
            tuning = replace(tuning, max_items=max_items)
        self._runner.tuning = tuning
        self._progress.show(tuned=tuned(by, tuning))

    def show_again(self) -> None:
        """Show what has changed around the run: a pause, or its end."""
        self._progress.show()

    def say_next(self, next_step: str) -> RunView:
        """Add to its last state what happens next."""
        self._progress.show(next_step=next_step)
        return self.view

    async def run(self) -> RunView:
        """Run to the end, whatever it is, and return the last view."""
        fault: Exception | None = None
        with (
            structlog.contextvars.bound_contextvars(run_id=self.run_id),
            self._services.telemetry.traced(self.view),
        ):
            self._services.telemetry.run_started(self.view)
            self._queue.noted.clear()
            if self._drift is not None:
                self._drift.begin()
            # Only what plans from the guild makes rows of whoever has joined meanwhile.
            plans = self.spec.scope in {Scope.ALL, Scope.USERS} and not self.spec.dry
            if plans:
                self._queue.waiting.run_began()
            self._progress.show()
            try:
                await self._phases()
            except RunStoppedError as exc:
                self._progress.end(Ending.FAILED, failure=exc.failure)
            except StoreError as exc:
                failure = Failure(kind=FailureKind.STORE, reason=str(exc))
                self._progress.end(Ending.FAILED, failure=failure)
            except CancelledByPersonError:
                self._progress.end(Ending.CANCELLED, next_step=self._stopping_reason)
            except asyncio.CancelledError:
                self._progress.end(Ending.CANCELLED, next_step="The bot was stopped.")
                raise
            # The outermost boundary of a run: whatever is wrong in our own code is told once, with
            # the run's end, and ends this run only.
            except Exception as exc:  # noqa: BLE001 - told below
                fault = exc
                reason = shown(without_quoted(f"{type(exc).__name__}: {exc}"))
                failure = Failure(kind=FailureKind.INTERNAL, reason=reason)
                self._progress.end(Ending.FAILED, failure=failure)
            finally:
                if plans:
                    self._queue.waiting.run_ended()
                self._return_changes()
                self._services.telemetry.run_finished(
                    self.view,
                    self._runner.requests.figures,
                    neutral=ending_of_stop(self.evidence) is AttemptEnding.NEUTRAL,
                    fault=fault,
                )
            return self.view

    async def _phases(self) -> None:
        proof = await self._runner.requests.prove()
        if not proof.members:
            raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=proof.reason))
        await self._pass.tell_of_source(proof)
        # Not before: what waits for Discord has not asked the site for anything yet.
        await self.spec.begin()
        self.attempted = True
        self._progress.show(members=proof.members, phase=Phase.SITE)
        # A row that is read while another's write to it is on its way says nothing of what it will
        # be: what leaves from here on carries values that are newer than all that this sync is for.
        await self._runner.requests.quiet()
        self.read_from_s = self._services.clock.monotonic()
        await self._reader.discover()
        self._limit_pace()
        if self.spec.scope is Scope.CHANGES:
            await bring_changes(self._parts, self.spec.changes)
        else:
            await self._sync(proof)
        self._progress.end(Ending.PLANNED if self.spec.dry else Ending.VERIFIED)

    def _limit_pace(self) -> None:
        """Send no more at once than the site takes, and at first than a crash has taught."""
        trusted = self._services.repository.state.memory.ceiling
        limits = replace(self._writer.limits, trusted_items=trusted)
        self._writer.limits = self._reader.within(limits)

    async def _sync(self, proof: Proof) -> None:
        """Bring roles, then users, and delete roles at the end, when nobody holds them any more."""
        diff, names = await self._compare_roles()
        if not self.spec.dry:
            # Before users are compared: what the site does not take of them makes no difference.
            await self._roles.write(diff)
        plan = None
        if self.spec.scope is Scope.ROLES:
            self._progress.due = diff.total > 0
        else:
            plan = await self._pass.bring_users(names, proof, roles=diff.total)
        if self._file is not None:
            await self._comparing.complete(self._file, plan, diff, names)
            return
        await self._roles.delete(diff.delete)
        await self._roles.verify()

    async def _compare_roles(self) -> tuple[RoleDiff, Mapping[RoleId, str]]:
        """Return what is to be written of the roles, and all their names."""
        diff, site_roles = await self._roles.compare()
        if self.spec.scope is Scope.USERS:
            # Rows with a role unknown to the site would be refused; the rest can wait.
            diff = RoleDiff(create=diff.create)
        else:
            diff = await self.withholding.of_roles(diff, site_roles)
        # What the site has refused before is tried again, and is no news if it is refused again.
        known = self._services.writes.lacking.intersection(diff.create)
        self._progress.show(
            roles=RoleTally(planned=diff.total - len(known)), roles_read=len(site_roles)
        )
        names = {role.id: role.name for role in site_roles}
        names |= {id_: role.name for id_, role in self._services.guild.roles().items()}
        return diff, names

    def _return_changes(self) -> None:
        """Let what was not brought to the site wait again."""
        now = self._services.clock.monotonic()
        for claim in self.spec.changes:
            if self.view.ending is Ending.VERIFIED:
                self._queue.waiting.done(claim)
                # Its rows are counted with those of all runs.
                waited_s = (now - since for since in claim.since.values())
                self._services.telemetry.brought(Tally(), waited_s)
            else:
                self._queue.put_back(claim)


def _kind(spec: RunSpec) -> RunKind:
    if spec.dry:
        return RunKind.PLAN
    match spec.scope:
        case Scope.ALL:
            return RunKind.CHECK if spec.drift else RunKind.FULL
        case Scope.ROLES:
            return RunKind.ROLES
        case Scope.USERS:
            return RunKind.USERS
        case Scope.CHANGES:
            return RunKind.CHANGES
        case _:
            assert_never(spec.scope)
