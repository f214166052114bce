"""What every write of this process leaves behind, whoever sent it and however it ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from .._clock import wait_first
from .._core.policy.doubt import Doubts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from .._core.model.members import RoleId, UserId
    from .._core.site.requests import Request
    from .._ports import Clock
    from .work_queue import WorkQueue

log = structlog.get_logger(__name__)


class Writes:
    """The one book of writes: runs, live changes, roles and single members all keep it.

    `roles_due` is called with roles whose writes were given up a while ago. `lacking` are the roles
    that the site does not have and does not take: rows are written without them, and compared so.
    That is known again after each sync's first requests, and so not kept over restarts. `witness`
    is somebody whose row is right.
    """

    def __init__(
        self,
        queue: WorkQueue,
        *,
        clock: Clock,
        deadline_s: float,
        recheck_s: float,
        roles_due: Callable[[Collection[RoleId]], None],
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._roles_due = roles_due
        self._doubts = Doubts(deadline_s=deadline_s, recheck_s=recheck_s)
        self._lost = asyncio.Event()
        self.lacking: frozenset[RoleId] = frozenset()
        self.witness: UserId | None = None

    def __len__(self) -> int:
        return len(self._doubts)

    @property
    def roles_in_doubt(self) -> frozenset[RoleId]:
        """The roles that a write which was given up may still change."""
        return self._doubts.roles

    def witnessed(self, id_: UserId | None) -> None:
        """Note somebody whose row is right, if there is one."""
        self.witness = id_ or self.witness

    def lacks(self, id_: RoleId) -> None:
        """Note that the site does not have a role and does not take it."""
        self.lacking |= {id_}

    def has(self, roles: Iterable[RoleId]) -> None:
        """Note that the site has these roles."""
        self.lacking -= frozenset(roles)

    def begun(self, users: Collection[UserId]) -> None:
        """Note that a write of these is being made: each may have a row from now on."""
        self._queue.waiting.written(users)

    def lost(self, request: Request) -> None:
        """Note that a write was given up, or answered by anything but the contract."""
        roles = () if request.role is None else (request.role,)
        log.info("sync.write.lost", users=len(request.users), roles=len(roles))
        self._doubts.lost(request.users, roles, now=self._clock.monotonic())
        self._lost.set()

    def ends_in_s(self, users: Collection[UserId] = (), roles: Collection[RoleId] = ()) -> float:
        """Return for how long what was given up may still change these; 0 if it can't."""
        return max(0.0, self._doubts.ended_at(users, roles) - self._clock.monotonic())

    async def run_forever(self) -> None:
        """Mark again what is due."""
        while True:
            self._lost.clear()
            lost = asyncio.ensure_future(self._lost.wait())
            due_at, now = self._doubts.due_at, self._clock.monotonic()
            try:
                within_s = None if due_at is None else due_at - now
                await wait_first({lost}, clock=self._clock, within_s=within_s)
            finally:
                lost.cancel()
            users, roles = self._doubts.take_due(now=self._clock.monotonic())
            # Whoever came meanwhile waits as new, and has a row all the same if this was one's.
            self._queue.waiting.written(users)
            self._queue.mark(users)
            if roles:
                self._roles_due(roles)
