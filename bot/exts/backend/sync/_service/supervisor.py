"""One run at a time: what may start, what is on, and how it is stopped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from .._clock import wait_first
from .._core.messages.notice import quote, when
from .._core.messages.progress import Ending
from .._core.policy.attempt import Attempt
from .._core.policy.breaker import (
    Probe,
    Start,
    Withheld,
    permit,
)
from .._core.policy.request_backoff import Failure, FailureKind
from .._errors import RunStoppedError, StoreError
from .._runs.run import Run, RunSpec, Scope
from .._runs.single import Single
from .._supervision import Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .._core.messages.listing import File
    from .._core.messages.progress import RunView
    from .._core.model.members import UserId
    from .._core.plan.waiting import Claim
    from .._ports import ModLog
    from .._runs.requester import Services
    from .._runs.work_queue import WorkQueue
    from .._settings import SyncSettings
    from .._state.parking import Parking
    from .closing import Closing
    from .leadership import Leadership
    from .scheduler import Scheduler

log = structlog.get_logger(__name__)

_POLL_S: Final = 2.0
_AFTER_CANCEL: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why something that was asked for does not happen, in a sentence for people."""

    reason: str


class Supervisor:
    """The run that is on, and the door that the next one goes through.

    `unkept` is called when the store did not take how a run ended. More than `run_above` live
    changes are a run of their own.
    """

    def __init__(
        self,
        services: Services,
        *,
        queue: WorkQueue,
        mod_log: ModLog,
        parking: Parking,
        settings: SyncSettings,
        leadership: Leadership,
        scheduler: Scheduler,
        closing: Closing,
        new_run_id: Callable[[], str],
        run_above: int,
        unkept: Callable[[], None],
    ) -> None:
        self._services = services
        self._clock = services.clock
        self._queue = queue
        self._mod_log = mod_log
        self._parking = parking
        self._settings = settings
        self._leadership = leadership
        self._scheduler = scheduler
        self._closing = closing
        self._new_run_id = new_run_id
        self._run_above = run_above
        self._unkept = unkept
        self._sync: Run | None = None
        self._task: asyncio.Task[None] | None = None
        self._last_messages: set[asyncio.Task[None]] = set()
        self._faults = Faults()
        self._free = asyncio.Event()
        self._free.set()
        self._changes_held_until = self._clock.now()
        self._is_closed = False
        self.last: RunView | None = None

    # -- the run that is on -----------------------------------------------------------------------

    @property
    def current(self) -> RunView | None:
        """The sync that is on, as it stands now."""
        return None if self._sync is None else self._sync.view

    @property
    def is_on(self) -> bool:
        """Whether a run is on."""
        return self._sync is not None

    async def until_free(self) -> None:
        """Wait until no run is on."""
        await self._free.wait()

    async def until_verified(self) -> None:
        """Wait for a full sync to be verified, or until none is to come any more."""
        before = self._closing.verified
        while self._closing.verified == before and (self.is_on or self._scheduler.is_one_to_come):
            await self._clock.sleep(_POLL_S)

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

    def show_again(self) -> None:
        """Let the live message of the run that is on, if one is, tell what has just changed."""
        if self._sync is not None:
            self._sync.show_again()

    def close(self) -> None:
        """Start no run any more: the bot is being stopped, and it is never free again."""
        self._is_closed = True
        self._free.clear()

    async def stop(self, reason: str, *, within_s: float | None = None) -> None:
        """Stop the run that is on, and wait until mod-log shows its end.

        What takes longer than `within_s` is cut off.
        """
        until_s = None if within_s is None else self._clock.monotonic() + within_s
        if self._task is not None and not self._task.done():
            self.cancel(reason)
            if not await wait_first({self._task}, clock=self._clock, within_s=within_s):
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
        # A message that is cut off here is ended by whoever leads next.
        for message in tuple(self._last_messages):
            left_s = None if until_s is None else until_s - self._clock.monotonic()
            if not await wait_first({message}, clock=self._clock, within_s=left_s):
                message.cancel()

    # -- what starts one --------------------------------------------------------------------------

    def start(self, scope: Scope, trigger: str, *, forced: bool = False) -> RunView | Refusal:
        """Start a sync that a person asks for, and return its first view, or why it may not."""
        how = Start.FORCED if forced else Start.ASKED
        refusal = self._refusal(how, full=scope is Scope.ALL)
        if refusal is not None:
            return refusal
        return self._launch(scope, trigger, how).view

    def start_by_itself(self, trigger: str, *, drift: bool) -> None:
        """Start a full sync that nobody ordered."""
        self._launch(Scope.ALL, trigger, Start.AUTOMATIC, drift=drift)

    async def start_changes(self) -> None:
        """Start a run of all live changes that wait, once no other is on and the breaker lets it.

        After a person cancelled one the next waits, or the cancel would be for nothing.
        """
        while True:
            await self._free.wait()
            breaker, now = self._services.repository.state.breaker, self._clock.now()
            if now < self._changes_held_until:
                await self._clock.sleep((self._changes_held_until - now).total_seconds())
                continue
            if self._sync is not None:
                continue  # whoever waited as well was faster
            may = permit(breaker, start=Start.AUTOMATIC, full=False, now=now)
            if not isinstance(may, Withheld):
                break
            await self._services.repository.changed()
        if self._queue.waiting.most <= self._run_above:
            return
        trigger = f"because {len(self._queue.waiting):,} members changed at once"
        changes = self._queue.waiting.take_all()
        self._launch(Scope.CHANGES, trigger, Start.AUTOMATIC, changes=changes)

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

    def _refusal(self, how: Start, *, full: bool) -> Refusal | None:
        """Say why a run may not start."""
        if self._leadership.is_leading and self._sync is not None:
            return Refusal(
                reason=f"Run `{self._sync.view.run_id}` is already running; `!sync status` shows "
                "it, `!sync cancel` stops it."
            )
        return self._held_back(how, full=full)

    def _held_back(self, how: Start, *, full: bool) -> Refusal | None:
        """Say why nothing may be written that a person asks for."""
        if self._is_closed:
            return Refusal(reason="The bot is being stopped; the next start continues from here.")
        state = self._services.repository.state
        if not self._leadership.is_leading:
            return Refusal(reason=f"This bot can't write now: {quote(self._leadership.trouble)}.")
        if state.pause is not None:
            return Refusal(
                reason=f"Sync is paused by {state.pause.by}; `!sync resume` continues it."
            )
        may = permit(state.breaker, start=how, full=full, now=self._clock.now())
        if isinstance(may, Withheld):
            until = "" if may.until is None else f" It is tried again {when(may.until)}."
            ways = "`!sync breaker reset` closes it."
            if state.breaker.opened_by is None:
                ways = "`!sync all force` tries now."
            return Refusal(reason=f"The breaker is open: {quote(may.reason)}.{until} {ways}")
        return None

    # -- from its launch to its end ---------------------------------------------------------------

    def _launch(
        self,
        scope: Scope,
        trigger: str,
        how: Start,
        *,
        changes: Collection[Claim] = (),
        dry: bool = False,
        drift: bool = False,
    ) -> Run:
        full = scope is Scope.ALL and not dry
        breaker = self._services.repository.state.breaker
        probe = isinstance(permit(breaker, start=how, full=full, now=self._clock.now()), Probe)

        async def begin() -> None:
            await self._begin(sync, how, full=full)

        spec = RunSpec(
            run_id=self._new_run_id(),
            scope=scope,
            cause=trigger,
            begin=begin,
            changes=changes,
            probe=probe,
            dry=dry,
            drift=drift,
        )
        sync = Run(
            self._services,
            spec,
            queue=self._queue,
            mod_log=self._mod_log,
            parking=self._parking,
            pace=self._settings.pace,
            page_items=self._settings.sync_page_items,
        )
        self._sync = sync
        self._free.clear()
        if full:
            self._scheduler.plan_check()
        self._task = asyncio.create_task(
            self._run(sync, full=full), name=f"sync {sync.view.run_id}"
        )
        return sync

    async def _begin(self, sync: Run, how: Start, *, full: bool) -> None:
        """Write the attempt down, before its first request to the site."""
        view, repository = sync.view, self._services.repository
        may = permit(repository.state.breaker, start=how, full=full, now=self._clock.now())
        if isinstance(may, Withheld) or isinstance(may, Probe) is not sync.spec.probe:
            # The breaker moved while this waited for Discord.
            raise RunStoppedError(Failure(kind=FailureKind.HELD, reason="its state has changed"))
        attempt = Attempt(
            run_id=view.run_id,
            what=view.what,
            trigger=view.trigger,
            full=full,
            probe=sync.spec.probe,
            started_at=view.started_at,
        )
        await repository.begin(attempt, start=how)

    async def _run(self, sync: Run, *, full: bool) -> None:
        run_id = sync.view.run_id
        try:
            await sync.run()
            await self._closing.close(sync, full=full)
        except StoreError as exc:
            log.warning("sync.attempt.unkept", run_id=run_id, error=str(exc))
            self._not_closed(sync)
        except Exception as exc:  # noqa: BLE001 - told; nobody else looks at this task
            self._faults.tell("sync.attempt.unkept", exc, task="end of a run", run_id=run_id)
            self._not_closed(sync)
        finally:
            self.last = view = sync.view
            if sync.spec.scope is Scope.CHANGES and view.ending is Ending.CANCELLED:
                self._changes_held_until = self._clock.now() + _AFTER_CANCEL
            self._sync = None
            if not self._is_closed:
                self._free.set()
            self._scheduler.nudge()
            if sync.is_shown:
                # Apart from the run, or Discord could keep the next one, or a stop, waiting.
                message = asyncio.create_task(self._mod_log.finish(view), name=f"end of {run_id}")
                self._last_messages.add(message)
                message.add_done_callback(self._last_messages.discard)

    def _not_closed(self, sync: Run) -> None:
        """Let whoever leads next, this process too, find the attempt open and count it."""
        if self._services.repository.state.attempt is not None:
            sync.say_next("How it ended could not be saved, so it will count as interrupted.")
        self._unkept()
