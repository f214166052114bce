"""Two bots on one guild, killed and started again and again: never may both be at the site."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sandbox import judging
from sandbox.chaos import settings
from sandbox.chaos.guild_life import GuildLife
from sandbox.chaos.plan import Store
from sandbox.chaos.trouble import heal_discord
from sandbox.judging import Sent
from sandbox.replay.checks import overlapping_writes
from sandbox.replay.world import World
from sandbox.servers import Bot, Valkey, until
from sandbox.site_proxy import SiteProxy

_LOOK_S: Final = 0.1
_SETTLE_S: Final = 60.0
_WRITES_S: Final = 20.0
_BOTH: Final = 3  # one start in so many is one of both at the same moment


@dataclass(slots=True, kw_only=True)
class Life:
    """One process of a bot, with a way to the site of its own, which tells its requests apart."""

    name: str
    way: SiteProxy
    ended_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Rival:
    """A bot and its lives; `ways` keeps open what they go through."""

    bot: Bot
    site_url: str
    ways: contextlib.AsyncExitStack
    lives: list[Life] = field(default_factory=list)

    async def start(self) -> None:
        """Begin a new life."""
        way = await self.ways.enter_async_context(SiteProxy(self.site_url))
        name = f"{self.bot.directory.name}#{len(self.lives) + 1}"
        self.lives.append(Life(name=name, way=way))
        self.bot.environment["SITE_API_URL"] = way.api_url
        await self.bot.start()

    def kill(self) -> None:
        """End the life."""
        self.bot.kill()
        self.lives[-1].ended_at = datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalsOutcome:
    """What two bots on one store did; `lives_that_wrote` shows that the work changed hands."""

    starts: int
    writes: int
    runs: int
    lives_that_wrote: int
    rows_checked: int
    rows_lost: list[str]
    writes_overlapping: list[str]
    runs_overlapping: list[str]
    rivals_writing: list[str]
    others: list[str]

    @property
    def faults(self) -> list[str]:
        """Return everything that was wrong."""
        lists = (value for value in asdict(self).values() if isinstance(value, list))
        return [fault for part in lists for fault in part]

    def as_json(self) -> dict[str, Any]:
        """Return the figures."""
        figures = asdict(self)
        del figures["others"]
        return {k: len(v) if isinstance(v, list) else v for k, v in figures.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """Two bots of one guild; `second_settings` replace those of the second one."""

    world: World
    valkey: Valkey
    seed: int
    members: int = 200
    second_settings: Mapping[str, str] = field(default_factory=dict)

    async def compete(self, store: Store, *, starts: int, directory: Path) -> RivalsOutcome:
        """Start them so many times, at least one of both anew, and judge what they did."""
        chance = random.Random(f"{self.seed} {store}")
        others: list[str] = []
        async with (
            contextlib.AsyncExitStack() as ways,
            self.world.renewed(directory) as world,
        ):
            await heal_discord(world)
            await world.make_guild(members=self.members)
            await world.fill_site()
            life = GuildLife(world, chance)
            await life.meet()
            await life.fall_out_of_step(poisoned=0)
            rivals = [
                Rival(bot=bot, site_url=world.website.api_url, ways=ways)
                for bot in (
                    self._bot(world, "first", store, {}),
                    self._bot(world, "second", store, self.second_settings),
                )
            ]
            async with _going_on(life):
                for number in range(starts):
                    await self._restart(rivals, chance, both=number % _BOTH == 0)
                    await _written(rivals, others)
                    await asyncio.sleep(chance.uniform(0, 1))
            await self._settle(world, life, others)
            return await _judge(world, rivals, starts=starts, others=others)

    def _bot(self, world: World, name: str, store: Store, more: Mapping[str, str]) -> Bot:
        shared = (
            self.valkey.url
            if store is Store.VALKEY
            else f"sqlite:///{world.directory.resolve()}/shared.db"
        )
        return world.bot(name, **{**settings.BOT, "SYNC_STATE_URL": shared, **more})

    async def _restart(self, rivals: list[Rival], chance: random.Random, *, both: bool) -> None:
        """Kill one or both, and start whoever is dead, together."""
        for rival in rivals if both else [chance.choice(rivals)]:
            if rival.bot.running:
                rival.kill()
        await asyncio.gather(*(each.start() for each in rivals if not each.bot.running))

    async def _settle(self, world: World, life: GuildLife, others: list[str]) -> None:
        await life.rename_somebody()
        deadline_s = time.monotonic() + _SETTLE_S
        while time.monotonic() < deadline_s:
            running = judging.unfinished_runs(await world.mod_log())
            if not running and not await world.differences():
                return
            await asyncio.sleep(_LOOK_S)
        others.append(f"the bots did not settle within {_SETTLE_S:g} s")


@contextlib.asynccontextmanager
async def _going_on(life: GuildLife) -> AsyncIterator[None]:
    task = asyncio.create_task(life.go_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _writes(rivals: list[Rival]) -> int:
    return sum(len(life.way.writes()) for rival in rivals for life in rival.lives)


async def _written(rivals: list[Rival], others: list[str]) -> None:
    """Wait until one of the two has written something."""
    before = _writes(rivals)
    if not await until(lambda: _writes(rivals) > before, timeout_s=_WRITES_S):
        others.append(f"neither bot wrote anything for {_WRITES_S:g} s")


async def _judge(
    world: World, rivals: list[Rival], *, starts: int, others: list[str]
) -> RivalsOutcome:
    messages = await world.mod_log()
    lives = [life for rival in rivals for life in rival.lives]
    calls = [(life, call) for life in lives for call in life.way.calls]
    sent = [Sent(request_id=c.request_id, at=c.at, writes=c.writes) for _, c in calls]
    bot_of = {call.request_id: life.name for life, call in calls}
    ended = {life.name: life.ended_at for life in lives if life.ended_at is not None}
    run_ids = {run.run_id for run in judging.runs(messages)}
    differences = await world.differences()
    return RivalsOutcome(
        starts=starts,
        writes=sum(request.writes for request in sent),
        runs=len(run_ids),
        lives_that_wrote=len({bot_of[s.request_id] for s in sent if s.writes}),
        rows_checked=len(await world.tables.users()) + len(await world.tables.roles()),
        rows_lost=judging.lost_rows(differences, ()),
        writes_overlapping=overlapping_writes(world.site_requests()),
        runs_overlapping=judging.overlapping_runs(run_ids, sent),
        rivals_writing=judging.rival_writes(sent, bot_of=bot_of, ended=ended),
        others=[*others, *judging.unfinished_runs(messages)],
    )
