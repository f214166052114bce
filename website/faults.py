"""What was raised and nothing expected: logged, counted and reported, of nobody's row a word.

A row that breaks a constraint is right by the contract and refused by the database, so one of the
two is wrong. Its client hears 500 like any other and may get by without that row.
"""

import sys

import structlog
from django.db import IntegrityError
from django.http import HttpRequest
from structlog.contextvars import get_contextvars

from website import metrics, privacy
from website.reporting import reporter

logger = structlog.get_logger(__name__)


def note(sender: object, request: HttpRequest, **_: object) -> None:  # noqa: ARG001  a signal's
    """Log, count and report what is being handled. Django logs its traceback besides."""
    exc = sys.exception()
    if exc is None:
        return
    if isinstance(exc, IntegrityError):
        metrics.constraint_violations.inc()
        logger.error("website.database.constraint_broken", **privacy.facts(exc))
    view = request.resolver_match.view_name if request.resolver_match else ""
    tags = {
        "request_id": str(get_contextvars().get("request_id", "")),
        "method": request.method or "",
        "view": view,
    }
    reporter.exception(exc, tags=tags)
