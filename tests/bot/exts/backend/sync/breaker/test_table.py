"""The breaker's table, row by row: whole values in, whole values out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from bot.exts.backend.sync._core.policy import breaker as b
from bot.exts.backend.sync._core.policy.breaker import (
    AttemptEnding,
    Breaker,
    BreakerState,
    Normal,
    Probe,
    Start,
    Withheld,
)
from bot.exts.backend.sync._core.policy.sync_retries import BreakerLimits

NOW: Final = datetime(2021, 1, 12, 12, tzinfo=UTC)
LIMITS: Final = BreakerLimits()
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)

CLOSED: Final = Breaker()
ONCE: Final = Breaker(failures=1, length=MINUTE, retry_at=NOW + MINUTE, reason="500")
TWICE: Final = Breaker(failures=2, length=5 * MINUTE, retry_at=NOW + 5 * MINUTE, reason="500")
OPEN: Final = Breaker(
    state=BreakerState.OPEN,
    failures=3,
    length=15 * MINUTE,
    retry_at=NOW + 15 * MINUTE,
    opened_at=NOW,
    reason="500",
)
DUE: Final = replace(OPEN, retry_at=NOW, opened_at=NOW - 15 * MINUTE)
HALF_OPEN: Final = replace(DUE, state=BreakerState.HALF_OPEN, probing_run="probe")
REFUSED: Final = replace(
    OPEN,
    failures=1,
    length=24 * HOUR,
    retry_at=NOW + 24 * HOUR,
    reason="401",
    credentials="old hash",
)
BY_HAND: Final = Breaker(
    state=BreakerState.OPEN, opened_at=NOW, reason="a move of hosts", opened_by="Ada"
)
STATES: Final = (CLOSED, ONCE, TWICE, OPEN, DUE, HALF_OPEN, REFUSED, BY_HAND)
FAILURES: Final = (AttemptEnding.FAILED, AttemptEnding.INTERRUPTED)


def ended(
    breaker: Breaker,
    ending: AttemptEnding,
    *,
    run_id: str = "probe",
    full: bool = True,
    now: datetime = NOW,
    jitter: float = 0.5,
    refused: str | None = None,
) -> b.Moved:
    """End an attempt as most rows of the table do."""
    return b.attempt_ended(
        breaker,
        ending,
        run_id=run_id,
        full=full,
        now=now,
        jitter=jitter,
        limits=LIMITS,
        reason="500",
        refused=refused,
    )


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("ending", FAILURES)
def test_three_in_a_row_open_the_breaker(ending: AttemptEnding, full: bool) -> None:  # noqa: FBT001 - a parameter of pytest's
    """Two failures each schedule a retry, and the third opens, narrow runs and crashes included."""
    moves = []
    breaker = CLOSED
    for _ in range(3):
        breaker, events = ended(breaker, ending, full=full)
        moves.append((breaker, events))

    assert moves == [
        (ONCE, (b.RetryScheduled(at=NOW + MINUTE, failures=1, reason="500"),)),
        (TWICE, (b.RetryScheduled(at=NOW + 5 * MINUTE, failures=2, reason="500"),)),
        (OPEN, (b.Opened(reason="500", until=NOW + 15 * MINUTE, failures=3),)),
    ]


@pytest.mark.parametrize(
    ("before", "jitter", "length_s"),
    [(CLOSED, 0.0, 48), (CLOSED, 1.0, 72), (ONCE, 0.0, 240), (ONCE, 1.0, 360)],
)
def test_a_retry_is_spread_by_a_fifth_either_way(
    before: Breaker, jitter: float, length_s: int
) -> None:
    """Many bots that failed at one moment do not come back at one moment."""
    after, _ = ended(before, AttemptEnding.FAILED, jitter=jitter)

    assert (after.length, after.retry_at) == (
        timedelta(seconds=length_s),
        NOW + timedelta(seconds=length_s),
    )


def test_a_higher_threshold_repeats_the_second_retry() -> None:
    """With a threshold of 4, the third failure waits as the second did."""
    moved = b.attempt_ended(
        TWICE,
        AttemptEnding.FAILED,
        run_id="r",
        full=True,
        now=NOW,
        jitter=0.5,
        limits=BreakerLimits(threshold=4),
        reason="500",
    )

    assert moved == (
        replace(TWICE, failures=3),
        (b.RetryScheduled(at=NOW + 5 * MINUTE, failures=3, reason="500"),),
    )


@pytest.mark.parametrize("before", [CLOSED, ONCE, TWICE])
def test_a_verified_full_run_forgets_the_failures(before: Breaker) -> None:
    """While closed, a verified full run resets the count and says nothing."""
    assert ended(before, AttemptEnding.VERIFIED) == (CLOSED, ())


@pytest.mark.parametrize("before", [CLOSED, ONCE, TWICE])
def test_what_shows_too_little_changes_nothing(before: Breaker) -> None:
    """While closed, a verified narrow run and a neutral stop neither count nor reset."""
    moves = [
        ended(before, AttemptEnding.VERIFIED, full=False),
        ended(before, AttemptEnding.NEUTRAL),
        ended(before, AttemptEnding.NEUTRAL, full=False),
    ]

    assert moves == [(before, ())] * 3


@pytest.mark.parametrize(
    ("before", "event"),
    [
        (CLOSED, b.Opened(reason="500", until=NOW + 24 * HOUR, failures=1)),
        (TWICE, b.Opened(reason="500", until=NOW + 24 * HOUR, failures=3)),
        (HALF_OPEN, b.ProbeFailed(reason="500", until=NOW + 24 * HOUR, failures=4)),
    ],
)
def test_an_attempt_whose_credentials_are_refused_opens_for_a_day(
    before: Breaker, event: b.Event
) -> None:
    """One refusal is enough, and what was refused is remembered."""
    moved = ended(before, AttemptEnding.FAILED, refused="hash")

    assert moved == (
        Breaker(
            state=BreakerState.OPEN,
            failures=before.failures + 1,
            length=24 * HOUR,
            retry_at=NOW + 24 * HOUR,
            opened_at=before.opened_at or NOW,
            reason="500",
            credentials="hash",
        ),
        (event,),
    )


@pytest.mark.parametrize("before", [CLOSED, TWICE, OPEN])
def test_a_lone_write_whose_credentials_are_refused_opens_for_a_day(before: Breaker) -> None:
    """A refusal of a live event opens as well, though no attempt is counted."""
    moved = b.credentials_refused(before, credentials="hash", reason="401", now=NOW, limits=LIMITS)

    assert moved == (
        replace(REFUSED, failures=before.failures, credentials="hash"),
        (b.Opened(reason="401", until=NOW + 24 * HOUR, failures=before.failures),),
    )


def test_a_refusal_does_not_end_what_a_person_ordered() -> None:
    """Opened by hand, a breaker stays open until reset, whatever the site refuses meanwhile."""
    moved = b.credentials_refused(BY_HAND, credentials="hash", reason="401", now=NOW, limits=LIMITS)

    assert moved == (BY_HAND, ())


@pytest.mark.parametrize(
    ("breaker", "start", "full", "expected"),
    [
        (CLOSED, Start.AUTOMATIC, True, Normal()),
        (CLOSED, Start.AUTOMATIC, False, Normal()),
        (ONCE, Start.AUTOMATIC, True, Withheld(reason="500", until=NOW + MINUTE)),
        (ONCE, Start.AUTOMATIC, False, Withheld(reason="500", until=NOW + MINUTE)),
        (ONCE, Start.ASKED, True, Normal()),
        (ONCE, Start.FORCED, True, Normal()),
        (replace(ONCE, retry_at=NOW), Start.AUTOMATIC, True, Normal()),
        (OPEN, Start.AUTOMATIC, True, Withheld(reason="500", until=NOW + 15 * MINUTE)),
        (OPEN, Start.ASKED, True, Withheld(reason="500", until=NOW + 15 * MINUTE)),
        (OPEN, Start.FORCED, True, Probe()),
        (OPEN, Start.FORCED, False, Probe()),
        (DUE, Start.AUTOMATIC, True, Probe()),
        (DUE, Start.ASKED, True, Probe()),
        (DUE, Start.AUTOMATIC, False, Withheld(reason="500", until=NOW)),
        (DUE, Start.ASKED, False, Withheld(reason="500", until=NOW)),
        (REFUSED, Start.AUTOMATIC, True, Withheld(reason="401", until=NOW + 24 * HOUR)),
        (REFUSED, Start.FORCED, True, Probe()),
        (BY_HAND, Start.AUTOMATIC, True, Withheld(reason="a move of hosts", until=None)),
        (BY_HAND, Start.FORCED, True, Withheld(reason="a move of hosts", until=None)),
        (
            HALF_OPEN,
            Start.FORCED,
            True,
            Withheld(reason="run probe is probing the site", until=None),
        ),
    ],
)
def test_who_may_start_when(
    breaker: Breaker,
    start: Start,
    full: bool,  # noqa: FBT001 - a parameter of pytest's
    expected: b.Permit,
) -> None:
    """Waiting binds the bot, an open breaker binds people too, and force skips only the waiting."""
    assert b.permit(breaker, start=start, full=full, now=NOW) == expected


def test_the_probe_makes_an_open_breaker_half_open() -> None:
    """The run that may probe is written down as the probe, and no other field moves."""
    moved = b.begin(DUE, run_id="probe", start=Start.AUTOMATIC, full=True, now=NOW)

    assert moved == (HALF_OPEN, (b.Probing(run_id="probe"),))


@pytest.mark.parametrize("breaker", [CLOSED, ONCE, OPEN, HALF_OPEN, REFUSED, BY_HAND])
def test_a_start_that_is_no_probe_changes_nothing(breaker: Breaker) -> None:
    """Neither an ordinary run nor one that may not start moves the breaker."""
    moved = b.begin(breaker, run_id="other", start=Start.AUTOMATIC, full=True, now=NOW)

    assert moved == (breaker, ())


@pytest.mark.parametrize(
    ("breaker", "admitted"),
    [
        (CLOSED, {None, "probe", "other"}),
        (TWICE, {None, "probe", "other"}),
        (OPEN, set[str]()),
        (BY_HAND, set[str]()),
        (HALF_OPEN, {"probe"}),
    ],
)
def test_the_gate_admits_writes_by_state(breaker: Breaker, admitted: set[str | None]) -> None:
    """All writes pass while closed, none while open, and the probe's alone while half-open."""
    passed = {id_ for id_ in (None, "probe", "other") if b.admits_write(breaker, run_id=id_)}

    assert passed == admitted


def test_a_verified_probe_closes() -> None:
    """Recovery forgets everything and says how long it lasted."""
    moved = ended(HALF_OPEN, AttemptEnding.VERIFIED)

    assert moved == (
        CLOSED,
        (b.Recovered(opened_at=NOW - 15 * MINUTE, lasted=15 * MINUTE),),
    )


def test_a_recovery_before_its_opening_lasted_no_time() -> None:
    """A clock that was set back does not show a negative duration."""
    _, events = ended(HALF_OPEN, AttemptEnding.VERIFIED, now=NOW - HOUR)

    assert events == (b.Recovered(opened_at=NOW - 15 * MINUTE, lasted=timedelta()),)


def test_a_narrow_forced_probe_leaves_the_next_probe_where_it_was() -> None:
    """A narrow run shows too little to close, and does not put off the run that could."""
    forced, _ = b.begin(OPEN, run_id="probe", start=Start.FORCED, full=False, now=NOW)

    moved = ended(forced, AttemptEnding.VERIFIED, full=False, now=NOW + MINUTE)

    assert moved == (OPEN, (b.ProbePostponed(until=NOW + 15 * MINUTE),))


@pytest.mark.parametrize("ending", FAILURES)
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize(
    ("length", "next_length"),
    [(15 * MINUTE, 30 * MINUTE), (13 * HOUR, 24 * HOUR), (24 * HOUR, 24 * HOUR)],
)
def test_a_failed_probe_opens_for_twice_as_long(
    ending: AttemptEnding,
    full: bool,  # noqa: FBT001 - a parameter of pytest's
    length: timedelta,
    next_length: timedelta,
) -> None:
    """The wait doubles up to a day, and the series keeps its beginning."""
    moved = ended(replace(HALF_OPEN, length=length), ending, full=full)

    assert moved == (
        replace(DUE, failures=4, length=next_length, retry_at=NOW + next_length),
        (b.ProbeFailed(reason="500", until=NOW + next_length, failures=4),),
    )


def test_a_probe_stopped_on_purpose_waits_the_same_length_again() -> None:
    """A neutral stop tells nothing about the site, so the length neither grows nor shrinks."""
    moved = ended(HALF_OPEN, AttemptEnding.NEUTRAL)

    assert moved == (
        replace(DUE, retry_at=NOW + 15 * MINUTE),
        (b.ProbePostponed(until=NOW + 15 * MINUTE),),
    )


@pytest.mark.parametrize("breaker", STATES)
def test_a_person_opens_until_a_reset(breaker: Breaker) -> None:
    """From any state, opening by hand leaves no time at which it would end, and says who did it."""
    moved = b.opened_by_hand(breaker, by="Ada", reason="a move of hosts", now=NOW)

    assert moved == (
        replace(BY_HAND, failures=breaker.failures, opened_at=breaker.opened_at or NOW),
        (b.ForcedOpen(by="Ada", reason="a move of hosts"),),
    )


def test_a_person_resets() -> None:
    """A reset gives a new breaker, and says who did it."""
    assert b.reset_by_hand(by="Ada") == (CLOSED, (b.Reset(by="Ada"),))


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("ending", AttemptEnding)
@pytest.mark.parametrize("breaker", [OPEN, DUE, REFUSED, BY_HAND])
def test_an_attempt_older_than_the_opening_changes_nothing(
    breaker: Breaker,
    ending: AttemptEnding,
    full: bool,  # noqa: FBT001 - a parameter of pytest's
) -> None:
    """While open no attempt is under way but one from before, whose ending came too late."""
    assert ended(breaker, ending, full=full, refused="hash") == (breaker, ())


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("ending", AttemptEnding)
def test_only_the_probe_ends_a_half_open_state(
    ending: AttemptEnding,
    full: bool,  # noqa: FBT001 - a parameter of pytest's
) -> None:
    """The ending of another run neither closes nor opens."""
    assert ended(HALF_OPEN, ending, full=full, run_id="other") == (HALF_OPEN, ())


def test_a_lost_store_counts_as_open() -> None:
    """Who does not know what was counted waits for one probe."""
    reason = "the store was lost, and with it what it knew of failures"

    assert b.lost_store(now=NOW, limits=LIMITS) == (
        replace(OPEN, failures=0, reason=reason),
        (b.Opened(reason=reason, until=NOW + 15 * MINUTE, failures=0),),
    )


@pytest.mark.parametrize(
    ("record", "may_be"),
    [
        ({"opened_by": None}, False),
        ({"opened_by": "<@1>"}, True),
        ({}, True),
        ("text", True),
        (None, True),
    ],
)
def test_a_damaged_record_may_be_of_a_breaker_that_was_opened_by_hand(
    record: object,
    may_be: bool,  # noqa: FBT001 - a parameter of pytest's
) -> None:
    """Unless it says that it was not."""
    assert b.may_be_by_hand(record) is may_be


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (CLOSED, CLOSED),
        (ONCE, ONCE),
        (OPEN, OPEN),
        (HALF_OPEN, HALF_OPEN),
        (BY_HAND, BY_HAND),
        (REFUSED, REFUSED),
        (replace(OPEN, retry_at=NOW - 90 * HOUR), replace(OPEN, retry_at=NOW - 90 * HOUR)),
        (replace(OPEN, retry_at=NOW + 90 * HOUR), OPEN),
        (replace(ONCE, retry_at=NOW + 90 * HOUR), ONCE),
        (
            replace(OPEN, length=90 * HOUR, retry_at=NOW + 80 * HOUR),
            replace(OPEN, length=24 * HOUR, retry_at=NOW + 24 * HOUR),
        ),
    ],
)
def test_loading_bounds_the_wait_and_nothing_else(before: Breaker, after: Breaker) -> None:
    """A restart never shortens a wait; a clock that was set back never makes it longer."""
    once = b.loaded(before, now=NOW, credentials="old hash", limits=LIMITS)
    twice = b.loaded(once, now=NOW, credentials="old hash", limits=LIMITS)

    assert (once, twice) == (after, after)


def test_changed_credentials_are_probed_at_once_and_only_once() -> None:
    """A new token need not wait out the old one's day; its own failure starts a new series."""
    changed = b.loaded(REFUSED, now=NOW, credentials="new hash", limits=LIMITS)
    probing, _ = b.begin(changed, run_id="probe", start=Start.AUTOMATIC, full=True, now=NOW)
    failed, _ = ended(probing, AttemptEnding.FAILED)
    again = b.loaded(failed, now=NOW, credentials="newer hash", limits=LIMITS)

    due = replace(REFUSED, length=15 * MINUTE, retry_at=NOW, credentials=None)
    reopened = replace(OPEN, failures=2, length=30 * MINUTE, retry_at=NOW + 30 * MINUTE)
    assert (changed, probing.state, failed, again) == (
        due,
        BreakerState.HALF_OPEN,
        reopened,
        reopened,
    )
