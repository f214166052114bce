"""How far a run is: its view, moved step by step, and shown in mod-log as it moves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypedDict

from .requester import Awaited

if TYPE_CHECKING:
    from typing import Unpack

    from .._core.delivery import chunks
    from .._core.delivery.chunks import ParkedRow, Tally
    from .._core.messages.progress import (
        Ending,
        Phase,
        RoleTally,
        RunView,
    )
    from .._core.plan.planner import Cause
    from .._core.policy.request_backoff import Failure
    from .._core.policy.verification import Verification
    from .._ports import Clock, ModLog, Telemetry
    from .._state.repository import StateRepository


AT_WORK: Final = "a request that was not answered may still be at work on the site"


class ViewChanges(TypedDict, total=False):
    """What of a `RunView` moves while its run is on."""

    phase: Phase
    members: int
    rows_read: int
    roles_read: int
    compared: int | None
    planned: int
    done: int
    tally: Tally
    roles: RoleTally
    causes: tuple[Cause, ...]
    role_names: tuple[tuple[int, str], ...]
    rate: float
    chunk_items: int
    request_s: float
    target_s: float
    tuned: str
    slow: str | None
    away: str | None
    parked: tuple[ParkedRow, ...]
    parked_roles: tuple[str, ...]
    still_parked: int
    withheld: int
    withheld_roles: int
    withheld_reason: str
    withheld_roles_reason: str
    approved: tuple[str, ...]
    verification: Verification | None
    sampled: int
    ending: Ending | None
    failure: Failure | None
    next_step: str


class Progress:
    """The view of one run. `due` says whether something is to be written, or nobody knows yet."""

    def __init__(
        self,
        view: RunView,
        *,
        clock: Clock,
        repository: StateRepository,
        mod_log: ModLog,
        telemetry: Telemetry,
        dry: bool,
        drift: bool,
    ) -> None:
        self.view = view
        self.due = True
        self._clock = clock
        self._repository = repository
        self._mod_log = mod_log
        self._telemetry = telemetry
        self._dry = dry
        self._drift = drift
        self._writing_since: float | None = None
        self._done_before = 0

    def show(self, **changes: Unpack[ViewChanges]) -> None:
        """Move the view, and let mod-log show it."""
        pause, before = self._repository.state.pause, self.view.phase
        self.view = replace(
            self.view,
            now=self._clock.now(),
            paused_by=None if pause is None else pause.by,
            **changes,
        )
        if self.view.phase is not before:
            self._telemetry.phase(self.view.phase)
        if self.is_shown:
            self._mod_log.show(self.view)

    def end(self, how: Ending, **changes: Unpack[ViewChanges]) -> None:
        """Show how it ended."""
        changes["ending"] = how
        changes["slow"] = changes["away"] = None
        self.show(**changes)

    @property
    def is_shown(self) -> bool:
        """Whether mod-log shows it: a plan is not, nor a check that has found nothing."""
        if self._dry:
            return False
        view = self.view
        found = view.planned or view.roles.planned or view.failure or view.withheld
        return bool(not self._drift or found or view.withheld_roles)

    def begin_writing(self) -> None:
        """Measure the rate from here on."""
        self._writing_since = self._clock.monotonic()
        self._done_before = self.view.done

    def end_writing(self) -> None:
        """Measure no rate any more: what is looked at again is not written."""
        self._writing_since = None

    def show_delivery(
        self, delivery: chunks.Delivery, waiting: str | None, latest_s: float
    ) -> None:
        """Show how a delivery stands."""
        done = max(0, delivery.planned - delivery.remaining)
        rate = 0.0
        if self._writing_since is not None:
            seconds = self._clock.monotonic() - self._writing_since
            rate = (done - self._done_before) / seconds if seconds > 0 else 0.0
        self.show(
            done=done,
            tally=delivery.tally,
            rate=rate,
            chunk_items=delivery.pace.items,
            request_s=latest_s,
            target_s=delivery.pace.limits.target_s,
            slow=waiting,
            parked=delivery.parked,
        )

    def show_wait(self, who: Awaited, what: str | None) -> None:
        """Show what is waited for, or that it has come."""
        if who is Awaited.DISCORD:
            self.show(away=what)
        else:
            self.show(slow=what)
