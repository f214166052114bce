"""A clock that moves by hand."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

BEGINNING: Final = datetime(2021, 1, 12, 9, 0, tzinfo=UTC)


class HandClock:
    """Time that stands still until `advance`; `skew` moves what the wall clock shows."""

    def __init__(self) -> None:
        self.skew = timedelta()
        self._seconds = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def now(self) -> datetime:
        """Return what the wall clock shows."""
        return BEGINNING + timedelta(seconds=self._seconds) + self.skew

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        """Return once so much time was let pass."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._seconds + seconds, next(self._numbers), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass, and wake sleepers in order; each goes as far as it can before the next."""
        end = self._seconds + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self._seconds = at
                woken.set_result(None)
                await self.settle()
        self._seconds = end
        await self.settle()

    async def settle(self) -> None:
        """Return when no task can go on without time passing, or a thread or a socket."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0)
            # asyncio has no public word for "nothing is ready".
            if not loop._ready:  # type: ignore[attr-defined] # private, of BaseEventLoop
                return

    @property
    def next_at(self) -> float | None:
        """When the next sleeper wakes; None if nobody sleeps."""
        self._sleepers = [one for one in self._sleepers if not one[2].done()]
        heapq.heapify(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None
