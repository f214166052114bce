"""An event loop on virtual time that chooses what goes next, and can drop a process at any step."""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from contextvars import Context, ContextVar
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from tests.fakes.clock import BEGINNING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine
    from datetime import datetime

PROCESS: Final[ContextVar[Tag | None]] = ContextVar("PROCESS", default=None)
_HORIZON_S: Final = 0.5  # so long a busy process may keep its loop from hearing what has come


class Tag:
    """A process, as the loop knows it. `ready` are its callbacks, which keep their order.

    After `steps_left` more of them it dies, if that is a number; `on_death` is called then.
    """

    def __init__(self, name: str, on_death: Callable[[], None]) -> None:
        self.name = name
        self.ready: deque[asyncio.Handle] = deque()
        self.is_dead = False
        self.steps_left: int | None = None
        self.on_death = on_death

    def die(self) -> None:
        """Let nothing of it run any more."""
        if not self.is_dead:
            self.is_dead = True
            self.steps_left = None
            self.on_death()


# Of a loop's many methods only those stand here that tasks and futures call; to a type checker they
# are too few.
_Loop: Any = asyncio.AbstractEventLoop


class VirtualLoop(_Loop):  # type: ignore[misc] # see above
    """A loop whose time passes when nothing is ready, or when `chance` says so.

    Callbacks of one process run in the order of their scheduling, as asyncio promises; those of
    different processes, of the world outside and of timers that are due soon take turns by chance.
    `hurry` is how often a timer that is not due yet overtakes what is ready, as if it had taken
    that long to come so far.
    """

    def __init__(self, chance: random.Random, *, hurry: float) -> None:
        self._chance = chance
        self._hurry = hurry
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Tag | None]] = []
        self._numbers = count()
        self._world = Tag("world", lambda: None)
        self._tags = [self._world]
        self._closed = False
        # What a dead process was at stays as it was until the world is over: were it freed, its
        # `finally` clauses would run, in an order that the garbage collector knows.
        self._buried: list[asyncio.Handle] = []
        self.steps = 0
        self.errors: list[dict[str, Any]] = []

    def add(self, tag: Tag) -> None:
        """Let a process take part."""
        self._tags.append(tag)

    # -- what asyncio asks of a loop --------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        tag = PROCESS.get() if context is None else context.get(PROCESS)
        handle = asyncio.Handle(callback, args, self, context)
        if tag is None:
            self._world.ready.append(handle)
        elif tag.is_dead or self._closed:
            self._buried.append(handle)
        else:
            tag.ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + max(0.0, delay), callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        tag = PROCESS.get() if context is None else context.get(PROCESS)
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle, tag))
        return handle

    def _timer_handle_cancelled(self, _handle: asyncio.TimerHandle) -> None:
        """Leave it in the heap: it is passed over when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, **kwargs: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, **kwargs)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._closed and "destroyed" not in context.get("message", ""):
            self.errors.append(context)

    # -- running ----------------------------------------------------------------------------------

    def run_until(self, until: float, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Let everything happen up to a moment, or until `stop` says so."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            while not stop() and self._step(until):
                pass
        finally:
            events._set_running_loop(before)

    def _step(self, until: float) -> bool:
        """Run one callback; return False once there is none up to that moment."""
        busy = [tag for tag in self._tags if tag.ready and not tag.is_dead]
        if not busy or self._chance.random() < self._hurry:
            horizon = until if not busy else min(until, self._now + _HORIZON_S)
            if not self._fire(horizon) and not busy:
                self._now = until
                return False
            if not busy:
                return True
        tag = busy[0] if len(busy) == 1 else self._chance.choice(busy)
        handle = tag.ready.popleft()
        if not handle.cancelled():
            self.steps += 1
            handle._run()
            if tag.steps_left is not None:
                tag.steps_left -= 1
                if tag.steps_left <= 0:
                    tag.die()
        return True

    def _fire(self, horizon: float) -> bool:
        """Let the next timer's time come, if it does up to the horizon."""
        while self._timers and self._timers[0][0] <= horizon:
            when, _, handle, tag = heapq.heappop(self._timers)
            if handle.cancelled():
                continue
            if tag is not None and tag.is_dead:
                self._buried.append(handle)
                continue
            self._now = max(self._now, when)
            (tag or self._world).ready.append(handle)
            return True
        return False


class LoopClock:
    """The clock of a process in a virtual loop; `skew_s` is by how much its wall clock is wrong."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.skew_s = 0.0

    def now(self) -> datetime:
        """Return what the wall clock shows."""
        return moment(self._loop.time() + self.skew_s)

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Return once so much time has passed."""
        await asyncio.sleep(seconds)


def moment(seconds: float) -> datetime:
    """Return a moment of the world as a date."""
    return BEGINNING + timedelta(seconds=seconds)
