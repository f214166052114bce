"""The site over HTTP: what goes out, and what each thing that can happen on the wire becomes."""

import asyncio
import contextlib
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from bot.exts.backend.sync._core.model.changes import Kind
from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.site import requests
from bot.exts.backend.sync._core.site.outcome import Answer, Lost, NoAnswer
from bot.exts.backend.sync._core.site.requests import Request
from tests.bot.exts.backend.sync.sites import LIMIT, TOKEN, way_to

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


async def ask(
    server: Server, request: Request | None = None, *, deadline_s: float = 10.0
) -> Answer | NoAnswer:
    """Send a request once."""
    async with way_to(server.url, deadline_s=deadline_s) as way:
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
        "Authorization": f"Token {TOKEN}",
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


def encoded(body: bytes, encoding: str) -> Handler:
    """Answer with a body that is said to be encoded so."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Encoding": encoding})

    return answer


BOMB = gzip.compress(b"\0" * (LIMIT * 1000))


@pytest.mark.parametrize(
    ("handler", "cause", "detail"),
    [
        (never, Lost.DEADLINE, None),
        (drip, Lost.DEADLINE, ""),
        (drop, Lost.CONNECTION, "RemoteProtocolError"),
        (cut, Lost.CONNECTION, "RemoteProtocolError"),
        (swell, Lost.TOO_LONG, ""),
        (encoded(BOMB, "gzip"), Lost.TOO_LONG, ""),
        (encoded(gzip.compress(BOMB), "gzip, gzip"), Lost.ENCODED, ""),
        (encoded(zlib.compress(b"{}"), "deflate"), Lost.ENCODED, ""),
        (encoded(b"{}", "br"), Lost.ENCODED, ""),
        (encoded(b"{}", "identity, gzip"), Lost.ENCODED, ""),
        (encoded(b"{}", "gzip"), Lost.ENCODED, ""),
        (encoded(gzip.compress(b"{}")[:-1], "gzip"), Lost.ENCODED, ""),
        (encoded(gzip.compress(b"{}") + b" ", "gzip"), Lost.ENCODED, ""),
        (encoded(gzip.compress(b"{}") + b" " * LIMIT * 10, "gzip"), Lost.ENCODED, ""),
    ],
)
async def test_what_is_no_whole_answer(
    server: Server, handler: Handler, cause: Lost, detail: str | None
) -> None:
    """Each is told by its cause, so that it is known whether the request may still be running."""
    server.handler = handler
    deadline_s = 0.3 if cause is Lost.DEADLINE else 5.0  # which a busy machine must not miss

    async with asyncio.timeout(10):  # whoever drips a byte now and then does so for ever
        lost = await ask(server, deadline_s=deadline_s)

    assert isinstance(lost, NoAnswer)
    assert lost.cause is cause
    assert detail in {None, lost.detail}
    assert lost.seconds >= 0.3 or cause is not Lost.DEADLINE


@pytest.mark.parametrize(
    "layers", [1, 2, 3], ids=["one encoding", "one in another", "three of them"]
)
async def test_little_on_the_wire_never_becomes_much_in_memory(server: Server, layers: int) -> None:
    """Sixty-four megabytes of zeros are given up within a few times the limit."""
    body = BOMB
    for _ in range(layers - 1):
        body = gzip.compress(body)
    server.handler = encoded(body, ", ".join(["gzip"] * layers))
    await ask(server)  # what is imported and made once
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await ask(server)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak - before < 10 * LIMIT


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
async def test_one_encoding_is_asked_for_and_read(server: Server, encoding: str) -> None:
    """Pages of thousands of rows are a tenth as long in it."""
    server.handler = encoded(gzip.compress(b'{"status": "ok"}'), encoding)

    assert known(await ask(server)) == (200, b'{"status": "ok"}', None)
    assert server.heard[0][2]["Accept-Encoding"] == "gzip"


async def test_what_has_no_body_needs_no_encoding(server: Server) -> None:
    """Some servers name one all the same."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=204, headers={"Content-Encoding": "gzip"})

    server.handler = answer

    assert known(await ask(server)) == (204, b"", None)


async def test_as_much_as_the_limit_is_taken(server: Server) -> None:
    """The limit itself is not too much."""

    async def exact(_request: web.Request) -> web.Response:
        return web.Response(body=b"x" * LIMIT)

    server.handler = exact

    assert known(await ask(server)) == (200, b"x" * LIMIT, None)


@pytest.mark.parametrize(
    "location",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "mailto:a@b",
        "//",
        "http://[",
        "http://a:b:c/",
        "http://\u00ff/",
        "http://xn--/",
        "x" * 5000,
        " ",
    ],
)
async def test_wherever_a_redirect_leads_it_is_an_answer(server: Server, location: str) -> None:
    """Nothing is made of it but its status."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location})

    server.handler = answer

    assert known(await ask(server)) == (302, b"", None)


async def test_no_cookie_is_kept(server: Server) -> None:
    """The token says who asks; what else a site, or a balancer, gives would only pile up."""

    async def answer(request: web.Request) -> web.Response:
        answered = await _fine(request)
        for number in range(5):
            answered.set_cookie(f"name{len(server.heard)}-{number}", "x" * 50)
        return answered

    server.handler = answer
    async with way_to(server.url) as way:
        for number in range(3):
            await way.send(requests.healthcheck(), request_id=f"run-{number}")

    assert [headers.get("Cookie") for _, _, headers, _ in server.heard] == [None] * 3


@contextlib.asynccontextmanager
async def speaking(said: bytes) -> AsyncIterator[str]:
    """Listen, and say this to whoever asks, whatever they ask; yield where."""
    over = asyncio.Event()
    answering: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not over.is_set():
                await reader.readuntil(b"\r\n\r\n")
                writer.write(said)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.create_task(answer(reader, writer)))

    listening = await asyncio.start_server(begin, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        over.set()
        await asyncio.gather(*answering)


def _whole(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


async def test_a_surplus_answer_is_nobodys() -> None:
    """Each request has its own connection: the next one's answer is the next one's."""
    first = _whole(b'{"first": 1}') + _whole(b'{"surplus": 1}')
    async with speaking(first) as url, way_to(url) as way:
        answers = [await way.send(requests.healthcheck(), request_id="run-1") for _ in range(3)]

    assert [known(answer) for answer in answers] == [(200, b'{"first": 1}', None)] * 3


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\r\n",
        b"hello",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 \xff\xff\xff OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 200 \xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        _whole(b"{}", b"Content-Encoding: \xff"),
        _whole(b"{}", b"Content-Type: text/plain; charset=nonsense"),
        _whole(
            b"{}",
            b"Set-Cookie: \xff\xfe=; Expires=Mon, 99 Foo 99999 99:99:99; Max-Age=" + b"9" * 99,
        ),
        _whole(b"{}", b"Date: \xff", b"Retry-After: \xff"),
    ],
    ids=range(19),
)
@pytest.mark.slow
async def test_whatever_is_said_is_an_answer_or_none(said: bytes) -> None:
    """Nothing that a server may send is an error of ours."""
    async with speaking(said) as url, way_to(url, deadline_s=0.3) as way:
        answer = await way.send(requests.healthcheck(), request_id="run-1")

    assert isinstance(answer, Answer | NoAnswer)
    assert not isinstance(answer, NoAnswer) or answer.cause in set(Lost)


async def test_no_answer_holds_the_token(server: Server) -> None:
    """A debug page, or a gateway, may answer with all that it was sent."""

    async def echo(request: web.Request) -> web.Response:
        token = request.headers["Authorization"]
        return web.json_response(
            {"headers": dict(request.headers), token: [token, {"url": f"http://u:{token}@site/"}]},
            headers={"X-Echo": token, "Retry-After": token, "Date": token},
        )

    server.handler = echo
    answer = await ask(server)

    assert isinstance(answer, Answer)
    told = json.loads(answer.body)
    assert told["headers"]["Authorization"] == "Token [redacted]"
    assert TOKEN not in str(answer)


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
