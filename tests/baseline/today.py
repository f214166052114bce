"""Today's repository, over a store that another version writes or reads as well."""

import random

from bot.exts.backend.sync._core.policy.state import StateLimits
from bot.exts.backend.sync._core.policy.sync_retries import BreakerLimits
from bot.exts.backend.sync._ports import Store
from bot.exts.backend.sync._state.repository import StateRepository
from tests.fakes.clock import HandClock

SECRET = "http://site/api/ key"


def repository_over(
    store: Store, clock: HandClock, *, secret: str = SECRET, seed: int = 1
) -> StateRepository:
    """Make a repository, not loaded yet, whose dice have this seed."""
    return StateRepository(
        store,
        clock=clock,
        chance=random.Random(seed),
        limits=StateLimits(breaker=BreakerLimits(), default_items=1000),
        secret=secret,
    )
