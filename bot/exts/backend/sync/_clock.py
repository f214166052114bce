"""Time: the adapter of the `Clock` port, and waits that are bounded by such a clock.

Nothing else of the extension reads a clock or sleeps (`make lint` sees to it), so that a test, or
the simulator, can let a day pass in a moment.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from ._ports import Clock


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """Return the present, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds; at once if there are none."""
        await asyncio.sleep(seconds)


class SteadyClock:
    """A clock that starts at another's time and then counts the seconds that really pass.

    A wall clock may be corrected at any moment, by an hour or by a day. That must neither cut a
    wait short nor prolong it, so all decisions go by this clock instead.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_at = clock.now()
        self._began_s = clock.monotonic()

    def now(self) -> datetime:
        """Return the present, aware, in UTC."""
        return self._began_at + timedelta(seconds=self.monotonic() - self._began_s)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds; at once if there are none."""
        await self._clock.sleep(seconds)


async def give_way() -> None:
    """Let other tasks have their turn."""
    await asyncio.sleep(0)


async def wait_first(
    futures: Collection[asyncio.Future[Any]], *, clock: Clock, within_s: float | None = None
) -> bool:
    """Wait until one of these is done, at most so long; return whether one is. Cancels none."""
    ends: set[asyncio.Future[Any]] = {*futures}
    alarm = None
    if within_s is not None:
        alarm = asyncio.ensure_future(clock.sleep(max(0.0, within_s)))
        ends.add(alarm)
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if alarm is not None:
            alarm.cancel()
    return any(future.done() for future in futures)


async def happens(event: asyncio.Event, *, clock: Clock, within_s: float) -> bool:
    """Wait for an event, at most so long; return whether it came."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        return await wait_first({waiting}, clock=clock, within_s=within_s)
    finally:
        waiting.cancel()


@asynccontextmanager
async def deadline(clock: Clock, seconds: float) -> AsyncIterator[None]:
    """Raise `TimeoutError` where what is inside takes longer, as `asyncio.timeout` does."""
    async with asyncio.timeout(None) as limit:

        async def ring() -> None:
            await clock.sleep(seconds)
            limit.reschedule(0)

        alarm = asyncio.ensure_future(ring())
        try:
            yield
        finally:
            alarm.cancel()
