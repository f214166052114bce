"""The threads that answer requests: the first that is free takes the next one.

Waitress wakes whoever has waited longest, so one client after another goes round all threads. Each
has a database connection of its own, at whose other end is a process with its own caches and plans:
they would all be made, grow, and never be warm.
"""

import heapq
import threading
from typing import Any

# Waitress has no type hints.
from waitress.task import ThreadedTaskDispatcher  # type: ignore[import-untyped]


class _FirstFree:
    """What Waitress needs of a `threading.Condition`; `notify` wakes the first thread that waits.

    They are numbered in the order in which they first waited.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._numbers: dict[int, int] = {}
        self._waiting: list[tuple[int, threading.Lock]] = []

    def wait(self) -> None:
        """Give back the lock, which the caller holds, until woken; then take it again."""
        number = self._numbers.setdefault(threading.get_ident(), len(self._numbers))
        gate = threading.Lock()
        gate.acquire()
        heapq.heappush(self._waiting, (number, gate))
        self._lock.release()
        gate.acquire()
        self._lock.acquire()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def notify(self) -> None:
        """Wake the first, if anybody waits. The caller holds the lock."""
        if self._waiting:
            heapq.heappop(self._waiting)[1].release()

    def notify_all(self) -> None:
        """Wake everybody. The caller holds the lock."""
        while self._waiting:
            self.notify()


class Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]  # untyped base class
    """Waitress' threads, each request going to the first that is free."""

    queue_cv: Any

    def __init__(self) -> None:
        super().__init__()
        self.queue_cv = _FirstFree(self.lock)
