"""When a run gives up, and how long it waits until then."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.policy.request_backoff import (
    Failure,
    FailureKind,
    Patience,
    PatienceLimits,
    fatal,
    judged,
)
from bot.exts.backend.sync._core.site.outcome import (
    AlreadyThere,
    Applied,
    NotFound,
    Outcome,
    Overloaded,
    ProtocolError,
    Refused,
    RejectedRows,
    RejectedWhole,
    TooLarge,
    Trouble,
    UnknownUser,
)

from .examples import NOW
from .troubles import BLOCKED, BUSY, ERROR, LOST

ODD = ProtocolError(status=302, reason="Moved.")
MINUTE = timedelta(minutes=1)
FRESH = Patience(limits=PatienceLimits(), progress_at=NOW)


def failing(reason: str, status: int | None) -> Failure:
    """Return the failure of a site that kept failing."""
    return Failure(kind=FailureKind.FAILING, reason=reason, status=status)


def after(*outcomes: Trouble, patience: Patience = FRESH) -> Patience:
    """Note failing answers in turn."""
    for outcome in outcomes:
        patience = patience.failed(outcome)
    return patience


def test_the_bounds_are_the_designs() -> None:
    """Five failing answers, ten minutes, waits of up to a minute, a deadline of 30 s."""
    assert PatienceLimits() == PatienceLimits(
        max_failing=5,
        stall=10 * MINUTE,
        backoff=timedelta(seconds=1),
        max_backoff=MINUTE,
        deadline=timedelta(seconds=30),
        parked_min=20,
        parked_part=0.1,
    )


@pytest.mark.parametrize(
    ("patience", "failure"),
    [
        (FRESH, None),
        (after(*[ERROR] * 4), None),
        (after(*[ERROR] * 5), failing("Server Error", 500)),
        (after(*[ERROR] * 4, LOST), failing("the connection was lost", None)),
        (after(*[ERROR] * 4, BUSY), failing("the site is overloaded", 503)),
        (after(*[ERROR] * 4, BLOCKED), failing("(a page)", 403)),
        (after(*[ODD] * 4), None),
        (
            after(*[BUSY] * 4, ODD),
            Failure(kind=FailureKind.PROTOCOL, reason="Moved.", status=302),
        ),
        (after(*[ERROR] * 4).progressed(NOW), None),
        (after(*[ERROR] * 4, patience=after(ERROR).progressed(NOW)), None),
        (after(*[ERROR] * 4, patience=after(*[ERROR] * 4).answered()), None),
        (
            after(*[ERROR] * 5, patience=after(*[ERROR] * 4).answered()),
            failing("Server Error", 500),
        ),
    ],
)
def test_five_failing_answers_in_a_row_are_enough(
    patience: Patience, failure: Failure | None
) -> None:
    """Whatever the statuses; the last one is told. Any other answer between them starts anew."""
    assert patience.exhausted(NOW) == failure


@pytest.mark.parametrize(
    ("patience", "at", "failure"),
    [
        (FRESH, 10 * MINUTE - timedelta(seconds=1), None),
        (
            FRESH,
            10 * MINUTE,
            Failure(kind=FailureKind.STALLED, reason="nothing was applied or read for 10 min"),
        ),
        (
            after(BUSY),
            11 * MINUTE,
            Failure(
                kind=FailureKind.STALLED,
                reason="nothing was applied or read for 10 min; the last answer: the site is "
                "overloaded",
                status=503,
            ),
        ),
        (
            after(BUSY).progressed(NOW),
            10 * MINUTE,
            Failure(kind=FailureKind.STALLED, reason="nothing was applied or read for 10 min"),
        ),
        (FRESH.progressed(NOW + MINUTE), 10 * MINUTE, None),
        (FRESH.answered(), 10 * MINUTE, FRESH.exhausted(NOW + 10 * MINUTE)),
        (after(*[ERROR] * 5), 10 * MINUTE, failing("Server Error", 500)),
    ],
)
def test_ten_minutes_without_progress_are_enough(
    patience: Patience, at: timedelta, failure: Failure | None
) -> None:
    """However seldom the site fails; an answer that brings nothing forward is no progress."""
    assert patience.exhausted(NOW + at) == failure


def test_a_wait_for_others_is_not_the_sites() -> None:
    """Time spent waiting for Discord or a pause is none in which the site made no progress."""
    waited = FRESH.waited(9 * MINUTE)

    assert [waited.exhausted(NOW + 18 * MINUTE), waited.failing] == [None, 0]
    assert waited.exhausted(NOW + 19 * MINUTE) == FRESH.exhausted(NOW + 10 * MINUTE)


@pytest.mark.parametrize(
    ("planned", "tolerated"), [(0, 20), (200, 20), (209, 20), (210, 21), (80_000, 8000)]
)
def test_so_many_rows_may_be_rejected(planned: int, tolerated: int) -> None:
    """Twenty, or a tenth of what is planned, whichever is more."""
    assert PatienceLimits().tolerated(planned) == tolerated


@pytest.mark.parametrize(
    ("outcomes", "jitter", "wait_s"),
    [
        ([ERROR], 0.5, 1),
        ([ERROR] * 2, 0.5, 2),
        ([ERROR] * 4, 0.5, 8),
        ([ERROR], 0.1, 0.5),
        ([ERROR] * 4, 0.0, 0.5),
        ([ERROR] * 6, 0.5, 30),
        ([ERROR] * 9999, 0.5, 30),
        ([BUSY], 0.75, 1.5),
        ([ERROR, Overloaded(status=429, retry_after=timedelta(seconds=7))], 0.5, 7),
        ([Overloaded(status=429, retry_after=timedelta())], 0.5, 1),
        ([Overloaded(status=429, retry_after=timedelta())] * 4, 0.5, 8),
        ([ERROR] * 3 + [Overloaded(status=429, retry_after=timedelta(seconds=7))], 0.5, 8),
        ([Overloaded(status=429, retry_after=5 * MINUTE)], 0.0, 300),
    ],
)
def test_waits_grow_unless_the_site_says_how_long(
    outcomes: list[Trouble], jitter: float, wait_s: float
) -> None:
    """Twofold a failure, at most a minute, with full jitter; or as the site asked, if longer.

    Never at once, whatever chance or the site says.
    """
    patience = after(*outcomes)

    assert patience.backoff(outcomes[-1], jitter=jitter) == timedelta(seconds=wait_s)


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_no_wait_is_longer_than_a_minute(failures: int, jitter: float) -> None:
    """Nor below nothing, however often the site has failed."""
    patience = Patience(limits=PatienceLimits(), progress_at=NOW, failing=failures)

    assert timedelta(seconds=0.5) <= patience.backoff(ERROR, jitter=jitter) <= MINUTE


@pytest.mark.parametrize(
    ("outcome", "failure"),
    [
        (
            Refused(status=401, reason="Invalid token."),
            Failure(kind=FailureKind.REFUSED, reason="Invalid token.", status=401),
        ),
        (ODD, None),
        (BLOCKED, None),
        (Applied(), None),
        (RejectedRows(faults=()), None),
        (RejectedWhole(status=400, reason="x"), None),
        (UnknownUser(id=UserId(7)), None),
        (NotFound(), None),
        (AlreadyThere(), None),
        (TooLarge(), None),
        (BUSY, None),
        (ERROR, None),
    ],
)
def test_what_stops_a_run_at_once(outcome: Outcome, failure: Failure | None) -> None:
    """Refused credentials; whatever else comes may pass, or be about one row."""
    assert fatal(outcome) == failure


@pytest.mark.parametrize(
    ("healthcheck", "failure"),
    [
        (
            Applied(),
            Failure(
                kind=FailureKind.REFUSED,
                reason="(a page), while the healthcheck is well",
                status=403,
            ),
        ),
        (BLOCKED, failing("(a page)", 403)),
        (ERROR, failing("(a page)", 403)),
        (ODD, failing("(a page)", 403)),
    ],
)
def test_a_gateway_may_refuse_the_token(healthcheck: Outcome, failure: Failure) -> None:
    """Whoever lets the healthcheck through and no read, again and again, means our token."""
    given_up = failing("(a page)", 403)

    assert judged(given_up, BLOCKED, healthcheck) == failure
