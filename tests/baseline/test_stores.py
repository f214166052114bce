"""Whatever the version before has written down is read, and nothing of it counts as lost."""

import json
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bot.exts.backend.sync._core.breaker import BreakerLimits, BreakerState
from bot.exts.backend.sync._core.state import StateLimits
from bot.exts.backend.sync._core.withheld import Decision, What
from bot.exts.backend.sync._ledger import Ledger
from bot.exts.backend.sync._ports import Store
from bot.exts.backend.sync._store import open_store
from tests.baseline.make_stores import STORES, VALKEY
from tests.fakes.clock import HandClock
from tests.fakes.store import FakeStore, Kept

NAMES = (
    "in_step",
    "in_mid_run",
    "breaker_open",
    "opened_by_hand",
    "probe_died",
    "paused",
    "lists_wait",
    "parked",
    "alerts_undelivered",
)


def sqlite_store(name: str, place: Path, _clock: HandClock) -> Store:
    """Return the file of that state, as today's store opens it."""
    shutil.copy(STORES / f"{name}.db", place)
    return open_store(f"sqlite:///{place}/{name}.db", guild_id=NAMES.index(name) + 1)


def valkey_store(name: str, _place: Path, clock: HandClock) -> Store:
    """Return what that state was on a server; `test_valkey` shows that one gives the same back."""
    hashes = json.loads(VALKEY.read_text())[f"guild-sync:{NAMES.index(name) + 1}"]
    entries = {key[1:]: text for key, text in hashes.items() if key.startswith("=")}
    return FakeStore(Kept(entries=entries), clock=clock)


Open = Callable[[str, Path, HandClock], Store]


@pytest.fixture(params=[sqlite_store, valkey_store])
def opened(request: pytest.FixtureRequest) -> Open:
    """Return how a state is opened."""
    made: Open = request.param
    return made


@asynccontextmanager
async def loaded(opened: Open, name: str, place: Path) -> AsyncIterator[Ledger]:
    """Load a ledger of a state, a moment after it was written."""
    clock = HandClock()
    clock.skew = written_at() - clock.now() + timedelta(seconds=10)
    async with opened(name, place, clock) as store:
        assert not store.is_new
        assert await store.acquire()
        ledger = Ledger(
            store,
            clock=clock,
            chance=random.Random(1),
            limits=StateLimits(breaker=BreakerLimits(), default_items=1000),
            secret="http://site/api/ key",
        )
        await ledger.load()
        kept = await store.scan("")
        assert ledger.is_trusted
        assert not [key for key in kept if key.startswith("unreadable")]
        yield ledger


def written_at() -> datetime:
    """Return when the stores were written."""
    with closing(sqlite3.connect(f"file:{STORES}/in_step.db?mode=ro", uri=True)) as connection:
        (text,) = connection.execute("SELECT value FROM entries WHERE key = 'born'").fetchone()
    return datetime.fromisoformat(json.loads(text))


async def test_in_step(opened: Open, tmp_path: Path) -> None:
    """The breaker is closed, the last run and what the last check found are known."""
    async with loaded(opened, "in_step", tmp_path) as ledger:
        (run,) = ledger.past_runs()

        assert (ledger.state.breaker.state, ledger.died) == (BreakerState.CLOSED, None)
        assert (run.run_id, run.ending, run.planned, run.created) == ("11111111", "verified", 6, 3)
        assert run.curve == ((0.1, 0.2), (1.0, 0.3))
        assert ledger.drift is not None
        assert ledger.drift.rows == 0


async def test_in_mid_run(opened: Open, tmp_path: Path) -> None:
    """The attempt counts as interrupted, its size is remembered, and its place in the round."""
    async with loaded(opened, "in_mid_run", tmp_path) as ledger:
        died, state = ledger.died, ledger.state

        assert died is not None
        assert (died.run_id, died.message_id, died.done, died.planned) == (
            "22222222",
            901,
            300,
            1000,
        )
        assert (state.breaker.failures, state.attempt, state.memory.ceiling) == (1, None, 125)
        assert state.bookmark is not None
        assert state.bookmark.through == 4000


async def test_breaker_open(opened: Open, tmp_path: Path) -> None:
    """It is open still, for the same reason, and no longer than it was to be."""
    async with loaded(opened, "breaker_open", tmp_path) as ledger:
        breaker = ledger.state.breaker

        assert (breaker.state, breaker.failures) == (BreakerState.OPEN, 3)
        assert breaker.reason == "the site kept failing: 500"
        assert breaker.retry_at is not None
        assert breaker.opened_at is not None
        assert breaker.retry_at - breaker.opened_at == timedelta(minutes=15)


async def test_opened_by_hand(opened: Open, tmp_path: Path) -> None:
    """It stays an order that only a reset ends."""
    async with loaded(opened, "opened_by_hand", tmp_path) as ledger:
        breaker = ledger.state.breaker

        assert (breaker.state, breaker.opened_by) == (BreakerState.OPEN, "<@7>")
        assert (breaker.reason, breaker.retry_at) == ("the site is being moved", None)


async def test_probe_died(opened: Open, tmp_path: Path) -> None:
    """The probe counts as failed: the breaker is open for twice as long."""
    async with loaded(opened, "probe_died", tmp_path) as ledger:
        breaker = ledger.state.breaker

        assert ledger.died is not None
        assert (breaker.state, breaker.failures) == (BreakerState.OPEN, 4)
        assert breaker.length == timedelta(minutes=30)


async def test_paused(opened: Open, tmp_path: Path) -> None:
    """It is paused still, and by whom is known."""
    async with loaded(opened, "paused", tmp_path) as ledger:
        assert ledger.state.pause is not None
        assert ledger.state.pause.by == "<@7>"


async def test_lists_wait(opened: Open, tmp_path: Path) -> None:
    """One waits for a decision, the other is approved; both hold the ids that they held."""
    async with loaded(opened, "lists_wait", tmp_path) as ledger:
        departures = ledger.withheld[What.DEPARTURES]
        roles = ledger.withheld[What.ROLE_DELETIONS]

        assert (departures.decision, departures.ids) == (Decision.WAITING, (11, 12, 13))
        assert (roles.decision, roles.ids, roles.by) == (Decision.APPROVED, (5, 6), "<@7>")


async def test_parked(opened: Open, tmp_path: Path) -> None:
    """Each row is parked still, with its reason and the number of its tries."""
    async with loaded(opened, "parked", tmp_path) as ledger:
        assert {id_: (row.reason, row.tries) for id_, row in ledger.parked.items()} == {
            21: ("name: too long", 1),
            22: ("the site alters it", 1),
        }


async def test_alerts_undelivered(opened: Open, tmp_path: Path) -> None:
    """What Discord could not take waits still, in the order in which it was said."""
    async with loaded(opened, "alerts_undelivered", tmp_path) as ledger:
        alerts = sorted(ledger.alerts.values(), key=lambda one: one.created_at)

        assert [one.notice.title for one in alerts] == [
            "State store needs a look",
            "Sync breaker opened",
        ]


def test_every_state_is_kept() -> None:
    """In a file each, and on a server."""
    assert {file.stem for file in STORES.glob("*.db")} == {*NAMES}
    assert len(json.loads(VALKEY.read_text())) == len(NAMES)
