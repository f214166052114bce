"""Runs that have ended, as they are kept for people to look back on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..model.stored import Stored, as_stored

if TYPE_CHECKING:
    from datetime import datetime

    from ..policy.breaker import AttemptEnding
    from .progress import RunView

KEPT_RUNS: Final = 50
_FOREVER_S: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """A run that ended; `ending` is an `AttemptEnding`'s or an `Ending`'s word.

    `curve` tells how long its requests took: see there.
    """

    run_id: str
    what: str
    trigger: str
    ending: str
    started_at: datetime
    ended_at: datetime
    planned: int
    created: int
    updated: int
    departed: int
    parked: int
    withheld: int
    requests: int
    reason: str
    curve: tuple[tuple[float, float], ...] = ()


def past_run(
    view: RunView,
    ending: AttemptEnding,
    *,
    requests: int,
    curve: tuple[tuple[float, float], ...] = (),
) -> PastRun:
    """Return what is kept of a run that has just ended."""
    return PastRun(
        run_id=view.run_id,
        what=view.what,
        trigger=view.trigger,
        ending=ending.value,
        started_at=view.started_at,
        ended_at=view.now,
        planned=view.planned,
        created=view.tally.created,
        updated=view.tally.updated,
        departed=view.tally.departed,
        parked=len(view.parked) + len(view.parked_roles),
        withheld=view.withheld,
        requests=requests,
        reason="" if view.failure is None else view.failure.reason,
        curve=curve,
    )


def key_of(run: PastRun) -> str:
    """Return the key under which a run is kept: ascending keys are ascending in time."""
    return f"history/{run.started_at.isoformat()}/{run.run_id}"


def to_json(run: PastRun) -> dict[str, object]:
    """Return the run as `json.dumps` takes it."""
    return as_stored(run)


def from_json(value: object) -> PastRun:
    """Return the run that `to_json` wrote; raise `ValueError` naming the field at fault."""
    record = Stored.of(value, what="the past run")
    points = record.fields.get("curve", [])  # which an older version did not keep
    if not isinstance(points, list) or not all(map(_is_point, points)):
        raise record.fault("curve", "not a list of pairs of seconds")
    return PastRun(
        run_id=record.text("run_id"),
        what=record.text("what"),
        trigger=record.text("trigger"),
        ending=record.text("ending"),
        started_at=record.time("started_at"),
        ended_at=record.time("ended_at"),
        planned=record.integer("planned"),
        created=record.integer("created"),
        updated=record.integer("updated"),
        departed=record.integer("departed"),
        parked=record.integer("parked"),
        withheld=record.integer("withheld"),
        requests=record.integer("requests"),
        reason=record.text("reason"),
        curve=tuple((float(at_s), float(seconds)) for at_s, seconds in points),
    )


def _is_point(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - a pair
        return False
    # Not NaN, nor infinite, nor below 0: it is drawn.
    return all(type(part) in {int, float} and 0 <= part < _FOREVER_S for part in value)
