"""Write stores in all their states, with the code of the checkout that this is run in.

`python write_stores.py URL_PATTERN`, where the pattern holds `{name}`. It is run by `make_stores`
inside the version before, and speaks only of what that version has.
"""

# It is checked by nothing of today: what it calls is that version's.
# mypy: ignore-errors
# ruff: noqa: D103

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from bot.exts.backend.sync._core import withheld
from bot.exts.backend.sync._core.alert import store_warning
from bot.exts.backend.sync._core.attempt import Attempt
from bot.exts.backend.sync._core.breaker import AttemptEnding, BreakerLimits, Start
from bot.exts.backend.sync._core.drift import Drift
from bot.exts.backend.sync._core.history import PastRun
from bot.exts.backend.sync._core.memory import parked_again
from bot.exts.backend.sync._core.models import UserId
from bot.exts.backend.sync._core.rounds import Bookmark
from bot.exts.backend.sync._core.state import StateLimits
from bot.exts.backend.sync._core.withheld import Decision, What
from bot.exts.backend.sync._ledger import Ledger
from bot.exts.backend.sync._store import open_store

NOW = datetime.now(UTC)
BY = "<@7>"
LIMITS = StateLimits(breaker=BreakerLimits(), default_items=1000)


def attempt(run_id: str, *, probe: bool = False) -> Attempt:
    return Attempt(
        run_id=run_id,
        what="roles and users",
        trigger="at start-up",
        full=True,
        probe=probe,
        started_at=NOW,
    )


async def run(ledger: Ledger, run_id: str, ending: AttemptEnding, **more: object) -> None:
    await ledger.begin(attempt(run_id), start=Start.AUTOMATIC)
    await ledger.end(ending, **more)


async def in_step(ledger: Ledger) -> None:
    past = PastRun(
        run_id="11111111",
        what="roles and users",
        trigger="at start-up",
        ending=AttemptEnding.VERIFIED.value,
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=5),
        created=3,
        updated=2,
        departed=1,
        planned=6,
        parked=0,
        withheld=0,
        requests=9,
        reason="",
        curve=((0.1, 0.2), (1.0, 0.3)),
    )
    await run(ledger, "11111111", AttemptEnding.VERIFIED, past=past)
    await ledger.note_drift(Drift(at=NOW, rows=0, causes=()))


async def in_mid_run(ledger: Ledger) -> None:
    await ledger.begin(attempt("22222222"), start=Start.AUTOMATIC)
    await ledger.before_chunk(250)
    await ledger.put_bookmark(Bookmark(through=UserId(4000), at=NOW))
    await ledger.shown("22222222", channel_id=900, message_id=901, done=300, planned=1000)


async def breaker_open(ledger: Ledger) -> None:
    for number in range(3):
        run_id = f"3333333{number}"
        await run(ledger, run_id, AttemptEnding.FAILED, reason="the site kept failing: 500")


async def opened_by_hand(ledger: Ledger) -> None:
    await ledger.open_breaker(BY, "the site is being moved")


async def probe_died(ledger: Ledger) -> None:
    await breaker_open(ledger)
    await ledger.begin(attempt("44444444", probe=True), start=Start.FORCED)


async def paused(ledger: Ledger) -> None:
    await ledger.pause(BY)


async def lists_wait(ledger: Ledger) -> None:
    departures = withheld.withheld(
        What.DEPARTURES, [11, 12, 13], total=20, run_id="55555555", names={11: "eve"}, now=NOW
    )
    roles = withheld.withheld(
        What.ROLE_DELETIONS, [5, 6], total=7, run_id="55555555", names={5: "red"}, now=NOW
    )
    await ledger.withhold(departures)
    kept = await ledger.withhold(roles)
    await ledger.decide(kept, Decision.APPROVED, by=BY)


async def parked(ledger: Ledger) -> None:
    rows = [
        parked_again(None, id_=UserId(id_), reason=reason, payload_hash="0" * 64, now=NOW)
        for id_, reason in ((21, "name: too long"), (22, "the site alters it"))
    ]
    await ledger.park(rows)


async def alerts_undelivered(ledger: Ledger) -> None:
    await ledger.tell(store_warning("redis has appendfsync everysec"))
    await breaker_open(ledger)


STATES: tuple[Callable[[Ledger], Awaitable[None]], ...] = (
    in_step,
    in_mid_run,
    breaker_open,
    opened_by_hand,
    probe_died,
    paused,
    lists_wait,
    parked,
    alerts_undelivered,
)


async def main(pattern: str) -> None:
    for number, state in enumerate(STATES, 1):
        store = open_store(pattern.format(name=state.__name__), guild_id=number)
        async with store:
            assert await store.acquire()
            ledger = Ledger(store, limits=LIMITS, secret="http://site/api/ key")
            await ledger.load()
            await ledger.trust()
            await ledger.delivered(next(iter(ledger.alerts)))  # it names where this was made
            await state(ledger)


asyncio.run(main(sys.argv[1]))
