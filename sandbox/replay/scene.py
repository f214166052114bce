"""What the scenarios of a living guild share: a stage in step, a record, and the judgement."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sandbox.replay import checks
from sandbox.replay.audit import SiteAudit
from sandbox.replay.checks import ModLogMessage, SiteRequest
from sandbox.replay.chronicle import Chronicle, Findings, GuildChange, Key, Row, percentile
from sandbox.replay.crowd import Crowd
from sandbox.replay.outcome import Footprint, Outcome, figures_of
from sandbox.replay.screen import Screen
from sandbox.replay.world import World

if TYPE_CHECKING:
    from sandbox.servers import Bot

Json = dict[str, Any]

AS_IN_REALITY: Final = 50_000  # members
_SHORTER: Final = 10
_LOOK_S: Final = 0.2
_QUIET_S: Final = 1.0  # for so long both sides must go on agreeing without a request
_SHOWN: Final = 20


class Scene:
    """A guild and a site in step, a bot to come between them, and a record of both sides.

    Made by `scene`. From `begin` on everything counts that the figures tell of.
    """

    def __init__(
        self, world: World, screen: Screen, *, members: int, settings: Mapping[str, str]
    ) -> None:
        self.world = world
        self.screen = screen
        self.members = members
        self.guild = world.ids.guild
        self.control = world.control
        self.bot: Bot = world.bot(**settings)
        self.crowd: Crowd
        self.chronicle: Chronicle
        self.faults: list[str] = []
        self.withheld: frozenset[int] = frozenset()
        self._audit = SiteAudit(database_url=world.tables.database_url)
        self._counters_before: dict[str, int] = {}
        self._owner = 0
        self._heard = 0
        self.began_at = datetime.now(UTC)
        self._requests_before = 0
        self._footprint = Footprint(site_rss_idle_mb=0.0)

    # -- before -----------------------------------------------------------------------------------

    async def set(self) -> None:
        """Fill both sides in step and begin the record."""
        await self.world.fill_site()
        await self.world.warm_site()
        self._footprint.site_rss_idle_mb = self.world.website.peak_rss_mb()
        self._counters_before = await self.control.counters()
        await self._audit.begin()
        await self.control.record(self.guild)
        members = [member async for member in self.control.members(self.guild)]
        self._owner = members[0]["id"]
        roles = await self.control.roles(self.guild)
        rows: list[Row] = [
            *(checks.expected_user(member, self.guild) for member in members),
            *(checks.expected_role(role) for role in roles),
        ]
        self.chronicle = Chronicle(guild=rows, site=rows)
        self.crowd = Crowd(
            members,
            [role["id"] for role in roles if role["id"] != self.guild],
            owner=self._owner,
            seed=self.world.seed,
        )

    async def start_bot(self) -> None:
        """Start the bot."""
        self.screen.say("starting the bot")
        await self.bot.start()

    async def start_bot_in_step(self) -> None:
        """Start the bot and wait until its first run has found nothing to do."""
        await self.start_bot()
        await self.runs(1)

    async def stop_bot(self) -> None:
        """Ask the bot to stop, which it must do in order."""
        await self.measure()
        exit_code = await self.bot.stop()
        if exit_code != 0:
            self.faults.append(f"the bot ended with exit code {exit_code} when asked to stop")

    async def restart_bot(self) -> None:
        """Stop the bot in order, and start it again on its own state."""
        await self.stop_bot()
        await self.bot.start()

    async def measure(self) -> None:
        """Take the bot's memory and its longest stall, which are gone once it has ended."""
        await self._footprint.measure(self.bot)

    # -- what happens -----------------------------------------------------------------------------

    def begin(self, what: str) -> None:
        """Say what happens now; the figures are of what is done from here on."""
        self.screen.say(what)
        self.began_at = datetime.now(UTC)
        self._requests_before = len(self.world.site_requests())

    async def do(
        self, operations: Iterable[Json], *, per_s: float | None = None, silent: bool = False
    ) -> None:
        """Let these things happen in the guild, in this order, and show mod-log meanwhile."""
        doing = asyncio.ensure_future(
            self.control.operations(self.guild, operations, per_s=per_s, silent=silent)
        )
        try:
            while not doing.done():
                await self.look()
                await asyncio.wait({doing}, timeout=_LOOK_S)
            await doing
        finally:
            doing.cancel()

    async def look(self) -> list[ModLogMessage]:
        """Take in what both sides did since, and show and return mod-log."""
        self.chronicle.add_writes(await self._audit.news())
        history = await self.control.history(self.guild, after=self._heard)
        self._heard += len(history)
        self.chronicle.add_changes(self._change(told) for told in history)
        messages = await self.world.mod_log()
        self.screen.show(messages)
        return messages

    def _change(self, told: Json) -> GuildChange:
        is_role = told["op"].endswith("role")
        row: Row | None = None
        if told["row"] is not None:
            row = (
                checks.expected_role(told["row"])
                if is_role
                else checks.expected_user(told["row"], self.guild)
            )
        return GuildChange(
            at=datetime.fromisoformat(told["at"]),
            key=Key("role" if is_role else "user", told["id"]),
            row=row,
            told=told["told"],
        )

    async def runs(self, count: int, *, within_s: float = 120.0) -> list[ModLogMessage]:
        """Wait until mod-log tells the end of so many runs; return their messages, oldest first."""
        async for messages in self._looks(within_s):
            ended = checks.ended_runs(messages)
            if len(ended) >= count:
                return ended
        raise self.bot.failure(f"did not end {count} runs within {within_s:g} s")

    async def told(self, title: str, *, within_s: float) -> None:
        """Wait until mod-log has a message of this title."""
        async for messages in self._looks(within_s):
            if any(message.title == title for message in messages):
                return
        raise self.bot.failure(f"did not tell {title!r} within {within_s:g} s")

    async def press(self, label: str) -> None:
        """Press the newest button of this label in mod-log, as the guild's owner."""
        found = [
            (message.id, button["custom_id"])
            for message in await self.world.mod_log()
            for button in message.buttons
            if button["label"] == label
        ]
        if not found:
            raise self.bot.failure(f"shows no button {label!r} in mod-log")
        channel = self.world.ids.mod_log_channel
        await self.control.press(channel, found[-1][0], self._owner, found[-1][1])

    async def written(self, rows: int, *, within_s: float = 120.0) -> None:
        """Wait until no more than so many rows differ."""
        async for _ in self._looks(within_s):
            if self.chronicle.differing <= rows:
                return
        raise self.bot.failure(f"left more than {rows:,} rows wrong for {within_s:g} s")

    async def agree(self, *, within_s: float = 180.0) -> None:
        """Wait until both sides agree, mod-log leaves no run open, and the site is left in peace.

        What may be withheld is left out. If they don't agree in time, that is a fault.
        """
        quiet_s, asked = time.monotonic(), -1
        async for messages in self._looks(within_s):
            agreed = self.chronicle.differing == len(self.withheld)
            before, asked = asked, len(self.requests())
            if not agreed or asked != before or checks.open_runs(messages):
                quiet_s = time.monotonic()
            elif time.monotonic() - quiet_s >= _QUIET_S:
                return
        self.faults.append(f"both sides did not agree within {within_s:g} s")

    async def look_on(self, for_s: float) -> None:
        """Do nothing but look for so long."""
        async for _ in self._looks(for_s):
            pass

    async def counted(self, name: str, times: int, *, within_s: float = 60.0) -> None:
        """Wait until this Discord has done something so often in this scene."""
        async for _ in self._looks(within_s):
            if (await self.counters()).get(name, 0) >= times:
                return
        raise self.bot.failure(f"did not {name} {times} times within {within_s:g} s")

    async def counters(self) -> dict[str, int]:
        """Return how often this Discord did each thing that it counts, in this scene."""
        counters = await self.control.counters()
        return {
            name: times - self._counters_before.get(name, 0) for name, times in counters.items()
        }

    async def _looks(self, within_s: float) -> AsyncIterator[list[ModLogMessage]]:
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s:
            alive = self.bot.running  # asked first: what it did before it ended still counts
            yield await self.look()
            if not alive:
                raise self.bot.failure(f"ended with exit code {self.bot.exit_code}")
            await asyncio.sleep(_LOOK_S)

    def requests(self) -> list[SiteRequest]:
        """Return the bot's requests since `begin`."""
        return self.world.site_requests()[self._requests_before :]

    # -- afterwards -------------------------------------------------------------------------------

    async def outcome(self, **further: object) -> Outcome:
        """Stop the bot, compare every row, and sum up; `further` are figures of this scenario."""
        await self.stop_bot()
        messages = await self.look()
        self.screen.say("comparing every row of the site with the guild")
        differences = [
            difference
            for difference in await self.world.differences()
            if difference.id not in self.withheld
        ]
        found = self.chronicle.findings()
        requests = self.requests()
        faults = [
            *self.faults,
            *_first([str(difference) for difference in differences]),
            *_first(checks.overlapping_writes(requests)),
            *(f"mod-log leaves open: {message.text}" for message in checks.open_runs(messages)),
            *against_the_guild(found),
        ]
        seconds = 0.0
        if found.agreed_at is not None and found.agreed_at > self.began_at:
            seconds = (found.agreed_at - self.began_at).total_seconds()
        longest = max((request.duration for request in requests), default=timedelta())
        self._footprint.site_rss_peak_mb = self.world.website.peak_rss_mb()
        figures = figures_of(
            requests,
            messages,
            self._footprint,
            members=self.members,
            changes=self.chronicle.users_changed,
            converged=not faults,
            seconds=seconds,
            largest_request_s=longest.total_seconds(),
        )
        return Outcome(
            figures=figures,
            rows_checked=await self.world.tables.rows(),
            faults=faults,
            span="until the last row was right",
            further={"events": self.chronicle.events, **latency_figures(found), **further},
        )


@asynccontextmanager
async def scene(
    world: World, screen: Screen, *, members: int, **settings: str
) -> AsyncIterator[Scene]:
    """Set a scene in a world; `settings` are environment variables of the bot.

    The bot is gone at the end, whatever happens.
    """
    screen.say(f"filling the guild and the site with {members:,} members, in step")
    await world.make_guild(members=members)
    made = Scene(world, screen, members=members, settings=settings)
    try:
        await made.set()
        yield made
    finally:
        await made.bot.close()


def wait_s(as_in_reality_s: float, *, members: int) -> float:
    """Return a time as it is in reality, or a tenth of it for a small guild."""
    return as_in_reality_s / (1 if members >= AS_IN_REALITY else _SHORTER)


def latency_figures(found: Findings) -> dict[str, object]:
    """Return the figures that every scenario of a living guild has."""
    latencies = {
        name: percentile(found.latencies_s, share)
        for name, share in (("event_to_site_p50_s", 0.5), ("event_to_site_p99_s", 0.99))
    }
    return {
        **{name: None if took is None else round(took, 3) for name, took in latencies.items()},
        "departures_written_wrongly": len(found.departures_written_wrongly),
        "roles_deleted_wrongly": len(found.roles_deleted_wrongly),
    }


def against_the_guild(found: Findings) -> list[str]:
    """Name what was written against the guild, and what never came."""
    faults = [
        *_first(
            [
                f"user {id_}: marked as gone, but was there"
                for id_ in found.departures_written_wrongly
            ]
        ),
        *_first([f"role {id_}: deleted, but was there" for id_ in found.roles_deleted_wrongly]),
    ]
    if found.unreached:
        faults.append(f"{found.unreached:,} changes never reached the site")
    return faults


def _first(faults: Sequence[str]) -> list[str]:
    if len(faults) <= _SHOWN:
        return list(faults)
    return [*faults[:_SHOWN], f"and {len(faults) - _SHOWN:,} more like the last"]
