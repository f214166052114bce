"""A guild too large to be held in memory: it lives on while a bot that caches nobody reads it."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Final

from sandbox.replay.crowd import Crowd
from sandbox.replay.first_run import FirstRun
from sandbox.replay.outcome import Outcome
from sandbox.replay.screen import Screen
from sandbox.replay.world import World
from sandbox.servers import Bot

Json = dict[str, Any]

_MOST_MB: Final = 150.0
_CHANGED: Final = 100  # one of so many rows is old before the bot starts
_MEMBERS_A_SECOND: Final = 20_000  # while so many could be read at best, all events happen
_PAGE: Final = 1_000
_PEOPLE: Final = 50_000  # to whom something may happen
_LOOK_S: Final = 0.5
_QUIET_S: Final = 3.0
_SETTLE_S: Final = 120.0


async def streaming(world: World, *, members: int, screen: Screen, events: int = 1000) -> Outcome:
    """Let a guild change before and while a bot without a member cache goes through it."""
    run = await FirstRun.filled(world, screen, members=members)
    guild = world.ids.guild
    crowd = await _crowd(world, members=members)
    old = crowd.bustle(max(members // _CHANGED, 1))
    screen.say(f"changing {len(old):,} members while the bot is down")
    await world.control.operations(guild, old, silent=True)
    events_s = max(1.0, members / _MEMBERS_A_SECOND)
    # As Discord does; and so that the bot has read half of a small guild when the last event comes.
    await world.control.rate_limit("GET guilds", 1, 2 * events_s / (members / _PAGE + 1))
    await run.start("starting the bot, which caches no members", SYNC_MEMBER_CACHE="off")
    await run.bot.wait_for_event("sync.round.begun")
    happened = asyncio.create_task(
        world.control.operations(guild, crowd.bustle(events), per_s=events / events_s)
    )
    screen.say(f"letting {events:,} things happen while it reads")
    happened.add_done_callback(lambda _: screen.say("the last of them has happened"))
    faults = []
    try:
        await run.follow()
        if not happened.done():
            faults.append(
                "the run ended before everything had happened that was to happen meanwhile"
            )
        await happened
    finally:
        happened.cancel()
    screen.say("waiting until nothing is left to be written")
    await _settled(world, run.bot)
    counters = await world.control.counters()
    await run.stop()
    bot_rss_peak_mb = run.footprint.bot_rss_peak_mb
    if bot_rss_peak_mb >= _MOST_MB:
        faults.append(f"the bot held {bot_rss_peak_mb:.0f} MB, not less than {_MOST_MB:.0f}")
    if counters["rest_rate_limited"]:
        faults.append(f"Discord refused {counters['rest_rate_limited']} requests as too many")
    return await run.outcome(
        changes=run.ended.line["changes"],
        wrote_alone=False,
        faults=faults,
        further={
            "events": events,
            "discord_pages": counters.get("rest GET guilds", 0),
            "member_requests": counters["member_requests"],
            "write_requests": sum(request.writes for request in world.site_requests()),
        },
    )


async def _crowd(world: World, *, members: int) -> Crowd:
    """Return as many of the guild's members as things can happen to in a scenario."""
    every = max(1, members // _PEOPLE)
    people: list[Json] = []
    place = 0
    async for member in world.control.members(world.ids.guild):
        if place % every == 0:
            people.append(member)
        place += 1
    roles = [role["id"] for role in await world.control.roles(world.ids.guild)]
    return Crowd(
        people,
        [id_ for id_ in roles if id_ != world.ids.guild],
        owner=people[0]["id"],
        seed=world.seed,
    )


async def _settled(world: World, bot: Bot) -> None:
    """Wait until the bot has nothing left to write and asks the site for nothing."""
    deadline_s = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline_s:
        requests = world.site_requests()
        silent_s = _QUIET_S
        if requests:
            silent_s = (datetime.now(UTC) - requests[-1].started_at).total_seconds()
        if silent_s >= _QUIET_S and await bot.metric("sync_dirty_ids") == 0:
            return
        await asyncio.sleep(_LOOK_S)
    raise bot.failure(f"had not written all that changed after {_SETTLE_S:g} s")
