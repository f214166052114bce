"""What a request costs on the real production site, and the one queue in which all requests wait.

The figures are those of python-discord's site, unmodified, with 80,001 users, on two cores with
PostgreSQL 15, served by Waitress with four threads. There the old syncer read 33 pages of 2,500 in
5.3 s, and wrote 4,000 changed rows in chunks of 1,000 in 9 to 10 s. Four threads are no four times
as fast: nearly all of it is Python, one thread at a time.

So each request holds one lock, first come, first served, for the time that its work takes and for
no less than its cost. How large the site's table is makes no difference to a cost.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """How long a kind of request holds the site, at least: by itself and for each of its rows."""

    request_s: float
    row_s: float

    def of(self, rows: int) -> float:
        """Return the seconds for a request with so many rows."""
        return self.request_s + self.row_s * rows


# Each with the rows that count: those of the request, refused or not, and those of the answer.
WRITE: Final = Cost(request_s=0.025, row_s=0.002)
PAGE: Final = Cost(request_s=0.120, row_s=0.000_015)
OTHER: Final = Cost(request_s=0.025, row_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a request turned out to be; `rows` is None if it was about none."""

    cost: Cost = OTHER
    rows: int | None = None

    @property
    def floor_s(self) -> float:
        """How long it holds the site at least."""
        return self.cost.of(self.rows or 0)


class Queue:
    """A lock that threads get in the order in which they asked for it; `threading.Lock` has none.

    >>> with queue.turn():
    ...     work()
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self.waiting: deque[threading.Event] = deque()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until all who asked before are done, and hold the queue for as long as entered."""
        with self._guard:
            is_free, self._taken = not self._taken, True
            called = threading.Event()
            if not is_free:
                self.waiting.append(called)
        if not is_free:
            called.wait()
        try:
            yield
        finally:
            with self._guard:
                if self.waiting:
                    self.waiting.popleft().set()  # it stays taken: nobody gets in between
                else:
                    self._taken = False
