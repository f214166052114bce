"""Who may sync this guild, when a sync starts and stops, and what it leaves behind.

One process leads: it holds the lease, and with it the right to act on what the store says. All else
of this module happens under that lease. A process that can't get it waits, and takes over with a
full sync when it does; until then it marks nothing, answers nothing and writes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
import structlog

from .._clock import (
    SteadyClock,
    deadline,
    happens,
    wait_first,
)
from .._core.messages import alert
from .._core.messages.alert import Draft, Topic
from .._core.messages.history import past_run
from .._core.messages.marks import (
    Mark,
    holding,
    mark_of,
    run_of,
)
from .._core.messages.report import (
    Ending,
    Notice,
    Tone,
    ended_late,
    failure_alert,
    followed,
    quote,
    when,
)
from .._core.policy.attempt import Attempt, ending_of_stop
from .._core.policy.breaker import (
    AttemptEnding,
    BreakerState,
    Probe,
    Start,
    Withheld,
    permit,
)
from .._core.policy.patience import Failure, FailureKind
from .._core.policy.schedule import next_start
from .._core.policy.withheld import Decision
from .._errors import RunStoppedError, StoreError
from .._ports import PagedGuild
from .._runs.full import FullSync, Scope
from .._runs.gate import Gate
from .._runs.round import RoundSync
from .._runs.runner import Services
from .._runs.single import Single
from .._runs.work_queue import WorkQueue
from .._runs.writes import Writes
from .._state.outbox import Outbox
from .._state.parking import Parking
from .._state.repository import StateRepository
from .._supervision import keep_going
from .live import RUN_ABOVE, LiveUpdates
from .rivals import Rivals
from .side_channel import SideChannel

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
    from datetime import datetime

    from .._core.messages.listing import File
    from .._core.messages.report import RunView
    from .._core.model.members import RoleId, UserId
    from .._core.plan.waiting import Claim
    from .._core.policy.withheld import WithheldList
    from .._ports import (
        Clock,
        Guild,
        ModLog,
        Seen,
        Site,
        Store,
        Telemetry,
    )
    from .._settings import SyncSettings

log = structlog.get_logger(__name__)

_POLL_S: Final = 2.0
_MAX_POLL_S: Final = 30.0
_RENEW_S: Final = 10.0
_REMIND_S: Final = 600.0
# A request of all members is a few seconds of traffic, and an event is hardly ever lost: once a day
# costs nothing, and no row stays wrong for longer.
_ANEW_S: Final = 24 * 3600.0
_ANEW_AGAIN_S: Final = 3600.0
_ANEW_GAP_S: Final = 600.0
_LOOK_BACK: Final = 50
_HAND_OVER_S: Final = 1.0
_SOURCE_RETRY: Final = timedelta(minutes=1)
_AFTER_CANCEL: Final = timedelta(minutes=1)
_LOST: Final = "it is empty, but this channel shows what it would have to know"
_SOMEBODY: Final = "somebody (as this channel shows)"
_KEEPS_FAILING: Final = "because live changes kept failing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why something that was asked for does not happen, in a sentence for people."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """A full sync that is to start by itself, and why; not before `at`."""

    trigger: str
    at: datetime | None = None


class Control:
    """The syncs of one process."""

    def __init__(
        self,
        *,
        clock: Clock,
        chance: random.Random,
        store: Store,
        site: Site,
        guild: Guild,
        mod_log: ModLog,
        telemetry: Telemetry,
        settings: SyncSettings,
        run_above: int = RUN_ABOVE,
    ) -> None:
        # All that is decided here, and all that waits, goes by what really passed.
        self.clock = clock = SteadyClock(clock)
        self._chance = chance
        self.queue = WorkQueue(
            clock=clock,
            limit=settings.sync_max_waiting,
            overflow=lambda: self.want("because live changes were too many to follow"),
            in_order=not isinstance(guild, PagedGuild),
        )
        self.last: RunView | None = None
        self.repository = StateRepository(
            store,
            clock=clock,
            chance=chance,
            limits=settings.state,
            secret=f"{settings.api_url} {settings.site_api_token.get_secret_value()}",
        )
        self._store = store
        self._mod_log = mod_log = SideChannel(mod_log)
        self._settings = settings
        self._run_above = run_above
        self._outbox = Outbox(self.repository, mod_log, clock)
        self.writes = Writes(
            self.queue,
            clock=clock,
            deadline_s=settings.sync_deadline_s,
            recheck_s=settings.sync_doubtful_recheck_s,
            roles_due=self._roles_due,
        )
        self._services = Services(
            clock=clock,
            chance=chance,
            site=site,
            guild=guild,
            telemetry=telemetry,
            repository=self.repository,
            gate=Gate(self.repository, store, deadline_s=settings.sync_deadline_s),
            writes=self.writes,
            patience=settings.patience,
            departures=settings.departures,
        )
        self._parking = Parking(self.repository, guild, clock)
        self._live = LiveUpdates(
            self._services,
            self.queue,
            pace=settings.pace,
            run_above=run_above,
            new_run_id=self._new_run_id,
            parking=self._parking,
            begin_run=self._begin_changes,
            give_up=self._until_verified,
            want=self.want,
        )
        self._anew = asyncio.Event()
        self._rivals = Rivals(clock, lease_s=settings.sync_lease_s)
        self._sync: FullSync | None = None
        self._task: asyncio.Task[None] | None = None
        self._wish: _Wish | None = None
        self._verified = 0
        self._free = asyncio.Event()
        self._free.set()
        self._changes_held_until = self.clock.now()
        # What fails before its first request moves no breaker, which would have it tried at once.
        self._not_before = self._changes_held_until
        self._check_at: datetime | None = None
        self._unsure = False  # whether a process before this one may have a request on its way
        self._sure_at_s = 0.0
        self._plan_check()
        self._nudged = asyncio.Event()
        self.trouble = "it has just started and has not read its state yet"
        self._trouble_since: datetime | None = None
        self._stopping = False
        self._out_of_touch = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_leading = False
        self.is_standby = False

    @property
    def current(self) -> RunView | None:
        """The sync that is on, as it stands now."""
        return None if self._sync is None else self._sync.view

    @property
    def mod_log_trouble(self) -> str | None:
        """Why mod-log can show nothing now, as far as is known."""
        return self._mod_log.trouble

    def begin(self) -> None:
        """Start what works for as long as the extension is loaded; returns at once."""
        if self._settings.sync_at_start:
            self.want("at start-up")
        self._spawn(self._kept_going("alerts", self._outbox.run_forever, but=()))
        self._spawn(self._kept_going("doubtful writes", self.writes.run_forever, but=()))
        self._spawn(self._lead())

    async def stop(self, *, within_s: float) -> None:
        """Stop everything: the chunk in flight may end, within the time given."""
        self._stopping = True
        self._wish = None
        self.cancel("The bot was stopped; the next start goes on from here.")
        task = self._task
        if task and not await wait_first({task}, clock=self.clock, within_s=within_s):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        background = tuple(self._tasks)
        for one in background:
            one.cancel()
        await asyncio.gather(*background, return_exceptions=True)

    # -- starting and stopping syncs --------------------------------------------------------------

    def start(self, scope: Scope, trigger: str, *, forced: bool = False) -> RunView | Refusal:
        """Start a sync that a person asks for, and return its first view, or why it may not."""
        how = Start.FORCED if forced else Start.ASKED
        refusal = self._refusal(how, full=scope is Scope.ALL)
        if refusal is not None:
            return refusal
        return self._launch(scope, trigger, how).view

    def say(self, notice: Notice) -> None:
        """Let mod-log tell something that concerns no run."""
        self._outbox.say(notice)

    def heard_of(self, run_id: str) -> None:
        """Note that mod-log shows a run, whosever it is: of this process, or of one before it."""
        before = {run.run_id for run in self.repository.past_runs()}
        if run_id not in before and self._rivals.heard(run_id):
            log.warning("sync.rival.heard", run_id=run_id, where=self._store.where)
            self._outbox.say(alert.rival(run_id, where=self._store.where))

    @property
    def whose(self) -> str:
        """Which bot answers, where another one may answer the same differently; else nothing."""
        return alert.whose(self._store.where) if self._rivals.are_there else ""

    def passed_over(self) -> None:
        """Look at all members anew: an event was lost that may have been about one of them."""
        self._anew.set()

    def want(self, trigger: str, *, at: datetime | None = None) -> None:
        """Let a full sync start by itself as soon as one may."""
        if self._wish is None or (at is None and self._wish.at is not None):
            self._wish = _Wish(trigger=trigger, at=at)
        self._nudged.set()

    async def plan(self, trigger: str) -> tuple[RunView, File | None] | Refusal:
        """Compare without writing; return the last view, and what was found as a file."""
        refusal = self._refusal(Start.ASKED, full=False)
        if refusal is not None:
            return refusal
        sync = self._launch(Scope.ALL, trigger, Start.ASKED, dry=True)
        assert self._task is not None  # noqa: S101 - the launch made it
        await asyncio.shield(self._task)
        return sync.view, sync.file

    def single(self, id_: UserId) -> Single | Refusal:
        """Return one member's sync, beside whatever is on, or why it may not write."""
        refusal = self._held_back(Start.ASKED, full=False)
        if refusal is not None:
            return refusal
        return Single(
            self._services,
            id_,
            run_id=self._new_run_id(),
            pace=self._settings.pace,
            parking=self._parking,
        )

    def tune(self, by: str, *, target_s: float | None, max_items: int | None) -> RunView | None:
        """Set the pace of the run that is on; None when none is."""
        if self._sync is None:
            return None
        self._sync.tune(by=by, target_s=target_s, max_items=max_items)
        return self._sync.view

    def cancel(self, reason: str) -> RunView | None:
        """Stop the sync that is on; None when none is. `reason` is shown."""
        if self._sync is None:
            return None
        self._sync.cancel(reason)
        return self._sync.view

    async def pause(self, by: str) -> None:
        """Hold all automatic and live writes."""
        await self.repository.pause(by)
        self._show_again()

    async def resume(self, by: str) -> None:
        """End the pause."""
        await self.repository.resume(by)
        self._show_again()

    def _show_again(self) -> None:
        """Let the live message of the run that is on, if one is, tell what has just changed."""
        if self._sync is not None:
            self._sync.show_again()

    async def reset_breaker(self, by: str) -> None:
        """Close the breaker, and start a full sync in place of those that it withheld."""
        await self.repository.reset_breaker(by)
        self.want(f"after {by} reset the breaker")

    async def decide(self, list_: WithheldList, decision: Decision, by: str) -> None:
        """Note what somebody decided about a list; a sync carries out what was approved."""
        await self.repository.decide(list_, decision, by=by)
        if decision is Decision.APPROVED:
            self.want(f"after {by} approved {len(list_.ids):,} {list_.what.value}")

    async def retry_parked(self) -> None:
        """Make every parked row due, and let it be sent with the next live changes."""
        await self.repository.retry_parked()
        self.queue.mark(self.repository.parked)

    def _refusal(self, how: Start, *, full: bool) -> Refusal | None:
        """Say why a run may not start."""
        if self.is_leading and self._sync is not None:
            return Refusal(
                reason=f"Run `{self._sync.view.run_id}` is on already; `!sync status` shows it, "
                "`!sync cancel` stops it."
            )
        return self._held_back(how, full=full)

    def _held_back(self, how: Start, *, full: bool) -> Refusal | None:
        """Say why nothing may be written that a person asks for."""
        state = self.repository.state
        if not self.is_leading:
            return Refusal(reason=f"This bot may not write now: {quote(self.trouble)}.")
        if state.pause is not None:
            return Refusal(
                reason=f"Sync is paused by {state.pause.by}; `!sync resume` lets it go on."
            )
        may = permit(state.breaker, start=how, full=full, now=self.clock.now())
        if isinstance(may, Withheld):
            until = "" if may.until is None else f" It is tried again {when(may.until)}."
            ways = "`!sync breaker reset` closes it."
            if state.breaker.opened_by is None:
                ways = "`!sync all force` tries now."
            return Refusal(reason=f"The breaker is open: {quote(may.reason)}.{until} {ways}")
        return None

    def _launch(
        self,
        scope: Scope,
        trigger: str,
        how: Start,
        *,
        changes: Collection[Claim] = (),
        dry: bool = False,
        drift: bool = False,
    ) -> FullSync:
        full = scope is Scope.ALL and not dry
        probe = isinstance(
            permit(self.repository.state.breaker, start=how, full=full, now=self.clock.now()), Probe
        )

        async def begin() -> None:
            await self._begin(sync, how, full=full)

        guild = self._services.guild
        make = partial(RoundSync, guild=guild) if isinstance(guild, PagedGuild) else FullSync
        sync = make(
            self._services,
            run_id=self._new_run_id(),
            scope=scope,
            trigger=f"{trigger}, as a probe of the site" if probe else trigger,
            probe=probe,
            queue=self.queue,
            mod_log=self._mod_log,
            parking=self._parking,
            pace=self._settings.pace,
            page_items=self._settings.sync_page_items,
            begin=begin,
            changes=changes,
            dry=dry,
            drift=drift,
        )
        self._sync = sync
        self._free.clear()
        if full:
            self._plan_check()
        self._task = asyncio.create_task(
            self._run(sync, how, full=full), name=f"sync {sync.view.run_id}"
        )
        return sync

    async def _begin(self, sync: FullSync, how: Start, *, full: bool) -> None:
        """Write the attempt down, before its first request to the site."""
        view = sync.view
        may = permit(self.repository.state.breaker, start=how, full=full, now=self.clock.now())
        if isinstance(may, Withheld) or isinstance(may, Probe) is not sync.probe:
            # The breaker moved while this waited for Discord.
            raise RunStoppedError(Failure(kind=FailureKind.HELD, reason="its state has changed"))
        attempt = Attempt(
            run_id=view.run_id,
            what=view.what,
            trigger=view.trigger,
            full=full,
            probe=sync.probe,
            started_at=view.started_at,
        )
        await self.repository.begin(attempt, start=how)

    async def _run(self, sync: FullSync, how: Start, *, full: bool) -> None:
        run_id, every_s = sync.view.run_id, self._settings.sync_drift_every_s
        watched = how is Start.AUTOMATIC and every_s > 0
        if watched:
            self._services.telemetry.check_in(run_id, ok=None, every_s=every_s)
        try:
            view = await sync.run()
            if watched and view.ending is not Ending.CANCELLED:
                ok = view.ending is Ending.VERIFIED
                self._services.telemetry.check_in(run_id, ok=ok, every_s=every_s)
            await self._close(sync, full=full)
        except StoreError as exc:
            log.warning("sync.attempt.unkept", run_id=sync.view.run_id, error=str(exc))
            sync.say_next("How it ended could not be kept, so it will count as interrupted.")
            # Whoever leads next, this process too, finds the attempt open and counts it.
            self._out_of_touch.set()
        finally:
            self.last = view = sync.view
            if sync.scope is Scope.CHANGES and view.ending is Ending.CANCELLED:
                self._changes_held_until = self.clock.now() + _AFTER_CANCEL
            self._sync = None
            self._free.set()
            self._nudged.set()
            if sync.is_shown:
                await self._mod_log.finish(view)

    async def _close(self, sync: FullSync, *, full: bool) -> None:
        """Strike the attempt off, and arrange what follows from how it ended."""
        view = sync.view
        kind, reason = "", ""
        if view.failure is not None:
            kind = f"{view.failure.kind.name} {view.failure.status or ''}".strip()
            reason = f"{view.failure.kind.value}: {view.failure.reason}"
        if not sync.attempted:
            if full and view.ending is Ending.FAILED:
                # What it was for has not even been tried, and no breaker will have it tried again.
                self._not_before = self.clock.now() + _SOURCE_RETRY
                self.want(view.trigger, at=self._not_before)
            await self._tell_of_failure(sync, kind)
            return
        ending = _ending(sync)
        tells = view.ending is Ending.FAILED and not _is_discords(view)
        if view.ending is Ending.CANCELLED and ending is AttemptEnding.INTERRUPTED:
            reason = "a sync was stopped while the site was in trouble"
        await self.repository.end(
            ending,
            reason=reason,
            refused=view.failure is not None and view.failure.kind is FailureKind.REFUSED,
            failure=failure_alert(view) if tells else None,
            kind=kind,
            past=past_run(view, ending, requests=sync.requests, curve=sync.curve)
            if sync.is_shown
            else None,
        )
        if sync.found is not None:
            await self.repository.note_drift(sync.found)
        if ending is AttemptEnding.VERIFIED:
            await self._note_verified(sync, full=full)
        elif _is_discords(view):
            await self._tell_of_failure(sync, kind)
        elif view.ending is Ending.FAILED:
            sync.say_next(alert.next_step(self.repository.state.breaker))
        elif ending is AttemptEnding.INTERRUPTED:
            sync.say_next(
                f"{view.next_step} It counts as a failure: the site had not answered well. "
                f"{alert.next_step(self.repository.state.breaker)}"
            )

    async def _note_verified(self, sync: FullSync, *, full: bool) -> None:
        self._verified += full
        if full:
            self._unsure = self._unsure and sync.read_from_s < self._sure_at_s
            self._plan_check()
            if self._unsure and self._check_at is not None:
                sync.say_next(
                    "The bot before this one may have left a request on its way: this one looks "
                    f"again {when(self._check_at)}."
                )
            # What was marked before it began was compared, or written, and seen again.
            self.queue.waiting.settle(but=self.queue.noted)
        if sync.is_unanswered and not sync.dry:
            self.want("to ask Discord again who has left", at=self.clock.now() + _SOURCE_RETRY)
        for what in sync.withholding.used:
            await self.repository.withhold_no_longer(what)

    async def _tell_of_failure(self, sync: FullSync, kind: str) -> None:
        """Tell of a run that failed through no fault of the site, which the breaker won't count."""
        view = sync.view
        if view.ending is not Ending.FAILED:
            return
        notice = failure_alert(view)
        await self.repository.tell(Draft(topic=Topic.RUN, reason=kind, notice=notice))
        if _is_discords(view):
            at = self.clock.now() + _SOURCE_RETRY
            self.want("again, after Discord's members could not be read", at=at)
            sync.say_next(f"**Next:** it is tried again {when(at)}.")

    # -- leading ----------------------------------------------------------------------------------

    async def _lead(self) -> None:
        """Hold the lease and work, again and again, for as long as the extension is loaded."""
        wait_s = _POLL_S
        # A task group that has failed swallows a cancel that meets it.
        while not self._stopping:
            try:
                await self._store.open()
                await self._take_turn()
            except* StoreError as group:
                self._say_trouble(str(_first(group)))
            # The outermost boundary: whatever is wrong in our own code is told once a time, and
            # this process goes on trying.
            except* Exception as group:
                log.exception("sync.lead.broke")
                sentry_sdk.capture_exception(group)
                self._say_trouble(f"an error of ours: {_first(group)!r}")
            finally:
                if self.is_leading:
                    self.want("after the lease was lost")
                    wait_s = _POLL_S
                self.is_standby = False
                self._lead_now(leading=False)
                await self._drop_run()
                await self._hand_over()
                self.repository.forget()
                await self._store.close()
            await self.clock.sleep(wait_s)
            wait_s = min(wait_s * 2, _MAX_POLL_S)

    def _lead_now(self, *, leading: bool) -> None:
        self.is_leading = leading
        self._rivals.leads(leading=leading)
        self._services.telemetry.leads(leading=leading)

    async def _take_turn(self) -> None:
        noted, said, since_s = False, False, self.clock.monotonic()
        while not await self._store.acquire():
            self.is_standby = True
            self.trouble = f"{self._store.holder() or 'another process'} syncs this server"
            if not noted:
                noted = True
                log.info("sync.lease.waiting", holder=self._store.holder())
            # A lease that nobody renews is that of a process that is gone, and no rival's.
            if not said and self.clock.monotonic() - since_s >= self._settings.sync_lease_s:
                said = True
                self._outbox.say(alert.waiting_for(self._store.holder()))
            self._store_answers()
            await self.clock.sleep(_POLL_S)
        self.is_standby = False
        await self.repository.load()
        self._unsure = not self.repository.was_handed_over
        # Whoever led before may have died with a request on its way.
        self._sure_at_s = self.clock.monotonic() + self._settings.sync_deadline_s
        self._store_answers()
        log.info("sync.lease.held", where=self._store.where)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew())
            tasks.create_task(self._notice_being_out_of_touch())
            tasks.create_task(self._work())

    async def _notice_being_out_of_touch(self) -> None:
        """Begin the turn anew where the store does not hold what has happened."""
        self._out_of_touch.clear()
        await self._out_of_touch.wait()
        raise StoreError(f"{self._store.where} did not take how a sync ended")

    async def _renew(self) -> None:
        every_s = min(_RENEW_S, self._settings.sync_lease_s / 6)
        while True:
            await self.clock.sleep(every_s)
            try:
                is_ours = await self._store.renew()
            except StoreError:
                if self._store.lease_left_s() > 0:
                    continue
                raise
            if not is_ours:
                raise StoreError(f"the lease in {self._store.where} was lost")

    async def _work(self) -> None:
        """Do what a leading process does, in this order."""
        for warning in self._store.warnings:
            await self.repository.tell(alert.store_warning(warning))
        if self._store.kept_aside is not None:
            await self.repository.tell(alert.store_aside(self._store.kept_aside))
        seen: Sequence[Seen] | None = None
        if not self.repository.is_trusted:
            seen = await self._mod_log.recent(_LOOK_BACK)
            self._unsure = seen is None or len(seen) > 0
            held = holding(seen or ())
            # What a person has ordered, only a person takes back. This comes first: if we are
            # killed in between, the next start looks again.
            if Mark.PAUSED in held:
                await self.repository.pause(_SOMEBODY)
            if Mark.BREAKER_HELD in held:
                await self.repository.open_breaker(_SOMEBODY, "")
            if held:
                await self.repository.lose(_LOST)
            else:
                await self.repository.trust()
        if self._settings.sync_at_start:
            await self.repository.withhold_start()
        self._lead_now(leading=True)
        async with asyncio.TaskGroup() as tasks:
            for task, work in (
                ("messages left open", partial(self._end_orphans, seen)),
                ("schedule", self._schedule),
                ("live changes", self._live.run_forever),
                ("reminders", self._remind),
                ("metrics", self._watch),
                ("members read anew", self._read_anew),
            ):
                tasks.create_task(self._kept_going(task, work))

    async def _schedule(self) -> None:
        """Start a full sync whenever one is due."""
        while True:
            self._nudged.clear()
            changed = asyncio.ensure_future(self.repository.changed())
            nudged = asyncio.ensure_future(self._nudged.wait())
            now = self.clock.now()
            due, check = self._due(now), self._check_due()
            if due is not None and due <= now:
                self._launch(Scope.ALL, self._trigger(), Start.AUTOMATIC)
                self._wish = None
                due = None
            elif due is None and check is not None:
                if check <= now:
                    trigger = "to see whether anything has drifted"
                    self._launch(Scope.ALL, trigger, Start.AUTOMATIC, drift=True)
                else:
                    due = check
            try:
                await wait_first(
                    {changed, nudged},
                    clock=self.clock,
                    within_s=None if due is None else (due - now).total_seconds(),
                )
            finally:
                changed.cancel()
                nudged.cancel()

    def _due(self, now: datetime) -> datetime | None:
        if self._sync is not None or self._stopping:
            return None
        state, wish = self.repository.state, self._wish
        wanted = wish is not None and (wish.at is None or wish.at <= now)
        due = next_start(state.breaker, wanted=wanted, paused=state.pause is not None, now=now)
        if due is None and wish is not None and not wanted and state.pause is None:
            return wish.at
        return due if due is None or wanted else max(due, self._not_before)

    def _check_due(self) -> datetime | None:
        """Return when to look for drift; None while anything else is on, held or waits."""
        state = self.repository.state
        held = state.pause is not None or state.breaker.state is not BreakerState.CLOSED
        return None if held or self._sync is not None or self._stopping else self._check_at

    def _plan_check(self) -> None:
        """Look for drift a while after the last full sync, never at the same time everywhere.

        The first time soon: what the process before this one had in flight when it died may commit
        after the first sync has looked, and nobody else remembers that it is in doubt.
        """
        every_s = self._settings.sync_drift_every_s
        spread = self._chance.uniform(0.9, 1.1)
        waits = [every_s * spread] if every_s else []
        if self._unsure:
            waits.append(self._settings.sync_doubtful_recheck_s)
        self._check_at = self.clock.now() + timedelta(seconds=min(waits)) if waits else None

    def _trigger(self) -> str:
        wish = self._wish
        if self.repository.state.breaker.failures:
            return "again, by itself"
        return wish.trigger if wish is not None else "by itself"

    async def _watch(self) -> None:
        """Keep the metrics of what the store holds."""
        while True:
            repository = self.repository
            self._services.telemetry.kept(
                repository.state, parked=len(repository.parked), untold=len(repository.alerts)
            )
            await repository.changed()

    async def _read_anew(self) -> None:
        """Let all members be read anew once a day, while no sync is on.

        An event that is lost without a new session is lost to the cache, and to every check for
        drift that compares with it.
        """
        wait_s = _ANEW_S
        while True:
            was_due = await happens(self._anew, clock=self.clock, within_s=wait_s)
            self._anew.clear()
            await self._free.wait()
            wrong = await self._services.guild.read_anew()
            wait_s = _ANEW_S if wrong is not None else _ANEW_AGAIN_S
            if wrong:
                self._outbox.say(alert.cache_corrected(wrong))
            if was_due:
                self.want("because Discord sent something that could not be read")
                # However many such events come, they are looked after together.
                await self.clock.sleep(_ANEW_GAP_S)

    async def _remind(self) -> None:
        while True:
            await self.repository.remind()
            await self.clock.sleep(_REMIND_S)

    async def _end_orphans(self, seen: Sequence[Seen] | None) -> None:
        """End the live messages that a process which died has left open; link what follows them."""
        seen = seen if seen is not None else await self._mod_log.recent(_LOOK_BACK)
        died = self.repository.died
        past = {run.run_id: run for run in self.repository.past_runs()}
        unlinked: dict[int, Notice] = {}
        for message in seen or ():
            run_id, mark = run_of(message.footer), mark_of(message.title, message.footer)
            here = self._sync is not None and self._sync.view.run_id == run_id
            if mark is Mark.LIVE and not here:
                attempt = died if died is not None and died.run_id == run_id else None
                known = attempt or past.get(run_id)
                notice = ended_late(
                    what=message.title.partition(" ")[2] if known is None else known.what,
                    run_id=run_id,
                    attempt=attempt,
                    past=past.get(run_id),
                )
                mark = mark_of(notice.title, notice.footer)
                await self._mod_log.replace(message.id, notice)
            else:
                notice = Notice(
                    title=message.title,
                    description=message.description,
                    tone=Tone.WARNING,
                    footer=message.footer,
                )
            if mark is Mark.INTERRUPTED:
                unlinked[message.id] = notice
        await self._link(unlinked)

    async def _link(self, unlinked: Mapping[int, Notice]) -> None:
        """Let the ends of interrupted runs name the next run, as soon as it has a message."""
        if not unlinked:
            return
        while (attempt := self.repository.state.attempt) is None or attempt.message_id is None:
            await self.repository.changed()
        url = self._mod_log.url(attempt.message_id)
        for message_id, notice in unlinked.items():
            await self._mod_log.replace(
                message_id, followed(notice, run_id=attempt.run_id, url=url)
            )

    async def _hand_over(self) -> None:
        """Note that whoever leads next need not wait for any request of this process."""
        settled = not self.writes and not self._services.gate.writing.locked()
        if self._stopping and settled and not self._unsure:
            with contextlib.suppress(StoreError, TimeoutError):
                async with deadline(self.clock, _HAND_OVER_S):
                    await self.repository.hand_over()

    async def _drop_run(self) -> None:
        """End a run whose lease went: what it still writes could meet another process's writes."""
        if self._task is None or self._task.done():
            return
        self.cancel("The lease on this server was lost.")
        await wait_first({self._task}, clock=self.clock)

    def _say_trouble(self, reason: str) -> None:
        self.trouble = reason
        log.warning("sync.store.unreachable", error=reason)
        if self._trouble_since is None:
            self._trouble_since = self.clock.now()
            self._outbox.say(alert.store_unreachable(reason))

    def _store_answers(self) -> None:
        if self._trouble_since is not None:
            self._outbox.say(alert.store_back(lasted=self.clock.now() - self._trouble_since))
            self._trouble_since = None

    # -- live changes -----------------------------------------------------------------------------

    async def _begin_changes(self) -> None:
        """Start a run of all live changes that wait, once no other is on and the breaker lets it.

        After a person cancelled one the next waits, or the cancel would be for nothing.
        """
        await self.clock.sleep((self._changes_held_until - self.clock.now()).total_seconds())
        while True:
            await self._free.wait()
            breaker, now = self.repository.state.breaker, self.clock.now()
            if self._sync is not None:
                continue  # whoever waited as well was faster
            may = permit(breaker, start=Start.AUTOMATIC, full=False, now=now)
            if not isinstance(may, Withheld):
                break
            await self.repository.changed()
        if self.queue.waiting.most <= self._run_above:
            return
        trigger = f"because {len(self.queue.waiting):,} members changed at once"
        changes = self.queue.waiting.take_all()
        self._launch(Scope.CHANGES, trigger, Start.AUTOMATIC, changes=changes)

    async def _until_verified(self) -> None:
        """Let full syncs take the place of drains that keep failing, until one is verified.

        Or until none of them is to come any more, because somebody has cancelled it.
        """
        before = self._verified
        self.want(_KEEPS_FAILING)
        while self._verified == before and (self._wish or self._sync or self._is_retried):
            await self.clock.sleep(_POLL_S)

    @property
    def _is_retried(self) -> bool:
        """Whether a full sync starts by itself, now or later."""
        breaker = self.repository.state.breaker
        return breaker.state is not BreakerState.CLOSED or breaker.retry_at is not None

    def _roles_due(self, ids: Collection[RoleId]) -> None:
        """Bring roles once more whose writes were given up; it takes a sync to delete one."""
        if self._services.guild.proof is not None and self._services.guild.roles().keys() >= set(
            ids
        ):
            for id_ in ids:
                self.queue.mark_role(id_)
        else:
            self.want("because the site's answers about roles were lost")

    def _new_run_id(self) -> str:
        """Return an id that stands in every trace of a run: short enough to be read out."""
        run_id = f"{self._chance.getrandbits(32):08x}"
        self._rivals.begun(run_id)
        return run_id

    # -- tasks ------------------------------------------------------------------------------------

    def _kept_going(
        self,
        task: str,
        work: Callable[[], Awaitable[None]],
        *,
        but: type[Exception] | tuple[type[Exception], ...] = StoreError,
    ) -> Coroutine[Any, Any, None]:
        return keep_going(task, work, clock=self.clock, but=but)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("sync.worker.broke", exc_info=task.exception())


def _ending(sync: FullSync) -> AttemptEnding:
    match sync.view.ending:
        case Ending.VERIFIED | Ending.PLANNED:
            return AttemptEnding.VERIFIED
        case Ending.CANCELLED:
            return ending_of_stop(sync.evidence)
        case Ending.FAILED if _is_discords(sync.view):
            return ending_of_stop(sync.evidence)
        case _:
            return AttemptEnding.FAILED


def _is_discords(view: RunView) -> bool:
    """Say whether a run failed because Discord, not the site, did not answer well."""
    return view.failure is not None and view.failure.kind is FailureKind.SOURCE


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
