"""What is told to people, and when it is news: once, and again when its reason changes or in a day.

What is told is a value. Its words are for the room of messages to find, and nothing decided here
depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from ..model.stored import Stored
from .breaker import (
    ForcedOpen,
    Opened,
    ProbeFailed,
    Recovered,
    Reset,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .attempt import Attempt
    from .breaker import Breaker

REMIND_AFTER: Final = timedelta(days=1)
# The breaker's reason after an attempt whose process died.
INTERRUPTED: Final = "the bot ended in the middle of a sync"


class Topic(StrEnum):
    """What something is about; of each topic only what is new is told."""

    RUN = "run"
    BREAKER = "breaker"
    START = "start"
    PARKED = "parked"
    PAUSE = "pause"
    SOURCE = "source"
    DEPARTURES = "withheld"
    ROLE_DELETIONS = "withheld role deletions"
    STORE = "store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told of a topic last, when, and since when it has been so."""

    reason: str
    since: datetime
    at: datetime


class Tellable(Protocol):
    """Something to be told, if its `reason` is new for its topic; without one it ends the topic."""

    @property
    def topic(self) -> Topic: ...

    @property
    def reason(self) -> str: ...


# Of the breaker's other events the run's own message tells.
Announced: TypeAlias = Opened | ProbeFailed | Recovered | ForcedOpen | Reset


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerMoved:
    """The breaker opened, closed or failed its probe.

    `refused` says that the site refused the credentials, `run_id` from which run it followed.
    """

    event: Announced
    refused: bool
    run_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed:
    """A run failed, and `breaker` says what comes next; what failed in it is the run's to tell."""

    breaker: Breaker


@dataclass(frozen=True, slots=True, kw_only=True)
class WorksAgain:
    """A full sync is verified after others had failed for `lasted`, without a breaker opening."""

    lasted: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """A process died in the middle of an attempt, or, if `unkept`, could not save how it ended."""

    attempt: Attempt
    retry_at: datetime | None
    unkept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseBegan:
    """Somebody holds all automatic and live writes; also the daily reminder of it."""

    by: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseEnded:
    """Somebody ended a pause that had `lasted` so long."""

    by: str
    lasted: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLost:
    """The store at `where` has lost what it knew; the site is probed at `until`, if it is."""

    where: str
    why: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceProven:
    """Discord's member list is complete again, after `lasted`."""

    lasted: timedelta


class HeldBy(Enum):
    """What holds a sync back at start-up."""

    PAUSE = "pause"
    BREAKER = "breaker"
    RETRY = "retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartWithheld:
    """The sync at start-up has to wait; `why` is who paused it, or why the breaker counts."""

    held_by: HeldBy
    why: str
    until: datetime | None


Happening: TypeAlias = (
    BreakerMoved
    | RunFailed
    | WorksAgain
    | Interrupted
    | PauseBegan
    | PauseEnded
    | StoreLost
    | SourceProven
    | StartWithheld
)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something that has happened and is to be told; see `Tellable`."""

    topic: Topic
    reason: str
    what: Happening


def is_news(told: Told | None, reason: str, *, now: datetime) -> bool:
    """Say whether a reason has to be told: it is another than before, or a day has passed."""
    if told is None or told.reason != reason:
        return True
    # A clock that went back must not silence a topic for ever.
    return not timedelta() <= now - told.at < REMIND_AFTER


def told_to_json(told: Mapping[Topic, Told]) -> dict[str, object]:
    """Return what was told of each topic as `json.dumps` takes it."""
    return {
        topic.value: {
            "reason": one.reason,
            "since": one.since.isoformat(),
            "at": one.at.isoformat(),
        }
        for topic, one in told.items()
    }


def told_from_json(value: object) -> dict[Topic, Told]:
    """Return what `told_to_json` wrote; topics that this version does not know are left out."""
    record = Stored.of(value, what="what was told")
    known = {topic.value: topic for topic in Topic}
    told = {}
    for name, entry in record.fields.items():
        if name in known:
            one = Stored.of(entry, what=f"what was told of {name}")
            told[known[name]] = Told(
                reason=one.text("reason"), since=one.time("since"), at=one.time("at")
            )
    return told
