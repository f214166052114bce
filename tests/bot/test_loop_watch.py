"""The longest gap of a 10 ms ticker, from the first tick on."""

import asyncio
import math

import structlog

from bot.loop_watch import LoopWatch


def test_the_longest_whole_gap_is_kept() -> None:
    """The gap counts whole, its interval included, and a shorter one later changes nothing."""
    watch = LoopWatch()
    watch.measure()

    gaps = [watch.observe(at_s) for at_s in (100.0, 100.5, 100.75)]

    assert (gaps, watch.longest_stall_s, watch.age_s(101.0)) == ([0.0, 0.5, 0.25], 0.5, 0.25)


def test_nothing_is_known_before_the_first_tick() -> None:
    """Without a tick there is no stall, and the age is NaN, so that no health check takes it."""
    watch = LoopWatch()

    assert (watch.longest_stall_s, math.isnan(watch.age_s(5.0))) == (0.0, True)


def test_what_stalls_a_start_counts_for_nothing() -> None:
    """Modules are imported on the loop, extensions loaded; that it ticks is known all the same."""
    watch = LoopWatch()
    watch.observe(100.0)
    with structlog.testing.capture_logs() as logs:
        watch.observe(109.0)
    watch.measure()
    watch.observe(109.5)

    assert (logs, watch.longest_stall_s, watch.age_s(110.0)) == ([], 0.5, 0.5)


def test_stalls_are_logged_now_and_then() -> None:
    """Gaps above 250 ms are warned of, at most once per 10 s."""
    watch = LoopWatch()
    watch.measure()

    with structlog.testing.capture_logs() as logs:
        for at_s in (0.0, 0.25, 1.25, 2.25, 12.25):
            watch.observe(at_s)

    assert logs == [
        {"event": "bot.loop.stalled", "stall_ms": 1000.0, "log_level": "warning"},
        {"event": "bot.loop.stalled", "stall_ms": 10000.0, "log_level": "warning"},
    ]


async def test_the_running_loop_is_watched_until_stopped() -> None:
    """Once started the watch ticks by itself, and stopping ends it."""
    watch = LoopWatch()
    watch.start()
    watch.measure()

    while watch.longest_stall_s == 0.0:  # noqa: ASYNC110 - it signals nothing else
        await asyncio.sleep(0)  # the watch's own timer is what is waited for
    watch.stop()

    assert watch._handle is not None
    assert watch._handle.cancelled()
