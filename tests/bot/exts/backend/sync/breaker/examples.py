"""Breakers in each of their states."""

from datetime import UTC, datetime, timedelta
from typing import Final

from bot.exts.backend.sync._core.policy import breaker as b
from bot.exts.backend.sync._core.policy.breaker import Breaker, BreakerState

NOW: Final = datetime(2021, 1, 12, 12, tzinfo=UTC)


OPEN: Final = Breaker(
    state=BreakerState.OPEN,
    failures=3,
    length=timedelta(minutes=15),
    retry_at=NOW + timedelta(minutes=15),
    opened_at=NOW,
    reason="500",
    credentials="hash",
)


HALF_OPEN: Final = b.begin(OPEN, run_id="r", start=b.Start.FORCED, full=True, now=NOW)[0]


BY_HAND: Final = b.opened_by_hand(OPEN, by="Ada", reason="a move", now=NOW)[0]
