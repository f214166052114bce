"""What happens to every request before a view sees it and after: identity, limits, one log line."""

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import structlog
from django.conf import settings
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from structlog.contextvars import bind_contextvars, clear_contextvars

from website import faults, health, metrics
from website.api import keys
from website.memory import peak_memory_mb

logger = structlog.get_logger(__name__)

LOGIN_PATH = "/admin/login/"
_UNSAFE = re.compile(r"[^A-Za-z0-9._:/+=@-]+")


def note_rows(count: int) -> None:
    """Let the request's log line tell how many rows its answer or its body holds."""
    bind_contextvars(rows=count)


def note_written(ids: Iterable[int]) -> None:
    """Let the request's log line tell the lowest and highest id written, and how many."""
    given = list(ids)
    if given:
        bind_contextvars(
            rows=len(given), ids_first=min(given), ids_last=max(given), ids_count=len(given)
        )


class RequestMiddleware:
    """Bound what a request may cost, and log it once its answer is known.

    The line is written before the answer is sent, so a write that was applied is logged even if
    the client has hung up.

    Each kind of client has a share of the site's threads, which no other kind can take; who finds
    its own taken hears 503 at once. So neither people without a key nor those who guess at the
    admin's passwords can keep the bot out, and a healthcheck, which waits for nothing, always has a
    thread.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._shares = {
            share: threading.BoundedSemaphore(at_once)
            for share, at_once in settings.REQUESTS_AT_ONCE.items()
        }
        got_request_exception.connect(faults.note, dispatch_uid="faults")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request, and log that."""
        started_at = datetime.now(UTC)
        started_s = time.perf_counter()
        clear_contextvars()
        request_id = safe_request_id(request.headers.get("X-Request-ID", "")) or uuid.uuid4().hex
        bind_contextvars(request_id=request_id, rows=None)
        response = self._answer(request)
        response["X-Request-ID"] = request_id
        if request.method == "HEAD":
            leave_body_out(response)
        duration_ms = round((time.perf_counter() - started_s) * 1_000, 1)
        # Without the time that it waited for a thread: what a client's pace has to go by.
        response["Server-Timing"] = f"total;dur={duration_ms}"
        logger.info(
            "website.request.finished",
            method=request.method,
            path=request.path,
            status=response.status_code,
            started_at=started_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            duration_ms=duration_ms,
            peak_memory_mb=peak_memory_mb(),
        )
        clear_contextvars()  # or what the thread logs next would seem to be this request's
        return response

    def _answer(self, request: HttpRequest) -> HttpResponse:
        if request.path in health.PATHS:
            return self._get_response(request)
        # Waitress has the whole body by now, in a file if it is large, and its length is exact:
        # to answer before the client has sent all of it often ends in a reset, not in a 413.
        body_bytes = int(request.META.get("CONTENT_LENGTH") or 0)
        if body_bytes > settings.MAX_REQUEST_BYTES:
            return JsonResponse(
                {
                    "detail": f"The request has {body_bytes} bytes;"
                    f" at most {settings.MAX_REQUEST_BYTES} are taken."
                },
                status=413,
            )
        name = share_of(request)
        share = self._shares[name]
        if not share.acquire(blocking=False):
            metrics.refused.labels(name).inc()
            return JsonResponse(
                {"detail": "Too many requests are under way."},
                status=503,
                headers={"Retry-After": "1"},
            )
        try:
            with metrics.in_flight.labels(name).track_inprogress():
                return self._get_response(request)
        finally:
            share.release()


def share_of(request: HttpRequest) -> str:
    """Return whose share the request comes out of: a name in `settings.REQUESTS_AT_ONCE`."""
    if request.path.startswith("/api/"):
        good = keys.looks_good(request.headers.get("Authorization", ""))
        return "api" if good else "strangers"
    if request.path == LOGIN_PATH and request.method == "POST":
        return "login"
    return "admin" if request.path.startswith(("/admin/", "/static/")) else "strangers"


def leave_body_out(response: HttpResponseBase) -> None:
    """Keep the headers of the answer and no body, which Waitress would send after a HEAD too.

    The client would take it for the beginning of its next answer.
    """
    if isinstance(response, StreamingHttpResponse):
        response.streaming_content = iter(())
    elif isinstance(response, HttpResponse):
        response.setdefault("Content-Length", str(len(response.content)))
        response.content = b""


def safe_request_id(given: str) -> str:
    """Return what may stand in a log line and a header: 128 plain characters at most."""
    return _UNSAFE.sub("", given[:1_024])[:128]
