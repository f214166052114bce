"""What Sentry is told: one event a failure and a change of state, a trace and a check-in a run."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import sentry_sdk
import structlog
from sentry_sdk.integrations.logging import LoggingIntegration

from bot.exts.backend.sync._core.delivery.chunks import ParkedRow
from bot.exts.backend.sync._core.messages.progress import Ending, Phase, RunKind, RunView
from bot.exts.backend.sync._core.model.changes import Kind
from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.policy.attempt import Attempt
from bot.exts.backend.sync._core.policy.breaker import Breaker, BreakerState
from bot.exts.backend.sync._core.policy.request_backoff import Failure, FailureKind
from bot.exts.backend.sync._core.policy.schedule import CHECK_SPREAD
from bot.exts.backend.sync._core.policy.state import State
from bot.exts.backend.sync._core.site import requests
from bot.exts.backend.sync._core.site.figures import RunFigures
from bot.exts.backend.sync._core.site.outcome import Applied, Failing, Lost, Outcome
from bot.exts.backend.sync._telemetry.sentry import SentryReports, monitor
from bot.exts.backend.sync._telemetry.system import SystemTelemetry
from tests.fakes.clock import HandClock
from tests.fakes.mod_log_contract import NOW, VIEW

from .sentry import Kept, reported

CHUNK = requests.write_users(Kind.UPDATE, b"[]", users=(UserId(1), UserId(2)))
ERROR_500 = Failing(status=500, reason="page: Server Error", lost=True)
DOWN = Failing(status=None, reason="", lost=False, cause=Lost.UNREACHABLE)
SITE_FAILS = Failure(kind=FailureKind.FAILING, reason="page: Server Error", status=500)
CLOSED = Breaker()
OPEN = Breaker(state=BreakerState.OPEN, failures=3, retry_at=NOW, opened_at=NOW, reason="500")
PROBING = replace(OPEN, state=BreakerState.HALF_OPEN, probing_run="r9")


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Keep what Sentry is told in a test."""
    with reported(traces_sample_rate=1.0) as kept:
        yield kept


@pytest.fixture
async def clock() -> HandClock:
    """Have a clock that is moved by hand."""
    return HandClock()


@pytest.fixture
def telemetry(clock: HandClock) -> SystemTelemetry:
    """Tell of a site that is to be in step within six hours."""
    reports = SentryReports(clock=clock, guild_id=7, site="site.invalid", every_s=6 * 3600)
    return SystemTelemetry(reports, lambda _name, _values: None)


def view(run_id: str = "0a1b2c3d", **values: Any) -> RunView:
    """Return a run that has ended verified, if nothing else is said."""
    return replace(VIEW, run_id=run_id, **{"ending": Ending.VERIFIED, **values})


def run(
    telemetry: SystemTelemetry,
    ended: RunView,
    *answers: Outcome,
    neutral: bool = False,
    fault: Exception | None = None,
) -> None:
    """Let a run begin, send a chunk for each answer, and end."""
    with telemetry.traced(ended):
        telemetry.run_started(replace(ended, ending=None))
        telemetry.phase(Phase.SITE)
        telemetry.phase(Phase.USERS)
        for number, outcome in enumerate(answers, start=1):
            telemetry.asked(CHUNK, f"{ended.run_id}-{number}", outcome, 0.1)
        telemetry.run_finished(ended, RunFigures(), neutral=neutral, fault=fault)


def failed(run_id: str = "0a1b2c3d", **values: Any) -> RunView:
    """Return a run that has failed because of the site."""
    return view(run_id, **{"ending": Ending.FAILED, "failure": SITE_FAILS, **values})


# -- failures -------------------------------------------------------------------------------------


def test_a_failed_run_is_one_event_however_much_failed(
    kept: Kept, telemetry: SystemTelemetry
) -> None:
    """With run, guild, site, status and whether it was a probe, each by itself to search for."""
    run(telemetry, failed(probe=True), *[ERROR_500] * 20)

    (event,) = kept.events
    assert event["message"] == "Sync of users failed: the site kept failing (HTTP 500)"
    assert event["level"] == "error"
    assert event["tags"] == {
        "run_id": "0a1b2c3d",
        "guild_id": "7",
        "site": "site.invalid",
        "sync.failure": "failing",
        "sync.kind": "full",
        "sync.probe": "true",
        "sync.trigger": "at start-up",
        "sync.trouble": "server_error",
        "http.status": 500,
    }


def test_a_stopped_site_is_another_issue_than_one_that_answers_500(
    kept: Kept, telemetry: SystemTelemetry
) -> None:
    """And the same failure is the same issue, whatever run it was and whatever its page said."""
    stopped = replace(SITE_FAILS, status=None, reason="the site can't be reached")
    run(telemetry, failed(), ERROR_500)
    run(telemetry, failed("2", failure=replace(SITE_FAILS, reason="page: Oops")), ERROR_500)
    run(telemetry, failed("3", failure=stopped), DOWN)

    first, second, third = kept.events
    assert first["fingerprint"] == second["fingerprint"] != third["fingerprint"]
    assert first["message"] == second["message"]
    assert third["message"] == "Sync of users failed: the site kept failing (unreachable)"


def test_an_error_of_ours_is_one_event_with_its_stack_and_its_run(
    kept: Kept, telemetry: SystemTelemetry
) -> None:
    """Whoever reads the stack finds the run's log by its id."""
    with pytest.raises(ValueError, match="nothing") as raised:
        int("nothing")
    failure = Failure(kind=FailureKind.INTERNAL, reason="ValueError: …")
    run(telemetry, failed(failure=failure), fault=raised.value)

    (event,) = kept.events
    assert event["exception"]["values"][0]["type"] == "ValueError"
    assert event["exception"]["values"][0]["stacktrace"]["frames"]
    assert event["tags"]["run_id"] == "0a1b2c3d"
    assert event["contexts"]["sync run"]["failure"] == "an error of ours"


def test_a_run_that_died_is_told_at_the_next_start(kept: Kept, telemetry: SystemTelemetry) -> None:
    """Once, and its check-in does not stay open until it times out."""
    attempt = Attempt(
        run_id="0a1b2c3d", what="users", trigger="", full=True, probe=False, started_at=NOW
    )
    telemetry.interrupted(attempt)

    (event,) = kept.events
    assert (event["message"], event["tags"]["run_id"]) == (
        "The bot ended in the middle of a sync",
        "0a1b2c3d",
    )
    assert [(one["check_in_id"][:8], one["status"]) for one in kept.of("check_in")] == [
        ("0a1b2c3d", "error")
    ]


# -- changes of state -----------------------------------------------------------------------------


def test_a_breaker_that_opens_or_closes_is_an_event(kept: Kept, telemetry: SystemTelemetry) -> None:
    """Once each; what a probe meets between the two, its own run tells."""
    moves = [CLOSED, replace(CLOSED, failures=1), OPEN, PROBING, OPEN, PROBING, CLOSED]
    for before, after in pairwise(moves):
        telemetry.breaker_moved(before, after, run_id="r1")

    assert [(event["message"], event["level"]) for event in kept.events] == [
        ("Sync breaker opened: nothing is written", "error"),
        ("Sync breaker closed again", "info"),
    ]
    assert {event["tags"]["run_id"] for event in kept.events} == {"r1"}


def test_what_somebody_typed_is_not_repeated(kept: Kept, telemetry: SystemTelemetry) -> None:
    """A breaker that was opened by hand has a reason of somebody's own."""
    by_hand = Breaker(
        state=BreakerState.OPEN, opened_at=NOW, opened_by="<@7>", reason="until Zaphod is back"
    )
    telemetry.breaker_moved(CLOSED, by_hand, run_id=None)

    (event,) = kept.events
    assert event["message"] == "Sync breaker opened by hand: nothing is written"
    assert "Zaphod" not in str(event)


def test_parked_rows_are_told_once_for_each_reason(kept: Kept, telemetry: SystemTelemetry) -> None:
    """As long as any row is parked: a site that refuses a thousand tells of them once."""
    for id_ in range(5):
        telemetry.parked((ParkedRow(id=UserId(id_), reason=f"roles: Role {id_}"),), run_id="r1")
    telemetry.parked((ParkedRow(id=UserId(9), reason="name: too long"),), run_id="r2")
    telemetry.kept(State(), parked=0, untold=0)
    telemetry.parked((ParkedRow(id=UserId(9), reason="name: too long"),), run_id="r3")

    assert [event["tags"]["run_id"] for event in kept.events] == ["r1", "r2", "r3"]
    assert kept.events[0]["contexts"]["sync parked"] == {"rows by reason": {"roles: Role N": 1}}


# -- traces ---------------------------------------------------------------------------------------


def test_each_run_is_a_trace_of_its_own(kept: Kept, telemetry: SystemTelemetry) -> None:
    """Its transaction, its failure and its check-ins; and what is told outside is in neither."""
    run(telemetry, failed("1"), ERROR_500)
    run(telemetry, failed("2"), ERROR_500)
    telemetry.breaker_moved(CLOSED, OPEN, run_id="2")
    telemetry.breaker_moved(OPEN, CLOSED, run_id=None)

    traces = [
        (kind, item["contexts"]["trace"]["trace_id"])
        for kind, item in kept.items
        if kind in {"event", "transaction", "check_in"}
    ]
    ids = list(dict.fromkeys(id_ for _, id_ in traces))
    assert [[kind for kind, id_ in traces if id_ == one] for one in ids] == [
        ["check_in", "check_in", "event", "transaction"],
        ["check_in", "check_in", "event", "transaction"],
        ["event"],
        ["event"],
    ]


def test_a_transaction_shows_phases_and_some_chunks(kept: Kept, telemetry: SystemTelemetry) -> None:
    """Of thousands of chunks the first hundred and then fewer, so that it can hold them."""
    run(telemetry, view(), *[Applied()] * 2000)

    (transaction,) = kept.of("transaction")
    by_op: dict[str, list[Any]] = {}
    for span in transaction["spans"]:
        by_op.setdefault(span["op"], []).append(span)
    phases = [span["description"] for span in by_op["sync.phase"]]
    (users,) = [span for span in by_op["sync.phase"] if span["description"] == "writing users"]
    chunks = by_op["http.client"]
    assert (transaction["transaction"], phases) == (
        "sync full",
        ["reading the site", "writing users"],
    )
    assert 100 <= len(chunks) <= 250
    assert {span["parent_span_id"] for span in chunks} == {users["span_id"]}
    assert {span["description"] for span in chunks} == {"PATCH bot/users/bulk_patch"}
    assert chunks[0]["data"]["rows"] == 2
    assert transaction["contexts"]["trace"]["status"] == "ok"


def test_a_request_that_failed_is_in_the_transaction_whenever_it_came(
    kept: Kept, telemetry: SystemTelemetry
) -> None:
    """It is what one looks for; an endless row of them does not fill it up."""
    run(telemetry, failed(), *[Applied()] * 500, *[ERROR_500] * 2000)

    (transaction,) = kept.of("transaction")
    failing = [span for span in transaction["spans"] if span["op"] == "http.client"]
    assert len([s for s in failing if s["status"] == "internal_error"]) > 500
    assert len(transaction["spans"]) < 1000


def test_a_breadcrumb_is_a_chunk(telemetry: SystemTelemetry) -> None:
    """Or a request that failed, of which a log's line makes no second one."""
    integrations = [LoggingIntegration(level=logging.INFO, event_level=logging.ERROR)]
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    try:
        with reported(integrations=integrations, default_integrations=False) as kept:
            sentry_sdk.add_breadcrumb(message="long ago")
            with telemetry.traced(failed()):
                for number in range(3):
                    telemetry.asked(requests.page(1, size=1), f"r-{number}", Applied(), 0.1)
                telemetry.asked(CHUNK, "r-4", Applied(), 0.1)
                telemetry.asked(requests.roles(), "r-5", ERROR_500, 0.1)
                telemetry.run_finished(failed(), RunFigures())
    finally:
        structlog.reset_defaults()

    (event,) = kept.events
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == [
        "PATCH bot/users/bulk_patch: Applied",
        "GET bot/roles: Failing",
    ]


# -- check-ins ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "neutral", "status"),
    [
        (view(), False, "ok"),
        (view(kind=RunKind.CHECK), False, "ok"),
        (failed(), False, "error"),
        (view(ending=Ending.CANCELLED), True, "ok"),
        (view(ending=Ending.CANCELLED), False, "error"),
        (view(kind=RunKind.USERS), False, None),
        (view(kind=RunKind.PLAN, ending=Ending.PLANNED), False, None),
    ],
)
def test_no_check_in_stays_open(
    kept: Kept, telemetry: SystemTelemetry, ended: RunView, *, neutral: bool, status: str | None
) -> None:
    """Whoever started the sync and however it ended: by a cancel, or with the bot, as well.

    A stop is nothing to alarm anybody, unless the site was in trouble by then.
    """
    run(telemetry, ended, neutral=neutral)

    told = [(one["check_in_id"], one["status"]) for one in kept.of("check_in")]
    id_ = "0a1b2c3d".ljust(32, "0")
    assert told == ([] if status is None else [(id_, "in_progress"), (id_, status)])


async def test_a_long_run_is_known_to_live(
    kept: Kept, telemetry: SystemTelemetry, clock: HandClock
) -> None:
    """As long as it sends requests its time begins anew now and then, and never with each."""
    with telemetry.traced(view()):
        telemetry.run_started(view(ending=None))
        for number in range(180):
            await clock.advance(60)
            telemetry.asked(CHUNK, f"0a1b2c3d-{number}", Applied(), 0.1)
    signs = [one for one in kept.of("check_in") if one["status"] == "in_progress"]
    gap = timedelta(hours=3) / (len(signs) - 1)

    assert timedelta(minutes=5) <= gap < timedelta(minutes=monitor(3600)["max_runtime"] / 2)


@pytest.mark.parametrize("every_s", [60.0, 300.0, 6 * 3600.0, 30 * 86400.0])
def test_no_check_that_comes_in_time_is_missed(every_s: float) -> None:
    """A check comes a tenth sooner or later; the monitor waits for as long, and some more."""
    config: Any = monitor(every_s)
    schedule = config["schedule"]
    waits_s = 60 * (schedule["value"] + config["checkin_margin"])

    assert schedule["unit"] == "minute"
    assert waits_s >= every_s * (1 + CHECK_SPREAD) + 25 * 60


def test_without_checks_nobody_waits_for_one(kept: Kept, clock: HandClock) -> None:
    """A monitor would miss what nobody has promised."""
    reports = SentryReports(clock=clock, guild_id=7, site="site.invalid", every_s=0)
    run(SystemTelemetry(reports, lambda _name, _values: None), view())

    assert kept.of("check_in") == []
