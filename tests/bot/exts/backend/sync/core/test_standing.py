"""How the extension stands, as plain values for whoever asks."""

import json
from dataclasses import replace

import pytest

from bot.exts.backend.sync._core.messages.progress import RunKind
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from bot.exts.backend.sync._core.policy.departures import Subject
from bot.exts.backend.sync._core.policy.standing import Standing

from .examples import NOW

STANDING = Standing(
    leads=True,
    stands_by=False,
    store_trouble=None,
    discord_trouble="Discord can't be reached",
    mod_log_trouble=None,
    breaker=BreakerState.OPEN,
    failures=3,
    next_try_at=NOW,
    is_paused=False,
    verified_at=None,
    run_id="r1",
    run_phase="writing users",
    last_run_id="r0",
    last_run_ending="failed",
    last_run_at=NOW,
    waiting=6,
    oldest_s=90.04,
    parked=4,
    withheld={Subject.DEPARTURES: 7},
    untold=5,
    members=None,
    members_complete=False,
)


def test_it_can_be_told_as_plain_values() -> None:
    """Moments in ISO 8601, what is not known as null."""
    told = json.loads(json.dumps(STANDING.to_json()))

    assert told == {
        "ready": True,
        "leads": True,
        "stands_by": False,
        "store_trouble": None,
        "discord_trouble": "Discord can't be reached",
        "mod_log_trouble": None,
        "breaker": "open",
        "failures_in_a_row": 3,
        "next_try_at": NOW.isoformat(),
        "paused": False,
        "last_verified_at": None,
        "run": {"run_id": "r1", "phase": "writing users"},
        "last_run": {"run_id": "r0", "ending": "failed", "at": NOW.isoformat()},
        "changes_waiting": 6,
        "oldest_change_s": 90.0,
        "rows_parked": 4,
        "withheld": {"departures": 7},
        "alerts_waiting": 5,
        "members": None,
        "members_complete": False,
    }
    none = replace(STANDING, run_id=None, last_run_id=None).to_json()
    assert (none["run"], none["last_run"]) == (None, None)


@pytest.mark.parametrize(
    ("leads", "stands_by", "ready"),
    [(True, False, True), (False, True, True), (False, False, False)],
)
def test_neither_the_site_nor_discord_has_a_say_in_whether_it_is_ready(
    *, leads: bool, stands_by: bool, ready: bool
) -> None:
    """Whoever restarts a bot for either of them only asks more of it."""
    assert replace(STANDING, leads=leads, stands_by=stands_by).is_ready is ready


def test_two_kinds_of_runs_are_full_syncs() -> None:
    """All others bring a part, or nothing."""
    assert [kind for kind in RunKind if kind.is_full] == [RunKind.FULL, RunKind.CHECK]
