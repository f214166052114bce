"""Every notice that people can be told, with any text of others in it."""

from dataclasses import replace
from datetime import timedelta

from bot.exts.backend.sync._core.messages import alert
from bot.exts.backend.sync._core.messages.alert import Draft
from bot.exts.backend.sync._core.messages.notice import Notice
from bot.exts.backend.sync._core.messages.status import parked_list
from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.policy.breaker import (
    ForcedOpen,
    Opened,
    ProbeFailed,
    Recovered,
    Reset,
)
from bot.exts.backend.sync._core.policy.departures import (
    Decision,
    Subject,
    WithheldList,
    decided,
    withheld,
)
from bot.exts.backend.sync._core.policy.memory import ParkedRecord
from bot.exts.backend.sync._core.policy.news import (
    INTERRUPTED,
    Announced,
    BreakerMoved,
    Happening,
    HeldBy,
    Interrupted,
    PauseBegan,
    PauseEnded,
    SourceProven,
    StartWithheld,
    StoreLost,
    WorksAgain,
)
from tests.bot.exts.backend.sync.state.examples import ATTEMPT, NOW


def record(id_: int, reason: str = "no") -> ParkedRecord:
    """Return the record of a parked row."""
    return ParkedRecord(
        id=UserId(id_),
        reason=reason,
        payload_hash="h",
        tries=1,
        parked_at=NOW + timedelta(seconds=id_),
        next_try_at=NOW,
    )


def lists() -> list[WithheldList]:
    """Return a list of each kind, undecided and decided."""
    return [
        decided(
            withheld(what, range(9), total=10, run_id="r1", names={}, now=NOW),
            decision,
            by="<@1>",
            now=NOW,
        )
        for what in Subject
        for decision in Decision
    ]


def all_happenings(text: str) -> list[Happening]:
    """Return all that can happen, with this text wherever one of users or the site may stand."""
    events: list[tuple[Announced, bool]] = [
        (Opened(reason=text, until=NOW, failures=1), False),
        (Opened(reason=text, until=NOW, failures=3), False),
        (Opened(reason=text, until=NOW, failures=1), True),
        (Opened(reason=INTERRUPTED, until=NOW, failures=3), False),
        (ProbeFailed(reason=text, until=NOW, failures=3), False),
        (Recovered(opened_at=NOW, lasted=timedelta(hours=1)), False),
        (ForcedOpen(by="<@1>", reason=text), False),
        (ForcedOpen(by="<@1>", reason=""), False),
        (Reset(by="<@1>"), False),
    ]
    return [
        *(BreakerMoved(event=event, refused=refused, run_id=None) for event, refused in events),
        BreakerMoved(event=Reset(by="<@1>"), refused=False, run_id="r1"),
        WorksAgain(lasted=timedelta(1)),
        Interrupted(attempt=ATTEMPT, retry_at=NOW),
        Interrupted(attempt=ATTEMPT, retry_at=None),
        Interrupted(attempt=ATTEMPT, retry_at=NOW, unkept=True),
        Interrupted(attempt=replace(ATTEMPT, planned=0), retry_at=None),
        StartWithheld(held_by=HeldBy.PAUSE, why="<@1>", until=None),
        StartWithheld(held_by=HeldBy.BREAKER, why=text, until=NOW),
        StartWithheld(held_by=HeldBy.RETRY, why=text, until=NOW),
        PauseBegan(by="<@1>", since=NOW),
        PauseEnded(by="<@1>", lasted=timedelta(1)),
        SourceProven(lasted=timedelta(1)),
        StoreLost(where=text, why="it is empty", until=NOW),
    ]


def all_drafts(text: str) -> list[Draft]:
    """Return every draft there is, with this text in it."""
    return [
        alert.parked([record(n, text) for n in range(1, 30)], run_id="r1"),
        alert.parked([record(1, text)], run_id="r1"),
        alert.source_unproven(text, run_id="r1"),
        *(alert.withheld(list_) for list_ in lists()),
        *(alert.decided(list_) for list_ in lists() if list_.decision is not Decision.WAITING),
        alert.store_new(text),
        alert.store_warning(text),
        alert.store_aside(text),
    ]


def all_notices(text: str) -> list[Notice]:
    """Return every notice that is not a run's live message."""
    return [
        *(draft.notice for draft in all_drafts(text)),
        *(alert.in_words(what) for what in all_happenings(text)),
        alert.store_unreachable(text),
        alert.store_back(lasted=timedelta(1)),
        alert.cache_corrected(1),
        alert.cache_corrected(1234),
        alert.waiting_for(text),
        alert.commands_missing(text),
        alert.waiting_for(None),
        alert.rival(text, where=text),
        parked_list([record(n, text) for n in range(1, 30)]),
    ]
