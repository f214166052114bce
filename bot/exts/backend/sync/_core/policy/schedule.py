"""When the bot starts a sync by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .breaker import (
    BreakerState,
    Start,
    Withheld,
    permit,
)

if TYPE_CHECKING:
    from datetime import datetime

    from .breaker import Breaker


CHECK_SPREAD: Final = 0.1  # by so much a check comes sooner or later, or all sites had it at once


def next_start(breaker: Breaker, *, wanted: bool, paused: bool, now: datetime) -> datetime | None:
    """Return when the next full sync starts by itself: `now` if at once, None if nothing is due.

    One is due when somebody wants it, when an attempt failed and is to be tried again, or when the
    breaker is to be probed. A pause holds them all.
    """
    if paused:
        return None
    due = wanted or breaker.state is not BreakerState.CLOSED or breaker.retry_at is not None
    if not due:
        return None
    may = permit(breaker, start=Start.AUTOMATIC, full=True, now=now)
    return may.until if isinstance(may, Withheld) else now
