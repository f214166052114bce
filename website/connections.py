"""Connections: how many, for how long, and how much of what they send is kept.

Waitress accepts a hundred and then nobody, and lets each be silent for two minutes by the wall
clock; so a hundred silent ones are enough to shut everybody out. Here the site always accepts, and
closes what has waited longest without a request under way. Time is the monotonic clock's.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import structlog

# Waitress has no type hints.
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
from waitress.parser import HTTPRequestParser  # type: ignore[import-untyped]
from waitress.task import ErrorTask  # type: ignore[import-untyped]
from waitress.utilities import BadRequest  # type: ignore[import-untyped]

from website.memory import peak_memory_mb

logger = structlog.get_logger(__name__)

MOST_CONNECTIONS: Final = 256
# What all requests that are still arriving may hold together, unless two of the largest are more.
# It fits into a container's /tmp, where Waitress keeps what is longer than 512 KiB.
MOST_ARRIVING_BYTES: Final = 32 * 1_048_576
MOST_BETWEEN_CHUNKS_BYTES: Final = 4_096
MOST_HEADER_BYTES: Final = 32_768
FIRST_BYTE_S: Final = 10.0  # from the connection to its first request's first byte
REQUEST_S: Final = 30.0  # from a request's first byte to its last
ANSWER_S: Final = 120.0  # from an answer's end to when the client has taken it
IDLE_S: Final = 60.0  # from an answer to the next request on the same connection


class RefusedTask(ErrorTask):  # type: ignore[misc]  # untyped base class
    """Log what Waitress refuses before Django sees it: unreadable or enormous requests."""

    def execute(self) -> None:
        """Send the refusal, and log it."""
        super().execute()
        logger.info(
            "website.request.finished",
            method=getattr(self.request, "command", None),
            path=getattr(self.request, "path", None),
            status=self.request.error.code,
            rows=None,
            request_id=None,
            duration_ms=0.0,
            peak_memory_mb=peak_memory_mb(),
        )


class _Uncounted:
    """Stands for a body that is too long to be of use: its length is kept, its bytes are not."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def append(self, data: bytes) -> None:
        self._length += len(data)

    def getfile(self) -> BytesIO:
        return BytesIO()

    def getbuf(self) -> "_Uncounted":
        return self

    def close(self) -> None:
        pass


class Parser(HTTPRequestParser):  # type: ignore[misc]  # untyped base class
    """A request as it arrives; beyond `adj.most_body_bytes` its body is counted and let go.

    It is received to its end all the same, so that its sender hears a clear 413.
    """

    error: Any  # Waitress sets it

    def received(self, data: bytes) -> int:
        """Take in the next bytes; return how many of them were this request's."""
        consumed = int(super().received(data))
        body = self.body_rcv
        if body is None or self.error:
            return consumed
        if max(self.content_length, len(body)) > self.adj.most_body_bytes and self._keeps_body:
            kept, body.buf = body.buf, _Uncounted(len(body))
            kept.close()
        # Waitress has no bound for what stands between two chunks.
        if self.chunked and len(body.control_line) + len(body.trailer) > MOST_BETWEEN_CHUNKS_BYTES:
            self.error = BadRequest("Chunk header too long")
            self.completed = True
        return consumed

    @property
    def held_bytes(self) -> int:
        """How many bytes of the body are kept so far."""
        return len(self.body_rcv) if self.body_rcv is not None and self._keeps_body else 0

    @property
    def _keeps_body(self) -> bool:
        return not isinstance(self.body_rcv.buf, _Uncounted)


class Channel(HTTPChannel):  # type: ignore[misc]  # untyped base class
    """A connection, which takes no further request once the server is stopping."""

    error_task_class = RefusedTask
    parser_class = Parser

    def __init__(self, server: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(server, *args, **kwargs)
        self._clock: Callable[[], float] = server.clock
        # When the last answer ended, or the connection began; and the request that is arriving.
        self._free_since_s: float = self._clock()
        self._is_new = True
        self._arriving: Parser | None = None
        self._arriving_since_s = 0.0
        make_room(server, newcomer=self)

    def readable(self) -> bool:
        """Tell whether the loop should read more from this connection."""
        return not self.server.stopping and bool(super().readable())

    def received(self, data: bytes) -> bool:
        """Take in the next bytes of one or more requests."""
        result = bool(super().received(data))
        if self.request is not self._arriving:
            self._arriving, self._arriving_since_s = self.request, self._clock()
        if self._arriving is not None and self._arriving.held_bytes:
            let_go_of_bodies(self.server)
        return result

    def service(self) -> None:
        """Answer the request that came first. This runs in a thread of its own."""
        # Before as well: for a moment the request is gone and the line after it has not run yet.
        self._free_since_s = self._clock()
        super().service()
        self._is_new, self._free_since_s = False, self._clock()

    @property
    def held_bytes(self) -> int:
        """How many bytes of an unfinished request it holds."""
        return 0 if self._arriving is None else self._arriving.held_bytes

    @property
    def waiting_since_s(self) -> float | None:
        """Since when it has waited for its client; None while the client waits for the site."""
        if self.requests:
            return None
        if self._arriving is not None and not self.total_outbufs_len:
            return self._arriving_since_s
        return self._free_since_s

    def is_overdue(self, now_s: float) -> bool:
        """Tell whether the client has taken too long."""
        since_s = self.waiting_since_s
        if since_s is None:
            return False
        if self.total_outbufs_len:
            allowed_s = ANSWER_S
        elif self._arriving is not None:
            allowed_s = REQUEST_S
        else:
            allowed_s = FIRST_BYTE_S if self._is_new else IDLE_S
        return now_s - since_s > allowed_s


def prepare(server: Any, *, most_body_bytes: int, clock: Callable[[], float]) -> None:
    """Make a Waitress server treat its connections like this, before it has any."""
    server.clock = clock
    server.stopping = False
    server.shed = 0  # connections that were closed while something was expected of their clients
    server.adj.most_body_bytes = most_body_bytes
    # Waitress itself stops to accept at its limit: here there is room first.
    server.adj.connection_limit = 10 * MOST_CONNECTIONS
    server.most_arriving_bytes = max(MOST_ARRIVING_BYTES, 2 * most_body_bytes)
    server.channel_class = Channel


def make_room(server: Any, *, newcomer: Channel) -> None:
    """Close what has waited longest, if a newcomer is one too many: itself only if all are busy."""
    while len(server.active_channels) > MOST_CONNECTIONS:
        others = [channel for channel in waiting(server) if channel is not newcomer]
        _shed(others[0] if others else newcomer)


def let_go_of_bodies(server: Any) -> None:
    """Close the connections whose requests have been arriving for longest, if all hold too much."""
    arriving = [channel for channel in waiting(server) if channel.held_bytes]
    held_bytes = sum(channel.held_bytes for channel in arriving)
    for channel in arriving:
        if held_bytes <= server.most_arriving_bytes:
            return
        held_bytes -= channel.held_bytes
        _shed(channel)


def close_overdue(server: Any, *, now_s: float) -> None:
    """Close every connection whose client has taken too long."""
    for channel in waiting(server):
        if channel.is_overdue(now_s):
            _shed(channel)


def _shed(channel: Channel) -> None:
    channel.server.shed += 1
    channel.handle_close()


def waiting(server: Any) -> list[Channel]:
    """Return the connections that wait for their clients, the one that has waited longest first."""
    since = [(channel.waiting_since_s, channel) for channel in [*server.active_channels.values()]]
    known = [(since_s, channel) for since_s, channel in since if since_s is not None]
    return [channel for _, channel in sorted(known, key=lambda pair: pair[0])]


def busy(server: Any) -> list[Channel]:
    """Return the connections that have a request under way, or an answer not taken yet."""
    return [
        channel
        for channel in [*server.active_channels.values()]
        if channel.requests or channel.total_outbufs_len
    ]
