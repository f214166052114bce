"""How long the event loop was kept from running anything else."""

import asyncio

import structlog

from bot import metrics

_INTERVAL_S = 0.010
_WARN_ABOVE_S = 0.25
_WARN_EVERY_S = 10.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
_stall_gauge = metrics.made["bot_loop_stall_max_seconds"]
_age_gauge = metrics.made["bot_loop_tick_age_seconds"]
_lag_histogram = metrics.made["bot_loop_lag_seconds"]


class LoopWatch:
    """A 10 ms ticker that keeps the longest whole gap between two of its ticks.

    The interval is part of the gap, so an idle loop shows a little over 10 ms.
    """

    def __init__(self) -> None:
        self.longest_stall_s = 0.0
        self._measures = False
        self._last_tick_s: float | None = None
        self._warned_at_s = float("-inf")
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to tick on the running loop; a second call changes nothing.

        What stalls it before `measure` is the loading of the program, and nobody's concern.
        """
        if self._handle is not None:
            return
        loop = asyncio.get_running_loop()
        _stall_gauge.set_function(lambda: self.longest_stall_s)
        _age_gauge.set_function(lambda: self.age_s(loop.time()))
        self._tick(loop)

    def measure(self) -> None:
        """Count stalls from now on; none was before."""
        self._measures = True

    def stop(self) -> None:
        """Stop ticking; the longest stall remains readable."""
        if self._handle is not None:
            self._handle.cancel()

    def observe(self, now_s: float) -> float:
        """Record a tick at a monotonic time and return the gap before it (0 at the first)."""
        gap_s = 0.0 if self._last_tick_s is None else now_s - self._last_tick_s
        self._last_tick_s = now_s
        if not self._measures:
            return gap_s
        self.longest_stall_s = max(self.longest_stall_s, gap_s)
        _lag_histogram.observe(max(0.0, gap_s - _INTERVAL_S))
        if gap_s > _WARN_ABOVE_S and now_s - self._warned_at_s >= _WARN_EVERY_S:
            self._warned_at_s = now_s
            _log.warning("bot.loop.stalled", stall_ms=round(gap_s * 1000, 1))
        return gap_s

    def age_s(self, now_s: float) -> float:
        """Return how long ago the last tick was, NaN if there was none."""
        return float("nan") if self._last_tick_s is None else now_s - self._last_tick_s

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.observe(loop.time())
        self._handle = loop.call_later(_INTERVAL_S, self._tick, loop)
