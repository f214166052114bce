"""What machines would be told, in memory."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from bot.exts.backend.sync._core.delivery.chunks import ParkedRow, Tally
    from bot.exts.backend.sync._core.messages.progress import Phase, RunView
    from bot.exts.backend.sync._core.plan.drift import Drift
    from bot.exts.backend.sync._core.policy.attempt import Attempt
    from bot.exts.backend.sync._core.policy.breaker import Breaker
    from bot.exts.backend.sync._core.policy.standing import Standing
    from bot.exts.backend.sync._core.policy.state import State
    from bot.exts.backend.sync._core.site.figures import RunFigures
    from bot.exts.backend.sync._core.site.outcome import Outcome
    from bot.exts.backend.sync._core.site.requests import Request


class FakeTelemetry:
    """Everything told, oldest first, as pairs of a word and its values."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.finished: list[tuple[RunView, RunFigures]] = []
        self.on_finished: Callable[[RunView], None] = lambda _: None
        self.verified_at: datetime | None = None
        self.is_leading = False
        self.neutral: list[bool] = []
        self.faults: list[Exception] = []

    def run_started(self, view: RunView) -> None:
        """Note that a run began."""
        self.told.append(("started", (view.run_id, view.probe)))

    def interrupted(self, attempt: Attempt) -> None:
        """Note that the process of a run died."""
        self.told.append(("interrupted", attempt.run_id))

    def traced(self, view: RunView) -> AbstractContextManager[None]:
        """Note of which run all is that is told inside."""
        self.told.append(("traced", view.run_id))
        return nullcontext()

    def phase(self, phase: Phase) -> None:
        """Note that a run has come to another phase."""
        self.told.append(("phase", phase))

    def run_finished(
        self,
        view: RunView,
        figures: RunFigures,
        *,
        neutral: bool = False,
        fault: Exception | None = None,
    ) -> None:
        """Note how a run ended."""
        self.finished.append((view, figures))
        self.neutral.append(neutral)
        self.faults += [] if fault is None else [fault]
        self.told.append(("finished", (view.run_id, view.ending)))
        self.on_finished(view)

    def asked(self, request: Request, request_id: str, outcome: Outcome, seconds: float) -> None:
        """Note a request and what came of it."""
        self.told.append(("asked", (request.method, request.path, request_id, outcome, seconds)))

    def kept(
        self, state: State, *, parked: int, untold: int, verified_at: datetime | None = None
    ) -> None:
        """Note what the store holds."""
        self.verified_at = verified_at
        self.told.append(("kept", (state.breaker.state, parked, untold)))

    def breaker_moved(self, before: Breaker, after: Breaker, *, run_id: str | None) -> None:
        """Note a move of the breaker."""
        self.told.append(("breaker", (before.state, after.state, run_id)))

    def parked(self, rows: Collection[ParkedRow], *, run_id: str) -> None:
        """Note rows that were set aside."""
        self.told.append(("parked", (run_id, sorted(row.id for row in rows))))

    def brought(self, tally: Tally, waited_s: Iterable[float]) -> None:
        """Note live changes that were taken."""
        self.told.append(("brought", (tally, [*waited_s])))

    def stands(self, standing: Standing) -> None:
        """Note how the extension stands."""
        self.told.append(("stands", standing))

    def leads(self, *, leading: bool) -> None:
        """Note whether this process may act."""
        self.is_leading = leading
        self.told.append(("leads", leading))

    def drifted(self, drift: Drift) -> None:
        """Note what a check found."""
        self.told.append(("drifted", drift))
