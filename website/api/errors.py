"""Answers for what goes wrong: always JSON, always in DRF's shapes."""

from typing import Any

import structlog
from django.core.exceptions import DisallowedHost
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from rest_framework.exceptions import APIException
from rest_framework.response import Response
from rest_framework.views import exception_handler

from website.api import rows

logger = structlog.get_logger(__name__)


class TooManyItems(APIException):
    """The list in the body is longer than the site takes."""

    status_code = 413
    default_code = "too_many_items"


class RejectedRows(APIException):
    """Some items of the list are wrong by themselves.

    `errors` has a JSON object for each item, in order: empty where there is nothing to say.
    """

    status_code = 400

    def __init__(self, errors: list[bytes]) -> None:
        super().__init__()
        self.errors = errors


def answer(exc: Exception, context: dict[str, Any]) -> Response | StreamingHttpResponse | None:
    """Answer an exception of a view; a database that is down, stuck or locked is a 503."""
    if isinstance(exc, OperationalError | InterfaceError):
        logger.warning("website.database.failed", error=_first_line(exc))
        return Response(
            {"detail": "The database is not available."}, status=503, headers={"Retry-After": "5"}
        )
    if isinstance(exc, RejectedRows):
        return rows.answer(exc.errors, status=exc.status_code)
    return exception_handler(exc, context)


def bad_request(_request: HttpRequest, exception: Exception) -> JsonResponse:
    """Answer what Django refuses; a host name that it doesn't know is told with the setting."""
    known = isinstance(exception, DisallowedHost)
    return JsonResponse({"detail": str(exception) if known else "Bad request."}, status=400)


def not_found(
    _request: HttpRequest,
    exception: Exception,  # noqa: ARG001  Django gives it by this name
) -> JsonResponse:
    """Answer a path that is no endpoint."""
    return JsonResponse({"detail": "Not found."}, status=404)


def server_error(_request: HttpRequest) -> JsonResponse:
    """Answer a bug; the log has its traceback."""
    return JsonResponse({"detail": "Internal server error."}, status=500)


def _first_line(exc: Exception) -> str:
    return str(exc).partition("\n")[0][:300]
