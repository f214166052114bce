"""A website that offers no digests, as one whose database can't compute them.

Django middleware, which the website loads because `EXTRA_MIDDLEWARE` names it.
"""

import json
from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse, JsonResponse

MIDDLEWARE: Final = f"{__name__}.NoDigests"
_OK: Final = 200


class NoDigests:
    """Take digests out of the capabilities, and know no path of them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request as a site without them does."""
        if request.path == "/api/bot/sync/digests":
            return JsonResponse({"detail": "Not found."}, status=404)
        response = self._get_response(request)
        if request.path == "/api/bot/sync/capabilities" and response.status_code == _OK:
            offers = json.loads(response.content)
            del offers["digests"]
            return JsonResponse(offers)
        return response
