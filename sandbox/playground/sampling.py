"""Once a second: how many rows differ, what the bot asked of the site, how the site does."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import psutil
import psycopg

from sandbox.discord.client import ControlError
from sandbox.playground.ground import OWNER, Ground
from sandbox.servers import Server, memory

if TYPE_CHECKING:
    from sandbox.playground.truth import Truth

Json = dict[str, Any]

_VISIT_TIMEOUT_S: Final = 4.0
_AWAY: Final = (psycopg.Error, OSError)


class Sampler:
    """Measures a ground from outside."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._heard = 0
        self._requests = 0
        self._truth: Truth | None = None
        self._unheard: list[Json] = []

    async def sample(self) -> tuple[Json, list[Json]]:
        """Return what is so since `at`, when this was called, and what befell the guild meanwhile.

        `differ`, `visit_ms`, `breaker` and each of `memory_mb` are None if they can't be known.
        """
        at = datetime.now(UTC).timestamp()
        history = await self._news()
        ground = self._ground
        requests = [r for r in ground.faults.since(self._requests) if r.writes_users]
        self._requests = ground.faults.count
        differ, breaker, visit_ms = await asyncio.gather(
            self._differing(), self._breaker(), self._visit()
        )
        sample = {
            "at": round(at, 3),
            "differ": differ,
            "breaker": breaker,
            "rows": sum(request.written for request in requests),
            "request_ms": max((round(r.seconds * 1000) for r in requests), default=None),
            "chunk": max((request.rows for request in requests), default=None),
            "visit_ms": visit_ms,
            "memory_mb": {
                "site": _rss_mb(ground.website),
                "database": _rss_mb(ground.postgres),
                "bot": _rss_mb(ground.bot),
            },
        }
        return sample, history

    async def _news(self) -> list[Json]:
        if self._truth is not self._ground.truth:  # another site: its record begins anew
            self._truth, self._heard, self._unheard = self._ground.truth, 0, []
        try:
            news = await self._ground.control.history(self._ground.place.guild, after=self._heard)
        except (ControlError, aiohttp.ClientError):
            return []
        self._heard += len(news)
        self._unheard += news
        return news

    async def _differing(self) -> int | None:
        truth = self._ground.truth
        try:
            await truth.follow(self._unheard)
            self._unheard = []
            return await truth.differing()
        except _AWAY:
            return None

    async def _breaker(self) -> str | None:
        bot = self._ground.bot
        if not bot.running:
            return None
        try:
            opened = await bot.metric("sync_breaker_open")
        except (OSError, KeyError, ValueError):
            return None
        return "open" if opened else "closed"

    async def _visit(self) -> float | None:
        """Read one user as others on the site do, past all faults on the bot's way."""
        website, place = self._ground.website, self._ground.place
        if not website.running:
            return None
        started_s = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=_VISIT_TIMEOUT_S)
        headers = {"Authorization": f"Token {website.token}"}
        address = f"{website.api_url}bot/users/{place.people[OWNER]}"
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.get(address) as answer,
            ):
                await answer.read()
                return round((time.monotonic() - started_s) * 1000, 1)
        return None


def _rss_mb(server: Server) -> float | None:
    """Return what is resident now of a program and those that it started (MiB), if it runs."""
    if not server.running:
        return None
    total = 0
    for process in memory.tree(server.pid):
        with contextlib.suppress(psutil.Error):
            # Backends of PostgreSQL share most of theirs; what is their own is what they add.
            info = process.memory_info()
            total += max(0, info.rss - info.shared) if process.pid != server.pid else info.rss
    return round(total / 2**20, 1)
