"""How many rows the next request may hold, learnt from how long the last ones took.

Theory: a request should take about `target_s`. Recent requests give a weighted rate, rows a second,
in the manner of pt-online-schema-change's `--chunk-time` (`n = 0.75 n + rows`); the next size is
that rate times the target, within these rules:

- the first request is a canary of `first` rows, and its time is not learnt from: it pays for
  connections and cold caches;
- grow at most twofold a step, never above the ceiling;
- a request of over twice the target halves the size at once;
- overload falls to the floor, a failure or a lost answer halves;
- an answer "too large" halves and lowers the ceiling for good.

Small chunks cost the site nothing: 250 and 1,000 rows a request take the same total time there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

_MEMORY: Final = 0.75  # what one more request leaves of the weight of those before it
_MAX_GROWTH: Final = 2
_SLOW: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceLimits:
    """Bounds of a pace: rows, bytes of a body, seconds."""

    target_s: float = 0.5
    first_items: int = 100
    floor_items: int = 10
    max_items: int = 1000
    max_bytes: int = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What somebody has set for a run that is on; None where nothing is."""

    target_s: float | None = None
    max_items: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The size of the next request (`items`), and what it was learnt from."""

    limits: PaceLimits
    items: int
    ceiling: int
    learnt: int = 0
    _rows: float = 0.0
    _seconds: float = 0.0

    @classmethod
    def start(cls, limits: PaceLimits) -> Pace:
        """Return the pace before the first request: the canary's size."""
        ceiling = max(1, limits.max_items)
        return cls(limits=limits, items=min(limits.first_items, ceiling), ceiling=ceiling)

    @property
    def floor(self) -> int:
        return min(self.limits.floor_items, self.ceiling)

    def applied(self, *, rows: int, seconds: float) -> Pace:
        """Learn from a request that was applied."""
        if self.learnt == 0:
            return self._resized(self._judged(self.items, seconds), learnt=1)
        weighed_rows = self._rows * _MEMORY + rows
        weighed_seconds = self._seconds * _MEMORY + max(seconds, 1e-6)
        wanted = int(weighed_rows / weighed_seconds * self.limits.target_s)
        return self._resized(
            self._judged(min(wanted, self.items * _MAX_GROWTH), seconds),
            learnt=self.learnt + 1,
            rows=weighed_rows,
            seconds=weighed_seconds,
        )

    def _judged(self, wanted: int, seconds: float) -> int:
        slow = seconds > self.limits.target_s * _SLOW
        return min(wanted, self.items // 2) if slow else wanted

    def overloaded(self) -> Pace:
        """Fall to the floor: the site asked for less."""
        return self._resized(self.floor, learnt=self.learnt)

    def failed(self) -> Pace:
        """Halve: the site failed, or its answer was lost."""
        return self._resized(self.items // 2, learnt=self.learnt)

    def too_large(self, *, rows: int) -> Pace:
        """Never again send as many rows as this request had."""
        ceiling = max(1, min(self.ceiling, rows // 2))
        return replace(self, ceiling=ceiling, items=min(self.items, ceiling))

    def tuned(self, tuning: Tuning) -> Pace:
        """Return the pace with these bounds; what the site said is too large stays so."""
        limits = self.limits
        if tuning.target_s is not None:
            limits = replace(limits, target_s=tuning.target_s)
        if tuning.max_items is not None:
            limits = replace(limits, max_items=tuning.max_items)
        was_lowered = self.ceiling < max(1, self.limits.max_items)
        ceiling = min(self.ceiling, limits.max_items) if was_lowered else limits.max_items
        ceiling = max(1, ceiling)
        return replace(self, limits=limits, ceiling=ceiling, items=min(self.items, ceiling))

    def _resized(self, items: int, *, learnt: int, rows: float = 0.0, seconds: float = 0.0) -> Pace:
        bounded = max(self.floor, min(items, self.ceiling))
        return replace(self, items=bounded, learnt=learnt, _rows=rows, _seconds=seconds)
