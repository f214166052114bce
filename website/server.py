"""Waitress around the Django application: bound before it is announced, drained before it ends."""

import os
import signal
import socket
import time
from types import FrameType
from typing import Any, Final

import structlog
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application

# Waitress has no type hints.
from waitress import create_server, wasyncore  # type: ignore[import-untyped]

from website import connections, health, metrics, threads
from website.environment import SettingError

logger = structlog.get_logger(__name__)

# Up to here a body is received, though not kept, so that its sender hears a clear 413.
# Beyond it the connection is closed as soon as the headers are read.
MOST_RECEIVED_BYTES: Final = 50 * 1_048_576
RECEIVED_AT_ONCE_BYTES: Final = 131_072  # a chunk of rows arrives in one turn of the loop, or two
NEVER_S: Final = 10**9
TURN_S: Final = 0.5  # how exactly the connections' time limits are kept
SHED_LOG_S: Final = 60.0
DRAIN_S: Final = 30  # a little more than the longest statement may take


def serve(*, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way and return.

    Raises SettingError if the address can't be listened on, or extra middleware can't be imported.
    """
    application = _application()
    listener = _listen(host, port)
    dispatcher = threads.Dispatcher()
    dispatcher.set_thread_count(settings.THREADS)
    server = create_server(
        application,
        _dispatcher=dispatcher,
        sockets=[listener],
        threads=settings.THREADS,
        recv_bytes=RECEIVED_AT_ONCE_BYTES,
        max_request_body_size=max(MOST_RECEIVED_BYTES, settings.MAX_REQUEST_BYTES + 1),
        max_request_header_size=connections.MOST_HEADER_BYTES,
        # `connections` does both better.
        channel_timeout=NEVER_S,
    )
    connections.prepare(server, most_body_bytes=settings.MAX_REQUEST_BYTES, clock=time.monotonic)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.stopping = True
        server.pull_trigger()  # wakes the loop below

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    health.readiness.start()
    _serve_metrics(server)
    logger.info("website.started", host=host, port=int(server.effective_port))
    _run(server)
    health.readiness.stop()
    logger.info("website.stopped", abandoned=len(connections.busy(server)))


def _serve_metrics(server: Any) -> None:
    host, port = settings.ENVIRONMENT.metrics_host, settings.ENVIRONMENT.metrics_port
    if port is None:
        return

    def clients() -> metrics.Clients:
        return metrics.Clients(
            queued=len(server.task_dispatcher.queue),
            connected=len(server.active_channels),
            shed=server.shed,
        )

    port = metrics.serve(host=host, port=port, readiness=health.readiness, clients=clients)
    logger.info("website.metrics.listening", host=host, port=port)


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
    next_check_s = next_log_s = time.monotonic()
    logged = 0
    while not server.stopping:
        _turn(server, timeout_s=TURN_S)
        now_s = time.monotonic()
        if now_s >= next_check_s:
            connections.close_overdue(server, now_s=now_s)
            next_check_s = now_s + TURN_S
        if server.shed > logged and now_s >= next_log_s:
            logger.warning("website.connections.shed", connections=server.shed - logged)
            logged, next_log_s = server.shed, now_s + SHED_LOG_S
    logger.info("website.stopping", under_way=len(connections.busy(server)))
    # The trigger must outlive the listening socket: busy threads still pull it.
    wasyncore.dispatcher.close(server)
    deadline_s = time.monotonic() + DRAIN_S
    while connections.busy(server) and time.monotonic() < deadline_s:
        _turn(server, timeout_s=0.05)
    server.task_dispatcher.shutdown(timeout=1)


def _turn(server: Any, *, timeout_s: float) -> None:
    # select() can't wait for a file descriptor beyond 1,023.
    wasyncore.loop(
        timeout=timeout_s,
        use_poll=True,
        map=server._map,  # noqa: SLF001  the only way to turn the loop step by step
        count=1,
    )
