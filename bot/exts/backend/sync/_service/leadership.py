"""Who leads: one process holds the lease, and with it the right to act on what the store says.

All else happens under that lease. A process that can't get it waits, and takes over with a full
sync when it does; until then it answers nothing and writes nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import sentry_sdk
import structlog

from .._core.messages import alert
from .._core.model.redaction import without_quoted
from .._errors import StoreError

if TYPE_CHECKING:
    from datetime import datetime

    from .._ports import Clock, Store
    from .._state.outbox import Outbox

log = structlog.get_logger(__name__)

_POLL_S: Final = 2.0
_MAX_POLL_S: Final = 30.0
_RENEW_S: Final = 10.0


@dataclass(slots=True)
class Leadership:
    """Whether this process leads, as all of it sees; `trouble` says why it does not."""

    is_leading: bool = False
    is_standby: bool = False
    trouble: str = "it has just started and has not read its state yet"


class Leader(Protocol):
    """What is done with the lease."""

    async def take_over(self) -> None:
        """Read what the store holds, before anything else."""

    async def lead(self) -> None:
        """Do what a leading process does; returns only by an exception."""

    async def step_down(self) -> None:
        """End whatever may still act under a lease that is gone."""


class LeaderElector:
    """Hold the lease and lead, again and again, for as long as the extension is loaded."""

    def __init__(
        self,
        leadership: Leadership,
        leader: Leader,
        *,
        clock: Clock,
        store: Store,
        outbox: Outbox,
        lease_s: float,
    ) -> None:
        self._leadership = leadership
        self._leader = leader
        self._clock = clock
        self._store = store
        self._outbox = outbox
        self._lease_s = lease_s
        self._trouble_since: datetime | None = None
        self._out_of_touch = asyncio.Event()
        self._is_stopping = False

    def stop(self) -> None:
        """Take no further turn."""
        self._is_stopping = True

    def out_of_touch(self) -> None:
        """Begin the turn anew: the store does not hold what has happened."""
        self._out_of_touch.set()

    async def run_forever(self) -> None:
        """Take one turn after the other, whatever ends each of them."""
        wait_s = _POLL_S
        # A task group that has failed swallows a cancel that meets it.
        while not self._is_stopping:
            try:
                await self._store.open()
                await self._take_turn()
            except* StoreError as group:
                self._say_trouble(str(_first(group)))
            # The outermost boundary: whatever is wrong in our own code is told once a time, and
            # this process goes on trying.
            except* Exception as group:
                log.exception("sync.lead.broke")
                sentry_sdk.capture_exception(group)
                self._say_trouble(f"an error of ours: {without_quoted(repr(_first(group)))}")
            finally:
                if self._leadership.is_leading:
                    wait_s = _POLL_S
                self._leadership.is_standby = False
                await self._leader.step_down()
                await self._store.close()
            if not self._is_stopping:
                await self._clock.sleep(wait_s)
            wait_s = min(wait_s * 2, _MAX_POLL_S)

    async def _take_turn(self) -> None:
        await self._win()
        await self._leader.take_over()
        self._store_answers()
        log.info("sync.lease.held", where=self._store.where)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew())
            tasks.create_task(self._notice_being_out_of_touch())
            tasks.create_task(self._leader.lead())

    async def _win(self) -> None:
        """Wait until the lease is ours."""
        noted, said, since_s = False, False, self._clock.monotonic()
        while not await self._store.acquire():
            self._leadership.is_standby = True
            holder = self._store.holder()
            self._leadership.trouble = f"{holder or 'another process'} syncs this server"
            if not noted:
                noted = True
                log.info("sync.lease.waiting", holder=holder)
            # A lease that nobody renews is that of a process that is gone, and no rival's.
            if not said and self._clock.monotonic() - since_s >= self._lease_s:
                said = True
                self._outbox.say(alert.waiting_for(holder))
            self._store_answers()
            await self._clock.sleep(_POLL_S)
        self._leadership.is_standby = False

    async def _notice_being_out_of_touch(self) -> None:
        self._out_of_touch.clear()
        await self._out_of_touch.wait()
        raise StoreError(f"{self._store.where} did not take how a sync ended")

    async def _renew(self) -> None:
        every_s = min(_RENEW_S, self._lease_s / 6)
        while True:
            await self._clock.sleep(every_s)
            try:
                is_ours = await self._store.renew()
            except StoreError:
                if self._store.lease_left_s() > 0:
                    continue
                raise
            if not is_ours:
                raise StoreError(f"the lease in {self._store.where} was lost")

    def _say_trouble(self, reason: str) -> None:
        self._leadership.trouble = reason
        log.warning("sync.store.unreachable", error=reason)
        if self._trouble_since is None:
            self._trouble_since = self._clock.now()
            self._outbox.say(alert.store_unreachable(reason))

    def _store_answers(self) -> None:
        if self._trouble_since is not None:
            self._outbox.say(alert.store_back(lasted=self._clock.now() - self._trouble_since))
            self._trouble_since = None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
