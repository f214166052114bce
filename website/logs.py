"""JSON logs, one object a line, for the site's own events and for the libraries' alike."""

import logging
from typing import Any, TextIO

import structlog


def configure(stream: TextIO) -> None:
    """Send every log line to the stream. Times are UTC, ISO 8601, in microseconds."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(allow=[]),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
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
