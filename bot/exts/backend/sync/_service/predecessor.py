"""The process that led before this one: what it may have left on its way to the site."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._ports import Clock


class Predecessor:
    """Whether the process before this one may have a request on its way, which nobody remembers.

    A request ends within `deadline_s`, so what was read later than that after it was gone is true.
    """

    def __init__(self, clock: Clock, *, deadline_s: float) -> None:
        self._clock = clock
        self._deadline_s = deadline_s
        self._gone_s = 0.0
        self.may_write = False

    def gone(self, *, may_write: bool) -> None:
        """Note that this process leads now in its place."""
        self.may_write = may_write
        self._gone_s = self._clock.monotonic() + self._deadline_s

    def seen(self, *, read_from_s: float) -> None:
        """Note that a sync is verified whose reading began then, by the monotonic clock."""
        self.may_write = self.may_write and read_from_s < self._gone_s
