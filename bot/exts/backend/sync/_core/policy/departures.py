"""What is too much to believe without a moderator: lists that wait, and what was decided of them.

Theory: a guild that looks empty is far more often a mistake of ours than an exodus, and what a sync
then marks as left is lost. So departures found by comparison and deletions of roles, beyond a
share, wait for a person. The person decides about a *list*: the ids as they were found, kept in the
store, known by the digest of them. Whoever is back when the list is written is skipped; whoever
comes up later is not on it, however short the time.

| list     | event                         | next                                             |
|----------|-------------------------------|--------------------------------------------------|
| none     | too many                      | waiting: people are asked                        |
| waiting  | too many, within 24 h         | as it was: nobody is asked twice                 |
| waiting  | approved, rejected            | approved, rejected: with who and when            |
| rejected | approved                      | approved; and the other way round until it began |
| approved | a run begins, within 24 h     | begun: its ids are written, where they still hold|
| approved | such a run ends verified      | none                                             |
| approved | nobody on it is missing now   | none                                             |
| any      | not too many any more         | none                                             |
| any      | 24 h since the last event     | lapsed: as none                                  |
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from ..model.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

HOLDS_FOR: Final = timedelta(days=1)
KEPT_NAMES: Final = 1000


class Subject(StrEnum):
    """What is withheld; the value is how people are told of it, and part of the store's key."""

    DEPARTURES = "departures"
    ROLE_DELETIONS = "role deletions"


class Decision(StrEnum):
    """What became of a list."""

    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class WithheldList:
    """The ids that a run withheld, ascending, of `total` that the site has.

    `digest` is what people call the list by: it changes with any id. `names` are those that the
    site gives them, of the first `KEPT_NAMES` at most. `by` is the person who decided, at
    `decided_at`. Once it has `begun`, a run may have written some of it.
    """

    what: Subject
    ids: tuple[int, ...]
    digest: str
    total: int
    run_id: str
    asked_at: datetime
    names: Mapping[int, str]
    decision: Decision = Decision.WAITING
    by: str | None = None
    decided_at: datetime | None = None
    begun: bool = False

    @property
    def until(self) -> datetime:
        """Return when the list lapses."""
        return (self.decided_at or self.asked_at) + HOLDS_FOR


def withheld(
    what: Subject,
    ids: Iterable[int],
    *,
    total: int,
    run_id: str,
    names: Mapping[int, str],
    now: datetime,
) -> WithheldList:
    """Return the list of these ids, about which people are to be asked."""
    kept = tuple(sorted(ids))
    return WithheldList(
        what=what,
        ids=kept,
        digest=_digest(what, kept),
        total=total,
        run_id=run_id,
        asked_at=now,
        names={id_: names[id_] for id_ in kept[:KEPT_NAMES] if id_ in names},
    )


def _digest(what: Subject, ids: Iterable[int]) -> str:
    text = f"{what.value} {' '.join(map(str, ids))}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def too_many(what: Subject, count: int, total: int, *, limits: DepartureLimits) -> bool:
    """Say whether so many of the `total` that the site has must wait for a moderator."""
    if what is Subject.DEPARTURES:
        return limits.need_approval(count, total)
    return role_deletions_need_approval(count, total)


def holds(list_: WithheldList | None, *, now: datetime) -> bool:
    """Say whether a list stands, so that people are not asked anew."""
    if list_ is None:
        return False
    # A clock that went back by a little is none; by much, it must not hold a list for ever.
    return timedelta() < list_.until - now <= HOLDS_FOR * 2


def approved(list_: WithheldList | None, *, now: datetime) -> frozenset[int]:
    """Return the ids that may be written."""
    if list_ is None or list_.decision is not Decision.APPROVED or not holds(list_, now=now):
        return frozenset()
    return frozenset(list_.ids)


def decided(list_: WithheldList, decision: Decision, *, by: str, now: datetime) -> WithheldList:
    """Note what somebody decided, for the first time or otherwise; too late once it has begun."""
    if list_.begun or list_.decision is decision:
        return list_
    return replace(list_, decision=decision, by=by, decided_at=now)


def to_json(list_: WithheldList) -> dict[str, object]:
    """Return the list as `json.dumps` takes it."""
    return {
        "what": list_.what.value,
        "ids": list(list_.ids),
        "total": list_.total,
        "run_id": list_.run_id,
        "asked_at": list_.asked_at.isoformat(),
        "names": {str(id_): name for id_, name in list_.names.items()},
        "decision": list_.decision.value,
        "by": list_.by,
        "decided_at": None if list_.decided_at is None else list_.decided_at.isoformat(),
        "begun": list_.begun,
    }


def from_json(value: object) -> WithheldList:
    """Return the list that `to_json` wrote; raise `ValueError` naming the field at fault."""
    record = Stored.of(value, what="the withheld list")
    what, decision = record.text("what"), record.text("decision")
    if what not in {one.value for one in Subject}:
        raise record.fault("what", f"{what[:40]!r}, nothing that is withheld")
    if decision not in {one.value for one in Decision}:
        raise record.fault("decision", f"{decision[:40]!r}, not a decision")
    ids = record.fields.get("ids")
    if not isinstance(ids, list) or not all(type(id_) is int and id_ >= 0 for id_ in ids):
        raise record.fault("ids", "not a list of ids")
    names = record.fields.get("names")
    if not isinstance(names, dict) or not all(
        key.isascii() and key.isdigit() and isinstance(name, str) for key, name in names.items()
    ):
        raise record.fault("names", "not a mapping of ids to names")
    list_ = WithheldList(
        what=Subject(what),
        ids=tuple(ids),
        digest=_digest(Subject(what), ids),
        total=record.integer("total"),
        run_id=record.text("run_id"),
        asked_at=record.time("asked_at"),
        names={int(key): name for key, name in names.items()},
        decision=Decision(decision),
        by=record.optional_text("by"),
        decided_at=record.optional_time("decided_at"),
        # A version before this one did not say; then it may have.
        begun=record.truth("begun") if "begun" in record.fields else decision == Decision.APPROVED,
    )
    # A list that looks approved and says by nobody must not open the gate.
    if (list_.by is None or list_.decided_at is None) is not (list_.decision is Decision.WAITING):
        raise record.fault("decision", f"{decision}, but not by whom and when")
    return list_


_SMALL_MIN: Final = 10


_SMALL_PART: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class DepartureLimits:
    """How many departures found by comparison are believed: `minimum`, or that part of the rows.

    A guild of fewer than `minimum` rows could lose all of them so: there it is a fifth, or ten.
    """

    minimum: int = 500
    part: float = 0.05

    def need_approval(self, departures: int, in_guild_rows: int) -> bool:
        """Say whether so many must wait for a moderator; leaves that were seen are not among them.

        `in_guild_rows` is how many rows the site has in the guild.
        """
        if in_guild_rows < self.minimum:
            return departures > min(self.minimum, max(_SMALL_MIN, int(in_guild_rows * _SMALL_PART)))
        return departures > max(self.minimum, int(in_guild_rows * self.part))


def role_deletions_need_approval(deletions: int, site_roles: int) -> bool:
    """Say whether so many role deletions must wait for a moderator."""
    return deletions > max(5, site_roles // 5)
