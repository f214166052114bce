"""Alerts on their way to mod-log: never lost, never doubled, however long Discord is away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from .._clock import wait_first
from .._errors import StoreError

if TYPE_CHECKING:
    from .._core.messages.alert import Alert
    from .._core.messages.notice import Notice
    from .._ports import Clock, ModLog
    from .repository import StateRepository

log = structlog.get_logger(__name__)

_RETRY_S: Final = 2.0
_MAX_RETRY_S: Final = 60.0
_MAX_UNKEPT: Final = 20


class Outbox:
    """Deliver what the repository holds, and what can't be kept there because the store is away."""

    def __init__(self, repository: StateRepository, mod_log: ModLog, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock
        self._mod_log = mod_log
        self._unkept: dict[str, Alert] = {}
        self._tried: set[str] = set()
        self._shown: set[str] = set()
        self._said = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many alerts mod-log does not show yet."""
        return len(self._repository.alerts) + len(self._unkept)

    def say(self, notice: Notice) -> None:
        """Tell people something that needs no store, or is about the store itself."""
        one = self._repository.stamped(notice)
        self._unkept[one.id] = one
        while len(self._unkept) > _MAX_UNKEPT:
            self._unkept.pop(next(iter(self._unkept)))
        self._said.set()

    async def run_forever(self) -> None:
        """Deliver, oldest first; wait longer and longer while Discord takes nothing."""
        wait_s = _RETRY_S
        while True:
            changed = asyncio.ensure_future(self._repository.changed())
            said = asyncio.ensure_future(self._said.wait())
            self._said.clear()
            try:
                if await self.deliver():
                    wait_s = _RETRY_S
                    await wait_first({changed, said}, clock=self._clock)
                else:
                    # Whatever else is to be told meanwhile: it would meet the same.
                    await self._clock.sleep(wait_s)
                    wait_s = min(wait_s * 2, _MAX_RETRY_S)
            finally:
                changed.cancel()
                said.cancel()

    async def deliver(self) -> bool:
        """Try each that waits, once, and return whether none is left."""
        waiting = [*self._repository.alerts.values(), *self._unkept.values()]
        complete = True
        for one in sorted(waiting, key=lambda alert: alert.created_at):
            if one.id not in self._shown:
                # What was loaded from the store, or was tried before, may have arrived already.
                again = one.id in self._tried or one.id not in self._unkept
                self._tried.add(one.id)
                if not await self._mod_log.post(one, again=again):
                    complete = False
                    break  # the order is part of what they say
                self._shown.add(one.id)
                log.info("sync.alert.delivered", alert_id=one.id, title=one.notice.title)
            complete = await self._forget(one) and complete
        return complete

    async def _forget(self, one: Alert) -> bool:
        if self._unkept.pop(one.id, None) is None and one.id in self._repository.alerts:
            try:
                await self._repository.delivered(one.id)
            except StoreError as exc:
                log.warning("sync.alert.kept", alert_id=one.id, error=str(exc))
                return False
        self._shown.discard(one.id)
        self._tried.discard(one.id)
        return True
