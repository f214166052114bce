"""The threads that answer requests: whoever ended last takes the next one.

Waitress wakes whoever has waited longest, so one client after another goes round all threads. Each
has a database connection of its own, at whose other end is a process with its own caches and plans:
they would all be made, and none of them would be warm.
"""

import threading
from typing import Any

# Waitress has no type hints.
from waitress.task import ThreadedTaskDispatcher  # type: ignore[import-untyped]


class _NewestFirst:
    """What Waitress needs of a `threading.Condition`; `notify` wakes whoever began to wait last."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._waiting: list[threading.Lock] = []

    def wait(self) -> None:
        """Give back the lock, which the caller holds, until woken; then take it again."""
        gate = threading.Lock()
        gate.acquire()
        self._waiting.append(gate)
        self._lock.release()
        gate.acquire()
        self._lock.acquire()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def notify(self) -> None:
        """Wake the newest, if anybody waits. The caller holds the lock."""
        if self._waiting:
            self._waiting.pop().release()

    def notify_all(self) -> None:
        """Wake everybody. The caller holds the lock."""
        while self._waiting:
            self.notify()


class Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]  # untyped base class
    """Waitress' threads, the last one to end being the first to begin."""

    queue_cv: Any

    def __init__(self) -> None:
        super().__init__()
        self.queue_cv = _NewestFirst(self.lock)
