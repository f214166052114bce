"""What machines see of the extension: log events, Sentry, Prometheus metrics."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog
from sentry_sdk.integrations.logging import ignore_logger

from .._core.messages.progress import Ending, RunKind
from .._core.model.redaction import without_values
from .._core.policy.breaker import BreakerState
from .._core.site.outcome import Applied, Purpose, trouble_kind
from .metrics import UNKNOWN, Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from contextlib import AbstractContextManager

    from .._core.delivery.chunks import ParkedRow, Tally
    from .._core.messages.progress import Phase, RunView
    from .._core.plan.drift import Drift
    from .._core.policy.attempt import Attempt
    from .._core.policy.breaker import Breaker
    from .._core.policy.standing import Standing
    from .._core.policy.state import State
    from .._core.site.figures import RunFigures
    from .._core.site.outcome import Outcome
    from .._core.site.requests import Request
    from .sentry import SentryReports

log = structlog.get_logger(__name__)
# What is logged here is told to Sentry in other ways, once.
ignore_logger(__name__)

_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_NUMBER: Final = re.compile(r"\d+")
_CHUNKS: Final = frozenset({Purpose.CREATE, Purpose.UPDATE})
# Of an attempt only its words are kept.
_KINDS: Final = {"roles": RunKind.ROLES, "users": RunKind.USERS}


class SystemTelemetry:
    """The telemetry of one loaded extension; a reload registers its metrics anew.

    `tell` is called with an event's name and its values: a bot's `dispatch`, for its listeners.
    """

    def __init__(
        self, sentry: SentryReports, tell: Callable[[str, dict[str, object]], object]
    ) -> None:
        self._sentry = sentry
        self._tell = tell
        self._verified_at = 0.0
        self._kept_at: datetime | None = None
        self._metrics = Metrics()
        # Called when the store has come to know of another verified sync.
        self.verified: Callable[[], None] = lambda: None

    def register(self) -> None:
        """Offer the metrics to whatever serves the default registry."""
        self._metrics.register()

    def unregister(self) -> None:
        """Take the metrics back."""
        self._metrics.unregister()

    def kept(
        self, state: State, *, parked: int, untold: int, verified_at: datetime | None = None
    ) -> None:
        """Note what the store holds; `verified_at` is when a full sync was last verified."""
        kept_at = _NEVER if verified_at is None else verified_at
        if self._kept_at is not None and kept_at > self._kept_at:
            self.verified()
        self._kept_at = kept_at
        self._note_verified(0.0 if verified_at is None else verified_at.timestamp())
        metrics, breaker = self._metrics, state.breaker
        metrics["sync_breaker_open"].set(breaker.state is not BreakerState.CLOSED)
        for one in BreakerState:
            metrics["sync_breaker_state"].labels(one.value).set(breaker.state is one)
        metrics["sync_failures_in_a_row"].set(breaker.failures)
        next_try = UNKNOWN if breaker.retry_at is None else breaker.retry_at.timestamp()
        metrics["sync_next_try_timestamp_seconds"].set(next_try)
        metrics["sync_parked_rows"].set(parked)
        metrics["sync_paused"].set(state.pause is not None)
        metrics["sync_alerts_waiting"].set(untold)
        if not parked:
            self._sentry.none_parked()

    def _note_verified(self, at_s: float) -> None:
        self._verified_at = max(self._verified_at, at_s)
        self._metrics["sync_last_verified_timestamp_seconds"].set(self._verified_at)

    def breaker_moved(self, before: Breaker, after: Breaker, *, run_id: str | None) -> None:
        """Note each move of the breaker; only one to another state is told to listeners."""
        if before.state is after.state:
            return
        self._metrics["sync_breaker_moves"].labels(after.state.value).inc()
        reason = without_values(after.reason)  # somebody may have typed it
        self._tell(
            "sync_breaker",
            {"state": after.state.value, "failures": after.failures, "reason": reason},
        )
        self._sentry.breaker_moved(before, after, reason, run_id)

    def parked(self, rows: Collection[ParkedRow], *, run_id: str) -> None:
        """Note rows that the site did not take."""
        self._metrics["sync_rows_parked"].inc(len(rows))
        reasons = Counter(_NUMBER.sub("N", row.reason) for row in rows)
        log.warning(
            "sync.rows.parked",
            run_id=run_id,
            ids=[row.id for row in rows],
            reasons=dict(reasons),
        )
        self._sentry.parked(reasons, run_id)

    def brought(self, tally: Tally, waited_s: Iterable[float]) -> None:
        """Note live changes that the site took, and for how long each had waited."""
        self._count(tally)
        for seconds in waited_s:
            self._metrics["sync_change_lag_seconds"].observe(seconds)

    def _count(self, tally: Tally) -> None:
        rows = self._metrics["sync_rows"]
        rows.labels("created").inc(tally.created)
        rows.labels("updated").inc(tally.updated)
        rows.labels("departed").inc(tally.departed)

    def pinged(self, well: bool) -> None:  # noqa: FBT001 - the one thing that is told
        """Note whether the dead man's switch took a ping."""
        self._metrics["sync_pings"].labels("ok" if well else "failed").inc()

    def stands(self, standing: Standing) -> None:
        """Note how the extension stands now."""
        metrics = self._metrics
        metrics["sync_dirty_ids"].set(standing.waiting)
        metrics["sync_oldest_change_seconds"].set(standing.oldest_s)
        for what, count in standing.withheld.items():
            metrics["sync_withheld"].labels(what.value).set(count)
        metrics["sync_mod_log_usable"].set(standing.mod_log_trouble is None)
        metrics["sync_guild_readable"].set(standing.discord_trouble is None)
        members = standing.members or 0
        metrics["sync_members"].labels("complete").set(standing.members_complete * members)
        metrics["sync_members"].labels("incomplete").set((not standing.members_complete) * members)
        metrics["sync_standby"].set(standing.stands_by)
        metrics["sync_store_usable"].set(standing.store_trouble is None)

    def leads(self, *, leading: bool) -> None:
        """Note whether this process may act."""
        self._metrics["sync_leading"].set(leading)
        if not leading:
            # Another process may verify from now on, which this one does not hear of.
            self._verified_at, self._kept_at = 0.0, None
            self._metrics["sync_last_verified_timestamp_seconds"].set(UNKNOWN)

    def drifted(self, drift: Drift) -> None:
        """Note what a check found."""
        for reason, count in drift.counts().items():
            self._metrics["sync_drift_rows"].labels(reason.value).set(count)
        self._metrics["sync_drift_rows_found"].inc(drift.rows)
        causes = {reason.value: count for reason, count in drift.counts().items() if count}
        name = "sync.drift.found" if drift.rows else "sync.drift.absent"
        log.info(name, rows=drift.rows, causes=causes)
        self._tell("sync_drift", {"rows": drift.rows, "causes": causes})

    def asked(self, request: Request, request_id: str, outcome: Outcome, seconds: float) -> None:
        """Note a request and what came of it."""
        name = type(outcome).__name__
        self._metrics["sync_requests"].labels(request.method, name).inc()
        self._metrics["sync_request_seconds"].labels(request.method).observe(seconds)
        trouble = trouble_kind(outcome)
        if trouble is not None:
            self._metrics["sync_request_failures"].labels(trouble.value).inc()
        is_chunk = request.purpose in _CHUNKS
        if is_chunk:
            self._metrics["sync_chunk_seconds"].observe(seconds)
            self._metrics["sync_chunk_rows"].observe(request.rows)
        values = {
            "method": request.method,
            "path": request.path,
            "rows": request.rows,
            "outcome": name,
            "seconds": round(seconds, 4),
            "request_id": request_id,
        }
        write = log.info if is_chunk and self._sentry.is_in_run else log.debug
        if not isinstance(outcome, Applied):
            values["said"] = str(outcome)[:300]
            write = log.warning
        # Drains and single members bind no run to their lines; each request names its own.
        write("sync.request.answered", run_id=request_id.rpartition("-")[0], **values)
        self._sentry.asked(request, outcome, values, is_chunk=is_chunk)

    def traced(self, view: RunView) -> AbstractContextManager[None]:
        """Let all that is told inside be told as of this run."""
        return self._sentry.traced(view)

    def phase(self, phase: Phase) -> None:
        """Note that the run in whose trace this is has come to another phase."""
        self._sentry.phase(phase)

    def run_started(self, view: RunView) -> None:
        """Note that a run began."""
        self._metrics["sync_run_in_progress"].set(1)
        log.info("sync.run.started", what=view.what, trigger=view.trigger, probe=view.probe)
        values = {"kind": view.what, "trigger": view.trigger, "probe": view.probe}
        self._tell("sync_started", {"run_id": view.run_id, **values})
        self._sentry.began(view)

    def interrupted(self, attempt: Attempt) -> None:
        """Note that the process of a run died."""
        kind = RunKind.FULL if attempt.full else _KINDS.get(attempt.what, RunKind.CHANGES)
        self._metrics["sync_runs"].labels(kind.value, Ending.INTERRUPTED.value).inc()
        log.warning("sync.attempt.interrupted", run_id=attempt.run_id)
        self._sentry.interrupted(attempt.run_id, full=attempt.full)

    def run_finished(
        self,
        view: RunView,
        figures: RunFigures,
        *,
        neutral: bool = False,
        fault: Exception | None = None,
    ) -> None:
        """Write the canonical line of a run, and tell Sentry of a failed one, once."""
        seconds = (view.now - view.started_at).total_seconds()
        ending = (view.ending or Ending.INTERRUPTED).value
        self._metrics["sync_run_in_progress"].set(0)
        self._metrics["sync_runs"].labels(view.kind.value, ending).inc()
        self._metrics["sync_run_seconds"].labels(view.kind.value).observe(seconds)
        self._count(view.tally)
        if view.ending is Ending.VERIFIED and view.kind.is_full:
            self._note_verified(view.now.timestamp())
        items = figures.chunk_items
        values = {
            "kind": view.what,
            "trigger": view.trigger,
            "ending": ending,
            "verification": "" if view.verification is None else view.verification.value,
            "changes": view.planned,
            "created": view.tally.created,
            "updated": view.tally.updated,
            "departed": view.tally.departed,
            "roles_written": view.roles.total,
            "parked": len(view.parked) + len(view.parked_roles),
            "withheld": view.withheld,
            "withheld_roles": view.withheld_roles,
            "rows_read": view.rows_read,
            "members": view.members,
            "requests": figures.requests,
            "chunk_items_min": min(items, default=0),
            "chunk_items_median": statistics.median(items) if items else 0,
            "chunk_items_max": max(items, default=0),
            "largest_request_s": round(figures.largest_request_s, 4),
            "seconds": round(seconds, 3),
            "causes": [
                {"reason": cause.reason.value, "role_id": cause.role_id, "count": cause.count}
                for cause in view.causes[:5]
            ],
            "failure": view.failure.kind.value if view.failure else None,
            "failure_status": view.failure.status if view.failure else None,
            "failure_reason": view.failure.reason if view.failure else None,
        }
        self._tell("sync_finished", {"run_id": view.run_id, **values})
        if fault is not None:
            log.error("sync.run.broke", exc_info=fault)
        write = log.info if view.failure is None else log.error
        write("sync.run.finished", **values)
        self._sentry.ended(view, values, fault=fault, neutral=neutral)
