"""What the store kept of a breaker is read back whole, or refused with the field's name."""

import json
from typing import Final

import pytest

from bot.exts.backend.sync._core.policy import breaker as b
from bot.exts.backend.sync._core.policy.breaker import Breaker
from tests.bot.exts.backend.sync.breaker.examples import BY_HAND, HALF_OPEN, OPEN

WRITTEN: Final[dict[str, object]] = {
    "state": "open",
    "failures": 3,
    "length_s": 900.0,
    "retry_at": "2021-01-12T12:15:00+00:00",
    "opened_at": "2021-01-12T12:00:00+00:00",
    "reason": "500",
    "opened_by": None,
    "credentials": "hash",
    "probing_run": None,
}


def test_a_breaker_is_written_as_plain_json() -> None:
    """The form on disk is a promise to the next version."""
    assert b.to_json(OPEN) == WRITTEN


@pytest.mark.parametrize("breaker", [Breaker(), OPEN, HALF_OPEN, BY_HAND])
def test_a_breaker_survives_the_store(breaker: Breaker) -> None:
    """Every kind of state comes back as it was."""
    kept = json.dumps(b.to_json(breaker))

    assert b.from_json(json.loads(kept)) == breaker


def test_what_a_newer_version_added_is_passed_over() -> None:
    """Unknown fields, whole seconds and other zones than UTC are no reason to refuse."""
    newer = {**WRITTEN, "length_s": 900, "opened_at": "2021-01-12T13:00:00+01:00", "mood": "calm"}

    assert b.from_json(newer) == OPEN


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"state": None}, "state of the breaker is missing, not text"),
        ({"state": "ajar"}, "state of the breaker is 'ajar', not a breaker's"),
        ({"failures": None}, "failures of the breaker is missing, not an integer"),
        ({"failures": True}, "failures of the breaker is bool, not an integer"),
        ({"failures": -1}, "failures of the breaker is -1, below 0"),
        ({"length_s": "900"}, "length_s of the breaker is str, not a number of seconds"),
        ({"length_s": True}, "length_s of the breaker is bool, not a number of seconds"),
        ({"length_s": -1}, "length_s of the breaker is -1, below 0"),
        ({"length_s": float("nan")}, "length_s of the breaker is nan, not a length of time"),
        ({"length_s": 1e300}, "length_s of the breaker is 1e+300, not a length of time"),
        ({"retry_at": 5}, "retry_at of the breaker is int, not text"),
        ({"retry_at": "soon"}, "retry_at of the breaker is 'soon', not a time with its zone"),
        (
            {"retry_at": "2021-01-12T12:15:00"},
            "retry_at of the breaker is '2021-01-12T12:15:00', not a time with its zone",
        ),
        (
            {"retry_at": "0001-01-01T00:00:00+05:00"},
            "retry_at of the breaker is '0001-01-01T00:00:00+05:00', not a time with its zone",
        ),
        ({"reason": None}, "reason of the breaker is missing, not text"),
        ({"opened_by": 7}, "opened_by of the breaker is int, not text"),
        ({"opened_at": None}, "opened_at of the breaker is wrong for the state open"),
        ({"probing_run": "r"}, "probing_run of the breaker is wrong for the state open"),
        ({"retry_at": None}, "retry_at of the breaker is missing from the state open"),
        ({"state": "closed"}, "opened_at of the breaker is wrong for the state closed"),
        ({"state": "half-open"}, "probing_run of the breaker is wrong for the state half-open"),
        (
            {"state": "half-open", "probing_run": "r", "opened_by": "Ada"},
            "opened_by of the breaker is wrong for the state half-open",
        ),
        (
            {"state": "half-open", "probing_run": "r", "retry_at": None},
            "retry_at of the breaker is missing from the state half-open",
        ),
    ],
)
def test_a_malformed_record_names_its_field(changed: dict[str, object], fault: str) -> None:
    """A record that no move could have left is refused, not guessed at."""
    with pytest.raises(ValueError, match=r"of the breaker is") as caught:
        b.from_json({**WRITTEN, **changed})

    assert str(caught.value) == fault


def test_a_record_that_is_no_object_is_refused() -> None:
    """A list in the breaker's place is named for what it is."""
    with pytest.raises(ValueError, match=r"^the breaker is list, not an object$"):
        b.from_json([])
