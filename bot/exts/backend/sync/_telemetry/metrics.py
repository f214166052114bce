"""Every metric of the extension, in the order in which one looks at them."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import REGISTRY

from .._core.messages.progress import Ending, RunKind
from .._core.plan.planner import Reason
from .._core.policy.breaker import BreakerState
from .._core.policy.departures import Subject
from .._core.site.outcome import Outcome, TroubleKind
from .._version import VERSION
from .declared import Declared, MetricType

if TYPE_CHECKING:
    from prometheus_client.registry import Collector, CollectorRegistry

_COUNTER, _GAUGE, _HISTOGRAM = MetricType.COUNTER, MetricType.GAUGE, MetricType.HISTOGRAM
UNKNOWN: Final = float("nan")  # neither above nor below anything: no alert compares with it
_REQUEST_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
METHODS: Final = ("GET", "POST", "PATCH", "PUT", "DELETE")
CHANGES: Final = ("created", "updated", "departed")
PROOFS: Final = ("complete", "incomplete")


def _names(values: object) -> tuple[str, ...]:
    """Return the names of the classes of a union."""
    return tuple(one.__name__ for one in typing.get_args(values))


METRICS: Final = (
    # -- is the site in step? --------------------------------------------------------------------
    Declared(
        name="sync_last_verified_timestamp_seconds",
        type=_GAUGE,
        unit="s since 1970",
        meaning=(
            "When a full sync, or a quiet check, was last verified; kept over restarts. 0: never. "
            "NaN: this process does not lead, or has not read its store yet"
        ),
        question="For how long has nobody seen that the site is in step?",
        initially=UNKNOWN,
    ),
    Declared(
        name="sync_runs",
        type=_COUNTER,
        meaning=(
            "Runs that ended; `interrupted` are those whose process died, counted at the next start"
        ),
        question="Do syncs end well?",
        labels={
            "kind": tuple(kind.value for kind in RunKind),
            "ending": tuple(ending.value for ending in Ending),
        },
    ),
    Declared(
        name="sync_run_seconds",
        type=_HISTOGRAM,
        unit="s",
        meaning="How long runs took",
        question="Do syncs take longer than they did?",
        labels={"kind": tuple(kind.value for kind in RunKind)},
        buckets=(1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0),
    ),
    Declared(
        name="sync_run_in_progress",
        type=_GAUGE,
        meaning="1 while a run is on",
        question="Is it at work now?",
    ),
    Declared(
        name="sync_drift_rows",
        type=_GAUGE,
        unit="rows",
        meaning=(
            "Rows that the last check found to differ although no change explains it, by kind "
            "of cause"
        ),
        question="Did live changes miss something?",
        labels={"reason": tuple(reason.value for reason in Reason)},
    ),
    Declared(
        name="sync_drift_rows_found",
        type=_COUNTER,
        unit="rows",
        meaning="Such rows, of all checks",
        question="How often do live changes miss something?",
    ),
    # -- does the site answer? -------------------------------------------------------------------
    Declared(
        name="sync_request_failures",
        type=_COUNTER,
        unit="requests",
        meaning=(
            "Requests that the site did not answer as its contract says, as they happen, by how"
        ),
        question="Does the site fail now, and how?",
        labels={"kind": tuple(kind.value for kind in TroubleKind)},
    ),
    Declared(
        name="sync_requests",
        type=_COUNTER,
        unit="requests",
        meaning="Requests to the site, by what their answer meant",
        question="What does the site answer?",
        labels={"method": METHODS, "outcome": _names(Outcome)},
    ),
    Declared(
        name="sync_request_seconds",
        type=_HISTOGRAM,
        unit="s",
        meaning="How long the site took to answer",
        question="Is the site slow, for reading as well?",
        labels={"method": METHODS},
        buckets=_REQUEST_S,
    ),
    Declared(
        name="sync_chunk_seconds",
        type=_HISTOGRAM,
        unit="s",
        meaning="How long requests took that write users",
        question="For how long does one write hold the site?",
        buckets=_REQUEST_S,
    ),
    Declared(
        name="sync_chunk_rows",
        type=_HISTOGRAM,
        unit="rows",
        meaning="How many rows the requests held that write users",
        question="How much does the site take at once?",
        buckets=(1.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0),
    ),
    Declared(
        name="sync_rows",
        type=_COUNTER,
        unit="rows",
        meaning="Rows written, by runs when they end and by live changes at once",
        question="How much changes?",
        labels={"change": CHANGES},
    ),
    Declared(
        name="sync_rows_parked",
        type=_COUNTER,
        unit="rows",
        meaning="Rows that the site did not take, each time that one is set aside",
        question="Does the site refuse rows now?",
    ),
    Declared(
        name="sync_parked_rows",
        type=_GAUGE,
        unit="rows",
        meaning="Rows that are set aside",
        question="Which members are not in step because the site refuses them?",
    ),
    # -- may it write? ---------------------------------------------------------------------------
    Declared(
        name="sync_breaker_open",
        type=_GAUGE,
        meaning="1 while the breaker lets nothing through but probes",
        question="Are writes stopped after failures?",
    ),
    Declared(
        name="sync_breaker_state",
        type=_GAUGE,
        meaning="1 for the state that the breaker is in",
        question="Is it open, or being probed?",
        labels={"state": tuple(state.value for state in BreakerState)},
    ),
    Declared(
        name="sync_breaker_moves",
        type=_COUNTER,
        meaning="How often the breaker came into a state from another",
        question="How often does it open, and does it close again?",
        labels={"to": tuple(state.value for state in BreakerState)},
    ),
    Declared(
        name="sync_failures_in_a_row",
        type=_GAUGE,
        unit="attempts",
        meaning="Attempts that failed or were cut off since the last one that was verified",
        question="How close is the breaker to opening?",
    ),
    Declared(
        name="sync_next_try_timestamp_seconds",
        type=_GAUGE,
        unit="s since 1970",
        meaning="When the site is tried next, after failures; NaN: no try is waited for",
        question="When does it try again?",
        initially=UNKNOWN,
    ),
    Declared(
        name="sync_paused",
        type=_GAUGE,
        meaning="1 while somebody has paused the sync",
        question="Does it stand still by somebody's order?",
    ),
    Declared(
        name="sync_withheld",
        type=_GAUGE,
        meaning="Departures and role deletions in lists that wait for a moderator",
        question="Is a moderator to decide something?",
        labels={"what": tuple(what.value for what in Subject)},
    ),
    # -- live changes ----------------------------------------------------------------------------
    Declared(
        name="sync_dirty_ids",
        type=_GAUGE,
        unit="members and roles",
        meaning="What changed and is not written yet, or is in doubt",
        question="How far behind is the site?",
    ),
    Declared(
        name="sync_oldest_change_seconds",
        type=_GAUGE,
        unit="s",
        meaning="For how long the oldest of these changes has waited; 0: none waits",
        question="For how long has the site been behind?",
    ),
    Declared(
        name="sync_change_lag_seconds",
        type=_HISTOGRAM,
        unit="s",
        meaning="From Discord's event to the site's answer that took it, of each live change",
        question="How soon does a change reach the site?",
        buckets=(0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0),
    ),
    # -- does anybody hear of it? ----------------------------------------------------------------
    Declared(
        name="sync_alerts_waiting",
        type=_GAUGE,
        unit="alerts",
        meaning="Alerts that mod-log does not show yet",
        question="Is there something that people were not told?",
    ),
    Declared(
        name="sync_pings",
        type=_COUNTER,
        meaning="How often SYNC_PING_URL was asked after a verified sync, and whether it answered",
        question="Does the dead man's switch hear of us?",
        labels={"result": ("ok", "failed")},
    ),
    Declared(
        name="sync_mod_log_usable",
        type=_GAUGE,
        meaning="0 while mod-log takes no messages: lost, forbidden, or Discord is away",
        question="Would people hear of an alert?",
        initially=UNKNOWN,
    ),
    # -- Discord, store, process -----------------------------------------------------------------
    Declared(
        name="sync_guild_readable",
        type=_GAUGE,
        meaning="0 while Discord does not show the server's members",
        question="Does the sync wait for Discord?",
        initially=UNKNOWN,
    ),
    Declared(
        name="sync_members",
        type=_GAUGE,
        unit="members",
        meaning=(
            "Members that the latest proof of the member list counted; all 0 while there is none"
        ),
        question="Is the member list whole, and how long is it?",
        labels={"proof": PROOFS},
    ),
    Declared(
        name="sync_leading",
        type=_GAUGE,
        meaning="1 while this process holds the lease",
        question="Does any process act? (the sum over all is 1)",
    ),
    Declared(
        name="sync_standby",
        type=_GAUGE,
        meaning="1 while another process holds the lease, and this one waits",
        question="Would another process take over?",
    ),
    Declared(
        name="sync_store_usable",
        type=_GAUGE,
        meaning="0 while the state store can't be used, so that nothing is written",
        question="Is the state store away?",
        initially=UNKNOWN,
    ),
    Declared(
        name="sync_build_info",
        type=_GAUGE,
        meaning="1",
        question="Which version runs?",
        facts={"version": VERSION},
        initially=1.0,
    ),
)


class Metrics:
    """All metrics of one loaded extension, made anew for each, so that a reload starts from 0."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {one.name: one.make() for one in METRICS}
        self._registry: CollectorRegistry | None = None

    def __getitem__(self, name: str) -> Any:
        """Return a metric by its declared name."""
        return self._made[name]

    def register(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Offer them to whatever serves the registry."""
        self._registry = registry
        for metric in self._collectors:
            registry.register(metric)

    def unregister(self) -> None:
        """Take them back."""
        if self._registry is not None:
            for metric in self._collectors:
                self._registry.unregister(metric)

    @property
    def _collectors(self) -> tuple[Collector, ...]:
        return tuple(self._made.values())
