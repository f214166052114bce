"""The version before reads what today's has written, and nothing of it counts as lost."""

import asyncio
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.plan.drift import Drift
from bot.exts.backend.sync._core.plan.rounds import Bookmark
from bot.exts.backend.sync._core.policy.breaker import AttemptEnding, Start
from bot.exts.backend.sync._core.policy.departures import Decision, Subject, withheld
from bot.exts.backend.sync._core.policy.memory import lifted, parked_again
from bot.exts.backend.sync._state.repository import StateRepository
from bot.exts.backend.sync._store import open_store
from sandbox.baseline import take_out
from sandbox.servers import Valkey
from tests.baseline.history import need_history
from tests.baseline.today import repository_over
from tests.bot.exts.backend.sync.state.examples import ATTEMPT, PAST
from tests.fakes.clock import HandClock

BY = "<@7>"
GUILD = 3
HERE = Path(__file__).parent


async def write(url: str, clock: HandClock) -> None:
    """Leave all that a store can hold, as a process does that dies in the middle of a run."""
    async with open_store(url, guild_id=GUILD, lease_s=30, clock=clock) as store:
        assert await store.acquire()
        repository = repository_over(store, clock)
        await repository.load()
        await repository.trust()
        now = clock.now()
        attempt = replace(ATTEMPT, channel_id=None, message_id=None)
        await repository.begin(attempt, start=Start.AUTOMATIC)
        await repository.end(AttemptEnding.VERIFIED, past=PAST)
        row = parked_again(None, id_=UserId(4), reason="no", payload_hash="h", now=now)
        await repository.park([lifted(row, now=now)])
        list_ = withheld(
            Subject.DEPARTURES, range(600), total=900, run_id="r", names={1: "x"}, now=now
        )
        await repository.withhold(list_)
        await repository.decide(list_, Decision.APPROVED, by=BY)
        await repository.begin_list(repository.withheld[Subject.DEPARTURES])
        await repository.note_drift(Drift(at=now, rows=2, causes=()))
        await repository.put_bookmark(Bookmark(through=UserId(4000), at=now))
        await repository.pause(BY)
        await repository.open_breaker(BY, "a move of hosts")
        await repository.begin(attempt, start=Start.FORCED)
        await repository.before_chunk(800)
        await repository.shown(ATTEMPT.run_id, channel_id=5, message_id=6, done=1, planned=9)


async def read_back(version: Path, url: str) -> dict[str, Any]:
    """Let the version before read it; return what it knows."""
    program = shutil.copy(HERE / "read_store.py", version)
    asked = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, program, url, str(GUILD)],
        cwd=version,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    known: dict[str, Any] = json.loads(asked.stdout.splitlines()[-1])
    return known


async def go_back_and_forth(url: str, place: Path) -> tuple[dict[str, Any], StateRepository]:
    """Write, let the version before read, and read again; return what each of them knows."""
    clock = HandClock()
    await write(url, clock)
    before = await read_back(take_out(place / "version"), url)
    async with open_store(url, guild_id=GUILD, lease_s=30, clock=clock) as store:
        assert await store.acquire()
        repository = repository_over(store, clock, seed=2)
        await repository.load()
    return before, repository


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a file", "a server"])
async def test_going_back_and_up_again_loses_nothing(kind: str, tmp_path: Path) -> None:
    """What a person ordered, what failed and what waits is all there, on either side."""
    need_history()
    if kind == "a file":
        before, after = await go_back_and_forth(f"sqlite:///{tmp_path}/sync.db", tmp_path)
    else:
        async with Valkey(tmp_path / "valkey") as server:
            before, after = await go_back_and_forth(server.url, tmp_path)

    titles = before.pop("alerts")
    assert before == {
        "new": False,
        "aside": None,
        "unreadable": [],
        "trusted": True,
        "breaker": "open",
        "opened by": BY,
        "paused by": BY,
        "ceiling": 400,
        "died": ATTEMPT.run_id,
        "parked": [4],
        "lists": [["departures", "approved"]],
        "drift": 2,
        "past": [PAST.run_id],
        "through": 4000,
    }
    assert {"Sync is paused", "Sync breaker opened by hand", "Sync was interrupted"} <= {*titles}
    assert (after.is_trusted, after.state.breaker.opened_by) == (True, BY)
    assert after.state.pause is not None
    assert (after.state.memory.ceiling, [*after.parked]) == (400, [4])
    assert after.withheld[Subject.DEPARTURES].decision is Decision.APPROVED
    assert [run.run_id for run in after.past_runs()] == [PAST.run_id]
    assert {one.notice.title for one in after.alerts.values()} >= {*titles}
