"""Faults by place: before, during and after each call of a port."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    _T = TypeVar("_T")


class When(Enum):
    """Where in a call a fault strikes."""

    BEFORE = "before"  # nothing was done
    DURING = "during"  # it was done, and nobody hears of it
    AFTER = "after"  # it was done, and its caller meets the fault at its next wait


class Faults:
    """What is to go wrong at which call, by the name of its place, like `store.put`.

    `calls` counts the calls of each place, `met` the faults that have struck.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.met: Counter[tuple[str, When]] = Counter()
        self._planned: defaultdict[tuple[str, When], list[Callable[[], Awaitable[None]]]] = (
            defaultdict(list)
        )

    def plan(
        self,
        place: str,
        fault: Callable[[], Awaitable[None]],
        *,
        when: When = When.BEFORE,
        times: int = 1,
    ) -> None:
        """Let the next `times` calls of a place meet a fault."""
        self._planned[place, when] += [fault] * times

    def clear(self) -> None:
        """Let nothing more go wrong."""
        self._planned.clear()

    async def around(self, place: str, call: Callable[[], Awaitable[_T]]) -> _T:
        """Make a call, and meet what is planned for its place."""
        self.calls[place] += 1
        await self._meet(place, When.BEFORE)
        result = await call()
        await self._meet(place, When.DURING)
        await self._meet(place, When.AFTER)
        return result

    async def _meet(self, place: str, when: When) -> None:
        planned = self._planned.get((place, when))
        if planned:
            self.met[place, when] += 1
            await planned.pop(0)()


def raising(error: BaseException) -> Callable[[], Awaitable[None]]:
    """Return the fault of a call that ends with an exception."""

    async def fault() -> None:
        # One object that is raised again and again would carry the frames of each time.
        error.__context__ = None
        raise error.with_traceback(None)

    return fault


def hanging() -> tuple[Callable[[], Awaitable[None]], asyncio.Event]:
    """Return the fault of a call that does not end, and the event that ends it after all."""
    free = asyncio.Event()

    async def fault() -> None:
        await free.wait()

    return fault, free


def cancelling() -> Callable[[], Awaitable[None]]:
    """Return the fault of a call whose task is cancelled while it waits for it."""

    async def fault() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    return fault


def cancelling_later() -> Callable[[], Awaitable[None]]:
    """Return the fault of a call whose task is cancelled at the wait that follows it."""

    async def fault() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    return fault
