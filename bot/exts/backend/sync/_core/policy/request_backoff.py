"""How long a run goes on asking a site that fails.

A run gives up after `max_failing` failing answers in a row, or when nothing was applied and no page
was read for `stall`, whatever the statuses. Between two failing answers it backs off exponentially
with full jitter, and for as long as the site asked, if that is longer: one that says "at once" is
no better off for being asked at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from ..site.outcome import (
    Applied,
    Overloaded,
    ProtocolError,
    Refused,
)

if TYPE_CHECKING:
    from datetime import datetime

    from ..site.outcome import Blocked, Outcome, Trouble

_MAX_DOUBLINGS: Final = 16


class FailureKind(StrEnum):
    """Why a run failed."""

    REFUSED = "the site refuses our credentials"
    PROTOCOL = "the site's answer is not its contract's"
    FAILING = "the site kept failing"
    STALLED = "nothing was applied for too long"
    REJECTED = "the site rejects too many rows"
    UNVERIFIED = "too much still differs after sending it twice"
    SOURCE = "the guild's members could not be read in full"
    HELD = "the breaker was opened meanwhile"
    STORE = "the state store can't be used"
    LEASE = "another process may be syncing this guild"
    INTERNAL = "an error of ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run stopped: for people, and for the breaker. `status` is an HTTP status."""

    kind: FailureKind
    reason: str
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatienceLimits:
    """Bounds of patience; `deadline` is how long a request may take in all.

    Of a run's rows, `parked_part` of them or `parked_min`, whichever is more, may be rejected
    before the data or the contract is to blame.
    """

    max_failing: int = 5
    stall: timedelta = timedelta(minutes=10)
    backoff: timedelta = timedelta(seconds=1)
    max_backoff: timedelta = timedelta(minutes=1)
    deadline: timedelta = timedelta(seconds=30)
    parked_min: int = 20
    parked_part: float = 0.1

    def tolerated(self, planned: int) -> int:
        """Return how many of so many planned rows may be rejected."""
        return max(self.parked_min, int(planned * self.parked_part))


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Failing answers in a row, and when something was last applied or read."""

    limits: PatienceLimits
    progress_at: datetime
    failing: int = 0
    last: Failure | None = None

    def progressed(self, now: datetime) -> Patience:
        """Note that a chunk was applied or a page was read."""
        return replace(self, failing=0, progress_at=now, last=None)

    def waited(self, time: timedelta) -> Patience:
        """Note a wait that was none of the site's doing: for Discord, a pause, another write."""
        return replace(self, progress_at=self.progress_at + time)

    def answered(self) -> Patience:
        """Note an answer that was neither a failure nor progress."""
        return replace(self, failing=0)

    def failed(self, outcome: Trouble) -> Patience:
        """Note a failing answer."""
        reason = "the site is overloaded" if isinstance(outcome, Overloaded) else outcome.reason
        is_odd = isinstance(outcome, ProtocolError)
        kind = FailureKind.PROTOCOL if is_odd else FailureKind.FAILING
        last = Failure(kind=kind, reason=reason, status=outcome.status)
        return replace(self, failing=self.failing + 1, last=last)

    def exhausted(self, now: datetime) -> Failure | None:
        """Say why the run must give up now, or None if it may go on."""
        if self.failing >= self.limits.max_failing and self.last is not None:
            return self.last
        if now - self.progress_at >= self.limits.stall:
            minutes = self.limits.stall.total_seconds() / 60
            reason = f"nothing was applied or read for {minutes:.0f} min"
            if self.last is not None:
                reason = f"{reason}; the last answer: {self.last.reason}"
            status = None if self.last is None else self.last.status
            return Failure(kind=FailureKind.STALLED, reason=reason, status=status)
        return None

    def backoff(self, outcome: Trouble, *, jitter: float) -> timedelta:
        """Return how long to wait after a failing answer; `jitter` is uniform in [0, 1)."""
        grown = self.limits.backoff * float(1 << min(self.failing, _MAX_DOUBLINGS))
        own = max(min(grown, self.limits.max_backoff) * jitter, self.limits.backoff / 2)
        if isinstance(outcome, Overloaded) and outcome.retry_after is not None:
            return max(outcome.retry_after, own)
        return own


def fatal(outcome: Outcome) -> Failure | None:
    """Return the failure that an outcome is whatever came before it, or None."""
    if isinstance(outcome, Refused):
        return Failure(kind=FailureKind.REFUSED, reason=outcome.reason, status=outcome.status)
    return None


def judged(failure: Failure, blocked: Blocked, healthcheck: Outcome) -> Failure:
    """Say why a run gives up on a read that was blocked again and again, told of the healthcheck.

    Something before the site may refuse the token as the site itself would; but the healthcheck,
    which needs none, it lets through then.
    """
    if not isinstance(healthcheck, Applied):
        return failure
    reason = f"{blocked.reason}, while the healthcheck is well"
    return Failure(kind=FailureKind.REFUSED, reason=reason, status=blocked.status)
