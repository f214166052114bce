"""Errors for Sentry: what broke and where, never for whom.

Nothing of a request is sent but its id, method and view, and nothing of an exception that `privacy`
would not tell. The SDK's integrations stay off: they would add headers, addresses and statements.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.utils import single_exception_from_error_tuple

from website import __version__, privacy
from website.environment import SettingError

FLUSH_S: Final = 2.0
# A bot that looks for one bad row among a thousand asks twenty times.
SAME_AGAIN_S: Final = 60.0
_MOST_KINDS: Final = 100


def configure(dsn: str, environment: str) -> None:
    """Report to this DSN; an empty one: nowhere. Raises SettingError if it can't be used."""
    if not dsn:
        return
    try:
        sentry_sdk.init(
            dsn=dsn,
            release=f"website@{__version__}",
            environment=environment,
            default_integrations=False,
            auto_enabling_integrations=False,
            # The default one writes to standard error while it flushes.
            integrations=[AtexitIntegration(callback=lambda _pending, _timeout: None)],
            include_local_variables=False,
            max_breadcrumbs=0,
            before_send=lambda event, _hint: privacy.without_secrets_within(event),
            # Else these would be read from the environment.
            debug=False,
            spotlight=False,
        )
    except (ValueError, OSError):  # which may repeat it
        raise SettingError("SENTRY_DSN: is not a DSN that can be used") from None


class Reporter:
    """Reports each kind of failure, once a minute at most. It does nothing without `configure`."""

    def __init__(
        self,
        capture: Callable[[Any, Mapping[str, str]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capture = capture
        self._clock = clock
        self._reported_s: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def exception(self, exc: BaseException, *, tags: Mapping[str, str]) -> None:
        """Report what was raised. A broken constraint is one issue, whatever led to it."""
        facts = privacy.facts(exc)
        kind = (type(exc).__name__, facts.get("constraint") or _place(exc))
        event: dict[str, Any] = {
            "level": "error",
            "exception": {"values": [_told(one) for one in privacy.chain(exc)]},
            "contexts": {"database": facts} if facts else {},
        }
        if "constraint" in facts:
            event["fingerprint"] = ["constraint", facts["constraint"]]
        self._send(kind, event, tags)

    def message(self, text: str, *, context: Mapping[str, str]) -> None:
        """Report an event of ours, which is one issue."""
        event = {
            "level": "error",
            "message": text,
            "fingerprint": [text],
            "contexts": {"website": dict(context)},
        }
        self._send((text,), event, {})

    def _send(self, kind: tuple[str, ...], event: Any, tags: Mapping[str, str]) -> None:
        now_s = self._clock()
        with self._lock:
            if now_s - self._reported_s.get(kind, float("-inf")) < SAME_AGAIN_S:
                return
            if len(self._reported_s) >= _MOST_KINDS:
                self._reported_s.clear()
            self._reported_s[kind] = now_s
        self._capture(event, tags)


def flush() -> None:
    """Wait, a little, until all is sent."""
    sentry_sdk.flush(timeout=FLUSH_S)


def _capture(event: Any, tags: Mapping[str, str]) -> None:
    with sentry_sdk.new_scope() as scope:
        for name, value in tags.items():
            scope.set_tag(name, value)
        scope.capture_event(event)


def _told(exc: BaseException) -> dict[str, Any]:
    """Return an exception as Sentry takes it, in the words that may be told."""
    told = single_exception_from_error_tuple(
        type(exc),
        exc,
        exc.__traceback__,
        sentry_sdk.get_client().options,
        {"type": "website", "handled": False},
        full_stack=None,
    )
    return {**told, "value": privacy.reason(exc)}


def _place(exc: BaseException) -> str:
    tb = exc.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    return "" if tb is None else f"{tb.tb_frame.f_code.co_filename}:{tb.tb_lineno}"


reporter: Final = Reporter(_capture)
