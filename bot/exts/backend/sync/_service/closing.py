"""What follows from how a run ended: for the breaker, for people, and for what is to start next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.messages import alert
from .._core.messages.alert import Draft
from .._core.messages.history import past_run
from .._core.messages.notice import when
from .._core.messages.progress import Ending
from .._core.messages.report import failure_alert
from .._core.policy.attempt import ending_of_stop
from .._core.policy.breaker import AttemptEnding
from .._core.policy.news import Topic
from .._core.policy.request_backoff import FailureKind

if TYPE_CHECKING:
    from .._core.messages.history import PastRun
    from .._core.messages.progress import RunView
    from .._runs.run import Run
    from .._runs.work_queue import WorkQueue
    from .._state.repository import StateRepository
    from .predecessor import Predecessor
    from .scheduler import Scheduler


class Closing:
    """The end of each run; `verified` counts the full syncs that were."""

    def __init__(
        self,
        *,
        repository: StateRepository,
        scheduler: Scheduler,
        queue: WorkQueue,
        predecessor: Predecessor,
    ) -> None:
        self._repository = repository
        self._scheduler = scheduler
        self._queue = queue
        self._predecessor = predecessor
        self.verified = 0

    async def close(self, sync: Run, *, full: bool) -> None:
        """Strike the attempt off, and arrange what follows.

        Raises `StoreError` if that can't be kept.
        """
        view = sync.view
        kind, reason = "", ""
        if view.failure is not None:
            kind = f"{view.failure.kind.name} {view.failure.status or ''}".strip()
            reason = f"{view.failure.kind.value}: {view.failure.reason}"
        if not sync.attempted:
            if full and view.ending is Ending.FAILED:
                self._scheduler.put_off(sync.spec.cause, drift=sync.spec.drift)
            await self._tell_of_failure(sync, kind, full=full)
            return
        ending = _ending(sync)
        tells = view.ending is Ending.FAILED and not _is_discords(view)
        if view.ending is Ending.CANCELLED and ending is AttemptEnding.INTERRUPTED:
            reason = "a sync was stopped while the site was in trouble"
        await self._repository.end(
            ending,
            reason=reason,
            refused=view.failure is not None and view.failure.kind is FailureKind.REFUSED,
            failure=failure_alert(view) if tells else None,
            kind=kind,
            past=_past(sync, ending),
        )
        if sync.found is not None:
            await self._repository.note_drift(sync.found)
        if ending is AttemptEnding.VERIFIED:
            await self._note_verified(sync, full=full)
        elif _is_discords(view):
            await self._tell_of_failure(sync, kind, full=full)
        elif view.ending is Ending.FAILED:
            sync.say_next(alert.next_step(self._repository.state.breaker))
        elif ending is AttemptEnding.INTERRUPTED:
            sync.say_next(
                f"{view.next_step} It counts as a failure: the site was not answering properly. "
                f"{alert.next_step(self._repository.state.breaker)}"
            )

    async def _note_verified(self, sync: Run, *, full: bool) -> None:
        self.verified += full
        if full:
            self._predecessor.seen(read_from_s=sync.read_from_s)
            self._scheduler.plan_check()
            if self._predecessor.may_write and self._scheduler.check_at is not None:
                sync.say_next(
                    "The previous bot process may have left a request in flight: this one checks "
                    f"again {when(self._scheduler.check_at)}."
                )
            # What was marked before it began was compared, or written, and seen again.
            self._queue.waiting.settle(but=self._queue.noted)
        if sync.withholding.is_unanswered and not sync.spec.dry:
            self._scheduler.want_again("to ask Discord again who has left")
        for what in sync.withholding.used:
            await self._repository.withhold_no_longer(what)

    async def _tell_of_failure(self, sync: Run, kind: str, *, full: bool) -> None:
        """Tell of a run that failed through no fault of the site, which the breaker won't count.

        What people have asked for narrowly, or without writing, is not made good by a full sync.
        """
        view = sync.view
        if view.ending is not Ending.FAILED or sync.spec.dry:
            return  # whoever asked for a plan is answered
        notice = failure_alert(view)
        await self._repository.tell(Draft(topic=Topic.RUN, reason=kind, notice=notice))
        if _is_discords(view) and full:
            at = self._scheduler.want_again("again, after Discord's members could not be read")
            sync.say_next(f"**Next:** it is tried again {when(at)}.")


def _past(sync: Run, ending: AttemptEnding) -> PastRun | None:
    """Return what is kept of a run, if people were shown it."""
    if not sync.is_shown:
        return None
    figures = sync.figures
    return past_run(sync.view, ending, requests=figures.requests, curve=figures.curve.kept())


def _ending(sync: Run) -> AttemptEnding:
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
