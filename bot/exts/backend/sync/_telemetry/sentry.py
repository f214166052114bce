"""What Sentry is told: of each run a trace, of each failure and each change of state one event.

Whatever is told carries its run's id, the guild and the site. Nothing is sent where nobody has
initialised the SDK.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk.consts import SPANSTATUS
from sentry_sdk.crons import capture_checkin

from .._core.messages.progress import Ending
from .._core.policy.breaker import BreakerState
from .._core.policy.request_backoff import FailureKind
from .._core.policy.schedule import CHECK_SPREAD
from .._core.site.outcome import Applied, trouble_kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sentry_sdk._types import MonitorConfig
    from sentry_sdk.scope import Scope
    from sentry_sdk.tracing import NoOpSpan, Span, Transaction

    from .._core.messages.progress import Phase, RunView
    from .._core.policy.breaker import Breaker
    from .._core.policy.request_backoff import Failure
    from .._core.site.outcome import Outcome, TroubleKind
    from .._core.site.requests import Request
    from .._ports import Clock

MONITOR: Final = "guild-sync"
# What a check may wait for on top of its spread: another run, Discord, an upgrade of the bot.
_MARGIN_MIN: Final = 30
# From its last sign of life, which comes with a request; after that a run counts as dead.
_RUNTIME_MIN: Final = 60
_SIGN_OF_LIFE_S: Final = 300.0
_SPANS_ALIKE: Final = 100
_SPANS: Final = 800  # of the 1,000 that a transaction can hold
_OPERATION: Final = "sync.run"
_ID: Final = re.compile(r"\d{3,}")
_SITES: Final = frozenset(
    {FailureKind.FAILING, FailureKind.STALLED, FailureKind.PROTOCOL, FailureKind.REFUSED}
)


@dataclass(slots=True)
class _Trace:
    """The trace of a run, and what of it is known so far; `watched` by the monitor, too."""

    run_id: str
    transaction: Transaction | NoOpSpan
    watched: bool
    phase: Span | NoOpSpan | None = None
    spans: int = 0
    chunks: int = 0
    trouble: TroubleKind | None = None
    seen_alive_s: float = 0.0


_TRACE: ContextVar[_Trace | None] = ContextVar("sync_trace", default=None)


class SentryReports:
    """The reports of one loaded extension.

    `every_s` is within which time a full sync, or a quiet check, is to be verified; 0: never, and
    no monitor waits for one.
    """

    def __init__(self, *, clock: Clock, guild_id: int, site: str, every_s: float) -> None:
        self._clock = clock
        self._tags = {"guild_id": str(guild_id), "site": site}
        self._every_s = every_s
        self._told_parked: set[str] = set()

    @property
    def is_in_run(self) -> bool:
        """Whether this is told from inside of a run."""
        return _TRACE.get() is not None

    # -- a run ------------------------------------------------------------------------------------

    @contextmanager
    def traced(self, view: RunView) -> Iterator[None]:
        """Let a run be a trace of its own, and all that is told inside be told as of this run."""
        with self._scope(view.run_id) as scope:
            scope.clear_breadcrumbs()
            for name, value in _tags_of(view).items():
                scope.set_tag(name, value)
            begun = sentry_sdk.continue_trace(
                {}, op=_OPERATION, name=f"sync {view.kind.value}", source="task"
            )
            transaction = sentry_sdk.start_transaction(begun)
            with transaction:
                trace = _Trace(
                    run_id=view.run_id,
                    transaction=transaction,
                    watched=view.kind.is_full,
                    seen_alive_s=self._clock.monotonic(),
                )
                token = _TRACE.set(trace)
                try:
                    yield
                finally:
                    _TRACE.reset(token)
                    _finish(trace)

    def began(self, view: RunView) -> None:
        """Tell the monitor that a run began."""
        if view.kind.is_full:
            self._check_in(view.run_id, "in_progress")

    def phase(self, phase: Phase) -> None:
        """Note that the run in whose trace this is has come to another phase."""
        trace = _TRACE.get()
        if trace is not None:
            _finish(trace)
            trace.phase = trace.transaction.start_child(op="sync.phase", name=phase.value)

    def asked(
        self, request: Request, outcome: Outcome, values: Mapping[str, object], *, is_chunk: bool
    ) -> None:
        """Note a request: a breadcrumb of each chunk, and of each that failed."""
        trouble, well = trouble_kind(outcome), isinstance(outcome, Applied)
        if is_chunk or not well:
            sentry_sdk.add_breadcrumb(
                category="sync",
                message=f"{request.method} {request.path}: {type(outcome).__name__}",
                level="info" if well else "warning",
                data=dict(values),
            )
        trace = _TRACE.get()
        if trace is None:
            return
        trace.trouble = trouble or trace.trouble
        self._note_alive(trace)
        trace.chunks += is_chunk
        is_drawn = trouble is not None or (is_chunk and _is_drawn(trace.chunks))
        if is_drawn and trace.spans < _SPANS:
            trace.spans += 1
            self._add_span(trace, request, values, failed=trouble is not None)

    def _add_span(
        self, trace: _Trace, request: Request, values: Mapping[str, Any], *, failed: bool
    ) -> None:
        ended_at = self._clock.now()
        span = (trace.phase or trace.transaction).start_child(
            op="http.client",
            name=f"{request.method} {_ID.sub('{id}', request.path)}",
            start_timestamp=ended_at - timedelta(seconds=float(values["seconds"])),
        )
        for name in ("rows", "outcome", "request_id"):
            span.set_data(name, values[name])
        span.set_status(SPANSTATUS.INTERNAL_ERROR if failed else SPANSTATUS.OK)
        span.finish(end_timestamp=ended_at)

    def ended(
        self,
        view: RunView,
        values: Mapping[str, object],
        *,
        fault: Exception | None,
        neutral: bool,
    ) -> None:
        """Tell the monitor how a run ended, and of a failed one once."""
        is_well = view.ending in {Ending.VERIFIED, Ending.PLANNED} or (
            view.ending is Ending.CANCELLED and neutral
        )
        if view.kind.is_full:
            self._check_in(view.run_id, "ok" if is_well else "error")
        trace = _TRACE.get()
        if trace is not None:
            trace.transaction.set_status(_STATUSES.get(view.ending, SPANSTATUS.INTERNAL_ERROR))
            for name in ("changes", "rows_read", "members", "requests", "parked"):
                trace.transaction.set_data(name, values[name])
        if view.failure is None:
            return
        with sentry_sdk.new_scope() as scope:
            scope.set_context("sync run", dict(values))
            self._fail(scope, view, view.failure, fault, None if trace is None else trace.trouble)

    def _fail(
        self,
        scope: Scope,
        view: RunView,
        failure: Failure,
        fault: Exception | None,
        trouble: TroubleKind | None,
    ) -> None:
        for name, value in {**_tags_of(view), "run_id": view.run_id, **self._tags}.items():
            scope.set_tag(name, value)
        scope.set_tag("sync.failure", failure.kind.name.lower())
        if fault is not None:
            # Grouped by where it was raised, as any error of ours.
            scope.capture_exception(fault)
            return
        how = ""
        if failure.status is not None:
            scope.set_tag("http.status", failure.status)
            how = f"HTTP {failure.status}"
        elif failure.kind in _SITES and trouble is not None:
            how = trouble.value.replace("_", " ")
        if failure.kind in _SITES and trouble is not None:
            scope.set_tag("sync.trouble", trouble.value)
        scope.fingerprint = ["sync-run-failed", failure.kind.name, how]
        text = f"Sync of {view.what} failed: {failure.kind.value}{f' ({how})' if how else ''}"
        scope.capture_message(text, level="error")

    # -- changes of state -------------------------------------------------------------------------

    def interrupted(self, run_id: str, *, full: bool) -> None:
        """Tell of a run whose process died, and close its check-in."""
        with self._scope(run_id) as scope:
            if full:
                self._check_in(run_id, "error")
            scope.set_tag("sync.failure", "interrupted")
            scope.fingerprint = ["sync-run-failed", "INTERRUPTED"]
            scope.capture_message("The bot ended in the middle of a sync", level="error")

    def breaker_moved(
        self, before: Breaker, after: Breaker, reason: str, run_id: str | None
    ) -> None:
        """Tell of a breaker that opens, or closes again; of its probes their runs tell."""
        opens = before.state is BreakerState.CLOSED
        if not opens and after.state is not BreakerState.CLOSED:
            return
        text = "Sync breaker opened: nothing is written" if opens else "Sync breaker closed again"
        if after.opened_by is not None:
            text = "Sync breaker opened by hand: nothing is written"
        with self._scope(run_id) as scope:
            scope.set_context(
                "sync breaker",
                {
                    "reason": reason,
                    "failures": after.failures,
                    "retry_at": after.retry_at and after.retry_at.isoformat(),
                },
            )
            scope.fingerprint = ["sync-breaker", after.state.value]
            scope.capture_message(text, level="error" if opens else "info")

    def parked(self, reasons: Mapping[str, int], run_id: str) -> None:
        """Tell of rows that were set aside, by reason; of each reason once while any row is."""
        news = set(reasons) - self._told_parked
        if not news:
            return
        self._told_parked |= news
        with self._scope(run_id) as scope:
            scope.set_context("sync parked", {"rows by reason": dict(reasons)})
            scope.fingerprint = ["sync-rows-parked"]
            scope.capture_message("The site does not take some rows", level="warning")

    def none_parked(self) -> None:
        """Note that no row is set aside any more: the next one is news."""
        self._told_parked.clear()

    # -- what all of them share -------------------------------------------------------------------

    @contextmanager
    def _scope(self, run_id: str | None) -> Iterator[Scope]:
        """Let all that is told inside be told of this guild and run, in a trace of its own."""
        with sentry_sdk.isolation_scope() as scope:
            scope.set_new_propagation_context()
            for name, value in self._tags.items():
                scope.set_tag(name, value)
            if run_id is not None:
                scope.set_tag("run_id", run_id)
            yield scope

    def _note_alive(self, trace: _Trace) -> None:
        """Tell the monitor now and then that a long run still works, or it would count as dead.

        A check-in that is in progress is prolonged by another: its time begins anew.
        """
        now_s = self._clock.monotonic()
        if trace.watched and now_s - trace.seen_alive_s >= _SIGN_OF_LIFE_S:
            trace.seen_alive_s = now_s
            self._check_in(trace.run_id, "in_progress")

    def _check_in(self, run_id: str, status: str) -> None:
        """Tell the monitor of a full run, whoever started it: each is what it waits for."""
        if self._every_s > 0:
            capture_checkin(
                monitor_slug=MONITOR,
                check_in_id=run_id.ljust(32, "0"),
                status=status,
                monitor_config=monitor(self._every_s),
            )


def monitor(every_s: float) -> MonitorConfig:
    """Return what the monitor waits for: a full sync within this time, and its spread."""
    spread_min = math.ceil(every_s * CHECK_SPREAD / 60)
    return {
        "schedule": {"type": "interval", "value": max(1, round(every_s / 60)), "unit": "minute"},
        "checkin_margin": spread_min + _MARGIN_MIN,
        "max_runtime": _RUNTIME_MIN,
        "failure_issue_threshold": 1,
        "recovery_threshold": 1,
    }


_STATUSES: Final[Mapping[Ending | None, str]] = {
    Ending.VERIFIED: SPANSTATUS.OK,
    Ending.PLANNED: SPANSTATUS.OK,
    Ending.CANCELLED: SPANSTATUS.CANCELLED,
}


def _tags_of(view: RunView) -> dict[str, str]:
    return {
        "sync.kind": view.kind.value,
        "sync.trigger": view.trigger,
        "sync.probe": str(view.probe).lower(),
    }


def _finish(trace: _Trace) -> None:
    if trace.phase is not None:
        trace.phase.finish()
        trace.phase = None


def _is_drawn(number: int) -> bool:
    """Say whether the chunk of this number is kept: all of the first hundred, then fewer."""
    step = 1
    while number // step >= _SPANS_ALIKE:
        step *= 10
    return number % step == 0
