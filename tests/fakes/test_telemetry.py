"""What is told to machines: the fake takes what the real one takes, and the real one keeps it."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import sentry_sdk
from prometheus_client import REGISTRY

from bot.exts.backend.sync._clock import SystemClock
from bot.exts.backend.sync._core.delivery.chunks import ParkedRow, Tally
from bot.exts.backend.sync._core.messages.progress import Ending, Phase, RunKind
from bot.exts.backend.sync._core.model.changes import Kind
from bot.exts.backend.sync._core.model.members import RoleId, UserId
from bot.exts.backend.sync._core.plan.drift import Drift
from bot.exts.backend.sync._core.plan.planner import Cause, Reason
from bot.exts.backend.sync._core.policy.attempt import Attempt
from bot.exts.backend.sync._core.policy.breaker import Breaker, BreakerState
from bot.exts.backend.sync._core.policy.departures import Subject
from bot.exts.backend.sync._core.policy.standing import Standing
from bot.exts.backend.sync._core.policy.state import Pause, State
from bot.exts.backend.sync._core.site import requests
from bot.exts.backend.sync._core.site.figures import RunFigures
from bot.exts.backend.sync._core.site.outcome import Applied, Failing, Lost
from bot.exts.backend.sync._ports import Telemetry
from bot.exts.backend.sync._telemetry.sentry import SentryReports
from bot.exts.backend.sync._telemetry.system import SystemTelemetry
from tests.bot.exts.backend.sync.sentry import Kept
from tests.fakes.mod_log_contract import NOW, VIEW
from tests.fakes.telemetry import FakeTelemetry

ENDED = replace(
    VIEW,
    kind=RunKind.USERS,
    phase=Phase.ENDED,
    ending=Ending.VERIFIED,
    planned=0,
    tally=Tally(updated=3),
)
CAUSE = Cause(reason=Reason.NAME, role_id=None, count=2)
OPEN = State(
    breaker=Breaker(state=BreakerState.OPEN, failures=3, retry_at=NOW, reason="500"),
    pause=Pause(by="<@1>", at=NOW),
)
ATTEMPT = Attempt(run_id="r0", what="users", trigger="", full=False, probe=False, started_at=NOW)
STANDING = Standing(
    leads=True,
    stands_by=False,
    store_trouble=None,
    discord_trouble=None,
    mod_log_trouble="Missing Access",
    breaker=BreakerState.OPEN,
    failures=3,
    next_try_at=NOW,
    is_paused=True,
    verified_at=None,
    run_id=None,
    run_phase=None,
    last_run_id=None,
    last_run_ending=None,
    last_run_at=None,
    waiting=6,
    oldest_s=90.0,
    parked=4,
    withheld={Subject.DEPARTURES: 7, Subject.ROLE_DELETIONS: 0},
    untold=5,
    members=80,
    members_complete=False,
)


def made(told: list[tuple[str, dict[str, object]]] | None = None) -> SystemTelemetry:
    """Return what tells machines; listeners' events are noted in `told`."""
    listeners = [] if told is None else told
    reports = SentryReports(clock=SystemClock(), guild_id=7, site="site.invalid", every_s=3600)
    return SystemTelemetry(reports, lambda name, values: listeners.append((name, values)))


def tell(telemetry: Telemetry) -> None:
    """Tell everything that there is to tell, once or twice."""
    telemetry.leads(leading=True)
    telemetry.run_started(replace(ENDED, probe=True))
    answer = Applied()
    telemetry.asked(requests.healthcheck(), "r1-1", answer, 0.1)
    failing = Failing(status=500, reason="500", lost=True)
    telemetry.asked(requests.healthcheck(), "r1-2", failing, 0.2)
    telemetry.run_finished(ENDED, RunFigures(requests=2))
    telemetry.kept(OPEN, parked=4, untold=5)
    telemetry.breaker_moved(State().breaker, OPEN.breaker, run_id="r1")
    telemetry.breaker_moved(OPEN.breaker, State().breaker, run_id=None)
    telemetry.interrupted(ATTEMPT)
    telemetry.parked((ParkedRow(id=UserId(1), reason="name: too long"),), run_id="r1")
    telemetry.brought(Tally(created=1), (0.25, 3.0))
    telemetry.stands(STANDING)
    telemetry.drifted(Drift(at=NOW, rows=2, causes=(CAUSE,)))
    telemetry.drifted(Drift(at=NOW, rows=0))
    with telemetry.traced(ENDED):
        telemetry.phase(Phase.USERS)
    telemetry.leads(leading=False)


@pytest.mark.parametrize("make", [FakeTelemetry, made])
def test_everything_can_be_told_whether_somebody_listens_or_not(make: Any) -> None:
    """Nothing is raised to whoever tells it, without Sentry as with it."""
    tell(make())
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(sentry_sdk.Client(dsn="http://k@sentry.invalid/1", transport=Kept()))
        tell(make())


@pytest.fixture
def telemetry() -> Iterator[SystemTelemetry]:
    """Have metrics where machines look for one test."""
    telemetry = made()
    telemetry.register()
    yield telemetry
    telemetry.unregister()


def sample(name: str, **labels: str) -> float | None:
    """Return what a machine reads now."""
    return REGISTRY.get_sample_value(name, labels)


def test_what_was_told_can_be_read_where_machines_look(telemetry: SystemTelemetry) -> None:
    """Under the names that the dashboards have, while the extension is loaded."""
    tell(telemetry)
    read = {
        (name, *labels.values()): sample(name, **labels)
        for name, labels in (
            ("sync_breaker_open", {}),
            ("sync_breaker_state", {"state": "open"}),
            ("sync_breaker_state", {"state": "closed"}),
            ("sync_breaker_moves_total", {"to": "open"}),
            ("sync_failures_in_a_row", {}),
            ("sync_next_try_timestamp_seconds", {}),
            ("sync_parked_rows", {}),
            ("sync_rows_parked_total", {}),
            ("sync_paused", {}),
            ("sync_withheld", {"what": "departures"}),
            ("sync_alerts_waiting", {}),
            ("sync_mod_log_usable", {}),
            ("sync_guild_readable", {}),
            ("sync_store_usable", {}),
            ("sync_members", {"proof": "incomplete"}),
            ("sync_members", {"proof": "complete"}),
            ("sync_dirty_ids", {}),
            ("sync_oldest_change_seconds", {}),
            ("sync_change_lag_seconds_sum", {}),
            ("sync_leading", {}),
            ("sync_run_in_progress", {}),
            ("sync_runs_total", {"kind": "users", "ending": "verified"}),
            ("sync_runs_total", {"kind": "users", "ending": "interrupted"}),
            ("sync_run_seconds_count", {"kind": "users"}),
            ("sync_rows_total", {"change": "updated"}),
            ("sync_rows_total", {"change": "created"}),
            ("sync_drift_rows", {"reason": "renamed"}),
            ("sync_drift_rows_found_total", {}),
            ("sync_requests_total", {"method": "GET", "outcome": "Applied"}),
            ("sync_request_failures_total", {"kind": "server_error"}),
        )
    }

    assert read == {
        ("sync_breaker_open",): 1.0,
        ("sync_breaker_state", "open"): 1.0,
        ("sync_breaker_state", "closed"): 0.0,
        ("sync_breaker_moves_total", "open"): 1.0,
        ("sync_failures_in_a_row",): 3.0,
        ("sync_next_try_timestamp_seconds",): NOW.timestamp(),
        ("sync_parked_rows",): 4.0,
        ("sync_rows_parked_total",): 1.0,
        ("sync_paused",): 1.0,
        ("sync_withheld", "departures"): 7.0,
        ("sync_alerts_waiting",): 5.0,
        ("sync_mod_log_usable",): 0.0,
        ("sync_guild_readable",): 1.0,
        ("sync_store_usable",): 1.0,
        ("sync_members", "incomplete"): 80.0,
        ("sync_members", "complete"): 0.0,
        ("sync_dirty_ids",): 6.0,
        ("sync_oldest_change_seconds",): 90.0,
        ("sync_change_lag_seconds_sum",): 3.25,
        ("sync_leading",): 0.0,
        ("sync_run_in_progress",): 0.0,
        ("sync_runs_total", "users", "verified"): 1.0,
        ("sync_runs_total", "users", "interrupted"): 1.0,
        ("sync_run_seconds_count", "users"): 1.0,
        ("sync_rows_total", "updated"): 3.0,
        ("sync_rows_total", "created"): 1.0,
        ("sync_drift_rows", "renamed"): 0.0,
        ("sync_drift_rows_found_total",): 2.0,
        ("sync_requests_total", "GET", "Applied"): 1.0,
        ("sync_request_failures_total", "server_error"): 1.0,
    }


def test_nothing_is_left_when_the_extension_goes() -> None:
    """A reload registers the same names anew."""
    telemetry = made()
    telemetry.register()
    telemetry.unregister()

    assert sample("sync_leading") is None


def test_the_first_failed_request_shows_at_once(telemetry: SystemTelemetry) -> None:
    """Not when a run or a drain gives up, minutes later; a stopped site is told from a slow one."""
    names = ("unreachable", "timeout")
    before = [sample("sync_request_failures_total", kind=name) for name in names]
    down = Failing(status=None, reason="", lost=False, cause=Lost.UNREACHABLE)
    telemetry.asked(requests.healthcheck(), "r1-1", down, 0.1)

    assert before == [0.0, 0.0]
    assert [sample("sync_request_failures_total", kind=name) for name in names] == [1.0, 0.0]


def test_a_chunk_is_told_from_other_requests(telemetry: SystemTelemetry) -> None:
    """Its rows and its time; a page that is read, or a role that is written, is no chunk."""
    chunk = requests.write_users(Kind.UPDATE, b"[]", users=(UserId(1), UserId(2)))
    for request in (requests.roles(), chunk, requests.delete_role(RoleId(5))):
        telemetry.asked(request, "r1-1", Applied(), 0.5)

    assert (sample("sync_chunk_rows_sum"), sample("sync_chunk_seconds_sum")) == (2.0, 0.5)


def test_the_last_verified_run_is_known_again_after_a_restart(telemetry: SystemTelemetry) -> None:
    """By what the store kept, unless this process knows better; it is never said to be 1970."""
    name = "sync_last_verified_timestamp_seconds"
    at_first = sample(name)
    telemetry.kept(State(), parked=0, untold=0, verified_at=None)
    never = sample(name)
    telemetry.kept(State(), parked=0, untold=0, verified_at=NOW)
    kept = sample(name)
    telemetry.kept(State(), parked=0, untold=0, verified_at=NOW - timedelta(hours=1))
    later = sample(name)
    telemetry.leads(leading=False)

    assert at_first is not None
    assert math.isnan(at_first)
    assert (never, kept, later) == (0.0, NOW.timestamp(), NOW.timestamp())
    assert math.isnan(sample(name) or 0.0), "another process may verify now"


def test_the_switch_is_told_of_each_verified_sync_that_the_store_knows_of() -> None:
    """Not of what a process before this one verified, nor before it is kept."""
    telemetry, pings = made(), []
    telemetry.verified = lambda: pings.append(len(pings))
    moments = (None, NOW, NOW, NOW + timedelta(hours=6))
    for verified_at in moments:
        telemetry.kept(State(), parked=0, untold=0, verified_at=verified_at)
    first_process = len(pings)
    telemetry.leads(leading=False)
    telemetry.kept(State(), parked=0, untold=0, verified_at=NOW + timedelta(hours=12))

    assert (first_process, len(pings)) == (2, 2)


def test_only_a_full_run_is_a_last_verified_one(telemetry: SystemTelemetry) -> None:
    """What brings users alone says nothing of roles; a quiet check says it of both."""
    name = "sync_last_verified_timestamp_seconds"
    telemetry.run_finished(replace(ENDED, kind=RunKind.USERS), RunFigures())
    users = sample(name) or 0.0
    telemetry.run_finished(replace(ENDED, kind=RunKind.CHECK), RunFigures())

    assert math.isnan(users)
    assert sample(name) == ENDED.now.timestamp()


def test_a_bots_listeners_are_told_what_happens() -> None:
    """Starts, ends, drift, and a breaker that changes: as plain values, each once."""
    told: list[tuple[str, dict[str, object]]] = []
    telemetry = made(told)
    closed = State()
    more = replace(OPEN.breaker, failures=4)
    for before, after in pairwise((closed.breaker, OPEN.breaker, more, closed.breaker)):
        telemetry.breaker_moved(before, after, run_id="r1")
    tell(telemetry)
    named = dict(told)

    assert [name for name, _ in told] == [
        "sync_breaker",
        "sync_breaker",
        "sync_started",
        "sync_finished",
        "sync_breaker",
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
