"""How long is waited after failed syncs, and how long the breaker stays open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """Numbers of the table; `retry_spread` is the part by which a retry is moved either way."""

    threshold: int = 3
    first_retry: timedelta = timedelta(minutes=1)
    second_retry: timedelta = timedelta(minutes=5)
    retry_spread: float = 0.2
    open_for: timedelta = timedelta(minutes=15)
    max_open: timedelta = timedelta(hours=24)
    refused_for: timedelta = timedelta(hours=24)

    @property
    def longest(self) -> timedelta:
        """The longest wait that any record may ask for."""
        return max(self.max_open, self.refused_for)
