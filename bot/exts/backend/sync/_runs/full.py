"""A full sync: read both sides, plan, write roles, write users, look again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final

import sentry_sdk
import structlog

from .._clock import give_way
from .._core.delivery import chunks
from .._core.messages import alert
from .._core.messages.notice import quote
from .._core.messages.progress import Ending, Phase, RoleTally, RunView
from .._core.messages.report import tuned
from .._core.model.changes import Group, Kind
from .._core.model.members import Member, RoleId, UserId
from .._core.plan.diff import RoleDiff, diff_roles
from .._core.plan.drift import Drift
from .._core.plan.planner import Cause, Plan, Planner, Reason
from .._core.policy.pace import Pace, PaceLimits
from .._core.policy.patience import Failure, FailureKind
from .._core.policy.withheld import Subject
from .._core.site import requests
from .._core.site.outcome import Applied, NotFound
from .._core.site.reading import Cursor, EndlessError, rest_s
from .._core.site.wire import Capabilities, Page, shown
from .._errors import CancelledByPersonError, RunStoppedError, StoreError
from .departures import Withholding
from .plan_file import PlanFile
from .runner import Awaited, Runner
from .work_queue import group_of, look_after

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from collections.abc import Set as AbstractSet

    from .._core.messages.listing import File
    from .._core.model.members import Role
    from .._core.plan.waiting import Claim
    from .._core.policy.attempt import StopEvidence
    from .._core.site.requests import Request
    from .._ports import Guild, ModLog, Proof
    from .._state.parking import Parking
    from .runner import Services
    from .work_queue import WorkQueue

log = structlog.get_logger(__name__)

_SLICE: Final = 250  # rows compared before other tasks get their turn
_READ_ONE_BY_ONE: Final = 20


class Scope(Enum):
    """What a sync covers; the value is how people are told of it."""

    ALL = "roles and users"
    ROLES = "roles"
    USERS = "users"
    CHANGES = "live changes"


class FullSync:
    """One attempt at bringing the site in step with the guild.

    `changes` are what one of `Scope.CHANGES` has to bring; what it doesn't, it puts back.
    """

    def __init__(
        self,
        services: Services,
        *,
        run_id: str,
        scope: Scope,
        trigger: str,
        queue: WorkQueue,
        mod_log: ModLog,
        parking: Parking,
        pace: PaceLimits,
        page_items: int,
        begin: Callable[[], Awaitable[None]],
        changes: Collection[Claim] = (),
        probe: bool = False,
        dry: bool = False,
        drift: bool = False,
    ) -> None:
        self._services = services
        self._clock = services.clock
        self._parking = parking
        self._begin = begin
        self._due = True
        self.attempted = False
        self.is_unanswered = False  # Discord did not say who has left
        self.read_from_s = float("-inf")  # when its reading began, by the monotonic clock
        self.probe = probe
        self.found: Drift | None = None
        self._drift = drift
        self.scope = scope
        self._queue = queue
        self._changes = changes
        self._departing: frozenset[UserId] = frozenset()
        self._marked_before: AbstractSet[UserId] = frozenset()
        self._mod_log = mod_log
        self._pace = pace
        self._pace_now: Pace | None = None
        self._known_parked = parking.known
        self._page_items = page_items
        self.dry = dry
        self.withholding = Withholding(
            services.repository, run_id, clock=services.clock, limits=services.departures, dry=dry
        )
        self._plan_file = PlanFile() if dry else None
        self._offers = Capabilities()
        self._announced: int | None = None
        self._runner = Runner(
            services, run_id, attempt=True, changed=self._show_delivery, waits=self._show_wait
        )
        self._writing_since: float | None = None
        self._done_before = 0
        self._stopping_reason = ""
        now = self._clock.now()
        self.view = RunView(
            run_id=run_id,
            what=scope.value,
            trigger=trigger,
            phase=Phase.GUILD,
            started_at=now,
            now=now,
        )

    @property
    def _guild(self) -> Guild:
        return self._services.guild

    def cancel(self, reason: str) -> None:
        """Stop before the next request; `reason` is shown."""
        self._stopping_reason = reason
        self._runner.cancel()

    @property
    def evidence(self) -> StopEvidence:
        """What it leaves at the site if it was stopped."""
        return self._runner.evidence(due=self._due)

    @property
    def requests(self) -> int:
        """How many requests it has sent."""
        return self._runner.figures.requests

    @property
    def curve(self) -> tuple[tuple[float, float], ...]:
        """How long its requests have taken."""
        return self._runner.figures.curve.kept()

    @property
    def file(self) -> File | None:
        """What a plan found, once it has ended."""
        return None if self._plan_file is None else self._plan_file.done(f"plan-{self.run_id}.csv")

    @property
    def run_id(self) -> str:
        return self.view.run_id

    def tune(self, *, by: str, target_s: float | None, max_items: int | None) -> None:
        """Set the pace's target or ceiling for the rest of this run; never above the site's own."""
        tuning = self._runner.tuning
        if target_s is not None:
            tuning = replace(tuning, target_s=target_s)
        if max_items is not None:
            max_items = min(max_items, self._offers.max_items or max_items)
            tuning = replace(tuning, max_items=max_items)
        self._runner.tuning = tuning
        self._show(tuned=tuned(by, tuning))

    def show_again(self) -> None:
        """Show what has changed around the run: a pause, or its end."""
        self._show()

    def say_next(self, next_step: str) -> RunView:
        """Add to its last state what happens next."""
        self._show(next_step=next_step)
        return self.view

    async def run(self) -> RunView:
        """Run to the end, whatever it is, and return the last view."""
        with structlog.contextvars.bound_contextvars(run_id=self.view.run_id):
            self._services.telemetry.run_started(self.view, probe=self.probe)
            self._queue.noted.clear()
            self._marked_before = self._queue.users
            # Only what plans from the guild makes rows of whoever has joined meanwhile.
            plans = self.scope in {Scope.ALL, Scope.USERS} and not self.dry
            if plans:
                self._queue.waiting.run_began()
            self._show()
            try:
                await self._phases()
            except RunStoppedError as exc:
                self._end(Ending.FAILED, failure=exc.failure)
            except StoreError as exc:
                failure = Failure(kind=FailureKind.STORE, reason=str(exc))
                self._end(Ending.FAILED, failure=failure)
            except CancelledByPersonError:
                self._end(Ending.CANCELLED, next_step=self._stopping_reason)
            except asyncio.CancelledError:
                self._end(Ending.CANCELLED, next_step="The bot was stopped.")
                raise
            # The outermost boundary of a run: whatever is wrong in our own code is told once, in
            # Sentry and in mod-log, and ends this run only.
            except Exception as exc:
                log.exception("sync.run.broke")
                sentry_sdk.capture_exception(exc)
                reason = shown(f"{type(exc).__name__}: {exc}")
                failure = Failure(kind=FailureKind.INTERNAL, reason=reason)
                self._end(Ending.FAILED, failure=failure)
            finally:
                if plans:
                    self._queue.waiting.run_ended()
                self._return_changes()
                self._services.telemetry.run_finished(self.view, self._runner.figures)
            return self.view

    async def _phases(self) -> None:
        proof = await self._runner.prove()
        if not proof.members:
            raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=proof.reason))
        await self._tell_of_source(proof)
        # Not before: what waits for Discord has not asked the site for anything yet.
        await self._begin()
        self.attempted = True
        self._pace = replace(
            self._pace,
            max_items=self._services.repository.state.memory.max_items(self._pace.max_items),
        )
        self._show(members=proof.members, phase=Phase.SITE)
        # A row that is read while another's write to it is on its way says nothing of what it will
        # be: what leaves from here on carries values that are newer than all that this sync is for.
        await self._runner.quiet()
        self.read_from_s = self._clock.monotonic()
        await self._discover()
        if self.scope is Scope.CHANGES:
            await self._write_changes()
            self._end(Ending.VERIFIED)
            return
        site_roles = await self._read_roles()
        self._services.writes.has(role.id for role in site_roles)
        await self._runner.prove()
        role_diff = diff_roles(self._guild.roles(), site_roles)
        if self.scope is Scope.USERS:
            # Rows with a role unknown to the site would be refused; the rest can wait.
            role_diff = RoleDiff(create=role_diff.create)
        else:
            role_diff = await self._gate_roles(role_diff, site_roles)
        # What the site has refused before is tried again, and is no news if it is refused again.
        known = self._services.writes.lacking.intersection(role_diff.create)
        self._show(
            roles=RoleTally(planned=role_diff.total - len(known)), roles_read=len(site_roles)
        )
        names = {role.id: role.name for role in site_roles}
        names |= {id_: role.name for id_, role in self._guild.roles().items()}
        await self._carry_out(role_diff, names, proof)

    async def _tell_of_source(self, proof: Proof) -> None:
        if proof.complete:
            await self._services.repository.proven()
        else:
            draft = alert.source_unproven(proof.reason, run_id=self.view.run_id)
            await self._services.repository.tell(draft)

    async def _carry_out(
        self, role_diff: RoleDiff, names: Mapping[RoleId, str], proof: Proof
    ) -> None:
        """Compare the users, and write all that differs."""
        plan, witness = None, None
        if not self.dry:
            # Before users are compared: what the site does not take of them makes no difference.
            await self._write_roles(role_diff)
        if self.scope is not Scope.ROLES:
            self._show(phase=Phase.SITE)
            planner = await self._read_users()
            await self._add_departures(planner, proof)
            held = await self._parking.held()
            plan, witness = planner.plan(without=held), planner.witness
            self._services.writes.witnessed(witness)
            if self._drift:
                unexplained = self._unexplained(planner, held)
                self._note_drift(unexplained.total, unexplained.causes)
            self._show(
                planned=plan.total,
                still_parked=len(held),
                causes=plan.causes,
                role_names=role_names(plan.causes, names),
            )
        self._due = bool(self.view.planned or role_diff.total)
        log.info("sync.plan.made", users=self.view.planned, roles=role_diff.total)
        if self._plan_file is not None:
            await self._complete(self._plan_file, plan, role_diff, names)
            self._end(Ending.PLANNED)
            return
        if plan is not None:
            await self._write_users(plan, witness)
        await self._delete_roles(role_diff.delete)
        await self._verify_roles()
        self._end(Ending.VERIFIED)

    # -- reading ----------------------------------------------------------------------------------

    async def _discover(self) -> None:
        """Ask the site what it offers; one that knows no such question offers the contract."""
        outcome = await self._runner.ask(lambda _: requests.capabilities())
        if isinstance(outcome, Applied) and isinstance(outcome.value, Capabilities):
            self._offers = outcome.value
            self._pace = replace(
                self._pace,
                max_items=min(self._pace.max_items, self._offers.max_items or 10**9),
                max_bytes=min(self._pace.max_bytes, self._offers.max_bytes or 10**9),
            )

    async def _read_roles(self) -> tuple[Role, ...]:
        outcome = await self._runner.ask(lambda _: requests.roles())
        if isinstance(outcome, Applied) and isinstance(outcome.value, tuple):
            return outcome.value
        raise _unexpected("GET bot/roles", outcome)

    async def _read_users(self) -> Planner:
        """Compare every row of the site with the guild."""
        planner = Planner(lacking=self._services.writes.lacking)
        async for page in self._pages():
            new = await self._compare(planner, page.rows)
            if page.rows and not new and page.next is not None:
                raise protocol_failure(f"the page before {page.next} repeats rows already read")
            self._show(rows_read=len(planner.seen))
        await self._runner.prove()
        planner.add_missing(self._guild.member_ids())
        return planner

    async def _pages(self) -> AsyncIterator[Page]:
        cursor = self._begin_reading()
        while not cursor.ended:
            page, cursor = await self._page(cursor)
            yield page
            cursor = await self._past(cursor, page)

    def _begin_reading(self, *, after: int = 0) -> Cursor:
        """Return the cursor of a reading that begins after an id, where there are pages by id."""
        by_id = self._offers.pages_by_id
        announced = self._announced if by_id else None
        return Cursor(size=self._page_items, by_id=by_id, after=after, announced=announced)

    async def _past(self, cursor: Cursor, page: Page) -> Cursor:
        """Return the cursor behind a page, after a rest; raise what stops the run otherwise."""
        if cursor.wants_count(page):
            outcome = await self._runner.ask(partial(_same, requests.page(1, size=1)))
            if isinstance(outcome, Applied) and isinstance(outcome.value, Page):
                self._announced = outcome.value.count
            cursor = replace(cursor, announced=self._announced)
        try:
            cursor = cursor.past(page, created=self.view.tally.created)
        except EndlessError as exc:
            raise protocol_failure(f"GET bot/users: {exc}") from exc
        if not cursor.ended:
            await self._runner.rest(rest_s(self._runner.latest_s))
        return cursor

    async def _page(self, cursor: Cursor) -> tuple[Page, Cursor]:
        """Read the page at a cursor, and return the cursor as it came to be asked for."""

        def make(tries: int) -> Request:
            nonlocal cursor
            if tries:
                cursor = cursor.smaller()
            return cursor.request()

        outcome = await self._runner.ask(make)
        if isinstance(outcome, NotFound):
            # Rows were deleted meanwhile, and with them the last page.
            return Page(rows=(), next=None), cursor
        if isinstance(outcome, Applied) and isinstance(outcome.value, Page):
            return outcome.value, cursor
        raise _unexpected("GET bot/users", outcome)

    def _pages_of(self, _ids: Collection[UserId]) -> AsyncIterator[Page]:
        """Return pages that hold the rows of all these ids, and maybe others."""
        return self._pages()

    async def _compare(self, planner: Planner, rows: Iterable[Member]) -> int:
        new = 0
        rows = tuple(rows)
        for start in range(0, len(rows), _SLICE):
            part = rows[start : start + _SLICE]
            await self._runner.prove()
            members = await self._guild.members(row.id for row in part)
            self.withholding.note(part, members)
            if self._plan_file is not None:
                self._plan_file.compared(part, members, lacking=planner.lacking)
            new += planner.add_rows(part, members)
            await give_way()
        return new

    async def _add_departures(self, planner: Planner, proof: Proof) -> None:
        """Plan the departures that the guild confirms, or say why they are withheld."""
        absent = planner.absent
        if not proof.complete:
            reason = f"The member list could not be proven whole: {quote(proof.reason)}."
            self._show(withheld=len(absent), withheld_reason=reason)
            return
        believed = await self.withholding.believe(
            Subject.DEPARTURES, absent, total=planner.in_guild_rows, names=self.withholding.names
        )
        self._show(withheld=believed.withheld, withheld_reason=believed.reason)
        if not believed.ids:
            return
        await self._runner.prove()
        gone = await self._runner.wait(self._guild.departed([UserId(id_) for id_ in believed.ids]))
        if gone is None:
            reason = "Discord did not answer who has left; it is asked again in a minute."
            self._show(withheld=len(absent), withheld_reason=reason)
            self.is_unanswered = True
            return
        if not self.dry:
            # Here after all, though the cache did not have them when they were compared.
            self._queue.mark({UserId(id_) for id_ in believed.ids} - gone)
        self._show_approved(await self.withholding.carry_out(believed, gone))
        planner.add_departures(sorted(gone))

    async def _gate_roles(self, diff: RoleDiff, site_roles: Sequence[Role]) -> RoleDiff:
        """Return the difference with those deletions only that may be written."""
        believed = await self.withholding.believe(
            Subject.ROLE_DELETIONS,
            diff.delete,
            total=len(site_roles),
            names={role.id: role.name for role in site_roles},
        )
        self._show(withheld_roles=believed.withheld, withheld_roles_reason=believed.reason)
        self._show_approved(await self.withholding.carry_out(believed, believed.ids))
        return replace(diff, delete=tuple(RoleId(id_) for id_ in believed.ids))

    def _show_approved(self, line: str | None) -> None:
        if line is not None:
            self._show(approved=(*self.view.approved, line))

    def _unexplained(self, planner: Planner, held: frozenset[UserId]) -> Plan:
        """Return what differs although no event since the last sync can explain it."""
        plan = planner.plan(without=held | self._marked_before | self._queue.noted)
        # A cause counts all its members; where none is unexplained, none of them is.
        return plan if plan.total else replace(plan, causes=())

    def _note_drift(self, rows: int, causes: tuple[Cause, ...]) -> None:
        self.found = Drift(at=self._clock.now(), rows=rows, causes=causes)
        self._services.telemetry.drifted(self.found)

    async def _complete(
        self, file: PlanFile, plan: Plan | None, roles: RoleDiff, names: Mapping[RoleId, str]
    ) -> None:
        """Add to the file of a plan what no comparison of two rows has found."""
        file.roles(roles, names)
        for group in () if plan is None else plan.groups:
            if group.kind is Kind.DEPARTURE:
                file.departed(group.ids)
            for start in range(0, len(group.ids) if group.kind is Kind.CREATE else 0, _SLICE):
                await self._runner.prove()
                members = await self._guild.members(group.ids[start : start + _SLICE])
                file.created(members.values())
                await give_way()

    # -- writing ----------------------------------------------------------------------------------

    async def _write_roles(self, diff: RoleDiff) -> None:
        if not diff.create and not diff.update:
            return
        self._show(phase=Phase.ROLES)
        refused = await self._runner.write_roles(diff.create, known=False)
        tally = replace(self.view.roles, created=len(diff.create) - len(refused))
        refused_updates = await self._runner.write_roles(diff.update, known=True)
        tally = replace(tally, updated=len(diff.update) - len(refused_updates))
        self._show(roles=tally, parked_roles=(*refused, *refused_updates))

    async def _delete_roles(self, ids: Collection[RoleId]) -> None:
        deleted, refused = 0, list(self.view.parked_roles)
        for id_ in ids:
            await self._runner.prove()
            if id_ in self._guild.roles():
                continue
            fault = await self._runner.delete_role(id_)
            if fault is None:
                deleted += 1
            else:
                refused.append(f"role {id_}, which is to be deleted: {fault}")
        tally = replace(self.view.roles, deleted=deleted)
        self._show(roles=tally, parked_roles=tuple(refused))

    async def _write_changes(self) -> None:
        """Bring what events have marked to the site, which isn't read before."""
        held = await self._parking.held()
        ids = {taken.kind: tuple(i for i in taken.ids if i not in held) for taken in self._changes}
        count = sum(len(taken.ids) for taken in self._changes)
        plan = Plan(
            groups=tuple(self._groups(ids)),
            causes=(Cause(reason=Reason.SEEN, role_id=None, count=count),),
            rows=0,
            in_guild_rows=0,
        )
        self._show(
            planned=sum(len(kept) for kept in ids.values()),
            still_parked=len(held),
            causes=plan.causes,
        )
        await self._write_users(plan, None)

    def _groups(self, ids: Mapping[Kind, tuple[UserId, ...]]) -> Iterator[Group]:
        for kind in Kind:
            if ids.get(kind):
                yield group_of(kind, ids[kind])
            if ids.get(kind) and kind is Kind.CREATE:
                # A create passes over the rows that exist, so an update follows it.
                yield replace(group_of(Kind.UPDATE, ids[kind]), counted=False)

    def _return_changes(self) -> None:
        """Let what was not brought to the site wait again."""
        for taken in self._changes:
            if self.view.ending is Ending.VERIFIED:
                self._queue.waiting.done(taken)
            else:
                self._queue.put_back(taken)

    async def _write_users(self, plan: Plan, witness: UserId | None) -> None:
        if not plan.total:
            return
        self._show(phase=Phase.USERS)
        self._departing = frozenset(
            id_ for group in plan.groups if group.kind is Kind.DEPARTURE for id_ in group.ids
        )
        self._writing_since = self._clock.monotonic()
        self._done_before = self.view.done
        before = self.view.parked
        # What this run has planned, written and parked until now counts: it may write in parts.
        delivery = replace(
            chunks.start(
                plan.groups,
                pace=self._pace_now or Pace.start(self._pace),
                patience=self._runner.patience,
                witness=witness,
                known_parked=self._known_parked,
            ),
            planned=self.view.planned,
            tally=self.view.tally,
            parked=before,
        )
        try:
            delivery = await self._runner.deliver(delivery)
            self._pace_now = delivery.pace
            self._writing_since = None
            self._show(phase=Phase.VERIFYING)
            taken = await self._verify(plan, delivery)
        except (RunStoppedError, CancelledByPersonError) as exc:
            if isinstance(exc, RunStoppedError) and exc.failure.kind is FailureKind.REJECTED:
                # The data or the contract is wrong: thousands of rows must not wait for it.
                self._show(parked=())
            # What else it found out about single rows is true however it ended.
            await self._settle(before, taken=())
            raise
        await self._settle(before, taken=taken)

    async def _settle(
        self, before: Collection[chunks.ParkedRow], *, taken: Collection[UserId]
    ) -> None:
        rows = self.view.parked[len(before) :]
        await self._parking.settle(rows, taken=taken, run_id=self.view.run_id)

    async def _verify(self, plan: Plan, delivery: chunks.Delivery) -> frozenset[UserId]:
        """Look again at what was written; send what differs once more; park what differs then.

        Return the ids that the site has taken.
        """
        await self._look_after(delivery.left_out)
        touched = {id_ for group in plan.groups for id_ in group.ids}
        touched -= {row.id for row in delivery.parked}
        await self._wait_out(touched)
        differing = await self._still_differing(touched)
        written = frozenset(touched)
        if not differing.total:
            return written
        log.warning("sync.verify.differs", rows=differing.total)
        again = await self._runner.deliver(
            replace(
                chunks.start(
                    # What is sent once more has been counted, as whatever it was.
                    (replace(group, counted=False) for group in differing.groups),
                    pace=delivery.pace,
                    patience=self._runner.patience,
                    witness=delivery.witness,
                    known_parked=delivery.known_parked,
                ),
                tally=delivery.tally,
                parked=delivery.parked,
                planned=delivery.planned,
            )
        )
        touched = {id_ for group in differing.groups for id_ in group.ids}
        touched -= {row.id for row in again.parked}
        await self._wait_out(touched)
        rest = await self._still_differing(touched)
        if rest.total > self._services.patience.tolerated(plan.total):
            reason = f"{rest.total:,} of {plan.total:,} rows"
            raise RunStoppedError(Failure(kind=FailureKind.UNVERIFIED, reason=reason))
        altered = tuple(
            chunks.ParkedRow(id=id_, reason="the site alters it")
            for group in rest.groups
            for id_ in group.ids
        )
        self._show(parked=(*again.parked, *altered))
        return written - {row.id for row in self.view.parked}

    async def _wait_out(
        self, users: Collection[UserId] = (), roles: Collection[RoleId] = ()
    ) -> None:
        """Read nothing back before every write of these was answered, or has ended unanswered."""
        if self._services.writes.ends_in_s(users, roles):
            self._show(slow="a request that was not answered may still be at work on the site")
            await self._runner.waited_out(users, roles)
            self._show(slow=None)

    async def _verify_roles(self) -> None:
        """Look again at the roles of which a write was not answered; send what differs once more.

        A role whose write was answered needs no second look: the answer is about that one role.
        """
        doubtful = self._runner.roles_written & self._services.writes.roles_in_doubt
        doubtful -= self._runner.roles_refused  # they differ, and mod-log names them
        if not doubtful:
            return
        self._show(phase=Phase.VERIFYING)
        await self._wait_out(roles=doubtful)
        differing = await self._differing_roles(doubtful)
        if not differing.total:
            return
        log.warning("sync.verify.differs", roles=differing.total)
        await self._runner.write_roles(differing.create, known=False)
        await self._runner.write_roles(differing.update, known=True)
        await self._delete_roles(differing.delete)
        await self._wait_out(roles=doubtful)
        rest = await self._differing_roles(doubtful - self._runner.roles_refused)
        if rest.total:
            reason = f"{rest.total:,} roles"
            raise RunStoppedError(Failure(kind=FailureKind.UNVERIFIED, reason=reason))

    async def _differing_roles(self, among: Collection[RoleId]) -> RoleDiff:
        site_roles = await self._read_roles()
        await self._runner.prove()
        diff = diff_roles(self._guild.roles(), site_roles)
        return RoleDiff(
            create=tuple(id_ for id_ in diff.create if id_ in among),
            update=tuple(id_ for id_ in diff.update if id_ in among),
            delete=tuple(id_ for id_ in diff.delete if id_ in among),
        )

    async def _look_after(self, left_out: Collection[UserId]) -> None:
        """Let the live worker see to those of whom the guild spoke differently by then."""
        if not left_out:
            return
        await self._runner.prove()
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
                    guild=self._guild,
                    queue=self._queue,
                    limits=self._services.departures,
                )
        except RunStoppedError as exc:
            log.warning("sync.members.unasked", ids=len(left_out), error=str(exc))
            self._queue.mark(left_out)

    async def _still_differing(self, ids: set[UserId]) -> Plan:
        """Read these ids' rows back and compare; ids that changed meanwhile are left out."""
        planner = Planner(lacking=self._services.writes.lacking)
        if len(ids) <= _READ_ONE_BY_ONE:
            for id_ in sorted(ids):
                outcome = await self._runner.ask(partial(_same, requests.user(id_)))
                if isinstance(outcome, Applied) and isinstance(outcome.value, Member):
                    await self._compare(planner, (outcome.value,))
        else:
            async for page in self._pages_of(ids):
                await self._compare(planner, (row for row in page.rows if row.id in ids))
        await self._runner.prove()
        planner.add_missing(await self._guild.members(ids - planner.seen))
        # Others were not planned, and so neither confirmed nor counted by any gate.
        planner.add_departures(id_ for id_ in planner.absent if id_ in self._departing)
        return planner.plan(without=self._queue.noted)

    # -- showing ----------------------------------------------------------------------------------

    def _show_delivery(
        self, delivery: chunks.Delivery, waiting: str | None, latest_s: float
    ) -> None:
        done = max(0, delivery.planned - delivery.remaining)
        rate = 0.0
        if self._writing_since is not None:
            seconds = self._clock.monotonic() - self._writing_since
            rate = (done - self._done_before) / seconds if seconds > 0 else 0.0
        self._show(
            done=done,
            tally=delivery.tally,
            rate=rate,
            chunk_items=delivery.pace.items,
            request_s=latest_s,
            target_s=delivery.pace.limits.target_s,
            slow=waiting,
            parked=delivery.parked,
        )

    def _show_wait(self, who: Awaited, what: str | None) -> None:
        self._show(**{"away" if who is Awaited.DISCORD else "slow": what})

    def _show(self, **changes: object) -> None:
        pause = self._services.repository.state.pause
        self.view = replace(
            self.view,
            now=self._clock.now(),
            paused_by=None if pause is None else pause.by,
            **changes,  # type: ignore[arg-type]
        )
        if self.is_shown:
            self._mod_log.show(self.view)

    @property
    def is_shown(self) -> bool:
        """Whether mod-log shows it: a plan is not, nor a check that has found nothing."""
        if self.dry:
            return False
        view = self.view
        found = view.planned or view.roles.planned or view.failure or view.withheld
        return bool(not self._drift or found or view.withheld_roles)

    def _end(self, ending: Ending, **changes: object) -> None:
        self._show(ending=ending, slow=None, away=None, **changes)


def _same(request: Request, _tries: int) -> Request:
    return request


def role_names(
    causes: Iterable[Cause], names: Mapping[RoleId, str]
) -> tuple[tuple[RoleId, str], ...]:
    """Return the names of those roles that causes speak of."""
    return tuple(
        (cause.role_id, names.get(cause.role_id, ""))
        for cause in causes
        if cause.role_id is not None
    )


def protocol_failure(reason: str) -> RunStoppedError:
    """Return what stops a run because the site's answer is not its contract's."""
    return RunStoppedError(Failure(kind=FailureKind.PROTOCOL, reason=reason))


def _unexpected(request: str, outcome: object) -> RunStoppedError:
    return protocol_failure(f"{request}: {type(outcome).__name__}")
