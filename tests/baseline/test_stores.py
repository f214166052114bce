"""Whatever the version before has written down is read, and nothing of it counts as lost."""

import json
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bot.exts.backend.sync._core.messages import buttons
from bot.exts.backend.sync._core.messages.alert import Alert
from bot.exts.backend.sync._core.messages.history import PastRun
from bot.exts.backend.sync._core.messages.notice import Notice, Tone
from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.plan.drift import Drift
from bot.exts.backend.sync._core.plan.rounds import Bookmark
from bot.exts.backend.sync._core.policy.attempt import Attempt
from bot.exts.backend.sync._core.policy.breaker import Breaker, BreakerState
from bot.exts.backend.sync._core.policy.departures import Decision, Subject, WithheldList
from bot.exts.backend.sync._core.policy.memory import CrashMemory, ParkedRecord
from bot.exts.backend.sync._core.policy.news import Told, Topic
from bot.exts.backend.sync._core.policy.state import Pause, State
from bot.exts.backend.sync._ports import Store
from bot.exts.backend.sync._state.repository import StateRepository
from bot.exts.backend.sync._store import open_store
from tests.baseline.make_stores import STORES, VALKEY
from tests.baseline.today import SECRET, repository_over
from tests.fakes.clock import HandClock
from tests.fakes.store import FakeStore, Kept

# In the order in which they were written: each is of a guild of its own, numbered from 1.
NAMES = (
    "in_step",
    "in_mid_run",
    "retry_waits",
    "breaker_open",
    "refused",
    "opened_by_hand",
    "probe_died",
    "paused",
    "lists_wait",
    "lists_decided",
    "parked",
    "alerts_undelivered",
)
WRITTEN = datetime.fromisoformat("2026-11-26T12:00:00+00:00")
READ = WRITTEN + timedelta(hours=2)
FAILURE = "the site kept failing: 500"
KILLED = "the bot ended in the middle of a sync"


def minute(number: int) -> datetime:
    """Return a time that the version before wrote."""
    return WRITTEN + timedelta(minutes=number)


def told(reason: str, at: datetime = WRITTEN) -> Told:
    """Return what was told once."""
    return Told(reason=reason, since=at, at=at)


def attempt(run_id: str, *, at: int, probe: bool = False) -> Attempt:
    """Return an attempt that the version before began."""
    return Attempt(
        run_id=run_id,
        what="roles and users",
        trigger="at start-up",
        full=True,
        probe=probe,
        started_at=minute(at),
    )


def past_run(run_id: str, ending: str, *, at: int = 0, reason: str = "") -> PastRun:
    """Return a run that ended in the version before."""
    return PastRun(
        run_id=run_id,
        what="roles and users",
        trigger="at start-up",
        ending=ending,
        started_at=minute(at),
        ended_at=minute(at) + timedelta(seconds=5),
        planned=9,
        created=3,
        updated=2,
        departed=1,
        parked=4,
        withheld=5,
        requests=8,
        reason=reason,
        curve=((0.1, 0.2), (1.0, 0.3)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """All that a repository knows once loaded; of its alerts when they were said, and titles."""

    state: State = field(default_factory=State)
    died: Attempt | None = None
    alerts: tuple[tuple[datetime, str], ...] = ()
    parked: Mapping[UserId, ParkedRecord] = field(default_factory=dict)
    withheld: Mapping[Subject, WithheldList] = field(default_factory=dict)
    drift: Drift | None = None
    past: tuple[PastRun, ...] = ()


def sqlite_store(name: str, place: Path, clock: HandClock) -> Store:
    """Return the file of that state, as today's store opens it."""
    shutil.copy(STORES / f"{name}.db", place)
    guild_id = NAMES.index(name) + 1
    return open_store(f"sqlite:///{place}/{name}.db", guild_id=guild_id, clock=clock)


def valkey_store(name: str, _place: Path, clock: HandClock) -> Store:
    """Return what that state was on a server; `test_valkey` shows that one gives the same back."""
    fields = json.loads(VALKEY.read_text())[f"guild-sync:{NAMES.index(name) + 1}"]
    entries = {key[1:]: text for key, text in fields.items() if key.startswith("=")}
    return FakeStore(Kept(entries=entries), clock=clock)


Open = Callable[[str, Path, HandClock], Store]


@pytest.fixture(params=[sqlite_store, valkey_store])
def opened(request: pytest.FixtureRequest) -> Open:
    """Return how a state is opened."""
    made: Open = request.param
    return made


async def repository_of(
    opened: Open, name: str, place: Path, *, at: datetime = READ, secret: str = SECRET
) -> StateRepository:
    """Load a repository as the process that follows would, and see that its store is trusted."""
    clock = HandClock()
    clock.skew = at - clock.now()
    async with opened(name, place, clock) as store:
        assert (store.is_new, store.kept_aside, store.warnings) == (False, None, ())
        assert await store.acquire()
        repository = repository_over(store, clock, secret=secret)
        before = await store.scan("")
        await repository.load()
        after = await store.scan("")
    assert repository.is_trusted
    assert not [key for key in after if key.startswith("unreadable")]
    assert (after["born"], after["salt"]) == (before["born"], before["salt"])
    return repository


async def loaded(opened: Open, name: str, place: Path, *, at: datetime = READ) -> Loaded:
    """Return all that is known of a state."""
    repository = await repository_of(opened, name, place, at=at)
    alerts = in_order(repository)
    # The version before does not say how it ended, so its last writes may still be under way.
    assert not repository.was_handed_over
    return Loaded(
        state=repository.state,
        died=repository.died,
        alerts=tuple((one.created_at, one.notice.title) for one in alerts),
        parked=repository.parked,
        withheld=repository.withheld,
        drift=repository.drift,
        past=tuple(repository.past_runs()),
    )


def in_order(repository: StateRepository) -> list[Alert]:
    """Return the alerts in the order in which they were said."""
    return sorted(repository.alerts.values(), key=lambda one: (one.created_at, one.notice.title))


async def test_in_step(opened: Open, tmp_path: Path) -> None:
    """Nothing is open; the past runs and what the last check found are known."""
    assert await loaded(opened, "in_step", tmp_path) == Loaded(
        drift=Drift(at=minute(120), rows=2),
        past=(past_run("11111111", "verified"), past_run("11111112", "verified", at=60)),
    )


async def test_in_mid_run(opened: Open, tmp_path: Path) -> None:
    """It was killed a second time: its message, its sizes and its place in the round are known."""
    jitter = random.Random(1).random()
    length = timedelta(minutes=5) * (1 + 0.2 * (2 * jitter - 1))

    found = await loaded(opened, "in_mid_run", tmp_path)

    assert found == Loaded(
        state=State(
            breaker=Breaker(failures=2, length=length, retry_at=READ + length, reason=KILLED),
            memory=CrashMemory(ceiling=125),
            told={Topic.START: told("interrupted: 22222222", READ)},
            bookmark=Bookmark(through=UserId(4000), at=minute(6)),
        ),
        died=replace(
            attempt("22222222", at=6), channel_id=900, message_id=901, done=300, planned=1000
        ),
        alerts=((minute(1), "Sync was interrupted"), (READ, "Sync was interrupted")),
    )


async def test_retry_waits(opened: Open, tmp_path: Path) -> None:
    """One failure is counted, and tried again when that was to be, not a full wait later."""
    found = await loaded(opened, "retry_waits", tmp_path, at=WRITTEN)
    length = found.state.breaker.length

    assert timedelta(seconds=48) <= length <= timedelta(seconds=72)
    assert found == Loaded(
        state=State(
            breaker=Breaker(failures=1, length=length, retry_at=WRITTEN + length, reason=FAILURE),
            told={Topic.RUN: told("failing")},
        ),
        alerts=((WRITTEN, "Sync failed"),),
        past=(past_run("66666666", "failed", reason=FAILURE),),
    )


async def test_breaker_open(opened: Open, tmp_path: Path) -> None:
    """It is open still, for the same reason, and no longer than it was to be."""
    assert await loaded(opened, "breaker_open", tmp_path) == Loaded(
        state=State(
            breaker=Breaker(
                state=BreakerState.OPEN,
                failures=3,
                length=timedelta(minutes=15),
                retry_at=minute(35),
                opened_at=minute(20),
                reason=FAILURE,
            ),
            told={Topic.BREAKER: told(f"open: {FAILURE}", minute(20))},
        ),
        alerts=((minute(20), "Sync breaker opened"),),
    )


async def test_refused(opened: Open, tmp_path: Path) -> None:
    """The refusal lasts for its day while the credentials are those that were refused."""
    found = await loaded(opened, "refused", tmp_path)
    credentials = found.state.breaker.credentials

    assert credentials is not None
    assert found == Loaded(
        state=State(
            breaker=Breaker(
                state=BreakerState.OPEN,
                failures=1,
                length=timedelta(days=1),
                retry_at=minute(24 * 60),
                opened_at=WRITTEN,
                reason="Invalid token.",
                credentials=credentials,
            ),
            told={
                Topic.BREAKER: told("open: Invalid token."),
                Topic.START: told(f"open: {WRITTEN.isoformat()}"),
            },
        ),
        alerts=((WRITTEN, "Start-up sync withheld"), (WRITTEN, "Sync breaker opened")),
    )


async def test_other_credentials(opened: Open, tmp_path: Path) -> None:
    """A token other than the one that was refused is tried at once."""
    repository = await repository_of(opened, "refused", tmp_path, secret="http://site/api/ other")
    breaker = repository.state.breaker

    assert (breaker.state, breaker.retry_at, breaker.credentials) == (BreakerState.OPEN, READ, None)


async def test_opened_by_hand(opened: Open, tmp_path: Path) -> None:
    """It stays an order that only a reset ends."""
    assert await loaded(opened, "opened_by_hand", tmp_path) == Loaded(
        state=State(
            breaker=Breaker(
                state=BreakerState.OPEN,
                opened_at=WRITTEN,
                reason="the site is being moved",
                opened_by="<@7>",
            ),
            told={Topic.BREAKER: told("by hand: <@7>")},
        ),
        alerts=((WRITTEN, "Sync breaker opened by hand"),),
    )


async def test_probe_died(opened: Open, tmp_path: Path) -> None:
    """The probe counts as failed: the breaker is open for twice as long, and sizes are halved."""
    assert await loaded(opened, "probe_died", tmp_path) == Loaded(
        state=State(
            breaker=Breaker(
                state=BreakerState.OPEN,
                failures=4,
                length=timedelta(minutes=30),
                retry_at=READ + timedelta(minutes=30),
                opened_at=minute(20),
                reason=KILLED,
            ),
            memory=CrashMemory(ceiling=50),
            told={
                Topic.START: told("interrupted: 44444444", READ),
                Topic.BREAKER: told(f"probe: {KILLED}", READ),
            },
        ),
        died=attempt("44444444", at=45, probe=True),
        alerts=(
            (minute(20), "Sync breaker opened"),
            (READ, "Sync probe failed"),
            (READ, "Sync was interrupted"),
        ),
    )


async def test_paused(opened: Open, tmp_path: Path) -> None:
    """It is paused still, and by whom and since when is known."""
    assert await loaded(opened, "paused", tmp_path) == Loaded(
        state=State(
            pause=Pause(by="<@7>", at=WRITTEN),
            told={Topic.PAUSE: told("<@7>")},
        ),
        alerts=((WRITTEN, "Sync is paused"),),
    )


DEPARTURES = WithheldList(
    what=Subject.DEPARTURES,
    ids=(11, 12, 13),
    digest="dac459a5",
    total=20,
    run_id="55555555",
    asked_at=WRITTEN,
    names={11: "eve"},
)
ROLE_DELETIONS = WithheldList(
    what=Subject.ROLE_DELETIONS,
    ids=(5, 6),
    digest="cb45f7e6",
    total=7,
    run_id="55555555",
    asked_at=WRITTEN,
    names={5: "red"},
)


async def test_lists_wait(opened: Open, tmp_path: Path) -> None:
    """Both wait for a decision, and are called what the buttons in mod-log call them."""
    assert await loaded(opened, "lists_wait", tmp_path) == Loaded(
        state=State(
            told={
                Topic.DEPARTURES: told("dac459a5"),
                Topic.ROLE_DELETIONS: told("cb45f7e6"),
            }
        ),
        alerts=((WRITTEN, "Departures withheld"), (WRITTEN, "Role deletions withheld")),
        withheld={Subject.DEPARTURES: DEPARTURES, Subject.ROLE_DELETIONS: ROLE_DELETIONS},
    )


async def test_lists_decided(opened: Open, tmp_path: Path) -> None:
    """One is approved and one rejected, by whom and when."""
    assert await loaded(opened, "lists_decided", tmp_path) == Loaded(
        alerts=(
            (WRITTEN, "Departures withheld"),
            (WRITTEN, "Role deletions withheld"),
            (minute(30), "Departures approved"),
            (minute(30), "Role deletions rejected"),
        ),
        withheld={
            Subject.DEPARTURES: replace(
                DEPARTURES,
                decision=Decision.APPROVED,
                by="<@7>",
                decided_at=minute(30),
                begun=True,  # it did not say, so that nothing of it may be taken back
            ),
            Subject.ROLE_DELETIONS: replace(
                ROLE_DELETIONS, decision=Decision.REJECTED, by="<@7>", decided_at=minute(30)
            ),
        },
    )


async def test_parked(opened: Open, tmp_path: Path) -> None:
    """Each row is parked still, with its reason, its tries and when it is tried again."""
    rows = (
        ParkedRecord(
            id=UserId(21),
            reason="name: too long",
            payload_hash="a" * 64,
            tries=2,
            parked_at=WRITTEN,
            next_try_at=minute(60 + 6 * 60),
        ),
        ParkedRecord(
            id=UserId(22),
            reason="the site alters it",
            payload_hash="b" * 64,
            tries=1,
            parked_at=WRITTEN,
            next_try_at=minute(60),
        ),
    )

    assert await loaded(opened, "parked", tmp_path) == Loaded(parked={row.id: row for row in rows})


async def test_alerts_undelivered(opened: Open, tmp_path: Path) -> None:
    """What Discord could not take waits still: every word, its buttons, its ping and its id."""
    repository = await repository_of(opened, "alerts_undelivered", tmp_path)
    first, second = in_order(repository)

    assert repository.alerts == {first.id: first, second.id: second}
    assert first == Alert(
        id=first.id,
        created_at=WRITTEN,
        notice=Notice(
            title="State store needs a look",
            description=(
                "**redis has appendfsync everysec**\n"
                "Sync works on. What is known of failures may not outlive the next crash.\n"
                "**You can** put that right and restart the bot."
            ),
            tone=Tone.WARNING,
            footer=f"alert {first.id}",
            ping=True,
        ),
    )
    assert second == Alert(
        id=second.id,
        created_at=minute(21),
        notice=Notice(
            title="Sync breaker opened",
            description=(
                "**3 syncs in a row failed.** The last one: the site kept failing\\: 500\n"
                "The breaker is open: nothing is written to the site now, so that it can recover. "
                "Changes in this server wait; none is lost.\n"
                f"**Next:** one small try <t:{minute(36).timestamp():.0f}:R>. If it goes well, all "
                "that waits follows by itself.\n"
                "**You can** look after the site. **Probe now** (`!sync all force`) tries at once "
                "instead of waiting; **Reset** (`!sync breaker reset`) lets everything through "
                "without a try."
            ),
            tone=Tone.BAD,
            footer=f"run 33333332 · alert {second.id}",
            ping=True,
            buttons=buttons.OF_BREAKER,
        ),
    )


async def test_an_undelivered_alert_s_fields(opened: Open, tmp_path: Path) -> None:
    """The figures of a failed run wait with it."""
    repository = await repository_of(opened, "retry_waits", tmp_path)

    (alert,) = repository.alerts.values()

    assert alert.notice.fields == (("Sent", "300 of 1,000"), ("Chunk", "12"))


def test_every_state_is_kept() -> None:
    """In a file each, and on a server."""
    assert {file.name for file in STORES.iterdir()} == {f"{n}.db" for n in NAMES} | {VALKEY.name}
    assert set(json.loads(VALKEY.read_text())) == {
        f"guild-sync:{number}" for number, _ in enumerate(NAMES, 1)
    }
