"""JSON logs, one object a line, for the site's own events and for the libraries' alike."""

import logging
import sys
import threading
from typing import Any, TextIO

import structlog

from website import privacy

logger = structlog.get_logger(__name__)


def configure(stream: TextIO) -> None:
    """Send every log line to the stream. Times are UTC, ISO 8601, in microseconds."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(allow=[]),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _describe_exception,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
                _hide_secrets,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # Django warns of each 4xx answer: the request's own line says the same.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    # Waitress warns of each request that has to wait for a thread: `duration_ms` tells enough.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    # Python's own would print what `privacy` does not tell.
    sys.excepthook = lambda _kind, exc, _tb: logger.critical("website.failed", exc_info=exc)
    threading.excepthook = lambda failed: logger.critical(
        "website.thread.failed", exc_info=failed.exc_value
    )


def _describe_exception(_logger: Any, _method: str, event: Any) -> Any:
    """Put a traceback in the place of an exception, which Python has in three forms."""
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    exc = given[1] if isinstance(given, tuple) else given
    if isinstance(exc, BaseException):
        event["exception"] = privacy.described(exc)
    return event


def _hide_secrets(_logger: Any, _method: str, line: Any) -> Any:
    return privacy.without_secrets(line)
