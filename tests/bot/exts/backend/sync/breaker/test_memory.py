"""No size crashes twice at its height; no parked row is asked about too often, or never again."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.members import MAX_ID, UserId
from bot.exts.backend.sync._core.policy import memory as m
from bot.exts.backend.sync._core.policy.breaker import AttemptEnding
from bot.exts.backend.sync._core.policy.memory import CrashMemory, ParkedRecord

NOW: Final = datetime(2021, 1, 12, 12, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
PARKED: Final = ParkedRecord(
    id=UserId(7),
    reason="name is empty",
    payload_hash="a",
    tries=1,
    parked_at=NOW,
    next_try_at=NOW + HOUR,
)


def test_only_a_new_largest_size_is_written_down() -> None:
    """A run pays for a synced write at each growth of its chunks, not at each chunk."""
    memory = CrashMemory()
    recorded = []
    for items in (100, 100, 50, 200, 150, 200, 400):
        if memory.must_record(items):
            recorded.append(items)
            memory = memory.recorded(items)

    assert (recorded, memory) == ([100, 200, 400], CrashMemory(largest=400))


def test_a_smaller_size_does_not_hide_a_larger_one() -> None:
    """Written down out of order, the largest still counts."""
    assert CrashMemory(largest=400).recorded(100) == CrashMemory(largest=400)


@pytest.mark.parametrize(
    ("before", "ending", "full", "after"),
    [
        (CrashMemory(largest=1000), "interrupted", True, CrashMemory(ceiling=500)),
        (CrashMemory(largest=1000), "interrupted", False, CrashMemory(ceiling=500)),
        (CrashMemory(ceiling=500, largest=100), "interrupted", True, CrashMemory(ceiling=50)),
        (CrashMemory(ceiling=10, largest=10), "interrupted", True, CrashMemory(ceiling=10)),
        (CrashMemory(largest=3), "interrupted", True, CrashMemory(ceiling=10)),
        (CrashMemory(ceiling=500), "interrupted", True, CrashMemory(ceiling=500)),
        (CrashMemory(), "interrupted", True, CrashMemory()),
        (CrashMemory(ceiling=250, largest=250), "verified", True, CrashMemory(ceiling=500)),
        (CrashMemory(ceiling=500, largest=500), "verified", True, CrashMemory()),
        (CrashMemory(largest=1000), "verified", True, CrashMemory()),
        # It has grown in that run, by and by, and nothing happened.
        (CrashMemory(ceiling=10, largest=400), "verified", True, CrashMemory(ceiling=400)),
        (CrashMemory(ceiling=10, largest=1000), "verified", True, CrashMemory()),
        (CrashMemory(ceiling=250, largest=9), "verified", False, CrashMemory(ceiling=250)),
        (CrashMemory(ceiling=250, largest=9), "failed", True, CrashMemory(ceiling=250)),
        (CrashMemory(ceiling=250, largest=9), "neutral", True, CrashMemory(ceiling=250)),
    ],
)
def test_the_ceiling_halves_at_a_crash_and_comes_back(
    before: CrashMemory,
    ending: str,
    full: bool,  # noqa: FBT001 - a parameter of pytest's
    after: CrashMemory,
) -> None:
    """Interrupted after a write halves, verified in full doubles, the rest only starts anew."""
    learnt = before.attempt_ended(AttemptEnding(ending), full=full, default_items=1000)

    assert learnt == after


@pytest.mark.parametrize(
    ("ceiling", "default", "items"), [(None, 1000, 1000), (250, 1000, 250), (250, 100, 100)]
)
def test_the_ceiling_only_lowers(ceiling: int | None, default: int, items: int) -> None:
    """A remembered ceiling never allows more than the settings do."""
    assert CrashMemory(ceiling=ceiling).max_items(default) == items


@given(crashes=st.integers(0, 12), default=st.integers(1, 5000))
def test_every_ceiling_comes_back_to_the_default(crashes: int, default: int) -> None:
    """However often it crashed, ten verified runs are enough to forget it."""
    memory = CrashMemory()
    for _ in range(crashes):
        memory = memory.recorded(memory.max_items(default))
        memory = memory.attempt_ended(AttemptEnding.INTERRUPTED, full=True, default_items=default)
    for _ in range(10):
        memory = memory.attempt_ended(AttemptEnding.VERIFIED, full=True, default_items=default)

    assert memory == CrashMemory()


@pytest.mark.parametrize("memory", [CrashMemory(), CrashMemory(ceiling=50, largest=50)])
def test_a_crash_memory_survives_the_store(memory: CrashMemory) -> None:
    """It comes back as it was."""
    kept = json.dumps(m.crash_memory_to_json(memory))

    assert m.crash_memory_from_json(json.loads(kept)) == memory


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "the crash memory is missing, not an object"),
        ({"ceiling": 9, "largest": 0}, "ceiling of the crash memory is 9, below 10"),
        ({"ceiling": "9", "largest": 0}, "ceiling of the crash memory is str, not an integer"),
        ({"ceiling": 50}, "largest of the crash memory is missing, not an integer"),
    ],
)
def test_a_malformed_crash_memory_names_its_field(value: object, fault: str) -> None:
    """A ceiling that would stop every run is refused."""
    with pytest.raises(ValueError, match=r"the crash memory is") as caught:
        m.crash_memory_from_json(value)

    assert str(caught.value) == fault


def test_the_gaps_of_a_parked_row_grow() -> None:
    """Rejected again and again in one form, a row is asked about ever more rarely."""
    record = None
    waits = []
    now = NOW
    for _ in range(7):
        record = m.parked_again(record, id_=UserId(7), reason="r", payload_hash="a", now=now)
        waits.append((record.next_try_at - now) / HOUR)
        now = record.next_try_at

    assert (waits, record) == (
        [1, 6, 24, 72, 168, 168, 168],
        ParkedRecord(
            id=UserId(7),
            reason="r",
            payload_hash="a",
            tries=7,
            parked_at=NOW,
            next_try_at=now,
        ),
    )


def test_another_form_of_a_parked_row_starts_with_the_first_gap() -> None:
    """A row that changed and was rejected again is a new case, parked since the same day."""
    before = replace(PARKED, tries=4)
    later = NOW + 30 * HOUR

    again = m.parked_again(
        before, id_=UserId(7), reason="name is long", payload_hash="b", now=later
    )

    assert again == replace(
        PARKED,
        reason="name is long",
        payload_hash="b",
        next_try_at=later + HOUR,
        lifts=1,
        lifts_since=later,
    )


def test_a_row_that_changes_is_tried_at_once_three_times_a_day() -> None:
    """A fourth form waits for its gap, as the same form would; another day counts anew."""
    record = m.parked_again(None, id_=UserId(7), reason="r", payload_hash="0", now=NOW)
    tried = []
    for minute in range(1, 60 * 25):
        now = NOW + timedelta(minutes=minute)
        if m.due(record, payload_hash=str(minute), now=now):
            tried.append(minute)
            record = m.parked_again(
                record, id_=UserId(7), reason="r", payload_hash=str(minute), now=now
            )

    first_day = [1, 2, 3, *range(63, 1441, 60)]
    assert tried[: len(first_day)] == first_day
    assert tried[len(first_day) :] == [1441, 1442, 1443]


def test_a_row_that_is_taken_in_between_is_no_new_case() -> None:
    """Whoever goes to and fro between a name that is taken and one that is not gains nothing."""
    record = m.parked_again(None, id_=UserId(7), reason="r", payload_hash="bad", now=NOW)
    dues = []
    for minute in range(4):
        now = NOW + timedelta(minutes=minute)
        dues.append(m.due(record, payload_hash="good", now=now))
        record = m.parked_again(
            m.lifted(record, now=now), id_=UserId(7), reason="r", payload_hash="bad", now=now
        )

    assert (dues, record.lifts) == ([True, True, True, False], 4)
    assert [m.is_on_mind(record, now=NOW + timedelta(hours=hours)) for hours in (23, 24, -1)] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("record", "payload_hash", "at", "expected"),
    [
        (PARKED, "a", NOW, False),
        (PARKED, "a", NOW + HOUR - timedelta(seconds=1), False),
        (PARKED, "a", NOW + HOUR, True),
        (PARKED, "a", NOW + 90 * HOUR, True),
        (PARKED, "b", NOW, True),
        (PARKED, "a", NOW - timedelta(seconds=1), True),
        (replace(PARKED, tries=2, next_try_at=NOW + 6 * HOUR), "a", NOW, False),
    ],
)
def test_when_a_parked_row_is_due(
    record: ParkedRecord,
    payload_hash: str,
    at: datetime,
    expected: bool,  # noqa: FBT001 - a parameter of pytest's
) -> None:
    """Due are: a gap that passed, a row that changed, a wait that only a jumped clock explains."""
    assert m.due(record, payload_hash=payload_hash, now=at) is expected


def test_a_person_makes_a_parked_row_due() -> None:
    """Asked to, the next run tries again whatever the gap."""
    asked = m.retried_now(PARKED, now=NOW)

    assert (asked, m.due(asked, payload_hash="a", now=NOW)) == (
        replace(PARKED, next_try_at=NOW),
        True,
    )


def test_a_payload_hashes_by_its_values() -> None:
    """The order of fields does not matter; a value or a field more does."""
    hashes = [
        m.hash_of(payload)
        for payload in (
            {"id": 1, "name": "é"},
            {"name": "é", "id": 1},
            {"id": 1, "name": "e"},
            {"id": 1, "name": "é", "roles": [1]},
        )
    ]

    assert (hashes[0] == hashes[1], len(set(hashes))) == (True, 3)


def test_a_parked_row_survives_the_store() -> None:
    """It comes back as it was, from plain JSON."""
    kept = json.dumps(m.parked_to_json(PARKED))

    assert (json.loads(kept), m.parked_from_json(json.loads(kept))) == (
        {
            "id": 7,
            "reason": "name is empty",
            "payload_hash": "a",
            "tries": 1,
            "parked_at": "2021-01-12T12:00:00+00:00",
            "next_try_at": "2021-01-12T13:00:00+00:00",
            "lifts": 0,
            "lifts_since": None,
        },
        PARKED,
    )


def test_a_parked_row_of_the_version_before_is_read() -> None:
    """It counted no lifts."""
    counted = replace(PARKED, lifts=2, lifts_since=NOW)
    kept = m.parked_to_json(counted)
    older = {name: kept[name] for name in kept if not name.startswith("lifts")}

    assert (m.parked_from_json(kept), m.parked_from_json(older)) == (counted, PARKED)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"id": MAX_ID + 1}, f"id of the parked record is {MAX_ID + 1}, above 2^63-1"),
        ({"id": -1}, "id of the parked record is -1, below 0"),
        ({"tries": 0}, "tries of the parked record is 0, below 1"),
        ({"reason": 3}, "reason of the parked record is int, not text"),
        ({"next_try_at": None}, "next_try_at of the parked record is missing, not text"),
    ],
)
def test_a_malformed_parked_row_names_its_field(changed: dict[str, object], fault: str) -> None:
    """A record that would name nobody, or wait for no time, is refused."""
    with pytest.raises(ValueError, match=r"of the parked record is") as caught:
        m.parked_from_json({**m.parked_to_json(PARKED), **changed})

    assert str(caught.value) == fault
