"""The incident of 12 January 2021: a role that everybody held is deleted while the bot is down."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandbox.replay import checks
from sandbox.replay.checks import ModLogMessage
from sandbox.replay.outcome import Figures, Outcome, chunk_sizes, rows_applied
from sandbox.replay.screen import Screen
from sandbox.replay.world import SHARED_ROLE, World
from sandbox.servers import Bot

_LOOK_S: Final = 0.2
# Mod-log may lag behind the log by one interval between edits, and by Discord's own refusals.
_LAST_WORD_S: Final = 30.0
_SHOWN_DIFFERENCES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """A run that ended: the bot's own line about it, and mod-log as it was left."""

    line: Mapping[str, Any]
    message: ModLogMessage
    mod_log: tuple[ModLogMessage, ...]

    @property
    def run_id(self) -> str:
        """Return the run's id."""
        return str(self.line["run_id"])


async def incident(world: World, *, members: int, screen: Screen) -> Outcome:
    """Fill both sides in step, delete the role, start the bot, and judge what it leaves behind."""
    screen.say(f"filling the guild and the site with {members:,} members, in step")
    ids = await world.make_guild(members=members)
    await world.fill_site()
    await world.warm_site()
    site_rss_idle_mb = world.website.peak_rss_mb()
    screen.say(f"deleting the role {SHARED_ROLE!r}, which all of them hold, while the bot is down")
    await world.control.delete_role(ids.guild, ids.shared_role)
    changes = {found.id for found in await world.differences() if found.what == "user"}
    screen.say(f"starting the bot: the site differs in {len(changes):,} users")
    bot = world.bot()
    await bot.start()
    ended = await follow(world, bot, screen)
    loop_stall_max_s = await bot.metric("bot_loop_stall_max_seconds")
    bot_rss_peak_mb = bot.peak_rss_mb()
    site_rss_peak_mb = world.website.peak_rss_mb()
    exit_code = await bot.stop()
    screen.say("comparing every row of the site with the guild")
    faults = await judge(world, ended)
    if exit_code != 0:
        faults.append(f"the bot ended with exit code {exit_code} when it was asked to stop")
    requests = world.site_requests()
    sizes = chunk_sizes(requests)
    assert bot.started_at is not None  # noqa: S101  it was started above
    figures = Figures(
        members=members,
        changes=len(changes),
        applied=rows_applied(requests),
        converged=not faults,
        seconds=round((ended.message.changed_at - bot.started_at).total_seconds(), 2),
        requests=len(requests),
        chunk_items_min=sizes.least,
        chunk_items_median=sizes.median,
        chunk_items_max=sizes.most,
        largest_request_s=ended.line["largest_request_s"],
        site_rss_idle_mb=round(site_rss_idle_mb, 1),
        site_rss_peak_mb=round(site_rss_peak_mb, 1),
        bot_rss_peak_mb=round(bot_rss_peak_mb, 1),
        loop_stall_max_ms=round(loop_stall_max_s * 1_000, 1),
        mod_log=[message.text for message in ended.mod_log],
    )
    rows_checked = len(await world.tables.users()) + len(await world.tables.roles())
    return Outcome(figures=figures, rows_checked=rows_checked, faults=faults)


async def follow(world: World, bot: Bot, screen: Screen) -> EndedRun:
    """Show mod-log until the bot's first run has ended, in its log and in mod-log.

    Raises ServerError if the bot ends first, or if mod-log never tells what the log does.
    """
    logged_s: float | None = None
    while True:
        alive = bot.running  # asked first: what it did before it ended still counts
        finished = bot.events("sync.run.finished", latest_start=True)
        messages = await world.mod_log()
        screen.show(messages)
        if finished:
            message = checks.ended_message(messages, finished[0]["run_id"])
            if message is not None:
                return EndedRun(line=finished[0], message=message, mod_log=tuple(messages))
            logged_s = logged_s if logged_s is not None else time.monotonic()
            if time.monotonic() - logged_s > _LAST_WORD_S:
                raise bot.failure(
                    f"logged that its run ended, but mod-log did not say so in {_LAST_WORD_S:g} s"
                )
        if not alive:
            raise bot.failure(f"ended with exit code {bot.exit_code} before its run did")
        await asyncio.sleep(_LOOK_S)


async def judge(world: World, ended: EndedRun) -> list[str]:
    """Return everything that is wrong after a run that should have ended verified."""
    ending = ended.line["ending"]
    faults = [] if ending == "verified" else [f"the run ended {ending}, not verified"]
    differences = await world.differences()
    faults += [str(difference) for difference in differences[:_SHOWN_DIFFERENCES]]
    if len(differences) > _SHOWN_DIFFERENCES:
        faults.append(f"and {len(differences) - _SHOWN_DIFFERENCES:,} more differences")
    requests = world.site_requests()
    faults += checks.overlapping_writes(requests)
    faults += checks.foreign_writes(requests, ended.run_id)
    if ending == "verified":
        faults += checks.mod_log_faults(ended.mod_log, ended.run_id)
    return faults
