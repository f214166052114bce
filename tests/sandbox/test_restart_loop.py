"""The judgement of the restart loop, pure, and what it lets the bot wait for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.judging import Sent
from sandbox.replay.checks import ModLogMessage
from sandbox.replay.restart_loop import Evidence, waits

NOON = datetime(2021, 1, 12, 12, tzinfo=UTC)
RUNS = ("aaaaaaaa", "bbbbbbbb", "cccccccc")
PROBE = "dddddddd"


def at(seconds: float) -> datetime:
    """Return a moment so many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def message(*states: tuple[float, str, str, str]) -> ModLogMessage:
    """Return a message that had these titles, footers and descriptions, each since then."""
    bodies: list[tuple[datetime, dict[str, Any]]] = [
        (
            at(seconds),
            {"embeds": [{"title": title, "footer": {"text": footer}, "description": text}]},
        )
        for seconds, title, footer, text in states
    ]
    return ModLogMessage(id=int(states[0][0] * 10), author_id=1, states=tuple(bodies))


def alert(seconds: float, title: str, run_id: str) -> ModLogMessage:
    """Return an alert about a run."""
    return message((seconds, title, f"run {run_id} · alert {round(seconds * 10):x}", ""))


def run(seconds: float, run_id: str, ending: str, *, trigger: str = "at start-up") -> ModLogMessage:
    """Return the live message of a run that ended five seconds later."""
    return message(
        (seconds, "Syncing roles and users", f"run {run_id}", trigger),
        (seconds + 5, f"Sync of roles and users {ending}", f"run {run_id}", ""),
    )


def sent(run_id: str, seconds: float) -> Sent:
    """Return a write."""
    return Sent(request_id=f"{run_id}-1", at=at(seconds), writes=True)


ATTEMPTS = [run(place * 10, run_id, "interrupted") for place, run_id in enumerate(RUNS)]
INTERRUPTED = [
    alert(place * 10 + 6, "Sync was interrupted", run_id) for place, run_id in enumerate(RUNS)
]
OPENED = alert(27, "Sync breaker opened", RUNS[2])
PROBED = run(60, PROBE, "finished", trigger="by itself, as a probe of the site")
RECOVERED = alert(66, "Sync recovered", PROBE)
GOOD = Evidence(
    mod_log=[*ATTEMPTS, *INTERRUPTED, OPENED, PROBED, RECOVERED],
    requests=[],
    sent=[*(sent(run_id, place * 10 + 1) for place, run_id in enumerate(RUNS)), sent(PROBE, 61)],
    restarts=8,
)


def test_three_attempts_an_opening_and_a_recovery_are_as_it_must_be() -> None:
    """Nothing is wrong, and the figures tell it."""
    assert GOOD.faults(8) == []
    assert GOOD.further() == {
        "restarts": 8,
        "attempts_before_open": 3,
        "writes_while_open": 0,
        "notices": {"Sync was interrupted": 3, "Sync breaker opened": 1, "Sync recovered": 1},
    }


@pytest.mark.parametrize(
    ("evidence", "faults"),
    [
        (replace(GOOD, restarts=7), ["the bot was restarted 7 times, not 8"]),
        (
            replace(GOOD, sent=[sent(run_id, 1) for run_id in (*RUNS[:2], PROBE)]),
            [f"attempt {RUNS[2]} wrote nothing"],
        ),
        (
            replace(GOOD, sent=[*GOOD.sent, sent("eeeeeeee", 40)]),
            ["write eeeeeeee-1 was sent at 12:00:40.000000 while the breaker was open"],
        ),
        (
            replace(GOOD, mod_log=[*GOOD.mod_log, alert(70, "Sync breaker opened", PROBE)]),
            ["mod-log has 2 notices 'Sync breaker opened', not one"],
        ),
        (
            replace(
                GOOD,
                mod_log=[
                    *GOOD.mod_log,
                    run(25, "ffffffff", "interrupted"),
                    alert(26, "Sync was interrupted", "ffffffff"),
                ],
            ),
            ["4 attempts were made before the breaker opened"],
        ),
    ],
    ids=["restarts", "no write", "while open", "two openings", "four attempts"],
)
def test_what_is_not_as_it_must_be_is_named(evidence: Evidence, faults: list[str]) -> None:
    """Each figure that misses what is required has its sentence."""
    found = evidence.faults(8)

    assert [any(told.startswith(fault) for told in found) for fault in faults] == [True]


def test_the_breaker_opens_for_less_time_than_the_restarts_take() -> None:
    """Some probes, too, are cut off; and a short loop does not wait for minutes at its end."""
    short, long_ = waits(8), waits(50)

    assert (short["SYNC_BREAKER_OPEN_S"], short["SYNC_BREAKER_MAX_OPEN_S"]) == ("2.4", "4.8")
    assert (long_["SYNC_BREAKER_OPEN_S"], long_["SYNC_BREAKER_MAX_OPEN_S"]) == ("15", "30")
