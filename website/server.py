"""Waitress around the Django application: bound before it is announced, drained before it ends."""

import os
import signal
import socket
import time
from types import FrameType
from typing import Any, Final

import structlog
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application

# Waitress has no type hints.
from waitress import create_server, wasyncore  # type: ignore[import-untyped]
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
from waitress.task import ErrorTask  # type: ignore[import-untyped]

from website.environment import SettingError
from website.memory import peak_memory_mb

logger = structlog.get_logger(__name__)

# Up to here a body is received, on disk if it is large, so that its sender hears a clear 413.
# Beyond it the connection is closed as soon as the headers are read.
MOST_RECEIVED_BYTES: Final = 50 * 1_048_576
DRAIN_S: Final = 30  # a little more than the longest statement may take


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


class Channel(HTTPChannel):  # type: ignore[misc]  # untyped base class
    """A connection, which takes no further request once the server is stopping."""

    error_task_class = RefusedTask

    def readable(self) -> bool:
        """Tell whether the loop should read more from this connection."""
        return not self.server.stopping and bool(super().readable())


def serve(*, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way and return.

    Raises SettingError if the address can't be listened on, or extra middleware can't be imported.
    """
    application = StaticFilesHandler(_application())
    listener = _listen(host, port)
    server = create_server(
        application,
        sockets=[listener],
        threads=settings.THREADS,
        max_request_body_size=max(MOST_RECEIVED_BYTES, settings.MAX_REQUEST_BYTES + 1),
    )
    server.channel_class = Channel
    server.stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.stopping = True
        server.pull_trigger()  # wakes the loop below

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    logger.info("website.started", host=host, port=int(server.effective_port))
    _run(server)
    logger.info("website.stopped", abandoned=len(_busy(server)))


def _application() -> WSGIHandler:
    try:
        return get_wsgi_application()
    except ImportError as exc:
        if not settings.ENVIRONMENT.extra_middleware:
            raise
        raise SettingError(f"EXTRA_MIDDLEWARE: {exc}") from exc


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=1_024)
    except OSError as exc:
        name = "HOST" if isinstance(exc, socket.gaierror) else "PORT"
        raise SettingError(f"{name}: cannot listen on {host}:{port} ({_reason(exc)})") from exc


def _reason(exc: OSError) -> str:
    # `socket.create_server` repeats the address in its text.
    return os.strerror(exc.errno) if exc.errno and exc.errno > 0 else str(exc.strerror)


def _run(server: Any) -> None:
    """Turn the event loop. Waitress' own run() would cancel what is under way, after 5 s."""
    connections = server._map  # noqa: SLF001  the only way to turn the loop step by step
    while not server.stopping:
        wasyncore.loop(timeout=1, map=connections, count=1)
    logger.info("website.stopping", under_way=len(_busy(server)))
    # The trigger must outlive the listening socket: busy threads still pull it.
    wasyncore.dispatcher.close(server)
    deadline_s = time.monotonic() + DRAIN_S
    while _busy(server) and time.monotonic() < deadline_s:
        wasyncore.loop(timeout=0.05, map=connections, count=1)
    server.task_dispatcher.shutdown(timeout=1)


def _busy(server: Any) -> list[Any]:
    return [
        channel
        for channel in list(server.active_channels.values())
        if channel.requests or channel.total_outbufs_len
    ]
