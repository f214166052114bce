"""The stand-in for a plain site: ours beside the old way, idle, busy, and short of memory."""

import asyncio
import contextlib
import gc
import itertools
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import httpx

from sandbox.bench import bots
from sandbox.bench.foreground import Foreground
from sandbox.bench.record import Record, Tally
from sandbox.bench.results import Key
from sandbox.bench.sides import Side, Taken
from sandbox.bench.tables import BenchTables, Spoilt
from sandbox.old_syncer import OldSyncer
from sandbox.plain_site.costs import OTHER
from sandbox.replay.world import World
from sandbox.servers import Bot

if TYPE_CHECKING:
    from sandbox.replay.checks import RoleRow, UserRow

SITE: Final = "plain"
CASES: Final = ("nothing", "few", "busy", "all", "incident")
_WAYS: Final = {
    "nothing": ("old", "ours"),
    "few": ("old", "ours", "ours-rows"),
    "busy": ("old", "ours"),
    "all": ("old", "ours", "ours-rows"),
    "incident": ("single",),
}
_BUSY: Final = 0.6  # of the site's time
_ASKED_FOR: Final = 50
_FEW: Final = 20  # one in so many
# What a container of that day was given for 80,000 users; less for fewer, as they take less.
_IDLE_MB: Final = 60
_LEAST_MB: Final = 90  # what chunks take of a site that has few
_LIMIT_MB: Final = 400
_LIMIT_MEMBERS: Final = 80_000
_AT_ONCE_TIMEOUT_S: Final = 300.0
# Three failures at a site that is down open the breaker, and soon after comes a probe.
_FAILING: Final = {
    "SYNC_MAX_FAILING": "1",
    "SYNC_FIRST_RETRY_S": "0.2",
    "SYNC_SECOND_RETRY_S": "0.2",
    "SYNC_BREAKER_OPEN_S": "1",
}
_FAILURES: Final = 3
_FAIL_S: Final = 60.0


def limit_mb(members: int) -> int:
    """Return how much memory the site is given: 400 MB for 80,000 users."""
    part = min(1.0, members / _LIMIT_MEMBERS)
    return max(_LEAST_MB, round(_IDLE_MB + (_LIMIT_MB - _IDLE_MB) * part))


class PlainStage:
    """A guild, and a plain site whose memory is limited; used as an async context manager."""

    def __init__(self, directory: Path, record: Record, *, members: int) -> None:
        self._directory = directory
        self._record = record
        self._members = members
        self._open = contextlib.AsyncExitStack()
        self._bots = itertools.count(1)
        self._world: World
        self._side: Side
        self._others: Foreground
        self._roles: list[RoleRow] = []
        self._users: list[UserRow] = []

    async def __aenter__(self) -> Self:
        try:
            await self._set()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._open.aclose()
        gc.unfreeze()

    async def _set(self) -> None:
        self._record.say(f"plain site, {self._members:,} members: filling both sides")
        world = World(self._directory, durable=False, plain=True)
        self._world = await self._open.enter_async_context(world)
        await world.make_guild(members=self._members)
        await world.control.fault("member_interval_s", 0)  # each bot of many asks for all
        self._roles = await world.expected_roles()
        self._users = await world.expected_users()
        gc.collect()
        gc.freeze()
        world.website.settings["MEMORY_LIMIT_MB"] = str(limit_mb(self._members))
        tables = BenchTables(world.tables)
        self._side = Side(site=world.website, tables=tables, postgres=world.postgres)
        await tables.keep(roles=self._roles, users=self._users)
        self._others = Foreground(
            self._directory / "others",
            world.website,
            [user.id for user in self._users[:_ASKED_FOR]],
            per_s=_BUSY / OTHER.request_s,
            by_chance=True,
        )
        self._open.push_async_callback(self._others.close)
        await self._others.start()

    async def measure(self, name: str, *, repetitions: int) -> None:
        """Measure a case, by every way so often: in turn, but for that which takes minutes."""
        tallies: dict[str, Tally] = {}
        if name == "all":
            async for way, taken in self._all_at_once():
                self._note(tallies, way, taken)
        else:
            await self.begin(busy=name == "busy")
            for _ in range(repetitions):
                for way in _WAYS[name]:
                    self._note(tallies, way, await self.by(way, self._changes(name)))
        for way, tally in tallies.items():
            key = Key(SITE, name, self._members, way)
            self._record.keep(key, tally, changes=self._changes(name))

    def _note(self, tallies: dict[str, Tally], way: str, taken: Taken) -> None:
        tallies.setdefault(way, Tally()).add(taken)
        self._record.say(f"    {way}: {taken.figures['wall_s']:.2f} s")

    async def _all_at_once(self) -> AsyncIterator[tuple[str, Taken]]:
        """Let the ways change all rows side by side, each on a site and in a guild of its own.

        One alone takes three minutes, in most of which its site waits for its cost to pass: all of
        them together take less than one of two cores.
        """
        async with contextlib.AsyncExitStack() as stages:
            found = [self]
            for way in _WAYS["all"][1:]:
                stage = PlainStage(self._directory / way, self._record, members=self._members)
                found.append(await stages.enter_async_context(stage))
            for stage in found:
                await stage.begin()
            changes = self._changes("all")
            taken = await asyncio.gather(
                *(stage.by(way, changes) for stage, way in zip(found, _WAYS["all"], strict=True))
            )
        for way, one in zip(_WAYS["all"], taken, strict=True):
            yield way, one

    def _changes(self, name: str) -> int:
        match name:
            case "nothing":
                return 0
            case "few" | "busy":
                return self._members // _FEW
            case "all" | "incident":
                return len(self._users)
            case _:
                raise LookupError(f"there is no case {name}")

    async def begin(self, *, busy: bool = False) -> None:
        """Start the site anew; if it is to be `busy`, others take a part of its time from now on.

        They do so while somebody measures.
        """
        await self._side.restart()
        self._side.foreground = self._others if busy else None

    async def by(self, way: str, changes: int) -> Taken:
        """Put the site out of step, and bring it in step again by this way."""
        bot = await self._probing() if way == "ours-rows" else self._bot()
        wrong = random.Random(1).sample(self._users, changes)
        await self._side.spoil(Spoilt(renamed=frozenset(user.id for user in wrong)))
        match way:
            case "single":
                return await self._at_once()
            case "old":
                return await self._side.by_old(
                    roles=self._roles, users=self._users, changes=changes
                )
            case _:
                return await self._side.by_bot(
                    self._world, bot, members=self._members, changes=changes
                )

    def _bot(self) -> Bot:
        return self._world.bot(f"bot{next(self._bots)}", **bots.SETTINGS)

    async def _probing(self) -> Bot:
        """Return a bot that will begin with a probe of the breaker, which reads every row again.

        Its attempts have failed on a site that was down, before anything was written: pace and
        memory know no more than at any first start.
        """
        await self._side.site.stop()
        bot = self._bot()
        usual = dict(bot.environment)
        bot.environment |= _FAILING
        await bot.start()
        await bot.wait_for_event("sync.run.finished", count=_FAILURES, timeout_s=_FAIL_S)
        await bot.stop()
        bot.environment = usual
        await self._side.restart()
        return bot

    async def _at_once(self) -> Taken:
        """Sync as in 2021: all updates in one request. The site may not outlive it."""
        site = self._side.site
        syncer = OldSyncer(
            api_url=site.api_url, token=site.token, chunk_rows=None, timeout_s=_AT_ONCE_TIMEOUT_S
        )
        said = "the site lived on"
        try:
            await syncer.sync(roles=self._roles, members=self._users)
        except httpx.TimeoutException:
            said = f"not answered within {_AT_ONCE_TIMEOUT_S:g} s"
        except httpx.TransportError:
            await site.wait_ended()
            said = f"the site was killed: it took more than {limit_mb(self._members)} MB"
        run = syncer.run
        figures = {
            "wall_s": run.wall_s,
            "requests": run.requests,
            "largest_s": run.largest_request_s,
            "sent_bytes": run.sent_bytes,
            "received_bytes": run.received_bytes,
            **self._side.memory(),
        }
        if not site.running:
            await site.start()
        return Taken(figures=figures, said=said)
