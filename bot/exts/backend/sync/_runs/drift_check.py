"""What differs although nothing that was heard can explain it: the finding of a check for drift."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.plan.drift import Drift

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from .._core.model.members import UserId
    from .._core.plan.planner import Cause, Plan, Planner
    from .requester import Services
    from .work_queue import WorkQueue


class DriftCheck:
    """The check that a run makes; `found` is what it found, once it is over."""

    def __init__(self, services: Services, queue: WorkQueue) -> None:
        self._services = services
        self._queue = queue
        self._marked_before: AbstractSet[UserId] = frozenset()
        self.found: Drift | None = None

    def begin(self) -> None:
        """Note whose change was heard of before anything is read."""
        self._marked_before = self._queue.users

    def unexplained(self, planner: Planner, held: frozenset[UserId]) -> Plan:
        """Return what differs although no event since the last sync can explain it."""
        return planner.plan(without=held | self._marked_before | self._queue.noted)

    def note(self, rows: int, causes: tuple[Cause, ...]) -> None:
        """Keep what was found."""
        self.found = Drift(at=self._services.clock.now(), rows=rows, causes=causes)
        self._services.telemetry.drifted(self.found)
