"""What a periodic check finds to differ although no live change explains it; it should be 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model.stored import Stored
from .planner import Reason

if TYPE_CHECKING:
    from datetime import datetime

    from .planner import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How many rows had drifted at the last check, and why; `causes` are the largest first."""

    at: datetime
    rows: int
    causes: tuple[Cause, ...] = ()

    def counts(self) -> dict[Reason, int]:
        """Return how many members drifted, by the kind of cause."""
        counts = dict.fromkeys(Reason, 0)
        for cause in self.causes:
            counts[cause.reason] += cause.count
        return counts


def to_json(drift: Drift) -> dict[str, object]:
    """Return the figure as `json.dumps` takes it; its causes are for the day's logs alone."""
    return {"at": drift.at.isoformat(), "rows": drift.rows}


def from_json(value: object) -> Drift:
    """Return the figure that was written; raise `ValueError` naming the field at fault."""
    record = Stored.of(value, what="the drift")
    return Drift(at=record.time("at"), rows=record.integer("rows"))
