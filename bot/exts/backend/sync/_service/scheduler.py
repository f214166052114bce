"""When a full sync starts by itself: one is wanted, is to be tried again, or looks for drift.

Whoever wants one says so here, with the reason that people are told; when it may start is for
`_core.policy.schedule` to say.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from .._clock import wait_first
from .._core.policy.breaker import BreakerState
from .._core.policy.schedule import CHECK_SPREAD, next_start

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from datetime import datetime

    from .._ports import Clock
    from .._state.repository import StateRepository
    from .predecessor import Predecessor

_AGAIN: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRun:
    """A full sync that is to start by itself, and why; not before `at`."""

    trigger: str
    at: datetime | None = None
    drift: bool = False


class Runs(Protocol):
    """Whoever carries runs out, one at a time."""

    @property
    def is_on(self) -> bool:
        """Whether a run is on."""

    def start_by_itself(self, trigger: str, *, drift: bool) -> None:
        """Start a full sync that nobody ordered."""


class Scheduler:
    """The full syncs that are to start by themselves.

    `check_every_s` says how long it is from one full sync to the check for drift that follows it, 0
    for none, and `recheck_s` how soon it comes where a predecessor may have a request on its way.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        chance: random.Random,
        repository: StateRepository,
        predecessor: Predecessor,
        check_every_s: Callable[[], float],
        recheck_s: float,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._repository = repository
        self._predecessor = predecessor
        self.check_every_s = check_every_s
        self._recheck_s = recheck_s
        self._pending: PendingRun | None = None
        # What fails before its first request moves no breaker, which would have it tried at once.
        self._not_before = clock.now()
        self._is_stopped = False
        self._nudged = asyncio.Event()
        self.check_at: datetime | None = None
        self.plan_check()

    @property
    def is_one_to_come(self) -> bool:
        """Whether a full sync starts by itself, now or later."""
        breaker = self._repository.state.breaker
        is_retried = breaker.state is not BreakerState.CLOSED or breaker.retry_at is not None
        return self._pending is not None or is_retried

    def want(self, trigger: str, *, at: datetime | None = None, drift: bool = False) -> None:
        """Let a full sync start by itself as soon as one may, or not before `at`."""
        if self._pending is None or (at is None and self._pending.at is not None):
            self._pending = PendingRun(trigger=trigger, at=at, drift=drift)
        self._nudged.set()

    def want_again(self, trigger: str, *, drift: bool = False) -> datetime:
        """Let one start in a minute, through no fault of the site; return when."""
        at = self._clock.now() + _AGAIN
        self.want(trigger, at=at, drift=drift)
        return at

    def put_off(self, trigger: str, *, drift: bool) -> None:
        """Want one anew that failed before its first request, and let no retry start until then.

        What it was for has not even been tried, and no breaker will have it tried again.
        """
        self._not_before = self.want_again(trigger, drift=drift)

    def stop(self) -> None:
        """Let nothing start any more."""
        self._is_stopped = True
        self._pending = None

    def nudge(self) -> None:
        """Look again at what is due: a run has ended."""
        self._nudged.set()

    def plan_check(self) -> None:
        """Look for drift a while after the last full sync, never at the same time everywhere.

        The first time soon: what the process before this one had in flight when it died may commit
        after the first sync has looked, and nobody else remembers that it is in doubt.
        """
        spread = self._chance.uniform(1 - CHECK_SPREAD, 1 + CHECK_SPREAD)
        every_s = self.check_every_s()
        waits = [every_s * spread] if every_s else []
        if self._predecessor.may_write:
            waits.append(self._recheck_s)
        self.check_at = self._clock.now() + timedelta(seconds=min(waits)) if waits else None

    async def run_forever(self, runs: Runs) -> None:
        """Start a full sync whenever one is due."""
        while True:
            self._nudged.clear()
            changed = asyncio.ensure_future(self._repository.changed())
            nudged = asyncio.ensure_future(self._nudged.wait())
            now = self._clock.now()
            is_free = not runs.is_on and not self._is_stopped
            due = self._due(now) if is_free else None
            check = self._check_due() if is_free else None
            if due is not None and due <= now:
                drift = self._pending is not None and self._pending.drift
                runs.start_by_itself(self._trigger(), drift=drift)
                self._pending = None
                due = None
            elif due is None and check is not None:
                if check <= now:
                    runs.start_by_itself("drift check", drift=True)
                else:
                    due = check
            try:
                await wait_first(
                    {changed, nudged},
                    clock=self._clock,
                    within_s=None if due is None else (due - now).total_seconds(),
                )
            finally:
                changed.cancel()
                nudged.cancel()

    def _due(self, now: datetime) -> datetime | None:
        """Return when the next one starts that is wanted or tried again."""
        state, pending = self._repository.state, self._pending
        wanted = pending is not None and (pending.at is None or pending.at <= now)
        due = next_start(state.breaker, wanted=wanted, paused=state.pause is not None, now=now)
        if due is None and pending is not None and not wanted and state.pause is None:
            return pending.at
        return due if due is None or wanted else max(due, self._not_before)

    def _check_due(self) -> datetime | None:
        """Return when to look for drift; None while that is held."""
        state = self._repository.state
        held = state.pause is not None or state.breaker.state is not BreakerState.CLOSED
        return None if held else self.check_at

    def _trigger(self) -> str:
        if self._repository.state.breaker.failures:
            return "automatic retry"
        return self._pending.trigger if self._pending is not None else "automatically"
