"""All that is decided about a guild's syncs and must outlive the process, moved as one value.

Each move returns the next state and what people are to be told of it. The caller keeps both in the
store, together, before it acts on them; it holds the lease while it does.

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
from typing import TYPE_CHECKING, TypeAlias

from ..messages import alert
from ..messages.alert import Told, Topic
from ..messages.report import quote
from ..model.stored import Stored
from . import breaker
from .breaker import AttemptEnding, Breaker, BreakerState
from .memory import CrashMemory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ..messages.alert import Draft
    from ..messages.report import Notice
    from ..plan.rounds import Bookmark
    from .attempt import Attempt
    from .breaker import BreakerLimits, Event, Start


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


Moved: TypeAlias = "tuple[State, tuple[Notice, ...]]"


def tell(state: State, drafts: tuple[Draft, ...], *, now: datetime) -> Moved:
    """Return the notices that are news, and a state that knows they were told.

    A draft with an empty reason ends its topic: it is told, and the next one will be news.
    """
    told = dict(state.told)
    notices = []
    for draft in drafts:
        before = told.get(draft.topic)
        if not draft.reason:
            told.pop(draft.topic, None)
            notices.append(draft.notice)
        elif alert.is_news(before, draft.reason, now=now):
            since = before.since if before is not None and before.reason == draft.reason else now
            told[draft.topic] = Told(reason=draft.reason, since=since, at=now)
            notices.append(draft.notice)
    return replace(state, told=told), tuple(notices)


def loaded(
    state: State, *, credentials: str, now: datetime, jitter: float, limits: StateLimits
) -> Moved:
    """Take a state out of the store, at the start of a process that holds the lease.

    `credentials` is the salted hash of those of now, `jitter` uniform in [0, 1).
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
        reason=alert.INTERRUPTED,
    )
    memory = state.memory.attempt_ended(
        AttemptEnding.INTERRUPTED, full=True, default_items=limits.default_items
    )
    drafts = _drafts(events, run_id=died)
    if attempt is not None:
        told = alert.interrupted(attempt, retry_at=moved.retry_at)
        drafts = (told, *drafts)
    return tell(replace(state, breaker=moved, memory=memory, attempt=None), drafts, now=now)


def lost(state: State, *, where: str, why: str, now: datetime, limits: StateLimits) -> Moved:
    """Open the breaker: the store has lost what it knew, so nobody knows what it had counted."""
    opened, _ = breaker.lost_store(now=now, limits=limits.breaker)
    if state.breaker.opened_by is not None:
        opened = state.breaker  # by a person, as mod-log has shown
    state = replace(state, breaker=opened)
    return tell(state, (alert.store_lost(where, why=why, until=opened.retry_at),), now=now)


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
    failure: Notice | None = None,
    kind: str = "",
) -> Moved:
    """Strike the attempt off, and fold in how it ended.

    `reason`, `refused` and `jitter` are the breaker's. `failure` is what to tell of a failed run,
    news if its `kind` is another than that of the failure before.
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
    drafts = _drafts(events, run_id=attempt.run_id, kind=kind, refused=refused is not None)
    if failure is not None and not drafts:
        # Where the breaker moved, its own notice says what failed: one ping, not two.
        drafts = (alert.run_failed(failure, moved, kind=kind),)
    if ending is AttemptEnding.VERIFIED and attempt.full:
        drafts = (*drafts, *_back_to_normal(state, drafts, now=now))
    state = replace(state, breaker=moved, memory=memory, attempt=None)
    state, notices = tell(state, drafts, now=now)
    if ending is AttemptEnding.VERIFIED and attempt.full:
        state = over(state, Topic.RUN, Topic.START)
    return state, notices


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
    drafts = _drafts(events, refused=True)
    return tell(replace(state, breaker=moved), drafts, now=now)


def opened_by_hand(state: State, *, by: str, reason: str, now: datetime) -> Moved:
    """Open the breaker until a reset."""
    moved, events = breaker.opened_by_hand(state.breaker, by=by, reason=reason, now=now)
    drafts = _drafts(events)
    return tell(replace(state, breaker=moved), drafts, now=now)


def reset_by_hand(state: State, *, by: str, now: datetime) -> Moved:
    """Close the breaker."""
    moved, events = breaker.reset_by_hand(by=by)
    drafts = _drafts(events)
    return tell(replace(state, breaker=moved), drafts, now=now)


def paused(state: State, *, by: str, now: datetime) -> Moved:
    """Hold all automatic and live writes; one that holds already goes on as it is."""
    if state.pause is not None:
        return state, ()
    return tell(replace(state, pause=Pause(by=by, at=now)), (alert.paused(by, since=now),), now=now)


def resumed(state: State, *, by: str, now: datetime) -> Moved:
    """End a pause; where there is none, nothing changes."""
    if state.pause is None:
        return state, ()
    lasted = max(now - state.pause.at, timedelta())
    return tell(replace(state, pause=None), (alert.resumed(by, lasted=lasted),), now=now)


def reminded(state: State, *, now: datetime) -> Moved:
    """Tell again, at most once a day, which order of somebody's still holds."""
    drafts = []
    if state.pause is not None:
        drafts.append(alert.paused(state.pause.by, since=state.pause.at))
    current = state.breaker
    if current.opened_by is not None:
        order = breaker.ForcedOpen(by=current.opened_by, reason=current.reason)
        drafts.append(alert.forced_open(order))
    return tell(state, tuple(drafts), now=now)


def proven(state: State, *, now: datetime) -> Moved:
    """Note that the guild's member list is whole; told if people know that it was not."""
    before = state.told.get(Topic.SOURCE)
    if before is None:
        return state, ()
    return tell(state, (alert.source_proven(before, now=now),), now=now)


def start_withheld(state: State, *, now: datetime) -> Moved:
    """Tell, once for each reason, that the sync at start-up has to wait."""
    current = state.breaker
    if state.pause is not None:
        key, reason, until = "paused", f"{state.pause.by} paused it.", None
    elif current.state is BreakerState.OPEN:
        opened_at = current.opened_at or now
        key, until = f"open: {opened_at.isoformat()}", current.retry_at
        reason = f"the breaker is open: {quote(current.reason)}"
    elif current.retry_at is not None and now < current.retry_at:
        key, until = f"retry: {current.failures}", current.retry_at
        reason = f"the last sync failed: {quote(current.reason)}"
    else:
        return state, ()
    before = state.told.get(Topic.START)
    if before is not None and before.reason.startswith("interrupted: ") and until is not None:
        # The notice of the interruption has said already when the next try comes.
        return replace(state, told={**state.told, Topic.START: replace(before, reason=key)}), ()
    return tell(state, (alert.start_withheld(reason, until=until, key=key),), now=now)


def _back_to_normal(state: State, drafts: tuple[Draft, ...], *, now: datetime) -> tuple[Draft, ...]:
    failed = state.told.get(Topic.RUN)
    if failed is None or drafts:
        return ()
    return (alert.works_again(failed, now=now),)


def _drafts(
    events: tuple[Event, ...], *, run_id: str | None = None, kind: str = "", refused: bool = False
) -> tuple[Draft, ...]:
    drafts: list[Draft] = []
    for event in events:
        match event:
            case breaker.Opened():
                drafts.append(alert.opened(event, kind=kind, refused=refused))
            case breaker.ProbeFailed():
                drafts.append(alert.probe_failed(event, kind=kind))
            case breaker.Recovered():
                drafts.append(alert.recovered(event))
            case breaker.ForcedOpen():
                drafts.append(alert.forced_open(event))
            case breaker.Reset():
                drafts.append(alert.reset(event))
            case _:
                pass  # a retry, a probe, its postponement: the run's own message says so
    if run_id is None:
        return tuple(drafts)
    return tuple(alert.about_run(draft, run_id) for draft in drafts)


# -- in the store ---------------------------------------------------------------------------------


def pause_to_json(pause: Pause) -> dict[str, object]:
    """Return the pause as `json.dumps` takes it."""
    return {"by": pause.by, "at": pause.at.isoformat()}


def pause_from_json(value: object) -> Pause:
    """Return the pause that was written; raise `ValueError` naming the field at fault."""
    record = Stored.of(value, what="the pause")
    return Pause(by=record.text("by"), at=record.time("at"))
