"""What is said of the bot over HTTP, also while its loop hangs."""

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from bot.health import Health, HealthServer
from bot.loop_watch import LoopWatch


class Cog:
    """A cog that says how it stands."""

    def __init__(self, *, ready: bool, error: Exception | None = None) -> None:
        self._ready = ready
        self._error = error

    def status(self) -> dict[str, object]:
        """Say it."""
        if self._error is not None:
            raise self._error
        return {"ready": self._ready, "breaker": "open"}


@dataclass
class LikeABot:
    """What of a bot is looked at."""

    gateway_connected: bool = True
    cogs: dict[str, object] = field(default_factory=dict)
    loop_watch: LoopWatch = field(default_factory=LoopWatch)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Turn a loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def bot(loop: asyncio.AbstractEventLoop) -> LikeABot:
    """Have a bot on that loop, watched as the real one is."""
    bot = LikeABot()

    async def start() -> None:
        bot.loop_watch.start()

    asyncio.run_coroutine_threadsafe(start(), loop).result(5)
    return bot


@pytest.fixture
def server(bot: LikeABot, loop: asyncio.AbstractEventLoop) -> Iterator[HealthServer]:
    """Serve what is said of it."""
    server = HealthServer(Health(bot, loop), host="127.0.0.1", port=0)  # type: ignore[arg-type] # as much of a bot as is looked at
    yield server
    server.close()


def ask(server: HealthServer, path: str) -> tuple[int, dict[str, Any]]:
    """Ask over HTTP."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as exc:
        return exc.code, json.loads(exc.read())


@pytest.mark.parametrize(
    ("connected", "cogs", "waits"),
    [
        (True, {}, []),
        (True, {"Sync": Cog(ready=True), "Other": object()}, []),
        (True, {"Sync": Cog(ready=False)}, ["Sync"]),
        (True, {"Sync": Cog(ready=True, error=ValueError("Zaphod"))}, ["Sync"]),
        (False, {"Sync": Cog(ready=False)}, ["Discord's gateway", "Sync"]),
    ],
)
def test_ready_is_what_gateway_and_cogs_say(
    bot: LikeABot,
    server: HealthServer,
    cogs: dict[str, object],
    waits: list[str],
    *,
    connected: bool,
) -> None:
    """It says what it waits for; live it is all the same."""
    bot.gateway_connected, bot.cogs = connected, cogs

    assert ask(server, "/ready") == (503 if waits else 200, {"ok": not waits, "waits_for": waits})
    assert ask(server, "/live")[0] == 200


def test_all_that_is_known_is_told(bot: LikeABot, server: HealthServer) -> None:
    """A cog that fails to say how it stands is named, without what it met."""
    broken = Cog(ready=True, error=ValueError("Zaphod"))
    bot.cogs = {"Sync": Cog(ready=True), "Broken": broken}
    code, status = ask(server, "/status")

    assert (code, status["live"], status["ready"]) == (200, True, False)
    assert status["cogs"] == {
        "Sync": {"ready": True, "breaker": "open"},
        "Broken": {"ready": False, "trouble": "ValueError"},
    }


def test_a_loop_that_hangs_is_not_live(
    bot: LikeABot, server: HealthServer, loop: asyncio.AbstractEventLoop
) -> None:
    """The one thing for which a restart is right; metrics are served all the same."""
    hangs, goes_on = threading.Event(), threading.Event()

    def hang() -> None:
        bot.loop_watch._last_tick_s = time.monotonic() - 60
        hangs.set()
        goes_on.wait(30)

    loop.call_soon_threadsafe(hang)
    assert hangs.wait(5)
    try:
        live, ready, status = (ask(server, path) for path in ("/live", "/ready", "/status"))
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as page:
            metrics = page.read()
    finally:
        goes_on.set()

    assert (live[0], ready[0], status[0]) == (503, 503, 200)
    assert ready[1]["waits_for"] == ["the event loop does not turn"]
    assert status[1]["waits_for"] == ["the event loop does not turn"]
    assert b"bot_build_info" in metrics
