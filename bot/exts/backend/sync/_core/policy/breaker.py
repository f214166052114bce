"""Whether a sync may start, and what each attempt's ending means for the next.

Theory: what harms a site is not one failure but the same failure at every restart. So the count of
failures in a row lives in the store, not in the process; an attempt is written down before its
first request, and one that is found open at start-up counts like a failure. After `threshold` in a
row the breaker opens: nothing is written until `retry_at`, then one attempt goes out as a probe.
Only a verified full run shows that the site is well; narrower runs show too little.

| state     | event                                   | next                                     |
|-----------|-----------------------------------------|------------------------------------------|
| closed    | 1st failed or interrupted attempt       | closed, next automatic start after 1 min |
| closed    | 2nd in a row                            | closed, next automatic start after 5 min |
| closed    | 3rd in a row                            | open, 15 min                             |
| closed    | full run verified                       | closed, count 0                          |
| closed    | narrow run verified; neutral stop       | unchanged                                |
| any       | credentials refused                     | open, 24 h; others at load: probe now    |
| open      | start at `retry_at` or later, or forced | half-open, that run is the probe         |
| half-open | probe verified, full                    | closed, count 0                          |
| half-open | probe verified, narrow (it was forced)  | open, `retry_at` as it was               |
| half-open | probe failed or interrupted             | open, twice as long, at most 24 h        |
| half-open | probe stopped neutrally                 | open, the same length from now           |
| any       | opened by hand                          | open until reset                         |
| any       | reset by hand                           | closed, count 0                          |

Anything else is not a move of this machine and changes nothing: the ending of a run that is not the
probe while half-open, or of one that began before the breaker opened. Opened by hand is an order,
not a wait: neither force, nor a refusal, nor new credentials end it, only a reset does.

Pure: the caller says what time it is, keeps the breaker in the store before it acts on it, and
obeys. It holds the lease when it moves the breaker, so a half-open breaker that it *loads* has a
probe that died: it ends `probing_run` as interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from ..model.stored import Stored

if TYPE_CHECKING:
    from datetime import datetime

    from .sync_retries import BreakerLimits


class BreakerState(StrEnum):
    """Whether runs may start; the value is kept in the store."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class AttemptEnding(StrEnum):
    """How an attempt ended; design and store use the same words."""

    VERIFIED = "verified"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    NEUTRAL = "neutral"


class Start(Enum):
    """Who wants a run to start."""

    AUTOMATIC = "the bot by itself"
    ASKED = "a person"
    FORCED = "a person who will not wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """A breaker as the store keeps it.

    `failures` counts attempts in a row that failed or were interrupted. `length` is the wait that
    ends at `retry_at`; while half-open, `retry_at` is when the probe was due. `opened_at` is when
    this series of openings began, `reason` why it is open or waits, `opened_by` the person who
    opened it, `credentials` the salted hash of the URL and token that were refused, and
    `probing_run` the run that is the probe.
    """

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    length: timedelta = timedelta()
    retry_at: datetime | None = None
    opened_at: datetime | None = None
    reason: str = ""
    opened_by: str | None = None
    credentials: str | None = None
    probing_run: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled:
    """The bot tries again by itself at `at`; this was failure number `failures` in a row."""

    at: datetime
    failures: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Nothing is written until the probe at `until`."""

    reason: str
    until: datetime
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """This run is the probe."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFailed:
    """The probe failed; the next comes at `until`."""

    reason: str
    until: datetime
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePostponed:
    """The probe ended without showing that the site is well or ill; the next comes at `until`."""

    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """The probe was verified: writes flow again, after `lasted`."""

    opened_at: datetime
    lasted: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcedOpen:
    """A person opened the breaker; only a reset closes it."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """A person closed the breaker."""

    by: str


Event = (
    RetryScheduled
    | Opened
    | Probing
    | ProbeFailed
    | ProbePostponed
    | Recovered
    | ForcedOpen
    | Reset
)
Moved = tuple[Breaker, tuple[Event, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """The run may start, as any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The run may start as the probe: its first chunk is the canary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """The run may not start. `until` is when to ask again, None if no time will change it."""

    reason: str
    until: datetime | None


Permit = Normal | Probe | Withheld


def permit(breaker: Breaker, *, start: Start, full: bool, now: datetime) -> Permit:
    """Say whether a run may start now.

    While closed, only automatic starts wait for a retry. While open, only a full run probes by
    itself, since no other can close the breaker; force makes any run the probe at once.
    """
    waits = breaker.retry_at is not None and now < breaker.retry_at
    withheld = Withheld(reason=breaker.reason, until=breaker.retry_at)
    if breaker.state is BreakerState.CLOSED:
        return withheld if waits and start is Start.AUTOMATIC else Normal()
    if breaker.state is BreakerState.HALF_OPEN:
        return Withheld(reason=f"run {breaker.probing_run} is probing the site", until=None)
    if breaker.opened_by is not None:
        return withheld
    is_due = full and not waits
    return Probe() if is_due or start is Start.FORCED else withheld


def begin(breaker: Breaker, *, run_id: str, start: Start, full: bool, now: datetime) -> Moved:
    """Note that a run starts; what `permit` does not make a probe changes nothing."""
    if not isinstance(permit(breaker, start=start, full=full, now=now), Probe):
        return breaker, ()
    probing = replace(breaker, state=BreakerState.HALF_OPEN, probing_run=run_id)
    return probing, (Probing(run_id=run_id),)


def admits_write(breaker: Breaker, *, run_id: str | None) -> bool:
    """Say whether a write may go to the site now; `run_id` is None for live events.

    Asked for each chunk, not once a run: a breaker that is opened by hand stops a run between two.
    """
    if breaker.state is BreakerState.HALF_OPEN:
        return run_id == breaker.probing_run
    return breaker.state is BreakerState.CLOSED


def attempt_ended(
    breaker: Breaker,
    ending: AttemptEnding,
    *,
    run_id: str,
    full: bool,
    now: datetime,
    jitter: float,
    limits: BreakerLimits,
    reason: str = "",
    refused: str | None = None,
) -> Moved:
    """Fold in how an attempt ended.

    `jitter` is uniform in [0, 1). `refused` is the salted hash of the credentials that the site
    refused, if that is how the attempt failed.
    """
    if breaker.state is BreakerState.OPEN:
        return breaker, ()
    if breaker.state is BreakerState.HALF_OPEN and run_id != breaker.probing_run:
        return breaker, ()
    if ending is AttemptEnding.NEUTRAL:
        return _stopped(breaker, now=now)
    if ending is AttemptEnding.VERIFIED:
        return _verified(breaker, now=now) if full else _verified_narrowly(breaker, now=now)
    failed = replace(breaker, failures=breaker.failures + 1, reason=reason)
    if refused is not None:
        return credentials_refused(
            failed, credentials=refused, reason=reason, now=now, limits=limits
        )
    if failed.state is BreakerState.HALF_OPEN:
        length = min(failed.length * 2, limits.max_open)
        return _opened(failed, length=length, reason=reason, now=now)
    if failed.failures >= limits.threshold:
        return _opened(failed, length=limits.open_for, reason=reason, now=now)
    return _retried(failed, now=now, jitter=jitter, limits=limits)


def credentials_refused(
    breaker: Breaker, *, credentials: str, reason: str, now: datetime, limits: BreakerLimits
) -> Moved:
    """Open because the site refused these credentials, to an attempt or to a lone write."""
    if breaker.opened_by is not None:
        return breaker, ()
    opened, events = _opened(breaker, length=limits.refused_for, reason=reason, now=now)
    return replace(opened, credentials=credentials), events


def opened_by_hand(breaker: Breaker, *, by: str, reason: str, now: datetime) -> Moved:
    """Open until a reset; `by` is the person."""
    opened = Breaker(
        state=BreakerState.OPEN,
        failures=breaker.failures,
        opened_at=breaker.opened_at or now,
        reason=reason,
        opened_by=by,
    )
    return opened, (ForcedOpen(by=by, reason=reason),)


def reset_by_hand(*, by: str) -> Moved:
    """Close, whatever it was before; a probe in flight goes on as any other run."""
    return Breaker(), (Reset(by=by),)


def lost_store(*, now: datetime, limits: BreakerLimits) -> Moved:
    """Return the breaker of a store that lost its own: nobody knows what it had counted."""
    reason = "the store was lost, and with it what it knew of failures"
    return _opened(Breaker(), length=limits.open_for, reason=reason, now=now)


def may_be_by_hand(value: object) -> bool:
    """Say whether a record that `from_json` refuses may be of a breaker that a person opened."""
    return not isinstance(value, dict) or value.get("opened_by", "") is not None


def loaded(breaker: Breaker, *, now: datetime, credentials: str, limits: BreakerLimits) -> Breaker:
    """Bring a breaker out of the store to this process; idempotent.

    Called at each read, not at start-up alone. No wait is longer from now than it was meant to be,
    however the clock jumped since. A refusal of other credentials than those of now says nothing
    any more: one probe is due at once.
    """
    if breaker.credentials is not None and breaker.credentials != credentials:
        # Not a day's wait again if this probe fails for another reason: the series starts anew.
        return replace(breaker, credentials=None, length=limits.open_for, retry_at=now)
    length = min(breaker.length, limits.longest)
    retry_at = None if breaker.retry_at is None else min(breaker.retry_at, now + length)
    return replace(breaker, length=length, retry_at=retry_at)


def to_json(breaker: Breaker) -> dict[str, object]:
    """Return the breaker as `json.dumps` takes it."""
    return {
        "state": breaker.state.value,
        "failures": breaker.failures,
        "length_s": breaker.length.total_seconds(),
        "retry_at": None if breaker.retry_at is None else breaker.retry_at.isoformat(),
        "opened_at": None if breaker.opened_at is None else breaker.opened_at.isoformat(),
        "reason": breaker.reason,
        "opened_by": breaker.opened_by,
        "credentials": breaker.credentials,
        "probing_run": breaker.probing_run,
    }


def from_json(value: object) -> Breaker:
    """Return the breaker that `to_json` wrote; raise `ValueError` naming the field at fault."""
    record = Stored.of(value, what="the breaker")
    named = record.text("state")
    if named not in {state.value for state in BreakerState}:
        raise record.fault("state", f"{named[:40]!r}, not a breaker's")
    breaker = Breaker(
        state=BreakerState(named),
        failures=record.integer("failures"),
        length=record.duration("length_s"),
        retry_at=record.optional_time("retry_at"),
        opened_at=record.optional_time("opened_at"),
        reason=record.text("reason"),
        opened_by=record.optional_text("opened_by"),
        credentials=record.optional_text("credentials"),
        probing_run=record.optional_text("probing_run"),
    )
    # What no move leads to, no move may lead out of: such a breaker could stay open for ever.
    is_open = breaker.state is BreakerState.OPEN
    is_half_open = breaker.state is BreakerState.HALF_OPEN
    if (breaker.opened_at is not None) is not (is_open or is_half_open):
        raise record.fault("opened_at", f"wrong for the state {named}")
    if (breaker.probing_run is not None) is not is_half_open:
        raise record.fault("probing_run", f"wrong for the state {named}")
    if breaker.opened_by is not None and not is_open:
        raise record.fault("opened_by", f"wrong for the state {named}")
    if breaker.retry_at is None and breaker.opened_by is None and (is_open or is_half_open):
        raise record.fault("retry_at", f"missing from the state {named}")
    return breaker


def _verified(breaker: Breaker, *, now: datetime) -> Moved:
    if breaker.opened_at is None:
        return Breaker(), ()
    lasted = max(now - breaker.opened_at, timedelta())
    return Breaker(), (Recovered(opened_at=breaker.opened_at, lasted=lasted),)


def _verified_narrowly(breaker: Breaker, *, now: datetime) -> Moved:
    if breaker.state is BreakerState.CLOSED:
        return breaker, ()
    until = breaker.retry_at or now
    reopened = replace(breaker, state=BreakerState.OPEN, probing_run=None, retry_at=until)
    return reopened, (ProbePostponed(until=until),)


def _stopped(breaker: Breaker, *, now: datetime) -> Moved:
    if breaker.state is BreakerState.CLOSED:
        return breaker, ()
    until = now + breaker.length
    reopened = replace(breaker, state=BreakerState.OPEN, probing_run=None, retry_at=until)
    return reopened, (ProbePostponed(until=until),)


def _retried(breaker: Breaker, *, now: datetime, jitter: float, limits: BreakerLimits) -> Moved:
    mean = limits.first_retry if breaker.failures == 1 else limits.second_retry
    length = mean * (1 + limits.retry_spread * (2 * jitter - 1))
    at = now + length
    event = RetryScheduled(at=at, failures=breaker.failures, reason=breaker.reason)
    return replace(breaker, length=length, retry_at=at), (event,)


def _opened(breaker: Breaker, *, length: timedelta, reason: str, now: datetime) -> Moved:
    until = now + length
    opened = Breaker(
        state=BreakerState.OPEN,
        failures=breaker.failures,
        length=length,
        retry_at=until,
        opened_at=breaker.opened_at or now,
        reason=reason,
    )
    if breaker.state is BreakerState.HALF_OPEN:
        return opened, (ProbeFailed(reason=reason, until=until, failures=breaker.failures),)
    return opened, (Opened(reason=reason, until=until, failures=breaker.failures),)
