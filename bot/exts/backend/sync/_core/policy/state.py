"""All that is decided about a guild's syncs and must outlive the process, moved as one value.

Each move returns the next state and what people are to be told of it, as values. The caller keeps
both in the store, together, before it acts on them; it holds the lease while it does.

| move             | attempt   | breaker (see there)             | crash memory          |
|------------------|-----------|---------------------------------|-----------------------|
| `loaded`         | struck    | an open attempt was interrupted | halves the ceiling    |
| `begun`          | written   | half-open if it is the probe    | -                     |
| `ended`          | struck    | as the table there says         | learns from a full run|
| `paused/resumed` | -         | -                               | -                     |
| `opened/reset`   | -         | by hand                         | -                     |
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from ..model.stored import Stored
from . import breaker
from .breaker import AttemptEnding, Breaker, BreakerState
from .memory import CrashMemory
from .news import (
    INTERRUPTED,
    Announced,
    BreakerMoved,
    HeldBy,
    Interrupted,
    News,
    PauseBegan,
    PauseEnded,
    RunFailed,
    SourceProven,
    StartWithheld,
    StoreLost,
    Tellable,
    Told,
    Topic,
    WorksAgain,
    is_news,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ..plan.rounds import Bookmark
    from .attempt import Attempt
    from .breaker import Event, Start
    from .sync_retries import BreakerLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A person holds all automatic and live writes; `by` is a mention or a name."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLimits:
    """The numbers of the moves; `default_items` is the ceiling that crash memory grows back to."""

    breaker: BreakerLimits
    default_items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the store holds of one guild, apart from its lists; `told` is per topic, the latest.

    `bookmark` is where the next round through a guild without a member cache begins.
    """

    breaker: Breaker = field(default_factory=Breaker)
    memory: CrashMemory = field(default_factory=CrashMemory)
    attempt: Attempt | None = None
    pause: Pause | None = None
    told: Mapping[Topic, Told] = field(default_factory=dict)
    bookmark: Bookmark | None = None


# Begin, or are, the reasons of what is told; they are kept.
_INTERRUPTED: Final = "interrupted: "
_OVER: Final = ""
# Of these a new reason is more of the same trouble, which is over when it is said to be.
_LASTING: Final = frozenset({Topic.RUN, Topic.SOURCE})

Moved: TypeAlias = "tuple[State, tuple[News, ...]]"
_TellableT = TypeVar("_TellableT", bound=Tellable)


def tell(
    state: State, items: tuple[_TellableT, ...], *, now: datetime
) -> tuple[State, tuple[_TellableT, ...]]:
    """Return those that are news, and a state that knows they were told."""
    told = dict(state.told)
    news = []
    for item in items:
        before = told.get(item.topic)
        if not item.reason:
            told.pop(item.topic, None)
            news.append(item)
        elif is_news(before, item.reason, now=now):
            lasts = before is not None and (item.topic in _LASTING or before.reason == item.reason)
            since = before.since if before is not None and lasts else now
            told[item.topic] = Told(reason=item.reason, since=since, at=now)
            news.append(item)
    return replace(state, told=told), tuple(news)


def loaded(
    state: State,
    *,
    credentials: str,
    now: datetime,
    jitter: float,
    limits: StateLimits,
    own_run: str | None = None,
) -> Moved:
    """Take a state out of the store, at the start of a process that holds the lease.

    `credentials` is the salted hash of those of now, `jitter` uniform in [0, 1). If
    the open attempt is this process's `own_run`, it did end, but that could not be saved.
    """
    current = breaker.loaded(state.breaker, now=now, credentials=credentials, limits=limits.breaker)
    state = replace(state, breaker=current)
    attempt = state.attempt
    died = attempt.run_id if attempt is not None else current.probing_run
    if died is None:
        return state, ()
    moved, events = breaker.attempt_ended(
        current,
        AttemptEnding.INTERRUPTED,
        run_id=died,
        full=attempt is None or attempt.full,
        now=now,
        jitter=jitter,
        limits=limits.breaker,
        reason=INTERRUPTED,
    )
    memory = state.memory.attempt_ended(
        AttemptEnding.INTERRUPTED, full=True, default_items=limits.default_items
    )
    news = _news(events, run_id=died)
    if attempt is not None:
        unkept = attempt.run_id == own_run
        what = Interrupted(attempt=attempt, retry_at=moved.retry_at, unkept=unkept)
        told = News(topic=Topic.START, reason=f"{_INTERRUPTED}{attempt.run_id}", what=what)
        news = (told, *news)
    return tell(replace(state, breaker=moved, memory=memory, attempt=None), news, now=now)


def lost(
    state: State,
    *,
    where: str,
    why: str,
    now: datetime,
    limits: StateLimits,
    opened_by: str | None = None,
    paused_by: str | None = None,
) -> Moved:
    """Open the breaker: the store has lost what it knew, so nobody knows what it had counted.

    `opened_by` and `paused_by` name what stands for a person whose order may be among what was
    lost: it holds until somebody takes it back.
    """
    opened, _ = breaker.lost_store(now=now, limits=limits.breaker)
    if opened_by is not None:
        opened = replace(opened, opened_by=opened_by, retry_at=None)
    if state.breaker.opened_by is not None:
        opened = state.breaker  # by a person, as mod-log has shown
    what = StoreLost(where=where, why=why, until=opened.retry_at)
    news = [News(topic=Topic.STORE, reason=f"lost: {where}", what=what)]
    pause = state.pause
    if paused_by is not None and pause is None:
        pause = Pause(by=paused_by, at=now)
        news.append(_held_by(pause))
    return tell(replace(state, breaker=opened, pause=pause), tuple(news), now=now)


def begun(state: State, attempt: Attempt, *, start: Start, now: datetime) -> State:
    """Write down an attempt that `breaker.permit` allowed, before its first request."""
    moved, _ = breaker.begin(
        state.breaker, run_id=attempt.run_id, start=start, full=attempt.full, now=now
    )
    return replace(state, breaker=moved, attempt=attempt)


def ended(
    state: State,
    ending: AttemptEnding,
    *,
    now: datetime,
    jitter: float,
    limits: StateLimits,
    reason: str = "",
    refused: str | None = None,
    tells: bool = False,
    kind: str = "",
) -> Moved:
    """Strike the attempt off, and fold in how it ended.

    `reason`, `refused` and `jitter` are the breaker's. A failed run that `tells` of itself is news
    if its `kind` is another than that of the failure before.
    """
    attempt = state.attempt
    if attempt is None:
        return state, ()
    moved, events = breaker.attempt_ended(
        state.breaker,
        ending,
        run_id=attempt.run_id,
        full=attempt.full,
        now=now,
        jitter=jitter,
        limits=limits.breaker,
        reason=reason,
        refused=refused,
    )
    memory = state.memory.attempt_ended(
        ending, full=attempt.full, default_items=limits.default_items
    )
    news = _news(events, run_id=attempt.run_id, kind=kind, refused=refused is not None)
    if tells and not news:
        # Where the breaker moved, its own notice says what failed: one ping, not two.
        news = (News(topic=Topic.RUN, reason=kind, what=RunFailed(breaker=moved)),)
    if ending is AttemptEnding.VERIFIED and attempt.full:
        news = (*news, *_back_to_normal(state, news, now=now))
    state = replace(state, breaker=moved, memory=memory, attempt=None)
    state, told = tell(state, news, now=now)
    if ending is AttemptEnding.VERIFIED and attempt.full:
        state = over(state, Topic.RUN, Topic.START)
    return state, told


def over(state: State, *topics: Topic) -> State:
    """Note that what was told of these topics lasts no longer: the next time it is news."""
    kept = {topic: told for topic, told in state.told.items() if topic not in topics}
    return replace(state, told=kept)


def refused_live(
    state: State, *, credentials: str, reason: str, now: datetime, limits: StateLimits
) -> Moved:
    """Open the breaker because the site refused the credentials of a write outside any attempt."""
    moved, events = breaker.credentials_refused(
        state.breaker, credentials=credentials, reason=reason, now=now, limits=limits.breaker
    )
    return tell(replace(state, breaker=moved), _news(events, refused=True), now=now)


def opened_by_hand(state: State, *, by: str, reason: str, now: datetime) -> Moved:
    """Open the breaker until a reset."""
    moved, events = breaker.opened_by_hand(state.breaker, by=by, reason=reason, now=now)
    return tell(replace(state, breaker=moved), _news(events), now=now)


def reset_by_hand(state: State, *, by: str, now: datetime) -> Moved:
    """Close the breaker."""
    moved, events = breaker.reset_by_hand(by=by)
    return tell(replace(state, breaker=moved), _news(events), now=now)


def paused(state: State, *, by: str, now: datetime) -> Moved:
    """Hold all automatic and live writes; one that holds already goes on as it is."""
    if state.pause is not None:
        return state, ()
    pause = Pause(by=by, at=now)
    return tell(replace(state, pause=pause), (_held_by(pause),), now=now)


def resumed(state: State, *, by: str, now: datetime) -> Moved:
    """End a pause; where there is none, nothing changes."""
    if state.pause is None:
        return state, ()
    lasted = max(now - state.pause.at, timedelta())
    what = PauseEnded(by=by, lasted=lasted)
    news = (News(topic=Topic.PAUSE, reason=_OVER, what=what),)
    return tell(replace(state, pause=None), news, now=now)


def reminded(state: State, *, now: datetime) -> Moved:
    """Tell again, at most once a day, which order of somebody's still holds."""
    news = [] if state.pause is None else [_held_by(state.pause)]
    current = state.breaker
    if current.opened_by is not None:
        news += _news((breaker.ForcedOpen(by=current.opened_by, reason=current.reason),))
    return tell(state, tuple(news), now=now)


def proven(state: State, *, now: datetime) -> Moved:
    """Note that the guild's member list is whole; told if people know that it was not."""
    before = state.told.get(Topic.SOURCE)
    if before is None:
        return state, ()
    what = SourceProven(lasted=now - before.since)
    return tell(state, (News(topic=Topic.SOURCE, reason=_OVER, what=what),), now=now)


def start_withheld(state: State, *, now: datetime) -> Moved:
    """Tell, once for each reason, that the sync at start-up has to wait."""
    current = state.breaker
    if state.pause is not None:
        key = "paused"
        what = StartWithheld(held_by=HeldBy.PAUSE, why=state.pause.by, until=None)
    elif current.state is BreakerState.OPEN:
        key = f"open: {(current.opened_at or now).isoformat()}"
        what = StartWithheld(held_by=HeldBy.BREAKER, why=current.reason, until=current.retry_at)
    elif current.retry_at is not None and now < current.retry_at:
        key = f"retry: {current.failures}"
        what = StartWithheld(held_by=HeldBy.RETRY, why=current.reason, until=current.retry_at)
    else:
        return state, ()
    before = state.told.get(Topic.START)
    if before is not None and before.reason.startswith(_INTERRUPTED) and what.until is not None:
        # The notice of the interruption has said already when the next try comes.
        return replace(state, told={**state.told, Topic.START: replace(before, reason=key)}), ()
    return tell(state, (News(topic=Topic.START, reason=key, what=what),), now=now)


def _held_by(pause: Pause) -> News:
    what = PauseBegan(by=pause.by, since=pause.at)
    return News(topic=Topic.PAUSE, reason=pause.by, what=what)


def _back_to_normal(state: State, news: tuple[News, ...], *, now: datetime) -> tuple[News, ...]:
    failed = state.told.get(Topic.RUN)
    if failed is None or news:
        return ()
    what = WorksAgain(lasted=now - failed.since)
    return (News(topic=Topic.RUN, reason=_OVER, what=what),)


def _news(
    events: tuple[Event, ...], *, run_id: str | None = None, kind: str = "", refused: bool = False
) -> tuple[News, ...]:
    return tuple(
        News(
            topic=Topic.BREAKER,
            reason=_key(event, kind),
            what=BreakerMoved(event=event, refused=refused, run_id=run_id),
        )
        for event in events
        if isinstance(event, Announced)
    )


def _key(event: Announced, kind: str) -> str:
    """Return what tells whether an event is news."""
    match event:
        case breaker.Opened():
            return f"open: {kind or event.reason}"
        case breaker.ProbeFailed():
            return f"probe: {kind or event.reason}"
        case breaker.ForcedOpen():
            return f"by hand: {event.by}: {event.reason}"
        case _:
            return "closed"


# -- in the store ---------------------------------------------------------------------------------


def pause_to_json(pause: Pause) -> dict[str, object]:
    """Return the pause as `json.dumps` takes it."""
    return {"by": pause.by, "at": pause.at.isoformat()}


def pause_from_json(value: object) -> Pause:
    """Return the pause that was written; raise `ValueError` naming the field at fault."""
    record = Stored.of(value, what="the pause")
    return Pause(by=record.text("by"), at=record.time("at"))
