"""One request at a time, for as long as it costs, and a line of the log about each."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse

from sandbox.plain_site.costs import Queue, Work
from sandbox.plain_site.log import say
from sandbox.plain_site.settings import COSTS
from sandbox.plain_site.views import WORK


class OneAtATime:
    """Hold the site for the time of a request's work, and for no less than its cost.

    The log's line has the fields that the reference website's has, so that whoever reads one can
    read the other, how many bytes each body has, and the times that a client can't tell apart (all
    in ms): `waited_ms` until the request had its turn, `worked_ms` for its work, `held_ms` for
    which it held the site, `floor_ms` for which it had to. Nothing of that is said in the answer.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._queue = Queue()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request, once those that came before are answered."""
        came_at, came_s = datetime.now(UTC), time.perf_counter()
        with self._queue.turn():
            turn_s = time.perf_counter()
            response = self._get_response(request)
            done_s = time.perf_counter()
            work: Work = request.META.get(WORK, Work())
            floor_s = COSTS * work.floor_s
            time.sleep(max(0.0, turn_s + floor_s - done_s))
            end_s = time.perf_counter()
        say(
            "website.request.finished",
            request_id=request.headers.get("X-Request-ID", ""),
            method=request.method,
            path=request.path,
            status=response.status_code,
            rows=work.rows,
            received_bytes=int(request.META.get("CONTENT_LENGTH") or 0),
            sent_bytes=len(response.content),
            started_at=came_at.isoformat(),
            duration_ms=_ms(end_s - came_s),
            waited_ms=_ms(turn_s - came_s),
            worked_ms=_ms(done_s - turn_s),
            held_ms=_ms(end_s - turn_s),
            floor_ms=_ms(floor_s),
        )
        return response


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 3)
