"""One changed member at a time: how long it takes from the event to the row."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import httpx
from psycopg import sql

from sandbox.bench.tables import BenchTables
from sandbox.replay.checks import UserRow
from sandbox.replay.chronicle import percentile
from sandbox.replay.world import World
from sandbox.servers import ServerError, Website

_NICKED: Final = "Nick"  # how the names begin of whom the sandbox gives a nick
_BETWEEN_S: Final = (0.5, 1.0)
_LOOK_S: Final = 0.01
_TIMEOUT_S: Final = 30.0
_WRITTEN: Final = (
    "SELECT pg_xact_commit_timestamp(xmin) FROM api_user WHERE id = %s AND display_name = %s"
)
_UPDATE: Final = "UPDATE api_user SET display_name = %s WHERE id = %s"


def people(users: Sequence[UserRow], count: int) -> list[UserRow]:
    """Return so many members of whom the nick can be given and taken, by chance."""
    without = [user for user in users if not user.display_name.startswith(_NICKED)]
    return random.Random(2).sample(without, min(count, len(without)))


async def by_bot(world: World, tables: BenchTables, chosen: Sequence[UserRow]) -> list[float]:
    """Give each a nick and take it away again; return the seconds until each was on the site.

    They run from when the guild changed to the commit.
    """
    await world.control.record(world.ids.guild)
    chance, took_s = random.Random(3), list[float]()
    async with tables.connection() as connection:
        for number, user in enumerate(chosen):
            for nick in (f"somebody {number}", None):
                await asyncio.sleep(chance.uniform(*_BETWEEN_S))
                await world.control.nick(world.ids.guild, user.id, nick)
                (change,) = (await world.control.history(world.ids.guild))[-1:]
                deadline_s = time.monotonic() + _TIMEOUT_S
                values = (user.id, nick or user.display_name)
                while True:
                    cursor = await connection.execute(_WRITTEN, values)
                    row = await cursor.fetchone()
                    if row is not None:
                        break
                    if time.monotonic() > deadline_s:
                        raise ServerError(f"a change was not on the site in {_TIMEOUT_S:g} s")
                    await asyncio.sleep(_LOOK_S)
                took_s.append((row[0] - datetime.fromisoformat(change["at"])).total_seconds())
    return took_s


async def by_request(site: Website, chosen: Sequence[UserRow]) -> list[float]:
    """Update each by a request of their own, as the old syncer did at an event; return seconds."""
    async with httpx.AsyncClient(
        base_url=site.api_url, headers={"Authorization": f"Token {site.token}"}, trust_env=False
    ) as client:
        took_s: list[float] = []
        for user in chosen:
            async with _timed(took_s):
                change = {"display_name": user.display_name}
                (await client.patch(f"bot/users/{user.id}", json=change)).raise_for_status()
    return took_s


async def by_sql(tables: BenchTables, chosen: Sequence[UserRow]) -> list[float]:
    """Update each by a statement; return seconds."""
    took_s: list[float] = []
    async with tables.connection() as connection:
        for user in chosen:
            async with _timed(took_s):
                await connection.execute(sql.SQL(_UPDATE), (user.display_name, user.id))
    return took_s


def figures(took_s: Sequence[float]) -> Mapping[str, float]:
    """Return what is kept of the times."""
    shares = {"event_p50_s": 0.5, "event_p99_s": 0.99}
    found = {name: percentile(sorted(took_s), share) for name, share in shares.items()}
    return {name: value for name, value in found.items() if value is not None}


@asynccontextmanager
async def _timed(took_s: list[float]) -> AsyncIterator[None]:
    began_s = time.perf_counter()
    yield
    took_s.append(time.perf_counter() - began_s)
