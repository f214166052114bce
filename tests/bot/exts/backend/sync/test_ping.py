"""The dead man's switch: asked after each verified sync, seldom, and never told of."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import structlog
from aiohttp import web

from bot.exts.backend.sync._environment import way_to
from bot.exts.backend.sync._http.ping import Ping
from tests.fakes.clock import HandClock

SECRET = "5d1b-secret-check"


@dataclass
class Switch:
    """A switch on this machine, which answers with `status`."""

    status: int = 200
    asked: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        """Note who asks for what."""
        self.asked.put_nowait(f"{request.method} {request.path}")
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})

    async def hears(self) -> str:
        """Wait until somebody asks."""
        return await asyncio.wait_for(self.asked.get(), 5)


@pytest.fixture
async def switch() -> AsyncIterator[Switch]:
    """Run a switch."""
    switch = Switch()
    app = web.Application()
    app.router.add_get("/{path:.*}", switch.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    switch.url = f"http://127.0.0.1:{runner.addresses[0][1]}/{SECRET}"
    yield switch
    await runner.cleanup()


@dataclass
class Asking:
    """A ping that runs, and what it told."""

    ping: Ping
    told: asyncio.Queue[bool]
    clock: HandClock

    async def tells(self) -> bool:
        """Wait until it tells how a ping went."""
        return await asyncio.wait_for(self.told.get(), 5)


@pytest.fixture
async def asking(switch: Switch) -> AsyncIterator[Asking]:
    """Run what asks it."""
    clock, told = HandClock(), asyncio.Queue[bool]()
    ping = Ping(switch.url, way=way_to(switch.url, {}), clock=clock, told=told.put_nowait)
    task = asyncio.create_task(ping.run_forever())
    yield Asking(ping, told, clock)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await ping.close()


async def test_it_is_asked_once_a_minute_at_most(switch: Switch, asking: Asking) -> None:
    """However many quiet checks there are; the last of them is not forgotten."""
    for _ in range(3):
        asking.ping.verified()
    first = (await switch.hears(), await asking.tells())
    asking.ping.verified()
    asking.ping.verified()
    await asking.clock.advance(59)
    within_a_minute = switch.asked.qsize()
    await asking.clock.advance(2)
    second = (await switch.hears(), await asking.tells())
    await asking.clock.advance(600)

    assert first == second == (f"GET /{SECRET}", True)
    assert (within_a_minute, switch.asked.qsize()) == (0, 0)


@pytest.mark.parametrize(("status", "error"), [(500, "HTTP 500"), (302, "HTTP 302")])
async def test_what_it_answers_badly_is_a_line_and_a_figure(
    switch: Switch, asking: Asking, status: int, error: str
) -> None:
    """No redirect is followed, and the next verified sync asks again."""
    switch.status = status
    with structlog.testing.capture_logs() as logs:
        asking.ping.verified()
        well = await asking.tells()

    assert (well, switch.asked.qsize()) == (False, 1)
    assert logs == [{"event": "sync.ping.failed", "error": error, "log_level": "warning"}]


async def test_where_nobody_answers_the_url_is_not_told() -> None:
    """It is a secret, and libraries like to name it."""
    url = f"http://127.0.0.1:1/{SECRET}"
    clock, told = HandClock(), asyncio.Queue[bool]()
    ping = Ping(url, way=way_to(url, {}), clock=clock, told=told.put_nowait)
    task = asyncio.create_task(ping.run_forever())
    with structlog.testing.capture_logs() as logs:
        ping.verified()
        well = await asyncio.wait_for(told.get(), 20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await ping.close()

    assert not well
    assert [log["error"] for log in logs] == ["ConnectError"]


async def test_one_that_says_nothing_is_not_waited_for_long(asking: Asking) -> None:
    """Ten seconds, and then it counts as failed."""
    callers: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, caller: callers.append(caller), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    asking.ping._url = f"http://127.0.0.1:{port}/"
    asking.ping.verified()
    while asking.told.empty():
        await asyncio.sleep(0.01)
        await asking.clock.advance(1)
    silent.close()
    for caller in callers:
        caller.close()
        await caller.wait_closed()

    assert await asking.tells() is False
    assert asking.clock.monotonic() < 60
