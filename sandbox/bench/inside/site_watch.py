"""How many bytes each request and its answer have, in the website's log.

Django middleware, which the website loads because `EXTRA_MIDDLEWARE` names it.
"""

import json
import sys
from collections.abc import Callable

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from sandbox.bench.inside import BYTES


class Bytes:
    """Say of each request with an id how many bytes its body and that of its answer have."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request, and log that."""
        response = self._get_response(request)
        request_id = request.headers.get("X-Request-ID")
        if request_id is not None:
            line = {
                "event": BYTES,
                "request_id": request_id,
                "received_bytes": int(request.META.get("CONTENT_LENGTH") or 0),
                "sent_bytes": _length(response),
            }
            sys.stdout.write(json.dumps(line) + "\n")  # at once: no kill leaves half a line
            sys.stdout.flush()
        return response


def _length(response: HttpResponseBase) -> int:
    if isinstance(response, StreamingHttpResponse):
        return int(response.headers.get("Content-Length", 0))
    return len(getattr(response, "content", b""))
