"""The servers of the sandbox: started, read, stopped and killed for real."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import httpx
import psutil
import psycopg
import pytest
from redis.asyncio import Redis

from sandbox.discord.client import DiscordControl
from sandbox.servers import (
    Bot,
    Discord,
    Postgres,
    Server,
    ServerError,
    Valkey,
    Website,
    postgres,
    until,
)

_EVENT = """print('{"event": "up", "start": %s}', flush=True)"""
_SLEEP = "import time; time.sleep(600)"


class Script(Server):
    """A Python program of a few words that is ready once it has logged `up`."""

    name: ClassVar[str] = "script"
    start_timeout_s: ClassVar[float] = 5.0

    def __init__(self, directory: Path, source: str) -> None:
        super().__init__(directory)
        self.source = source

    def command(self) -> Sequence[str]:
        return [sys.executable, "-c", self.source]

    def is_ready(self) -> bool:
        return bool(self.events("up", latest_start=True))


async def test_log_is_read_across_starts(tmp_path: Path) -> None:
    """Events come in order, those of the latest start alone on demand, other lines left out."""
    script = Script(tmp_path, f"print('no JSON');{_EVENT % 1};{_SLEEP}")
    async with script:
        script.source = f"{_EVENT % 2};{_SLEEP}"
        await script.restart()

        assert [
            [event["start"] for event in script.events("up")],
            script.events(latest_start=True),
            script.exit_code,
        ] == [[1, 2], [{"event": "up", "start": 2}], None]
    assert script.exit_code == -signal.SIGTERM


async def test_a_program_that_ends_fails_its_start(tmp_path: Path) -> None:
    """The error tells the exit code and the end of the log."""
    script = Script(tmp_path, "import sys; sys.exit('PORT is missing')")

    with pytest.raises(
        ServerError, match=r"script ended with exit code 1 while(.|\n)*PORT is miss"
    ):
        await script.start()


async def test_a_program_that_hangs_fails_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is not ready in time is killed, and the error says so."""
    monkeypatch.setattr(Script, "start_timeout_s", 0.05)
    script = Script(tmp_path, _SLEEP)

    with pytest.raises(ServerError, match=r"script was not ready within 0\.05 s"):
        await script.start()
    assert not script.running


async def test_stop_kills_what_ignores_it(tmp_path: Path) -> None:
    """A program deaf to SIGTERM is killed after the patience has run out."""
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    script = Script(tmp_path, f"{deaf};{_EVENT % 1};{_SLEEP}")
    await script.start()

    assert await script.stop(patience_s=0.05) == -signal.SIGKILL


async def test_kill_takes_the_children_too(tmp_path: Path) -> None:
    """After a kill neither the program nor a child in a session of its own runs."""
    child = f"subprocess.Popen([sys.executable, '-c', {_SLEEP!r}], start_new_session=True)"
    script = Script(tmp_path, f"import subprocess, sys; {child};{_EVENT % 1};{_SLEEP}")
    await script.start()
    family = [psutil.Process(script.pid), *psutil.Process(script.pid).children()]

    script.kill()

    assert [script.exit_code, len(family), *(process.is_running() for process in family[:1])] == [
        -signal.SIGKILL,
        2,
        False,
    ]
    assert await until(lambda: not _alive(family[1]), timeout_s=5)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_waiting_for_an_event_ends_with_the_program(tmp_path: Path) -> None:
    """An event that can't come any more fails at once, not when the time is over."""
    script = Script(tmp_path, _EVENT % 1)
    await script.launch()

    with pytest.raises(ServerError, match="ended with exit code 0 before it logged down"):
        await script.wait_for_event("down", timeout_s=10)


async def test_memory_counts_the_whole_tree(tmp_path: Path) -> None:
    """The peak holds what the program and its child have given back already."""
    hungry = "x = bytearray(40 * 2**20); del x"
    child = f"subprocess.Popen([sys.executable, '-c', {f'{hungry};{_EVENT % 1};{_SLEEP}'!r}])"
    async with Script(tmp_path, f"import subprocess, sys; {hungry}; {child}; {_SLEEP}") as script:
        assert 80 < script.peak_rss_mb() < 130


async def test_processor_time_counts_the_whole_tree(tmp_path: Path) -> None:
    """What the program and its child have worked is counted, what they sleep is not."""
    busy = "import time; [None for _ in iter(lambda: time.process_time() < 0.2, False)]"
    child = f"subprocess.Popen([sys.executable, '-c', {f'{busy};{_EVENT % 1};{_SLEEP}'!r}])"
    async with Script(tmp_path, f"import subprocess, sys; {busy}; {child}; {_SLEEP}") as script:
        assert 0.3 < script.cpu_s() < 2  # counted in hundredths, by the kernel


async def test_postgres_survives_a_kill(tmp_path: Path) -> None:
    """What was committed is there when it is started again, under the same address."""
    async with Postgres(tmp_path) as server:
        url = await server.create_database("things")
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE thing AS SELECT 1 AS id")
        server.kill()
        await server.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT id FROM thing").fetchall() == [(1,)]
    assert server.exit_code == 0


async def test_postgres_runs_from_where_others_cannot_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout below a private directory is no obstacle to the other user."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    postgres.copy_install(private)
    monkeypatch.setattr(postgres, "installed_in", lambda: private)

    async with Postgres(tmp_path) as server:
        assert psutil.Process(server.pid).uids().effective != 0


async def test_valkey_survives_a_kill(tmp_path: Path) -> None:
    """What it acknowledged is there when it is started again, and its settings lose nothing."""
    settings = ("appendonly", "appendfsync", "maxmemory-policy")
    async with Valkey(tmp_path) as server:
        async with Redis.from_url(server.url) as client:
            await client.set("key", "value")
        server.kill()
        await server.start()

        async with Redis.from_url(server.url) as client:
            found = [await client.get("key"), await client.config_get(*settings)]
        assert found == [
            b"value",
            {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"},
        ]


async def test_website_takes_its_own_token(tmp_path: Path) -> None:
    """It answers under the same address after a restart, to the token that it was asked for."""
    database_url = f"sqlite:///{tmp_path}/website.sqlite3"
    async with Website(tmp_path, database_url=database_url) as site:
        headers = {"Authorization": f"Token {site.token}"}
        await site.restart()
        async with httpx.AsyncClient(headers=headers, trust_env=False) as client:
            answer = await client.get(f"{site.api_url}bot/roles")

        assert (answer.status_code, answer.json()) == (200, [])


async def test_discord_is_decided_by_its_seed(tmp_path: Path) -> None:
    """The same seed makes the same members, another one others."""
    guilds = []
    for seed in (7, 7, 8):
        async with Discord(tmp_path, seed=seed) as discord, DiscordControl(discord.url) as control:
            await control.create_guild(1000, members=3)
            guilds.append([member["id"] async for member in control.members(1000)])

    assert [len(guilds[0]), guilds[0] == guilds[1], guilds[0] == guilds[2]] == [4, True, False]


async def test_bot_sees_only_its_given_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is set around the harness doesn't reach it: without a token it refuses to start."""
    monkeypatch.setenv("BOT_TOKEN", "of the developer's own bot")
    bot = Bot(tmp_path, {})
    await bot.launch()

    assert (await bot.wait_ended(), bot.log_text()) == (
        78,
        "bot: BOT_TOKEN is missing: set it in the environment or in .env\n",
    )
    await bot.close()
