"""Our website beside that of the version before, and beside SQL alone, with guilds of any size."""

import asyncio
import contextlib
import gc
import itertools
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from sandbox.bench import before, bots, one_member, plain_sql, single
from sandbox.bench.footprint import Processors, database_memory
from sandbox.bench.foreground import Foreground
from sandbox.bench.inside import SITE_WATCH
from sandbox.bench.plain_sql import Work
from sandbox.bench.record import Record, Tally
from sandbox.bench.results import Key
from sandbox.bench.sides import Side, Taken
from sandbox.bench.tables import COLUMNS, BenchTables, JsonTables, Spoilt
from sandbox.replay.world import SHARED_ROLE, World
from sandbox.servers import Bot, Website

if TYPE_CHECKING:
    from sandbox.replay.checks import RoleRow, UserRow

SITE: Final = "website"
CASES: Final = ("idle", "cache", "removed", "nothing", "one-percent", "new")
_ASKED_FOR: Final = 50  # users, by whoever else asks
_SINGLE_TIMEOUT_S: Final = 60.0
# By then the database has waited for the process that served a connection, and has its time.
_REAPED_S: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How the site is out of step, and what that is in SQL."""

    spoilt: Spoilt
    work: Work

    @property
    def changes(self) -> int:
        """In how many rows the site differs."""
        return len(self.work.users) if self.work.fields else 0


class Stage:
    """A guild of so many members, our website and the one before, and the ways between them.

    Used as an async context manager. `files` is where the version before was taken out to,
    `settings` are variables of the bots' environment, `site_settings` of our website's. A quick one
    takes less time where all that counts is how many samples there are.
    """

    def __init__(
        self,
        directory: Path,
        record: Record,
        *,
        members: int,
        files: Path,
        is_quick: bool = False,
        settings: Mapping[str, str] | None = None,
        site_settings: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self._record = record
        self._members = members
        self._files = files
        self._idle_s, self._ones = (4.0, 4) if is_quick else (10.0, 10)
        self._settings = {**bots.SETTINGS, **(settings or {})}
        self._site_settings = {"EXTRA_MIDDLEWARE": SITE_WATCH, **(site_settings or {})}
        self._open = contextlib.AsyncExitStack()
        self._bots = itertools.count(1)
        self._world: World
        self._ours: Side
        self._before: Side
        self._roles: list[RoleRow] = []
        self._users: list[UserRow] = []
        self._gone: RoleRow
        self._latest: Bot

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
        self._record.say(f"our website, {self._members:,} members: filling both sides")
        world = World(self._directory, durable=False, site_settings=self._site_settings)
        self._world = await self._open.enter_async_context(world)
        ids = await world.make_guild(members=self._members)
        await world.control.fault("member_interval_s", 0)  # each bot of many asks for all
        roles = await world.expected_roles()
        self._gone = next(role for role in roles if role.name == SHARED_ROLE)
        await world.control.delete_role(ids.guild, ids.shared_role)
        self._roles = [role for role in roles if role is not self._gone]
        self._users = await world.expected_users()
        # The old syncer runs in this process: no collection must walk all of these meanwhile.
        gc.collect()
        gc.freeze()
        url = await world.postgres.create_database("site_before")
        old = before.WebsiteBefore(self._directory / "before", files=self._files, database_url=url)
        self._open.push_async_callback(old.close)
        await old.start()
        self._ours = await self._side("ours", world.website, BenchTables(world.tables))
        self._before = await self._side("before", old, BenchTables(JsonTables(database_url=url)))

    async def _side(self, name: str, site: Website, tables: BenchTables) -> Side:
        await tables.keep(roles=self._roles, users=self._users)
        ids = [user.id for user in self._users[:_ASKED_FOR]]
        foreground = Foreground(self._directory / f"foreground-{name}", site, ids)
        self._open.push_async_callback(foreground.close)
        await foreground.start()
        return Side(site=site, tables=tables, postgres=self._world.postgres, foreground=foreground)

    # -- cases ------------------------------------------------------------------------------------

    async def measure(self, name: str, *, repetitions: int, with_old: bool = True) -> None:
        """Measure a case, by every way in turn and so often; all in one request only once."""
        for side in (self._ours, self._before):
            await side.restart()
        match name:
            case "idle":
                await self._idle()
            case "cache":
                await self._cache()
            case _:
                await self._by_every_way(name, repetitions, with_old=with_old)

    async def ours(self, name: str) -> tuple[Taken, Bot, Website]:
        """Measure our way alone; return the bot and the website, whose logs tell more of it."""
        await self._ours.restart()
        taken = await self._by_bot(self._case(name))
        return taken, self._latest, self._ours.site

    async def _by_every_way(self, name: str, repetitions: int, *, with_old: bool) -> None:
        case, tallies = self._case(name), dict[str, Tally]()
        for turn in range(repetitions):
            is_last = turn == repetitions - 1
            async for way, taken in self._turn(name, case, is_last=is_last, with_old=with_old):
                tallies.setdefault(way, Tally()).add(taken)
                self._record.say(f"    {way}: {taken.figures['wall_s']:.2f} s")
        for way, tally in tallies.items():
            self._keep(name, way, tally, changes=case.changes)

    async def _turn(
        self, name: str, case: Case, *, is_last: bool, with_old: bool
    ) -> AsyncIterator[tuple[str, Taken]]:
        yield "sql", await self._by_sql(case, rows_a_statement=None)
        yield "sql-1000", await self._by_sql(case, rows_a_statement=1_000)
        if with_old:
            await self._before.spoil(case.spoilt)
            old = self._before.by_old(roles=self._roles, users=self._users, changes=case.changes)
            yield "old", await old
        yield "ours", await self._by_bot(case, one_by_one=is_last and name == "nothing")
        if is_last and case.changes:
            yield "single", await self._at_once(case)

    def _case(self, name: str) -> Case:
        users = self._users
        match name:
            case "removed":
                work = Work(users=users, fields=("roles",))
                return Case(spoilt=Spoilt(role=self._gone), work=work)
            case "nothing":
                return Case(spoilt=Spoilt(), work=Work(users=users, fields=()))
            case "one-percent":
                some = random.Random(1).sample(users, max(1, self._members // 100))
                renamed = frozenset(user.id for user in some)
                return Case(spoilt=Spoilt(renamed=renamed), work=Work(users=some, fields=("name",)))
            case "new":
                work = Work(users=users, fields=COLUMNS[1:], creates=True)
                return Case(spoilt=Spoilt(emptied=True), work=work)
            case _:
                raise LookupError(f"there is no case {name}")

    async def _idle(self) -> None:
        """Let others ask while nobody syncs."""
        await self._ours.spoil(Spoilt())
        since = datetime.now(UTC)
        async with self._ours.others():
            await asyncio.sleep(self._idle_s)
        heard = self._ours.heard(since, datetime.now(UTC))
        self._keep_one("idle", "nobody", Taken(figures={}, heard=heard))

    async def _cache(self) -> None:
        """Take the memory of a bot that has the members cached and nothing else."""
        name = f"cache{next(self._bots)}"
        peak_mb = await bots.cache_alone_mb(self._world, name, members=len(self._users))
        self._keep_one("cache", "members-only", Taken(figures={"bot_mb": peak_mb}))

    def _keep_one(self, case: str, way: str, taken: Taken, *, changes: int = 0) -> None:
        tally = Tally()
        tally.add(taken)
        self._keep(case, way, tally, changes=changes)

    def _keep(self, case: str, way: str, tally: Tally, *, changes: int) -> None:
        self._record.keep(Key(SITE, case, self._members, way), tally, changes=changes)

    # -- ways -------------------------------------------------------------------------------------

    async def _by_sql(self, case: Case, *, rows_a_statement: int | None) -> Taken:
        side = self._ours
        await side.tables.spoil(case.spoilt)
        processors, since = Processors(database=self._world.postgres), datetime.now(UTC)
        async with database_memory(self._world.postgres) as database, side.others():
            wall_s = await plain_sql.run(side.tables, case.work, rows_a_statement=rows_a_statement)
            until = datetime.now(UTC)
        await asyncio.sleep(_REAPED_S)
        figures = {"wall_s": wall_s, "database_mb": database.peak_mb, **processors.figures()}
        return Taken(figures=figures, heard=side.heard(since, until))

    async def _at_once(self, case: Case) -> Taken:
        """Send all changes in one request to the website before, whose limits let it in."""
        side = self._before
        await side.restart()
        await side.spoil(case.spoilt)
        since = datetime.now(UTC)
        async with side.others():
            sent = await single.send(side.site, case.work, timeout_s=_SINGLE_TIMEOUT_S)
            until = datetime.now(UTC)
        figures = {
            "wall_s": sent.seconds,
            "requests": 1,
            "largest_s": sent.seconds,
            "sent_bytes": sent.sent_bytes,
            "received_bytes": sent.received_bytes,
            "site_idle_mb": side.idle_mb,
            "site_mb": sent.peak_mb,
        }
        said = sent.said or "not verified"
        taken = Taken(figures=figures, said=said, heard=side.heard(since, until))
        if not side.site.running:
            await side.site.start()
        return taken

    async def _by_bot(self, case: Case, *, one_by_one: bool = False) -> Taken:
        await self._ours.spoil(case.spoilt)
        bot = self._world.bot(f"bot{next(self._bots)}", **self._settings)
        self._latest = bot
        return await self._ours.by_bot(
            self._world,
            bot,
            members=self._members,
            changes=case.changes,
            afterwards=self._one_by_one if one_by_one else None,
        )

    async def _one_by_one(self) -> None:
        """Change members one at a time while a bot is there, and by the other ways."""
        chosen = one_member.people(self._users, self._ones)
        for way, took_s in (
            ("ours", await one_member.by_bot(self._world, self._ours.tables, chosen)),
            ("old", await one_member.by_request(self._before.site, chosen)),
            ("sql", await one_member.by_sql(self._ours.tables, chosen)),
        ):
            taken = Taken(figures=one_member.figures(took_s))
            self._keep_one("member", way, taken, changes=len(took_s))
