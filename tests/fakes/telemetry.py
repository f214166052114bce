"""What machines would be told, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from bot.exts.backend.sync._core.messages.progress import RunView
    from bot.exts.backend.sync._core.plan.drift import Drift
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
        self.ids_waiting = 0
        self.verified_at: datetime | None = None
        self.is_leading = False

    def run_started(self, view: RunView, *, probe: bool) -> None:
        """Note that a run began."""
        self.told.append(("started", (view.run_id, probe)))

    def run_finished(self, view: RunView, figures: RunFigures) -> None:
        """Note how a run ended."""
        self.finished.append((view, figures))
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

    def waiting(self, ids: int) -> None:
        """Note how many ids wait."""
        self.ids_waiting = ids

    def leads(self, *, leading: bool) -> None:
        """Note whether this process may act."""
        self.is_leading = leading
        self.told.append(("leads", leading))

    def drifted(self, drift: Drift) -> None:
        """Note what a check found."""
        self.told.append(("drifted", drift))

    def check_in(self, run_id: str, *, ok: bool | None, every_s: float) -> None:
        """Note that an automatic run began or ended."""
        self.told.append(("check-in", (run_id, ok, every_s)))
