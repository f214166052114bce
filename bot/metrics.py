"""The metrics of the bot itself; its extensions have their own."""

from typing import Any, Final

from prometheus_client import REGISTRY

from bot import __version__
from bot.exts.backend.sync._telemetry.declared import Declared, MetricType

_UNKNOWN: Final = float("nan")

METRICS: Final = (
    Declared(
        name="bot_gateway_connected",
        type=MetricType.GAUGE,
        meaning="1 while there is a session with Discord's gateway",
        question="Is the bot online?",
    ),
    Declared(
        name="bot_session_starts_remaining",
        type=MetricType.GAUGE,
        unit="sessions",
        meaning=(
            "How many sessions (IDENTIFYs) Discord still allowed when it was last asked; NaN before"
        ),
        question="Does something use up the sessions of the day?",
        initially=_UNKNOWN,
    ),
    Declared(
        name="bot_session_wait_seconds",
        type=MetricType.GAUGE,
        unit="s",
        meaning="How long the bot waits before its next session, for want of some; 0: it doesn't",
        question="Is it offline on purpose?",
    ),
    Declared(
        name="bot_loop_lag_seconds",
        type=MetricType.HISTOGRAM,
        unit="s",
        meaning="How much later than asked the event loop came to each tick of a 10 ms ticker",
        question="Does something keep the loop from its work?",
        buckets=(0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0),
    ),
    Declared(
        name="bot_loop_stall_max_seconds",
        type=MetricType.GAUGE,
        unit="s",
        meaning="Longest gap between two ticks since READY",
        question="How long did it ever stand still?",
    ),
    Declared(
        name="bot_loop_tick_age_seconds",
        type=MetricType.GAUGE,
        unit="s",
        meaning="Time since the last tick; NaN before the loop runs",
        question="Does it hang now?",
        initially=_UNKNOWN,
    ),
    Declared(
        name="bot_build_info",
        type=MetricType.GAUGE,
        meaning="1",
        question="Which version runs?",
        facts={"version": __version__},
        initially=1.0,
    ),
)

# Of the process, as Prometheus' own are.
made: Final[dict[str, Any]] = {one.name: one.make() for one in METRICS}
for _metric in made.values():
    REGISTRY.register(_metric)
