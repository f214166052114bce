"""What is told to machines: the fake takes what the real one takes, and the real one keeps it."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sentry_sdk
from prometheus_client import REGISTRY

from bot.exts.backend.sync._core.delivery.chunks import Tally
from bot.exts.backend.sync._core.messages.progress import Ending, Phase
from bot.exts.backend.sync._core.plan.drift import Drift
from bot.exts.backend.sync._core.plan.planner import Cause, Reason
from bot.exts.backend.sync._core.policy.breaker import Breaker, BreakerState
from bot.exts.backend.sync._core.policy.state import Pause, State
from bot.exts.backend.sync._core.site import requests
from bot.exts.backend.sync._core.site.figures import RunFigures
from bot.exts.backend.sync._core.site.outcome import Applied, Failing
from bot.exts.backend.sync._ports import Telemetry
from bot.exts.backend.sync._telemetry import SystemTelemetry
from tests.bot.exts.backend.sync.sentry import Kept
from tests.fakes.mod_log_contract import NOW, VIEW
from tests.fakes.telemetry import FakeTelemetry

ENDED = replace(VIEW, phase=Phase.ENDED, ending=Ending.VERIFIED, planned=0, tally=Tally(updated=3))
CAUSE = Cause(reason=Reason.NAME, role_id=None, count=2)
OPEN = State(
    breaker=Breaker(state=BreakerState.OPEN, failures=3, retry_at=NOW, reason="500"),
    pause=Pause(by="<@1>", at=NOW),
)


def tell(telemetry: Telemetry) -> None:
    """Tell everything that there is to tell, once or twice."""
    telemetry.leads(leading=True)
    telemetry.run_started(ENDED, probe=True)
    answer = Applied()
    telemetry.asked(requests.healthcheck(), "r1-1", answer, 0.1)
    failing = Failing(status=500, reason="500", lost=True)
    telemetry.asked(requests.healthcheck(), "r1-2", failing, 0.2)
    telemetry.run_finished(ENDED, RunFigures(requests=2))
    telemetry.kept(OPEN, parked=4, untold=5)
    telemetry.waiting(6)
    telemetry.drifted(Drift(at=NOW, rows=2, causes=(CAUSE,)))
    telemetry.drifted(Drift(at=NOW, rows=0))
    for ok in (None, True, False):
        telemetry.check_in("r1", ok=ok, every_s=60.0)
    telemetry.leads(leading=False)


@pytest.mark.parametrize("make", [FakeTelemetry, SystemTelemetry])
def test_everything_can_be_told_whether_somebody_listens_or_not(make: Any) -> None:
    """Nothing is raised to whoever tells it, without Sentry as with it."""
    tell(make())
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(sentry_sdk.Client(dsn="http://k@sentry.invalid/1", transport=Kept()))
        tell(make())


def test_what_was_told_can_be_read_where_machines_look() -> None:
    """Under the names that the dashboards have, while the extension is loaded."""
    telemetry = SystemTelemetry()
    telemetry.register()
    try:
        tell(telemetry)
        values = {
            name: REGISTRY.get_sample_value(name)
            for name in (
                "sync_breaker_open",
                "sync_failures_in_a_row",
                "sync_parked_rows",
                "sync_paused",
                "sync_alerts_waiting",
                "sync_dirty_ids",
                "sync_leading",
                "sync_run_in_progress",
            )
        }
        ended = REGISTRY.get_sample_value("sync_runs_total", {"ending": "verified"})
    finally:
        telemetry.unregister()

    assert values == {
        "sync_breaker_open": 1.0,
        "sync_failures_in_a_row": 3.0,
        "sync_parked_rows": 4.0,
        "sync_paused": 1.0,
        "sync_alerts_waiting": 5.0,
        "sync_dirty_ids": 6.0,
        "sync_leading": 0.0,
        "sync_run_in_progress": 0.0,
    }
    assert ended == 1.0
    assert REGISTRY.get_sample_value("sync_leading") is None


def test_the_last_verified_run_is_known_again_after_a_restart() -> None:
    """By what the store kept, unless this process knows better; each ending is counted from 0."""
    telemetry = SystemTelemetry()
    telemetry.register()
    name = "sync_last_verified_timestamp_seconds"
    try:
        none_yet = REGISTRY.get_sample_value("sync_runs_total", {"ending": "failed"})
        telemetry.kept(State(), parked=0, untold=0, verified_at=NOW)
        kept = REGISTRY.get_sample_value(name)
        telemetry.kept(State(), parked=0, untold=0, verified_at=NOW - timedelta(hours=1))
        later = REGISTRY.get_sample_value(name)
    finally:
        telemetry.unregister()

    assert (none_yet, kept, later) == (0.0, NOW.timestamp(), NOW.timestamp())


def test_a_bots_listeners_are_told_what_happens() -> None:
    """Starts, ends, drift, and a breaker that changes: as plain values, each once."""
    told: list[tuple[str, dict[str, object]]] = []
    telemetry = SystemTelemetry(lambda name, values: told.append((name, values)))
    closed = State()
    for state in (closed, closed, OPEN, OPEN, closed):
        telemetry.kept(state, parked=0, untold=0)
    tell(telemetry)
    named = dict(told)

    assert [name for name, _ in told] == [
        "sync_breaker",
        "sync_breaker",
        "sync_started",
        "sync_finished",
        "sync_breaker",
        "sync_drift",
        "sync_drift",
    ]
    assert told[0][1] == {"state": "open", "failures": 3, "reason": "500"}
    assert told[1][1]["state"] == "closed"
    assert named["sync_started"] == {
        "run_id": "r1",
        "kind": "users",
        "trigger": "at start-up",
        "probe": True,
    }
    assert named["sync_finished"]["ending"] == "verified"
    assert named["sync_finished"]["updated"] == 3
    assert json.loads(json.dumps(named)) == named
