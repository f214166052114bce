"""What machines see of a run: log events, Sentry, Prometheus metrics."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

import sentry_sdk
import structlog
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from sentry_sdk.crons import capture_checkin

from ._core.messages.progress import Ending
from ._core.policy.breaker import BreakerState
from ._core.site.outcome import Applied

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from prometheus_client.registry import Collector

    from ._core.messages.progress import RunView
    from ._core.plan.drift import Drift
    from ._core.policy.state import State
    from ._core.site.figures import RunFigures
    from ._core.site.outcome import Outcome
    from ._core.site.requests import Request

log = structlog.get_logger(__name__)

_MONITOR: Final = "guild-sync"
_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class SystemTelemetry:
    """The metrics of one loaded extension; a reload registers them anew.

    `tell` is called with an event's name and its values: a bot's `dispatch`, for its listeners.
    """

    def __init__(self, tell: Callable[[str, dict[str, object]], object] | None = None) -> None:
        self._tell = tell or (lambda _name, _values: None)
        self._state: BreakerState | None = None
        self._verified_at = 0.0
        self._requests = Counter(
            "sync_requests", "Requests to the site", ["method", "outcome"], registry=None
        )
        self._seconds = Histogram(
            "sync_request_seconds", "Seconds a request took", ["method"], buckets=_BUCKETS,
            registry=None,
        )  # fmt: skip
        self._runs = Counter("sync_runs", "Runs that ended", ["ending"], registry=None)
        self._rows = Counter("sync_rows", "Rows written by runs", ["change"], registry=None)
        self._running = Gauge("sync_run_in_progress", "1 while a run is on", registry=None)
        self._verified = Gauge(
            "sync_last_verified_timestamp_seconds", "When a run last ended verified", registry=None
        )
        self._drift = Gauge(
            "sync_drift_rows", "Rows that the last check found drifted", ["reason"], registry=None
        )
        self._breaker = Gauge(
            "sync_breaker_open", "1 while the breaker lets nothing through but probes",
            registry=None,
        )  # fmt: skip
        self._failures = Gauge("sync_failures_in_a_row", "Attempts failed in a row", registry=None)
        self._parked = Gauge("sync_parked_rows", "Rows that the site rejects", registry=None)
        self._paused = Gauge("sync_paused", "1 while somebody has paused the sync", registry=None)
        self._untold = Gauge("sync_alerts_waiting", "Alerts not in mod-log yet", registry=None)
        # Before their first event, or `increase()` would miss it.
        for ending in Ending:
            self._runs.labels(ending.value)
        for change in ("created", "updated", "departed"):
            self._rows.labels(change)
        self._leading = Gauge("sync_leading", "1 while this process holds the lease", registry=None)
        self._waiting = Gauge("sync_dirty_ids", "Members waiting to be written", registry=None)

    @property
    def _metrics(self) -> tuple[Collector, ...]:
        return (
            self._requests,
            self._seconds,
            self._runs,
            self._rows,
            self._running,
            self._verified,
            self._drift,
            self._breaker,
            self._failures,
            self._parked,
            self._paused,
            self._untold,
            self._leading,
            self._waiting,
        )

    def register(self) -> None:
        """Offer the metrics to whatever serves the default registry."""
        for metric in self._metrics:
            REGISTRY.register(metric)

    def unregister(self) -> None:
        """Take the metrics back."""
        for metric in self._metrics:
            REGISTRY.unregister(metric)

    def kept(
        self, state: State, *, parked: int, untold: int, verified_at: datetime | None = None
    ) -> None:
        """Note what the store holds; `verified_at` is when a full sync was last verified."""
        if verified_at is not None and verified_at.timestamp() > self._verified_at:
            self._note_verified(verified_at)
        before, self._state = self._state, state.breaker.state
        if before is not None and before is not self._state:
            self._tell(
                "sync_breaker",
                {
                    "state": self._state.value,
                    "failures": state.breaker.failures,
                    "reason": state.breaker.reason,
                },
            )
        self._breaker.set(state.breaker.state is not BreakerState.CLOSED)
        self._failures.set(state.breaker.failures)
        self._parked.set(parked)
        self._paused.set(state.pause is not None)
        self._untold.set(untold)

    def _note_verified(self, at: datetime) -> None:
        self._verified_at = at.timestamp()
        self._verified.set(self._verified_at)

    def waiting(self, ids: int) -> None:
        """Note how many ids wait to be written."""
        self._waiting.set(ids)

    def leads(self, *, leading: bool) -> None:
        """Note whether this process may act."""
        self._leading.set(leading)

    def drifted(self, drift: Drift) -> None:
        """Note what a check found."""
        for reason, count in drift.counts().items():
            self._drift.labels(reason.value).set(count)
        causes = {reason.value: count for reason, count in drift.counts().items() if count}
        name = "sync.drift.found" if drift.rows else "sync.drift.absent"
        log.info(name, rows=drift.rows, causes=causes)
        self._tell("sync_drift", {"rows": drift.rows, "causes": causes})

    def check_in(self, run_id: str, *, ok: bool | None, every_s: float) -> None:
        """Tell Sentry's monitor that an automatic run began (`ok` is None) or how it ended.

        Sentry misses a run that never comes, and one whose process dies in its middle.
        """
        capture_checkin(
            monitor_slug=_MONITOR,
            check_in_id=run_id.ljust(32, "0"),
            status="in_progress" if ok is None else "ok" if ok else "error",
            monitor_config={
                "schedule": {
                    "type": "interval",
                    "value": max(1, round(every_s / 60)),
                    "unit": "minute",
                },
                "checkin_margin": 30,
                "max_runtime": 60,
                "failure_issue_threshold": 1,
                "recovery_threshold": 1,
            },
        )

    def asked(self, request: Request, request_id: str, outcome: Outcome, seconds: float) -> None:
        """Note a request and what came of it."""
        name = type(outcome).__name__
        self._requests.labels(request.method, name).inc()
        self._seconds.labels(request.method).observe(seconds)
        values = {
            "method": request.method,
            "path": request.path,
            "rows": request.rows,
            "outcome": name,
            "seconds": round(seconds, 4),
            "request_id": request_id,
        }
        well = isinstance(outcome, Applied)
        if not well:
            values["said"] = str(outcome)[:300]
            log.warning("sync.request.answered", **values)
        else:
            log.debug("sync.request.answered", **values)
        sentry_sdk.add_breadcrumb(
            category="sync",
            message=f"{request.method} {request.path}: {name}",
            level="info" if well else "warning",
            data=values,
        )

    def run_started(self, view: RunView, *, probe: bool) -> None:
        """Note that a run began."""
        self._running.set(1)
        log.info("sync.run.started", what=view.what, trigger=view.trigger, probe=probe)
        self._tell(
            "sync_started",
            {"run_id": view.run_id, "kind": view.what, "trigger": view.trigger, "probe": probe},
        )

    def run_finished(self, view: RunView, figures: RunFigures) -> None:
        """Write the canonical line of a run, and tell Sentry of a failed one, once."""
        self._running.set(0)
        ending = view.ending.value if view.ending is not None else "unknown"
        self._runs.labels(ending).inc()
        for change, rows in (
            ("created", view.tally.created),
            ("updated", view.tally.updated),
            ("departed", view.tally.departed),
        ):
            self._rows.labels(change).inc(rows)
        if view.ending is Ending.VERIFIED:
            self._note_verified(view.now)
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
            "seconds": round((view.now - view.started_at).total_seconds(), 3),
            "causes": [
                {"reason": cause.reason.value, "role_id": cause.role_id, "count": cause.count}
                for cause in view.causes[:5]
            ],
            "failure": view.failure.kind.value if view.failure else None,
            "failure_status": view.failure.status if view.failure else None,
            "failure_reason": view.failure.reason if view.failure else None,
        }
        self._tell("sync_finished", {"run_id": view.run_id, **values})
        if view.failure is None:
            log.info("sync.run.finished", **values)
            return
        log.error("sync.run.finished", **values)
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("run_id", view.run_id)
            scope.set_tag("sync.failure", view.failure.kind.name.lower())
            scope.set_tag("sync.trigger", view.trigger)
            scope.set_context("sync run", values)
            scope.fingerprint = ["sync-run-failed", view.failure.kind.name]
            scope.capture_message(
                f"Sync of {view.what} failed: {view.failure.kind.value}", level="error"
            )
