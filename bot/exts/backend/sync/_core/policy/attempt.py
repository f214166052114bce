"""One try at a sync, as it is written down before its first request, and how it ended.

An attempt that the store still holds when a process starts is one whose process died: nobody struck
it off. One that was stopped on purpose is forgiven only if the site showed no trouble by then, for
an operator stops the bot exactly when it is killing the site.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model.stored import Stored, as_stored
from .breaker import AttemptEnding

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A run as the store keeps it while it is on.

    `what` and `trigger` are as people read them; `full` says whether it covers all that a breaker
    asks for. `message_id` is that of its live message, once there is one, and `done` of `planned`
    how far it was known to be.
    """

    run_id: str
    what: str
    trigger: str
    full: bool
    probe: bool
    started_at: datetime
    channel_id: int | None = None
    message_id: int | None = None
    done: int = 0
    planned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StopEvidence:
    """What a run that is stopped on purpose leaves at the site.

    `unanswered`: its last request was given up before its answer. `failing`: its last answer was
    a failure. `applied`: a chunk was. `due`: something was to be written, or nobody knows yet.
    """

    unanswered: bool
    failing: bool
    applied: bool
    due: bool


def ending_of_stop(evidence: StopEvidence) -> AttemptEnding:
    """Say how an attempt ended that was stopped on purpose: neutrally, or as if it was killed."""
    harmless = (
        not evidence.unanswered and not evidence.failing and (evidence.applied or not evidence.due)
    )
    return AttemptEnding.NEUTRAL if harmless else AttemptEnding.INTERRUPTED


def to_json(attempt: Attempt) -> dict[str, object]:
    """Return the attempt as `json.dumps` takes it."""
    return as_stored(attempt)


def from_json(value: object) -> Attempt:
    """Return the attempt that `to_json` wrote; raise `ValueError` naming the field at fault."""
    record = Stored.of(value, what="the attempt")
    return Attempt(
        run_id=record.text("run_id"),
        what=record.text("what"),
        trigger=record.text("trigger"),
        full=record.truth("full"),
        probe=record.truth("probe"),
        started_at=record.time("started_at"),
        channel_id=record.optional_integer("channel_id"),
        message_id=record.optional_integer("message_id"),
        done=record.integer("done"),
        planned=record.integer("planned"),
    )
