"""What a message in mod-log says to our own next start: a fixed word in its footer.

A store that is lost takes with it what must not be forgotten, and mod-log shows it still. Titles
are for people, and change; these words don't. Only messages of our own account are ever read.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_BETWEEN: Final = " · "
_RUN: Final = "run "
_RUN_ID: Final = re.compile(r"[0-9a-f]{8}")
_ALERT: Final = "alert "


class Mark(StrEnum):
    """What a message tells of; never change a value: older messages keep theirs."""

    LIVE = "live"
    INTERRUPTED = "interrupted"
    BREAKER_OPEN = "breaker open"
    BREAKER_HELD = "breaker open by hand"
    BREAKER_CLOSED = "breaker closed"
    PAUSED = "paused"
    RESUMED = "resumed"
    DEPARTURES_REJECTED = "departures rejected"
    DEPARTURES_APPROVED = "departures approved"
    ROLE_DELETIONS_REJECTED = "role deletions rejected"
    ROLE_DELETIONS_APPROVED = "role deletions approved"


class _Message(Protocol):
    @property
    def title(self) -> str: ...

    @property
    def footer(self) -> str: ...


# Of each of these things the newest message says whether it holds.
_HOLDS: Final = {
    Mark.BREAKER_OPEN: ("breaker", True),
    Mark.BREAKER_HELD: ("breaker", True),
    Mark.BREAKER_CLOSED: ("breaker", False),
    Mark.PAUSED: ("pause", True),
    Mark.RESUMED: ("pause", False),
    Mark.DEPARTURES_REJECTED: ("departures", True),
    Mark.DEPARTURES_APPROVED: ("departures", False),
    Mark.ROLE_DELETIONS_REJECTED: ("role deletions", True),
    Mark.ROLE_DELETIONS_APPROVED: ("role deletions", False),
}
# What version 0.1.0 called them, whose messages have no marks.
_BEFORE_MARKS: Final = {
    "Sync breaker opened": Mark.BREAKER_OPEN,
    "Sync breaker opened by hand": Mark.BREAKER_HELD,
    "Sync probe failed": Mark.BREAKER_OPEN,
    "Sync recovered": Mark.BREAKER_CLOSED,
    "Sync breaker reset": Mark.BREAKER_CLOSED,
    "Sync is paused": Mark.PAUSED,
    "Sync goes on": Mark.RESUMED,
    "Departures rejected": Mark.DEPARTURES_REJECTED,
    "Departures approved": Mark.DEPARTURES_APPROVED,
    "Role deletions rejected": Mark.ROLE_DELETIONS_REJECTED,
    "Role deletions approved": Mark.ROLE_DELETIONS_APPROVED,
}
_LIVE_BEFORE_MARKS: Final = "Syncing "


def footer(*, run_id: str | None = None, mark: Mark | None = None) -> str:
    """Return the footer of a message about a run, or about something that must not be forgotten."""
    parts = () if run_id is None else (f"{_RUN}{run_id}",)
    return _BETWEEN.join((*parts, *(() if mark is None else (mark.value,))))


def alert_footer(text: str, id_: str) -> str:
    """Return the footer of an alert whose notice has this one."""
    return _BETWEEN.join(filter(None, (text, f"{_ALERT}{id_}")))


def mark_of(title: str, text: str) -> Mark | None:
    """Return what a message of this title and this text in its footer tells of, or None."""
    for part in text.split(_BETWEEN):
        if part in _BY_VALUE:
            return _BY_VALUE[part]
    if title.startswith(_LIVE_BEFORE_MARKS):
        return Mark.LIVE
    return _BEFORE_MARKS.get(title)


def run_of(text: str) -> str:
    """Return the id of the run that a footer names, or nothing."""
    runs = (part for part in text.split(_BETWEEN) if part.startswith(_RUN))
    return next(runs, "").removeprefix(_RUN)


def run_shown(text: str) -> str:
    """Return the id of the run that a message of this footer shows, or nothing.

    An alert may tell of a run that ended long ago, and shows none. Any bot may have written it, so
    what does not look like an id of ours is none.
    """
    is_alert = any(part.startswith(_ALERT) for part in text.split(_BETWEEN))
    run_id = run_of(text)
    return run_id if not is_alert and _RUN_ID.fullmatch(run_id) else ""


def without_mark(text: str) -> str:
    """Return a footer as that of a message that no start need look at again."""
    return _BETWEEN.join(part for part in text.split(_BETWEEN) if part not in _BY_VALUE)


def holding(messages: Iterable[_Message]) -> frozenset[Mark]:
    """Return what mod-log, newest message first, shows that a store would have to know.

    That is a run that never ended, a breaker that opened and neither recovered nor was reset, a
    pause that nobody ended, and what a moderator has rejected.
    """
    known: set[str] = set()
    found: set[Mark] = set()
    for message in messages:
        mark = mark_of(message.title, message.footer)
        if mark is Mark.LIVE:
            found.add(mark)
        elif mark in _HOLDS:
            about, holds = _HOLDS[mark]
            if holds and about not in known:
                found.add(mark)
            known.add(about)
    return frozenset(found)


_BY_VALUE: Final = {mark.value: mark for mark in Mark}
