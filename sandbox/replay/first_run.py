"""A bot's first run, from a guild and a site in step to what it leaves behind."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sandbox.replay import checks
from sandbox.replay.checks import ModLogMessage
from sandbox.replay.outcome import Footprint, Outcome, figures_of
from sandbox.replay.screen import Screen
from sandbox.replay.world import World
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


class FirstRun:
    """The frame of a scenario that is one run: what it differs in happens between the steps.

    In their order: `filled`, then changes that the bot has to find, then `start`, `follow`, `stop`
    and `outcome`.
    """

    def __init__(
        self, world: World, screen: Screen, *, members: int, site_rss_idle_mb: float
    ) -> None:
        self._world = world
        self._screen = screen
        self._members = members
        self._exit_code: int | None = None
        self.footprint = Footprint(site_rss_idle_mb=site_rss_idle_mb)
        self.bot: Bot
        self.ended: EndedRun

    @classmethod
    async def filled(cls, world: World, screen: Screen, *, members: int) -> "FirstRun":
        """Fill the guild and the site, in step."""
        screen.say(f"filling the guild and the site with {members:,} members, in step")
        await world.make_guild(members=members)
        await world.fill_site()
        await world.warm_site()
        idle_mb = world.website.peak_rss_mb()
        return cls(world, screen, members=members, site_rss_idle_mb=idle_mb)

    async def start(self, saying: str, **settings: str) -> None:
        """Start the bot; `settings` are environment variables of it."""
        self.bot = self._world.bot(**settings)
        self._screen.say(saying)
        await self.bot.start()

    async def follow(self) -> None:
        """Show mod-log until the run has ended."""
        self.ended = await follow(self._world, self.bot, self._screen)

    async def stop(self) -> None:
        """Measure the bot and the site, and ask the bot to stop."""
        await self.footprint.measure(self.bot)
        self.footprint.site_rss_peak_mb = self._world.website.peak_rss_mb()
        self._exit_code = await self.bot.stop()

    async def outcome(
        self,
        *,
        changes: int,
        wrote_alone: bool = True,
        faults: Sequence[str] = (),
        further: Mapping[str, object] | None = None,
    ) -> Outcome:
        """Compare every row, and sum up; `faults` and `further` figures are the scenario's own."""
        world, ended = self._world, self.ended
        self._screen.say("comparing every row of the site with the guild")
        found = [*await judge(world, ended, wrote_alone=wrote_alone), *faults]
        if self._exit_code != 0:
            found.append(
                f"the bot ended with exit code {self._exit_code} when it was asked to stop"
            )
        assert self.bot.started_at is not None  # noqa: S101  it was started above
        figures = figures_of(
            world.site_requests(),
            ended.mod_log,
            self.footprint,
            members=self._members,
            changes=changes,
            converged=not found,
            seconds=(ended.message.changed_at - self.bot.started_at).total_seconds(),
            largest_request_s=ended.line["largest_request_s"],
        )
        return Outcome(
            figures=figures,
            rows_checked=await world.tables.rows(),
            faults=found,
            further=further or {},
        )


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


async def judge(world: World, ended: EndedRun, *, wrote_alone: bool = True) -> list[str]:
    """Return everything that is wrong after a run that should have ended verified.

    `wrote_alone` says that nothing but the run had anything to write.
    """
    ending = ended.line["ending"]
    faults = [] if ending == "verified" else [f"the run ended {ending}, not verified"]
    differences = await world.differences()
    faults += [str(difference) for difference in differences[:_SHOWN_DIFFERENCES]]
    if len(differences) > _SHOWN_DIFFERENCES:
        faults.append(f"and {len(differences) - _SHOWN_DIFFERENCES:,} more differences")
    requests = world.site_requests()
    faults += checks.overlapping_writes(requests)
    if wrote_alone:
        faults += checks.foreign_writes(requests, ended.run_id)
    if ending == "verified":
        faults += checks.mod_log_faults(ended.mod_log, ended.run_id)
    return faults
