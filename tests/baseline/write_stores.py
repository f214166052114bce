"""Write stores in all their states, with the code of the checkout that this is run in.

`python write_stores.py URL_PATTERN`, where the pattern holds `{name}`. It is run by `make_stores`
inside the version before, and speaks only of what that version has. Only its clock, its dice and
its name are ours, so that it writes the same each time.
"""

# It is checked by nothing of today: what it calls is that version's.
# mypy: ignore-errors
# ruff: noqa: D103

import asyncio
import os
import random
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from bot.exts.backend.sync import _ledger
from bot.exts.backend.sync._core import withheld
from bot.exts.backend.sync._core.alert import store_warning
from bot.exts.backend.sync._core.attempt import Attempt
from bot.exts.backend.sync._core.breaker import AttemptEnding, BreakerLimits, Start
from bot.exts.backend.sync._core.drift import Drift
from bot.exts.backend.sync._core.history import PastRun
from bot.exts.backend.sync._core.memory import parked_again
from bot.exts.backend.sync._core.models import UserId
from bot.exts.backend.sync._core.report import Notice, Tone
from bot.exts.backend.sync._core.rounds import Bookmark
from bot.exts.backend.sync._core.state import StateLimits
from bot.exts.backend.sync._core.withheld import Decision, What
from bot.exts.backend.sync._ledger import Ledger
from bot.exts.backend.sync._store import _redis, open_store

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
BY = "<@7>"
FAILURE = "the site kept failing: 500"
LIMITS = StateLimits(breaker=BreakerLimits(), default_items=1000)

_minutes = 0


def passes(minutes: int) -> None:
    global _minutes  # noqa: PLW0603 - the one clock of this program
    _minutes += minutes


def now() -> datetime:
    return NOW + timedelta(minutes=_minutes)


_ledger.utc_now = now
_redis.uuid4 = lambda: UUID(int=1, version=4)
secrets.token_hex = lambda size: random.randbytes(size).hex()
socket.gethostname = lambda: "bot-1"
os.getpid = lambda: 1


def attempt(run_id: str, *, probe: bool = False) -> Attempt:
    return Attempt(
        run_id=run_id,
        what="roles and users",
        trigger="at start-up",
        full=True,
        probe=probe,
        started_at=now(),
    )


async def run(ledger: Ledger, run_id: str, ending: AttemptEnding, **more: object) -> None:
    await ledger.begin(attempt(run_id), start=Start.AUTOMATIC)
    await ledger.before_chunk(100)
    await ledger.end(ending, **more)


def past_run(run_id: str, ending: AttemptEnding, *, reason: str = "") -> PastRun:
    return PastRun(
        run_id=run_id,
        what="roles and users",
        trigger="at start-up",
        ending=ending.value,
        started_at=now(),
        ended_at=now() + timedelta(seconds=5),
        planned=9,
        created=3,
        updated=2,
        departed=1,
        parked=4,
        withheld=5,
        requests=8,
        reason=reason,
        curve=((0.1, 0.2), (1.0, 0.3)),
    )


async def in_step(ledger: Ledger) -> None:
    verified = AttemptEnding.VERIFIED
    for run_id in ("11111111", "11111112"):
        await run(ledger, run_id, verified, past=past_run(run_id, verified))
        passes(60)
    await ledger.note_drift(Drift(at=now(), rows=2, causes=()))


async def in_mid_run(ledger: Ledger) -> None:
    # The second process of a bot that was killed once already.
    await ledger.begin(attempt("22222221"), start=Start.AUTOMATIC)
    await ledger.before_chunk(800)
    passes(1)
    await ledger.load()
    passes(5)
    await ledger.begin(attempt("22222222"), start=Start.AUTOMATIC)
    await ledger.before_chunk(250)
    await ledger.put_bookmark(Bookmark(through=UserId(4000), at=now()))
    await ledger.shown("22222222", channel_id=900, message_id=901, done=300, planned=1000)


async def retry_waits(ledger: Ledger) -> None:
    notice = Notice(
        title="Sync failed",
        description="**The site kept failing:** 500\n**You can** look after it.",
        tone=Tone.BAD,
        fields=(("Sent", "300 of 1,000"), ("Chunk", "12")),
        footer="run 66666666",
        ping=True,
    )
    failed = AttemptEnding.FAILED
    past = past_run("66666666", failed, reason=FAILURE)
    await run(ledger, "66666666", failed, reason=FAILURE, failure=notice, kind="failing", past=past)


async def breaker_open(ledger: Ledger) -> None:
    for number in range(3):
        run_id = f"3333333{number}"
        await run(ledger, run_id, AttemptEnding.FAILED, reason=FAILURE)
        passes(10)


async def refused(ledger: Ledger) -> None:
    await run(ledger, "77777777", AttemptEnding.FAILED, reason="Invalid token.", refused=True)
    await ledger.withhold_start()


async def opened_by_hand(ledger: Ledger) -> None:
    await ledger.open_breaker(BY, "the site is being moved")


async def probe_died(ledger: Ledger) -> None:
    await breaker_open(ledger)
    passes(15)
    await ledger.begin(attempt("44444444", probe=True), start=Start.AUTOMATIC)
    await ledger.before_chunk(100)


async def paused(ledger: Ledger) -> None:
    await ledger.pause(BY)


async def withhold(ledger: Ledger) -> None:
    await ledger.withhold(
        withheld.withheld(
            What.DEPARTURES, [13, 11, 12], total=20, run_id="55555555", names={11: "eve"}, now=now()
        )
    )
    await ledger.withhold(
        withheld.withheld(
            What.ROLE_DELETIONS, [6, 5], total=7, run_id="55555555", names={5: "red"}, now=now()
        )
    )


async def lists_wait(ledger: Ledger) -> None:
    await withhold(ledger)


async def lists_decided(ledger: Ledger) -> None:
    await withhold(ledger)
    passes(30)
    await ledger.decide(ledger.withheld[What.DEPARTURES], Decision.APPROVED, by=BY)
    await ledger.decide(ledger.withheld[What.ROLE_DELETIONS], Decision.REJECTED, by=BY)


async def parked(ledger: Ledger) -> None:
    long = parked_again(
        None, id_=UserId(21), reason="name: too long", payload_hash="a" * 64, now=now()
    )
    altered = parked_again(
        None, id_=UserId(22), reason="the site alters it", payload_hash="b" * 64, now=now()
    )
    await ledger.park([long, altered])
    passes(60)
    again = parked_again(
        long, id_=UserId(21), reason="name: too long", payload_hash="a" * 64, now=now()
    )
    await ledger.park([again])


async def alerts_undelivered(ledger: Ledger) -> None:
    await ledger.tell(store_warning("redis has appendfsync everysec"))
    passes(1)
    await breaker_open(ledger)


STATES: tuple[Callable[[Ledger], Awaitable[None]], ...] = (
    in_step,
    in_mid_run,
    retry_waits,
    breaker_open,
    refused,
    opened_by_hand,
    probe_died,
    paused,
    lists_wait,
    lists_decided,
    parked,
    alerts_undelivered,
)


async def main(pattern: str) -> None:
    global _minutes  # noqa: PLW0603 - each state begins at the same time
    for number, state in enumerate(STATES, 1):
        _minutes = 0
        random.seed(number)
        store = open_store(pattern.format(name=state.__name__), guild_id=number)
        async with store:
            assert await store.acquire()
            ledger = Ledger(store, limits=LIMITS, secret="http://site/api/ key")
            await ledger.load()
            await ledger.trust()
            await ledger.delivered(next(iter(ledger.alerts)))  # it names where this was made
            await state(ledger)


asyncio.run(main(sys.argv[1]))
