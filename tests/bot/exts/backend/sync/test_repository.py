"""Whoever waits for the state to move is told of every move since it began to wait."""

import asyncio
import random
from pathlib import Path

from bot.exts.backend.sync._clock import SystemClock
from bot.exts.backend.sync._core.policy.state import StateLimits
from bot.exts.backend.sync._core.policy.sync_retries import BreakerLimits
from bot.exts.backend.sync._state.repository import StateRepository
from bot.exts.backend.sync._store import open_store


async def test_a_move_in_between_is_seen(tmp_path: Path) -> None:
    """The wait counts from the call, not from when its task first runs: an alert was not sent."""
    limits = StateLimits(breaker=BreakerLimits(), default_items=1000)
    repository = StateRepository(
        open_store(f"sqlite:///{tmp_path}/x.db", guild_id=1),
        clock=SystemClock(),
        chance=random.Random(1),
        limits=limits,
        secret="",
    )
    waiting = asyncio.ensure_future(repository.changed())
    repository.forget()  # moves at once, before the task has run

    assert await asyncio.wait_for(waiting, 5) is True
