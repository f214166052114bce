"""A site with its tables and whoever else asks it, and what either way makes of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import httpx

from sandbox.bench import asked, bots
from sandbox.bench.footprint import Processors, database_memory
from sandbox.bench.foreground import Foreground, Heard
from sandbox.bench.tables import BenchTables, Spoilt
from sandbox.old_syncer import OldSyncer
from sandbox.plain_site.memory_limit import EXCEEDED
from sandbox.replay.checks import RoleRow, UserRow
from sandbox.replay.world import World
from sandbox.servers import Bot, Postgres, ServerError, Website

OLD_TIMEOUT_S: Final = 300.0
_WARMED: Final = 10  # rows
_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one repetition took; `said` is what "verified" rests on, or how it ended else.

    Of ours it is known when it `began`, with its first request, and `ended`.
    """

    figures: Mapping[str, float]
    said: str = ""
    heard: Heard = field(default_factory=Heard)
    began: datetime | None = None
    ended: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Side:
    """A site, its tables and who else asks it, if anybody; `idle_mb` is its memory when idle."""

    site: Website
    tables: BenchTables
    postgres: Postgres
    foreground: Foreground | None = None
    idle_mb: float = 0.0

    async def restart(self) -> None:
        """Start the site anew, so that a peak of memory is of what comes now."""
        await self.site.restart()
        await self.warm()
        self.idle_mb = self.site.peak_rss_mb()

    async def spoil(self, how: Spoilt) -> None:
        """Put the rows out of step, and let the site have worked since."""
        await self.tables.spoil(how)
        await self.warm()

    async def warm(self) -> None:
        """Let the site have read a page, written ten rows as they are, and answered others."""
        async with self.tables.connection() as connection:
            cursor = await connection.execute("SELECT id FROM api_user ORDER BY id LIMIT 10")
            ids = [id_ async for (id_,) in cursor]
        async with httpx.AsyncClient(
            base_url=self.site.api_url,
            headers=self._headers | {"X-Request-ID": f"{asked.WORLD}warm"},
            timeout=OLD_TIMEOUT_S,
            trust_env=False,
        ) as client:
            (await client.get("bot/users")).raise_for_status()
            if ids:
                same = [{"id": id_, "in_guild": True} for id_ in ids]
                answer = await client.patch("bot/users/bulk_patch", json=same)
                answer.raise_for_status()
            for _ in range(_WARMED):
                await asyncio.gather(
                    *(client.get("bot/roles") for _ in range(_AT_ONCE)),
                    *(client.get(f"bot/users/{id_}") for id_ in ids[:_AT_ONCE]),
                )

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.site.token}"}

    @asynccontextmanager
    async def others(self) -> AsyncIterator[None]:
        """Let whoever else there is ask for as long as this is entered."""
        if self.foreground is None:
            yield
            return
        async with self.foreground.asking():
            yield

    def heard(self, since: datetime, until: datetime) -> Heard:
        """Return what whoever else there is heard in that time."""
        return self.foreground.heard(since=since, until=until) if self.foreground else Heard()

    async def expect_in_step(self, who: str) -> None:
        """Raise ServerError if a row is not as it should be."""
        differing = await self.tables.differing()
        if differing:
            raise ServerError(f"{differing:,} rows differ after {who}")

    # -- ways -------------------------------------------------------------------------------------

    async def by_old(
        self, *, roles: Sequence[RoleRow], users: Sequence[UserRow], changes: int
    ) -> Taken:
        """Sync the old way: pages by number, chunks of 1,000, nothing verified."""
        syncer = OldSyncer(
            api_url=self.site.api_url, token=self.site.token, timeout_s=OLD_TIMEOUT_S
        )
        processors = Processors(site=self.site, database=self.postgres)
        seen, since = len(self.site.events()), datetime.now(UTC)
        async with database_memory(self.postgres) as database, self.others():
            run = await syncer.sync(roles=roles, members=users)
            until = datetime.now(UTC)
        requests = asked.asked(self.site.events()[seen:])
        figures = {
            "wall_s": run.wall_s,
            "reading_s": run.seconds["reading"],
            "writing_s": run.seconds["writing"],
            "requests": run.requests,
            "largest_s": max(one.own_s for one in requests),
            **({"rows_per_s": changes / run.seconds["writing"]} if changes else {}),
            "sent_bytes": run.sent_bytes,
            "received_bytes": run.received_bytes,
            "database_mb": database.peak_mb,
            **self.memory(),
            **processors.figures(),
        }
        await self.expect_in_step("the old way")
        return Taken(figures=figures, said="not verified", heard=self.heard(since, until))

    async def by_bot(
        self,
        world: World,
        bot: Bot,
        *,
        members: int,
        changes: int,
        afterwards: Callable[[], Awaitable[None]] | None = None,
    ) -> Taken:
        """Sync by a bot's first run."""
        async with self.others():
            run = await bots.first_run(
                world, bot, members=members, changes=changes, afterwards=afterwards
            )
        await self.expect_in_step("the bot")
        return Taken(
            figures={**run.figures, **self.memory()},
            said=run.said,
            heard=self.heard(run.began, run.ended),
            began=run.began,
            ended=run.ended,
        )

    def memory(self) -> dict[str, float]:
        """Return the site's memory, and whether it was killed for it since its latest start."""
        exceeded = self.site.events(EXCEEDED, latest_start=True)
        return {
            "site_idle_mb": self.idle_mb,
            "site_mb": self.site.peak_rss_mb() if self.site.running else exceeded[-1]["rss_mb"],
            "kills": len(exceeded),
        }
