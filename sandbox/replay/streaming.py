"""A guild too large to be held in memory: it lives on while a bot that caches nobody reads it."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Final

from sandbox.replay import checks
from sandbox.replay.crowd import Crowd
from sandbox.replay.incident import EndedRun, follow
from sandbox.replay.outcome import Figures, Outcome, chunk_sizes, rows_applied
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
_SHOWN: Final = 20


async def streaming(world: World, *, members: int, screen: Screen, events: int = 1000) -> Outcome:
    """Let a guild change before and while a bot without a member cache goes through it."""
    screen.say(f"filling the guild and the site with {members:,} members, in step")
    ids = await world.make_guild(members=members)
    await world.fill_site()
    await world.warm_site()
    site_rss_idle_mb = world.website.peak_rss_mb()
    crowd = await _crowd(world, members=members)
    old = crowd.bustle(max(members // _CHANGED, 1))
    screen.say(f"changing {len(old):,} members while the bot is down")
    await world.control.operations(ids.guild, old, silent=True)
    events_s = max(1.0, members / _MEMBERS_A_SECOND)
    # As Discord does; and so that the bot has read half of a small guild when the last event comes.
    await world.control.rate_limit("GET guilds", 1, 2 * events_s / (members / _PAGE + 1))
    bot = world.bot(SYNC_MEMBER_CACHE="off")
    screen.say("starting the bot, which caches no members")
    await bot.start()
    await bot.wait_for_event("sync.round.begun")
    happened = asyncio.create_task(
        world.control.operations(ids.guild, crowd.bustle(events), per_s=events / events_s)
    )
    screen.say(f"letting {events:,} things happen while it reads")
    happened.add_done_callback(lambda _: screen.say("the last of them has happened"))
    try:
        ended = await follow(world, bot, screen)
        ended_while_it_read = happened.done()
        await happened
    finally:
        happened.cancel()
    screen.say("waiting until nothing is left to be written")
    await _settled(world, bot)
    counters = await world.control.counters()
    loop_stall_max_s = await bot.metric("bot_loop_stall_max_seconds")
    bot_rss_peak_mb = bot.peak_rss_mb()
    exit_code = await bot.stop()
    screen.say("comparing every row of the site with the guild")
    faults = await _judge(world, ended)
    if not ended_while_it_read:
        faults.append("the run ended before everything had happened that was to happen meanwhile")
    if bot_rss_peak_mb >= _MOST_MB:
        faults.append(f"the bot held {bot_rss_peak_mb:.0f} MB, not less than {_MOST_MB:.0f}")
    if counters["rest_rate_limited"]:
        faults.append(f"Discord refused {counters['rest_rate_limited']} requests as too many")
    if exit_code != 0:
        faults.append(f"the bot ended with exit code {exit_code} when it was asked to stop")
    requests = world.site_requests()
    sizes = chunk_sizes(requests)
    assert bot.started_at is not None  # noqa: S101  it was started above
    figures = Figures(
        members=members,
        changes=ended.line["changes"],
        applied=rows_applied(requests),
        converged=not faults,
        seconds=round((ended.message.changed_at - bot.started_at).total_seconds(), 2),
        requests=len(requests),
        chunk_items_min=sizes.least,
        chunk_items_median=sizes.median,
        chunk_items_max=sizes.most,
        largest_request_s=ended.line["largest_request_s"],
        site_rss_idle_mb=round(site_rss_idle_mb, 1),
        site_rss_peak_mb=round(world.website.peak_rss_mb(), 1),
        bot_rss_peak_mb=round(bot_rss_peak_mb, 1),
        loop_stall_max_ms=round(loop_stall_max_s * 1_000, 1),
        mod_log=[message.text for message in ended.mod_log],
    )
    return Outcome(
        figures=figures,
        rows_checked=await world.tables.count("api_user") + await world.tables.count("api_role"),
        faults=faults,
        further={
            "events": events,
            "discord_pages": counters.get("rest GET guilds", 0),
            "member_requests": counters["member_requests"],
            "write_requests": sum(request.writes for request in requests),
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


async def _judge(world: World, ended: EndedRun) -> list[str]:
    ending = ended.line["ending"]
    faults = [] if ending == "verified" else [f"the run ended {ending}, not verified"]
    differences = await world.differences()
    faults += [str(difference) for difference in differences[:_SHOWN]]
    if len(differences) > _SHOWN:
        faults.append(f"and {len(differences) - _SHOWN:,} more differences")
    faults += checks.overlapping_writes(world.site_requests())
    return faults + checks.mod_log_faults(ended.mod_log, ended.run_id)
