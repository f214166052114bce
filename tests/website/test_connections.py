"""Connections that cost more than they should, on a Waitress in this process and its clock."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

# Waitress has no type hints.
from waitress import create_server, wasyncore  # type: ignore[import-untyped]

from website import connections

LIMIT_BYTES = 1_000
HEALTHCHECK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENCE_S = 20.0


class Site:
    """A server that answers with the length of what it got, turned by hand; and its clients."""

    def __init__(self, stack: ExitStack) -> None:
        self.now_s = 1_000.0
        self._stack = stack
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
        self._address = listener.getsockname()
        self.answer = b""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.server: Any = create_server(self._application, sockets=[listener], threads=2)
        connections.prepare(self.server, most_body_bytes=LIMIT_BYTES, clock=lambda: self.now_s)
        stack.callback(self._close)

    def _application(self, environ: Any, start_response: Any) -> list[bytes]:
        self.may_answer.wait()
        body = self.answer or b"%s, %d kept" % (
            environ.get("CONTENT_LENGTH", "0").encode(),
            len(environ["wsgi.input"].read()),
        )
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def _close(self) -> None:
        self.may_answer.set()
        self.server.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self.server._map)

    def connect(self, sent: bytes = b"") -> socket.socket:
        """Connect, and let the server take the connection and what is sent on it."""
        client = self._stack.enter_context(socket.create_connection(self._address, timeout=5))
        self.until(lambda: self.is_open(client))
        if sent:
            self.send(client, sent)
        return client

    def send(self, client: socket.socket, data: bytes) -> None:
        """Send the bytes, and let the server read them."""
        client.sendall(data)
        self.turn()

    def turn(self) -> None:
        """Turn the server's loop until it has nothing more to do at once."""
        for _ in range(20):
            wasyncore.loop(timeout=0.002, use_poll=True, map=self.server._map, count=1)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Turn the server's loop until it is so."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            wasyncore.loop(timeout=0.01, use_poll=True, map=self.server._map, count=1)
            if is_so():
                return
        pytest.fail("it never was so")

    def channels(self) -> list[connections.Channel]:
        """Return the connections that the server has."""
        return list(self.server.active_channels.values())

    def later(self, seconds: float) -> None:
        """Let time pass, and the server look at its connections."""
        self.now_s += seconds
        connections.close_overdue(self.server, now_s=self.now_s)

    def is_open(self, client: socket.socket) -> bool:
        """Tell whether the server still has the connection."""
        return client.getsockname() in [each.addr for each in self.channels()]

    def answer_of(self, client: socket.socket) -> bytes:
        """Return the body of the answer that comes."""
        client.setblocking(False)  # noqa: FBT003 - Python's own
        got = bytearray()

        def is_whole() -> bool:
            try:
                got.extend(client.recv(65_536))
            except BlockingIOError:
                return False
            head, found, body = bytes(got).partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            return bool(found) and length is not None and len(body) >= int(length[1])

        self.until(is_whole)
        return bytes(got).partition(b"\r\n\r\n")[2]


@pytest.fixture
def site() -> Iterator[Site]:
    """Give a server."""
    with ExitStack() as stack:
        yield Site(stack)


def test_silent_connections_shut_nobody_out(site: Site) -> None:
    """However many connect and say nothing, the next one is answered; the oldest is closed."""
    silent = [site.connect() for _ in range(connections.MOST_CONNECTIONS + 44)]
    answer = site.answer_of(site.connect(HEALTHCHECK))

    assert answer == b"0, 0 kept"
    assert len(site.channels()) == connections.MOST_CONNECTIONS
    assert [site.is_open(one) for one in (silent[0], silent[44], silent[45], silent[-1])] == [
        *(False, False, True, True)
    ]


def test_who_waits_for_the_site_is_never_closed(site: Site) -> None:
    """A request under way keeps its connection, however old it is and however many come after."""
    site.may_answer.clear()
    client = site.connect(HEALTHCHECK)
    for _ in range(connections.MOST_CONNECTIONS):
        site.connect()
    site.later(10_000)
    site.may_answer.set()

    assert site.answer_of(client) == b"0, 0 kept"


@pytest.mark.parametrize(
    ("sent", "allowed_s"),
    [
        (b"", connections.FIRST_BYTE_S),
        (b"\r\n\r\n", connections.FIRST_BYTE_S),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", connections.REQUEST_S),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n1234", connections.REQUEST_S),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234", connections.REQUEST_S),
        (HEALTHCHECK, connections.IDLE_S),
        (HEALTHCHECK + HEALTHCHECK[:9], connections.REQUEST_S),
    ],
)
def test_who_keeps_the_site_waiting_is_closed(site: Site, sent: bytes, allowed_s: float) -> None:
    """Nothing, half a request, and silence after an answer each have their time."""
    client = site.connect(sent)
    if sent.startswith(HEALTHCHECK):
        site.answer_of(client)
        client.setblocking(True)  # noqa: FBT003 - as above

    site.later(allowed_s)
    in_time = site.is_open(client)
    site.later(1)

    assert (in_time, site.is_open(client)) == (True, False)


def test_sending_byte_by_byte_wins_no_time(site: Site) -> None:
    """A request has its time as a whole: each further byte is not a new beginning."""
    client = site.connect(b"GET / HTTP/1.1\r\n")
    for _ in range(6):
        site.later(connections.REQUEST_S / 6)
        site.send(client, b"x")
    in_time = site.is_open(client)
    site.later(1)

    assert (in_time, site.is_open(client)) == (True, False)


def test_who_does_not_take_the_answer_is_closed(site: Site) -> None:
    """An answer that nobody reads is kept for two minutes."""
    site.answer = b"x" * 15_000_000
    client = site.connect(HEALTHCHECK)
    site.until(lambda: not site.channels()[0].requests)

    site.later(connections.ANSWER_S)
    in_time = site.is_open(client)
    site.later(1)

    assert (in_time, site.is_open(client)) == (True, False)


@pytest.mark.parametrize(("body_bytes", "kept_bytes"), [(LIMIT_BYTES, LIMIT_BYTES), (5_000, 0)])
def test_a_body_that_is_too_long_is_counted_and_not_kept(
    site: Site, body_bytes: int, kept_bytes: int
) -> None:
    """Its length is known to the end, for a clear 413, also when it was not announced."""
    body = b"x" * body_bytes
    announced = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (body_bytes, body)
    in_chunks = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % (
        b"64\r\n%s\r\n" % body[:100] * (body_bytes // 100)
    )
    answers = [site.answer_of(site.connect(sent)) for sent in (announced, in_chunks)]

    assert answers == [b"%d, %d kept" % (body_bytes, kept_bytes)] * 2


def test_all_that_is_arriving_holds_a_bounded_amount(site: Site) -> None:
    """When unfinished bodies hold too much together, those that began first are let go."""
    site.server.most_arriving_bytes = 2_000
    head = b"POST / HTTP/1.1\r\nContent-Length: 999\r\n\r\n"
    clients = []
    for _ in range(4):
        clients.append(site.connect(head + b"x" * 900))
        site.now_s += 1

    assert [site.is_open(client) for client in clients] == [False, False, True, True]


def test_a_chunk_header_without_an_end_is_refused(site: Site) -> None:
    """What stands between chunks is no body, and is bounded all the same."""
    client = site.connect(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    site.send(client, b"1;" + b"x" * 5_000)

    assert site.answer_of(client).startswith(b"Bad Request")
