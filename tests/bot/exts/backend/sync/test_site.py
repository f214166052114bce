"""The site over HTTP: what goes out, and what each thing that can happen on the wire becomes."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from bot.exts.backend.sync._clock import SystemClock
from bot.exts.backend.sync._core import requests
from bot.exts.backend.sync._core.models import UserId
from bot.exts.backend.sync._core.outcome import Answer, Lost, NoAnswer
from bot.exts.backend.sync._core.plan import Kind
from bot.exts.backend.sync._core.requests import Request
from bot.exts.backend.sync._site import HttpSite

LIMIT = 64 * 1024
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """A server whose answers a test chooses; `heard` holds what it was asked."""

    def __init__(self) -> None:
        self.handler: Handler = _fine
        self.heard: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/base/"

    async def close(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.heard.append((request.method, request.path_qs, dict(request.headers), body))
        return await self.handler(request)


async def _fine(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"}, headers={"Retry-After": "7"})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Run a server for one test."""
    running = Server()
    await running.start()
    yield running
    await running.close()


def site(server: Server, *, deadline_s: float = 10.0) -> HttpSite:
    """Return the way to the server."""
    return HttpSite(
        base_url=server.url,
        token="key",
        deadline_s=deadline_s,
        max_answer_bytes=LIMIT,
        clock=SystemClock(),
    )


async def ask(
    server: Server, request: Request | None = None, *, deadline_s: float = 10.0
) -> Answer | NoAnswer:
    """Send a request once."""
    async with site(server, deadline_s=deadline_s) as way:
        return await way.send(request or requests.healthcheck(), request_id="run-1")


def known(answer: Answer | NoAnswer) -> tuple[object, ...]:
    """Return all of an answer but the time it took."""
    if isinstance(answer, NoAnswer):
        return answer.cause, answer.detail
    return answer.status, answer.body, answer.retry_after


@pytest.mark.parametrize(
    ("request_", "line", "headers", "body"),
    [
        (requests.healthcheck(), "GET /base/healthcheck", {}, b""),
        (requests.page(2, size=50), "GET /base/bot/users?page=2&page_size=50", {}, b""),
        (requests.user(UserId(7)), "GET /base/bot/users/7", {}, b""),
        (
            requests.write_users(Kind.UPDATE, b'[{"id":7}]', users=(UserId(7),)),
            "PATCH /base/bot/users/bulk_patch",
            {"Content-Type": "application/json", "Prefer": "return=minimal"},
            b'[{"id":7}]',
        ),
    ],
    ids=["healthcheck", "page", "user", "write"],
)
async def test_what_goes_out(
    server: Server, request_: Request, line: str, headers: dict[str, str], body: bytes
) -> None:
    """Path below the base, the token, the request's id; a content type only of a content."""
    await ask(server, request_)

    ((heard_method, heard_path, heard_headers, heard_body),) = server.heard
    assert (f"{heard_method} {heard_path}", heard_body) == (line, body)
    shown = {
        name: heard_headers[name]
        for name in ("Authorization", "X-Request-ID", "Accept", "Content-Type", "Prefer")
        if name in heard_headers
    }
    assert shown == {
        "Authorization": "Token key",
        "X-Request-ID": "run-1",
        "Accept": "application/json",
        **headers,
    }


@pytest.mark.parametrize("status", [200, 302, 400, 404, 413, 500, 503])
async def test_every_answer_is_returned_as_it_is(server: Server, status: int) -> None:
    """Status, body and Retry-After, whatever they are; a redirect is not followed."""

    async def answer(_request: web.Request) -> web.Response:
        headers = {"Retry-After": "7", "Location": "/elsewhere"}
        return web.Response(status=status, body=b"said", headers=headers)

    server.handler = answer

    assert known(await ask(server)) == (status, b"said", "7")
    assert len(server.heard) == 1


async def never(_request: web.Request) -> web.Response:
    """Do not answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def drip(request: web.Request) -> web.StreamResponse:
    """Answer a byte now and then, without end."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b" ")
        await asyncio.sleep(0.01)


async def drop(request: web.Request) -> web.Response:
    """Close the connection instead of answering."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def cut(request: web.Request) -> web.StreamResponse:
    """Close the connection in the middle of the body."""
    answer = web.StreamResponse(headers={"Content-Length": "100"})
    await answer.prepare(request)
    await answer.write(b"half")
    assert request.transport is not None
    request.transport.close()
    return answer


async def swell(_request: web.Request) -> web.Response:
    """Answer with one byte too many."""
    return web.Response(body=b"x" * (LIMIT + 1))


async def bomb(_request: web.Request) -> web.Response:
    """Answer with little that unpacks to a lot."""
    body = gzip.compress(b"\0" * (LIMIT * 100))
    assert len(body) < LIMIT
    return web.Response(body=body, headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    ("handler", "cause", "detail"),
    [
        (never, Lost.DEADLINE, None),
        (drip, Lost.DEADLINE, ""),
        (drop, Lost.CONNECTION, "RemoteProtocolError"),
        (cut, Lost.CONNECTION, "RemoteProtocolError"),
        (swell, Lost.TOO_LONG, ""),
        (bomb, Lost.TOO_LONG, ""),
    ],
)
async def test_what_is_no_whole_answer(
    server: Server, handler: Handler, cause: Lost, detail: str | None
) -> None:
    """Each is told by its cause, so that it is known whether the request may still be running."""
    server.handler = handler

    async with asyncio.timeout(10):  # whoever drips a byte now and then does so for ever
        lost = await ask(server, deadline_s=0.3)

    assert isinstance(lost, NoAnswer)
    assert lost.cause is cause
    assert detail in {None, lost.detail}
    assert lost.seconds >= 0.3 or cause is not Lost.DEADLINE


async def test_as_much_as_the_limit_is_taken(server: Server) -> None:
    """The limit itself is not too much."""

    async def exact(_request: web.Request) -> web.Response:
        return web.Response(body=b"x" * LIMIT)

    server.handler = exact

    assert known(await ask(server)) == (200, b"x" * LIMIT, None)


async def test_a_site_that_is_away(server: Server) -> None:
    """A refused connection is known never to have brought the request there."""
    await server.close()

    assert known(await ask(server)) == (Lost.UNREACHABLE, "ConnectError")


async def test_a_cancelled_request_ends_at_once(server: Server) -> None:
    """Whoever stops the bot is not kept waiting, and nothing is made of the lost answer."""
    reached = asyncio.Event()

    async def hold(request: web.Request) -> web.Response:
        reached.set()
        return await never(request)

    server.handler = hold
    asking = asyncio.create_task(ask(server))
    await reached.wait()
    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
