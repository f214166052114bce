"""Tasks in the background that must not take each other down, nor the lease that they work under.

What is wrong in one of them is told once for its kind, and the task begins anew: after a while
that doubles each time, so that a fault which stays costs nothing but that task. Only what the store
says ends a turn: without it nothing may be written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sentry_sdk
import structlog

from ._errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._ports import Clock

log = structlog.get_logger(__name__)

_FIRST_S: Final = 1.0
_MAX_S: Final = 300.0
_WELL_S: Final = 2 * _MAX_S  # so long without a fault, and the next one is a first one again


class Faults:
    """Tell of faults: each with a line in the log, and to Sentry once for its kind."""

    def __init__(self) -> None:
        self._told: set[tuple[str, type[Exception]]] = set()

    def tell(self, event: str, exc: Exception, *, task: str, **values: object) -> None:
        """Tell of an exception that `task` met."""
        kind = (task, type(exc))
        if kind in self._told:
            log.warning(event, task=task, error=repr(exc), **values)
            return
        self._told.add(kind)
        log.error(event, task=task, error=repr(exc), exc_info=exc, **values)
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
    """Do the work of a background task to its end, anew whenever it breaks; raise what is `but`."""
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
