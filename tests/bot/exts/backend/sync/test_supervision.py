"""Background tasks: what one of them meets costs that one time, and nobody else anything."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sentry_sdk
import structlog

from bot.exts.backend.sync._errors import LeaseLostError, StoreError
from bot.exts.backend.sync._supervision import keep_going
from tests.bot.exts.backend.sync.sentry import Kept
from tests.fakes.clock import HandClock


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """Give the events that Sentry is told."""
    kept = Kept()
    client = sentry_sdk.Client(dsn="http://key@sentry.invalid/1", transport=kept)
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(client)
        yield kept.events


class Work:
    """A task that ends as it is told to, and then does its work."""

    def __init__(self, clock: HandClock, *endings: BaseException, lasts_s: float = 0.0) -> None:
        self.clock = clock
        self.endings = [*endings]
        self.lasts_s = lasts_s
        self.began: list[float] = []

    async def __call__(self) -> None:
        self.began.append(self.clock.monotonic())
        await self.clock.sleep(self.lasts_s)
        if self.endings:
            raise self.endings.pop(0)


async def test_a_task_that_breaks_begins_anew_later_and_later(told: list[Any]) -> None:
    """Told each time in the log, with its name; to Sentry once for each kind."""
    clock = HandClock()
    work = Work(clock, *[TypeError("no")] * 3, KeyError("id"), *[TypeError("never")] * 8)
    with structlog.testing.capture_logs() as logs:
        task = asyncio.ensure_future(keep_going("reminders", work, clock=clock))
        await clock.advance(5000)

    assert task.done()
    assert work.began == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111, 1411]
    assert [event["tags"]["task"] for event in told] == ["reminders"] * 2
    assert [log["event"] for log in logs] == ["sync.task.broke"] * 12
    assert logs[1] == {
        "event": "sync.task.broke",
        "log_level": "warning",
        "task": "reminders",
        "error": "TypeError('no')",
        "again_in_s": 2.0,
    }
    assert [log["log_level"] for log in logs[:5]] == [
        "error",
        "warning",
        "warning",
        "error",
        "warning",
    ]


async def test_a_task_that_went_well_for_long_is_patient_anew() -> None:
    """A fault a day is no row of faults."""
    clock = HandClock()
    work = Work(clock, *[TypeError("no")] * 4, lasts_s=3600)
    task = asyncio.ensure_future(keep_going("metrics", work, clock=clock))
    await clock.advance(40_000)

    assert task.done()
    assert work.began == [0, 3601, 7202, 10803, 14404]


@pytest.mark.parametrize("ending", [StoreError, LeaseLostError, asyncio.CancelledError])
async def test_what_is_about_the_store_or_a_stop_passes(
    ending: Callable[[str], BaseException], told: list[Any]
) -> None:
    """Without the store nothing may be written; a task that is stopped stays so."""
    clock = HandClock()
    task = asyncio.ensure_future(keep_going("reminders", Work(clock, ending("x")), clock=clock))
    await clock.advance(1)

    assert task.cancelled() or isinstance(task.exception(), StoreError)
    assert told == []


async def test_a_task_outside_a_turn_outlives_the_store() -> None:
    """What tells of a store that is away must not end with it."""
    clock = HandClock()
    work = Work(clock, StoreError("away"))
    task = asyncio.ensure_future(keep_going("alerts", work, clock=clock, but=()))
    await clock.advance(1)

    assert (task.done(), work.began) == (True, [0, 1])
