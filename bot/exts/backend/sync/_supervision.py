"""Background tasks: a fault in one must not end the others, or give up the lease.

A task that breaks is reported, once for each kind of fault, and starts again after a wait that
doubles each time. Only errors of the store get through, for nothing may be written without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sentry_sdk
import structlog

from ._core.model.redaction import without_quoted
from ._errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._ports import Clock

log = structlog.get_logger(__name__)

_FIRST_S: Final = 1.0
_MAX_S: Final = 300.0
_WELL_S: Final = 2 * _MAX_S  # so long without a fault, and the next one is a first one again


class Faults:
    """Report faults: each one in the log, and the first of each kind to Sentry."""

    def __init__(self) -> None:
        self._told: set[tuple[str, type[Exception]]] = set()

    def tell(self, event: str, exc: Exception, *, task: str, **values: object) -> None:
        """Report an exception that `task` met."""
        kind = (task, type(exc))
        if kind in self._told:
            log.warning(event, task=task, error=without_quoted(repr(exc)), **values)
            return
        self._told.add(kind)
        log.error(event, task=task, error=without_quoted(repr(exc)), exc_info=exc, **values)
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("task", task)
            sentry_sdk.capture_exception(exc)


async def keep_going(
    task: str,
    work: Callable[[], Awaitable[None]],
    *,
    clock: Clock,
    but: type[Exception] | tuple[type[Exception], ...] = StoreError,
) -> None:
    """Run a background task, again whenever it breaks, until it returns; let `but` through."""
    faults, wait_s = Faults(), _FIRST_S
    while True:
        began_s = clock.monotonic()
        try:
            await work()
        except but:
            raise
        except Exception as exc:  # noqa: BLE001 - told; whatever it is ends this task's turn only
            if clock.monotonic() - began_s > _WELL_S:
                wait_s = _FIRST_S
            faults.tell("sync.task.broke", exc, task=task, again_in_s=wait_s)
        else:
            return
        await clock.sleep(wait_s)
        wait_s = min(wait_s * 2, _MAX_S)
