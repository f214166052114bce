"""Where the bot's logs and errors go, and what is kept out of them."""

import json
import logging
import re
import traceback
from collections.abc import Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import sentry_sdk
import structlog
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.logging import LoggingIntegration

from bot import __version__
from bot.exts.backend.sync._core.model.redaction import without_quoted
from bot.settings import ConfigurationError

if TYPE_CHECKING:
    from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint
    from structlog.typing import Processor

    from bot.settings import BotSettings

REDACTED = "[redacted]"
# Anything shorter guards nothing, and occurs by chance in keys and words that must stay whole.
_SHORTEST_SECRET = 6
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})

# At DEBUG discord.py logs whole gateway payloads, the token's among them, and httpx logs a line a
# request at INFO, which the extension's own events say better.
_QUIETEST_LEVELS = {
    "discord": logging.INFO,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "asyncio": logging.WARNING,
}


class Redactor:
    """Replaces known secrets wherever they occur, in the spellings that rendering gives them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = {
            spelling
            for secret in secrets
            if len(secret) >= _SHORTEST_SECRET
            for spelling in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret))
        }
        longest_first = sorted(spellings, key=len, reverse=True)  # one may hold another
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        return self._pattern.sub(REDACTED, text)

    def value(self, value: Any) -> Any:
        """Return a copy of a JSON-like value without secrets and without credential headers."""
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {
                    self.value(key): REDACTED
                    if isinstance(key, str) and key.lower() in _SECRET_HEADERS
                    else self.value(item)
                    for key, item in value.items()
                }
            case list() | tuple():
                return [self.value(item) for item in value]
            case _:
                return value


class _RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    """Redacts the finished line, so that no value, traceback or `repr` can get around it."""

    def __init__(self, redactor: Redactor, **options: Any) -> None:
        super().__init__(**options)
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.text(super().format(record))


def configure_logging(
    *,
    stream: IO[str],
    log_format: Literal["json", "console"] | None,
    level: str,
    redactor: Redactor,
) -> None:
    """Send structlog's and the standard library's records to a stream, one line each.

    Without a format, a terminal gets `console` and anything else `json`.
    """
    chosen = log_format or ("console" if stream.isatty() else "json")
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.StackInfoRenderer(),
    ]
    rendering: list[Processor]
    if chosen == "json":
        rendering = [
            structlog.processors.ExceptionRenderer(_traceback_of),
            structlog.processors.JSONRenderer(),
        ]
    else:
        # Not rich's tracebacks: they show local variables, members' names among them.
        rendering = [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=_print_traceback
            )
        ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        _RedactingFormatter(
            redactor,
            foreign_pre_chain=common,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name, quietest in _QUIETEST_LEVELS.items():
        logging.getLogger(name).setLevel(max(root.level, quietest))
    logging.getLogger("discord.client").addFilter(_state_reconnects_plainly)
    logging.captureWarnings(capture=True)


def configure_sentry(settings: "BotSettings", redactor: Redactor) -> None:
    """Report errors to Sentry; without a DSN every capture is a no-op.

    Log records become breadcrumbs, never events: what deserves an event is captured by hand, once.
    """
    if settings.sentry_dsn is None:
        return

    def scrub(event: "Event", _hint: "Hint") -> "Event":
        for error in (event.get("exception") or {}).get("values", ()):
            error["value"] = without_quoted(str(error.get("value") or ""))
        scrubbed: Event = redactor.value(event)
        return scrubbed

    def before_breadcrumb(crumb: "Breadcrumb", hint: "BreadcrumbHint") -> "Breadcrumb":
        record = hint.get("log_record")
        if isinstance(record, logging.LogRecord) and isinstance(record.msg, dict):
            event = {
                key: value for key, value in record.msg.items() if key not in _CRUMB_HAS_ALREADY
            }
            crumb["message"] = str(event.pop("event", ""))
            crumb["data"] = event
        return crumb

    try:
        sentry_sdk.init(
            dsn=settings.sentry_dsn.get_secret_value(),
            release=f"guild-sync@{__version__}",
            environment=settings.sentry_environment,
            # Of syncs alone: nothing else begins a trace here.
            traces_sample_rate=settings.sentry_traces_sample_rate,
            trace_propagation_targets=[],
            before_send=scrub,
            before_send_transaction=scrub,
            before_breadcrumb=before_breadcrumb,
            # No personal data is sent unless asked for; naming the option is deprecated in 2.75,
            # and naming its successor would switch off the SDK's own scrubber of well-known keys.
            include_local_variables=False,  # they hold members' names
            # Else the HTTP clients' integrations would add tracing headers to every request.
            auto_enabling_integrations=False,
            # Else these, too, would be read from the environment.
            debug=False,
            spotlight=False,
            integrations=[
                LoggingIntegration(level=logging.INFO, event_level=None, sentry_logs_level=None),
                # The default one writes to standard error while it flushes.
                AtexitIntegration(callback=lambda _pending, _timeout: None),
            ],
        )
    except (ValueError, OSError) as exc:
        # Of what the SDK's HTTP client read of the environment.
        raise ConfigurationError(
            "SENTRY_DSN can't be used with what HTTP_PROXY, HTTPS_PROXY, NO_PROXY and "
            f"SSL_CERT_FILE say: {exc}"
        ) from exc


# A file's line in a traceback, also of a group, or one that is indented as its source is.
_PLACE = re.compile(r"(?:\s*[|+])?  (?:(File) \"|  )")


def without_values_of_errors(text: str) -> str:
    """Return a traceback without what its errors quote, which may be a member's name.

    The lines of files and of their source stay as they are: they hold what was written, and nothing
    that came in.
    """
    lines, is_source = [], False
    for line in text.splitlines(keepends=True):
        place = _PLACE.match(line)
        is_source = place is not None and (place[1] == "File" or is_source)
        lines.append(line if is_source else without_quoted(line))
    return "".join(lines)


def _traceback_of(exc_info: Any) -> str:
    text = "".join(traceback.format_exception(*exc_info)).removesuffix("\n")
    return without_values_of_errors(text)


def _print_traceback(stream: Any, exc_info: Any) -> None:
    stream.write("\n" + _traceback_of(exc_info))


_CRUMB_HAS_ALREADY = frozenset({"timestamp", "level", "logger", "exc_info", "_logger", "_name"})


def _state_reconnects_plainly(record: logging.LogRecord) -> bool:
    """Make discord.py's full traceback at each try to reconnect a warning that names the cause."""
    if str(record.msg).startswith("Attempting a reconnect") and record.exc_info:
        record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]!r}", ()
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.exc_info = None
    return True
