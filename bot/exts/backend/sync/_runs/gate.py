"""The one way to the site's data: every write of this process, from whatever cause, passes here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .._core.policy.breaker import admits_write
from .._core.policy.request_backoff import Failure, FailureKind
from .._errors import RunStoppedError

if TYPE_CHECKING:
    from .._ports import Store
    from .._state.repository import StateRepository


class Gate:
    """Let one write through at a time, while the lease is held, nothing is paused, no breaker open.

    `run_id` is that of the writing run, None for a drain of live changes, which waits for an open
    breaker where a run has to stop.
    """

    def __init__(self, repository: StateRepository, store: Store, *, deadline_s: float) -> None:
        self._repository = repository
        self._store = store
        self._deadline_s = deadline_s
        self.writing = asyncio.Lock()

    async def admitted(self, run_id: str | None) -> None:
        """Wait until a write may go; raise `RunStoppedError` where no waiting will help."""
        while not self.admits(run_id):
            await self._repository.changed()

    def admits(self, run_id: str | None) -> bool:
        """Say whether a write may go now; raise `RunStoppedError` where no waiting will help."""
        # The site knows no fencing token: a request must have ended before the lease can.
        if self._store.lease_left_s() <= self._deadline_s:
            raise RunStoppedError(
                Failure(
                    kind=FailureKind.LEASE, reason="the lease on this guild is not ours any more"
                )
            )
        state = self._repository.state
        if admits_write(state.breaker, run_id=run_id):
            return state.pause is None
        if run_id is None:
            return False
        reason = state.breaker.reason or "somebody opened it"
        raise RunStoppedError(Failure(kind=FailureKind.HELD, reason=reason))
