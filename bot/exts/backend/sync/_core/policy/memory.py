"""What is remembered between runs so that no size and no row does the same harm twice.

*Crash memory* is for pace. A chunk that kills the process or the site leaves no answer to learn
from, so the size of each new largest chunk is written down before it goes out. An attempt that was
interrupted lets the next begin with half of that, never below 10, and grow by and by (`pace`). Each
verified full run doubles what is trusted, or trusts what it has sent, until that is the default
again, and then it is forgotten.

*Parked records* are rows that the site does not take. Each is tried again at later runs with
growing gaps, and at once when what would be sent has changed: three times a day, for a member can
change their name as often as they like, and each try may cost a search through a chunk. So the
record of a row that was taken in the end is kept in mind for that day.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ..model.members import MAX_ID, UserId
from ..model.stored import Stored, as_stored
from .breaker import AttemptEnding

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MIN_CEILING: Final = 10

# After the first try, the second, …; the last gap repeats.
GAPS: Final = (
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
    timedelta(days=3),
    timedelta(days=7),
)


LIFTS: Final = 3
_LIFTS_PER: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashMemory:
    """Sizes in rows: the ceiling that crashes left, and the largest chunk of this attempt."""

    ceiling: int | None = None
    largest: int = 0

    def max_items(self, default: int) -> int:
        """Return the most rows that a request may hold."""
        return default if self.ceiling is None else min(self.ceiling, default)

    def must_record(self, items: int) -> bool:
        """Say whether a chunk of this size has to be written down before it is sent."""
        return items > self.largest

    def recorded(self, items: int) -> CrashMemory:
        """Note the size of a chunk that is about to be sent."""
        return replace(self, largest=max(self.largest, items))

    def attempt_ended(
        self, ending: AttemptEnding, *, full: bool, default_items: int
    ) -> CrashMemory:
        """Learn from how an attempt ended; the next one writes its sizes down anew."""
        match ending:
            case AttemptEnding.INTERRUPTED if self.largest > 0:
                return CrashMemory(ceiling=max(MIN_CEILING, self.largest // 2))
            case AttemptEnding.VERIFIED if full and self.ceiling is not None:
                grown = max(self.ceiling * 2, self.largest)
                return CrashMemory(ceiling=grown if grown < default_items else None)
            case _:
                return CrashMemory(ceiling=self.ceiling)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedRecord:
    """A row that the site does not take.

    `payload_hash` is of what it did not take (`hash_of`), `tries` how often it was rejected in that
    form, `parked_at` since when it has been parked. `lifts` counts how often it was tried in
    another form, or taken, on the day that began at `lifts_since`.
    """

    id: UserId
    reason: str
    payload_hash: str
    tries: int
    parked_at: datetime
    next_try_at: datetime
    lifts: int = 0
    lifts_since: datetime | None = None


def parked_again(
    before: ParkedRecord | None, *, id_: UserId, reason: str, payload_hash: str, now: datetime
) -> ParkedRecord:
    """Return the record of a row that was just rejected; `before` is its record until now."""
    if before is None:
        before = ParkedRecord(
            id=id_,
            reason=reason,
            payload_hash=payload_hash,
            tries=0,
            parked_at=now,
            next_try_at=now,
        )
    same = before.payload_hash == payload_hash
    counted = before if same else lifted(before, now=now)
    tries = before.tries + 1 if same else 1
    return replace(
        counted,
        reason=reason,
        payload_hash=payload_hash,
        tries=tries,
        next_try_at=now + _gap(tries),
    )


def lifted(record: ParkedRecord, *, now: datetime) -> ParkedRecord:
    """Count that a row was tried in another form, or was taken in the end."""
    counts = _counts_lifts(record, now)
    return replace(
        record,
        lifts=record.lifts + 1 if counts else 1,
        lifts_since=record.lifts_since if counts else now,
    )


def is_on_mind(record: ParkedRecord, *, now: datetime) -> bool:
    """Say whether the record of a row that was taken still matters if it is rejected once more."""
    return _counts_lifts(record, now)


def due(record: ParkedRecord, *, payload_hash: str, now: datetime) -> bool:
    """Say whether a parked row should be sent again; `payload_hash` is of what would be sent."""
    if record.payload_hash != payload_hash:
        lifts = record.lifts if _counts_lifts(record, now) else 0
        if lifts < LIFTS:
            return True
    wait = record.next_try_at - now
    # A wait longer than the gap comes from a clock that jumped, and could last for years.
    return wait <= timedelta() or wait > _gap(record.tries)


def retried_now(record: ParkedRecord, *, now: datetime) -> ParkedRecord:
    """Make a record due at once, because a person asked."""
    return replace(record, next_try_at=now)


def hash_of(payload: Mapping[str, object]) -> str:
    """Return a hash that changes when what would be sent changes, whatever the order of fields."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def crash_memory_to_json(memory: CrashMemory) -> dict[str, object]:
    """Return the memory as `json.dumps` takes it."""
    return {"ceiling": memory.ceiling, "largest": memory.largest}


def crash_memory_from_json(value: object) -> CrashMemory:
    """Return the memory that was written; raise `ValueError` naming the field at fault."""
    record = Stored.of(value, what="the crash memory")
    ceiling = record.optional_integer("ceiling")
    if ceiling is not None and ceiling < MIN_CEILING:
        raise record.fault("ceiling", f"{ceiling}, below {MIN_CEILING}")
    return CrashMemory(ceiling=ceiling, largest=record.integer("largest"))


def parked_to_json(parked: ParkedRecord) -> dict[str, object]:
    """Return the record as `json.dumps` takes it."""
    return as_stored(parked)


def parked_from_json(value: object) -> ParkedRecord:
    """Return the record that was written; raise `ValueError` naming the field at fault."""
    record = Stored.of(value, what="the parked record")
    id_ = record.integer("id")
    if id_ > MAX_ID:
        raise record.fault("id", f"{id_}, above 2^63-1")
    tries = record.integer("tries")
    if tries == 0:
        raise record.fault("tries", "0, below 1")
    return ParkedRecord(
        id=UserId(id_),
        reason=record.text("reason"),
        payload_hash=record.text("payload_hash"),
        tries=tries,
        parked_at=record.time("parked_at"),
        next_try_at=record.time("next_try_at"),
        # A version before these counted nothing.
        lifts=record.optional_integer("lifts") or 0,
        lifts_since=record.optional_time("lifts_since"),
    )


def _gap(tries: int) -> timedelta:
    return GAPS[min(tries, len(GAPS)) - 1]


def _counts_lifts(record: ParkedRecord, now: datetime) -> bool:
    """Say whether its day is on; one that begins later comes from a clock that jumped."""
    since = record.lifts_since
    return since is not None and timedelta() <= now - since < _LIFTS_PER
