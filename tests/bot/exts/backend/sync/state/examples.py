"""A run as it is kept: while it is on, at its end, and afterwards."""

from datetime import UTC, datetime, timedelta
from typing import Final

from bot.exts.backend.sync._core.delivery.chunks import ParkedRow, Tally
from bot.exts.backend.sync._core.messages.history import PastRun
from bot.exts.backend.sync._core.messages.progress import Ending, Phase, RunView
from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.policy.attempt import Attempt
from bot.exts.backend.sync._core.policy.request_backoff import Failure, FailureKind

NOW: Final = datetime(2021, 1, 12, 12, tzinfo=UTC)


ATTEMPT: Final = Attempt(
    run_id="r1",
    what="users",
    trigger="at start-up",
    full=True,
    probe=False,
    started_at=NOW,
    channel_id=5,
    message_id=7,
    done=1,
    planned=2,
)


VIEW: Final = RunView(
    run_id="r1",
    what="users",
    trigger="at start-up",
    phase=Phase.ENDED,
    started_at=NOW,
    now=NOW + timedelta(minutes=1),
    planned=9,
    tally=Tally(created=1, updated=2, departed=3),
    parked=(ParkedRow(id=UserId(4), reason="no"),),
    parked_roles=("role x: no",),
    withheld=6,
    ending=Ending.FAILED,
    failure=Failure(kind=FailureKind.FAILING, reason="500"),
)


PAST: Final = PastRun(
    run_id="r1",
    what="users",
    trigger="at start-up",
    ending="failed",
    started_at=NOW,
    ended_at=NOW + timedelta(minutes=1),
    planned=9,
    created=1,
    updated=2,
    departed=3,
    parked=2,
    withheld=6,
    requests=8,
    reason="500",
    curve=((0.0, 0.25), (1.5, 30.0)),
)
