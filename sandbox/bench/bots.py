"""Our way: a bot from its start to its stop, and what its one run took."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sandbox.bench import asked
from sandbox.bench.asked import Asked
from sandbox.bench.footprint import Processors, database_memory
from sandbox.bench.inside import BOT_WATCH, CACHED, MEMBERS_ONLY, STALLED, TICK_S
from sandbox.replay.world import World
from sandbox.servers import Bot, ServerError

ERRORS: Final = "bot.exts.backend.error_handler"
SYNC: Final = "bot.exts.backend.sync"
# No check for drift comes in between, and whoever measures the loop is there before the sync is.
SETTINGS: Final = {
    "SYNC_DRIFT_EVERY_S": "0",
    "BOT_EXTENSIONS": f"{ERRORS},{BOT_WATCH},{SYNC}",
}
_PATIENCE_S: Final = 120.0
_MEMBERS_A_SECOND: Final = 300.0  # a plain site writes no more than 500 rows in a second
_IDENTIFY_S: Final = 120.0
_CONNECTED_A_SECOND: Final = 2_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOfOurs:
    """A run that ended verified: its time, its figures, and what "verified" rests on."""

    began: datetime
    ended: datetime
    figures: Mapping[str, float]
    said: str


def timeout_s(members: int) -> float:
    """Return how long a run may take at the very most."""
    return _PATIENCE_S + members / _MEMBERS_A_SECOND


async def first_run(
    world: World,
    bot: Bot,
    *,
    members: int,
    changes: int,
    afterwards: Callable[[], Awaitable[None]] | None = None,
) -> RunOfOurs:
    """Start the bot, measure its first run, do what is to be done `afterwards`, and stop it.

    Raise ServerError if the run does not end verified.
    """
    await bot.start()
    began = await bot.wait_for_event(
        "sync.run.started", timeout_s=_IDENTIFY_S + members / _CONNECTED_A_SECOND
    )
    processors = Processors(site=world.website, database=world.postgres, bot=bot)
    async with database_memory(world.postgres) as database:
        ended = await bot.wait_for_event("sync.run.finished", timeout_s=timeout_s(members))
    figures = processors.figures() | {
        "bot_mb": bot.peak_rss_mb(),
        "database_mb": database.peak_mb,
    }
    if ended["ending"] != "verified":
        raise bot.failure(f"ended its run {ended['ending']}: {ended['failure_reason']}")
    try:
        if afterwards is not None:
            await afterwards()
    finally:
        await bot.stop()
    requests = asked.asked(world.website.events(), prefix=ended["run_id"])
    stalls = bot.events(STALLED, latest_start=True)
    return RunOfOurs(
        began=requests[0].began,
        ended=_at(ended),
        figures={
            **figures,
            **of_requests(requests, ended=_at(ended), changes=changes),
            "discord_s": max(0.0, (requests[0].began - _at(began)).total_seconds()),
            "stall_s": longest(stalls, since=requests[0].began, until=_at(ended)),
            **_bytes(world, ended["run_id"]),
        },
        said=ended["verification"] or "nothing was written",
    )


def _bytes(world: World, run_id: str) -> dict[str, float]:
    received, sent = asked.bytes_of(world.website.events(), prefix=run_id)
    # As the bot sees them: what the site received is what was sent.
    return {"sent_bytes": received, "received_bytes": sent}


def of_requests(requests: list[Asked], *, ended: datetime, changes: int) -> dict[str, float]:
    """Return the figures that the site's log tells; rows a second are those of the writing."""
    phases = asked.phases(requests, ended=ended)
    return {
        "wall_s": phases.wall_s,
        "reading_s": phases.reading_s,
        "writing_s": phases.writing_s,
        "verifying_s": phases.verifying_s,
        "requests": len(requests),
        "largest_s": max(one.own_s for one in requests),
        **({"rows_per_s": changes / phases.writing_s} if phases.writing_s else {}),
    }


def longest(stalls: list[dict[str, Any]], *, since: datetime, until: datetime) -> float:
    """Return the longest stall that touches this time; the tick's interval if none does."""
    found = [
        one["seconds"]
        for one in stalls
        if one["at_s"] >= since.timestamp() and one["at_s"] - one["seconds"] <= until.timestamp()
    ]
    return max(found, default=TICK_S)


async def cache_alone_mb(world: World, name: str, *, members: int) -> float:
    """Return the peak of a bot that caches the guild's members and does nothing else, in MiB."""
    bot = world.bot(name, BOT_EXTENSIONS=f"{ERRORS},{MEMBERS_ONLY}")
    await bot.start()
    cached = await bot.wait_for_event(CACHED, timeout_s=_IDENTIFY_S + members / _CONNECTED_A_SECOND)
    peak_mb = bot.peak_rss_mb()
    await bot.stop()
    if not math.isclose(cached["members"], members, abs_tol=1):
        raise ServerError(f"{cached['members']:,} of {members:,} members were cached")
    return peak_mb


def _at(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["timestamp"])
