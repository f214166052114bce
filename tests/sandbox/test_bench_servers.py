"""What `make bench` does to real servers: spoil rows, ask a site, and let one die as in 2021."""

import math
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio
from aiohttp import web

from sandbox.bench import bots, plain_sql
from sandbox.bench.foreground import Foreground
from sandbox.bench.inside import FOREGROUND_ANSWERED
from sandbox.bench.plain_sql import Work
from sandbox.bench.sides import Side
from sandbox.bench.tables import COLUMNS, BenchTables, JsonTables, Spoilt
from sandbox.old_syncer import OldSyncer
from sandbox.plain_site.memory_limit import EXCEEDED
from sandbox.replay.checks import RoleRow
from sandbox.replay.world import World
from sandbox.servers import PlainSite, until

if TYPE_CHECKING:
    from sandbox.replay.site_tables import SiteTables

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

GONE = RoleRow(id=2**60, name="Gone", colour=0, permissions=0, position=1)
MEMBERS = 4_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Start a plain site that costs only its work, and a guild of which it knows nothing yet."""
    async with World(tmp_path_factory.mktemp("world"), durable=False, plain=True) as servers:
        servers.website.settings["COSTS"] = "0"
        await servers.make_guild(members=MEMBERS)
        yield servers


class JsonSite(JsonTables):
    """Tables of a site of which the tests need no server."""

    async def make(self) -> "JsonSite":
        """Make them as our website's migrations do."""
        async with BenchTables(self).connection() as connection:
            await connection.execute(
                "CREATE TABLE api_role (id bigint PRIMARY KEY, name text, colour int,"
                " permissions bigint, position int);"
                "CREATE TABLE api_user (id bigint PRIMARY KEY, name text, display_name text,"
                " discriminator smallint, roles jsonb, in_guild boolean)"
            )
        return self


@pytest_asyncio.fixture(params=["jsonb", "array"], loop_scope="module")
async def tables(
    request: pytest.FixtureRequest, world: World, tmp_path: Path
) -> AsyncIterator[BenchTables]:
    """Give tables that keep roles as JSON or in an array, filled as the guild is."""
    made: SiteTables = world.tables
    if request.param == "jsonb":
        name = f"site_{tmp_path.name.replace('-', '_')}".lower()
        url = await world.postgres.create_database(name)
        made = await JsonSite(database_url=url).make()
    found = BenchTables(made)
    await found.keep(roles=await world.expected_roles(), users=await world.expected_users())
    yield found


async def test_a_site_is_spoilt_and_seen_to_be(tables: BenchTables, world: World) -> None:
    """However it is out of step, so many rows differ; and SQL alone can put it right."""
    users = await world.expected_users()
    some = users[5:8]
    renamed = Spoilt(renamed=frozenset(user.id for user in some))

    found = []
    for how, work in (
        (Spoilt(), Work(users=users, fields=())),
        (renamed, Work(users=some, fields=("name",))),
        (Spoilt(emptied=True), Work(users=users, fields=COLUMNS[1:], creates=True)),
        (Spoilt(role=GONE), Work(users=users, fields=("roles",))),
    ):
        await tables.spoil(how)
        before = await tables.differing()
        seconds = await plain_sql.run(tables, work, rows_a_statement=700)
        found.append((before, await tables.differing(), seconds > 0))

    rows = MEMBERS + 1
    assert found == [
        (0, 0, True),
        (3, 0, True),
        (rows, 0, True),
        (rows + 1, 1, True),  # the role itself is left
    ]


async def test_others_ask_only_while_somebody_measures(tmp_path: Path) -> None:
    """For these users in turn, and whatever comes back is counted."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.match_info["id"])
        return web.Response(status=503 if len(asked) == 2 else 200)

    app = web.Application()
    app.router.add_get("/api/bot/users/{id}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site = PlainSite(tmp_path / "site", database_url="")
    site.api_url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/"
    since = datetime.now(UTC)
    async with Foreground(tmp_path / "others", site, [7, 8], per_s=100) as others:
        spoke = await until(lambda: bool(asked), timeout_s=0.2)
        async with others.asking():
            await until(lambda: len(asked) >= 4, timeout_s=10)
        await until(lambda: len(others.events(FOREGROUND_ANSWERED)) >= 4, timeout_s=10)
        found = others.heard(since=since, until=datetime.now(UTC))
    await site.close()
    await runner.cleanup()

    assert (spoke, {*asked}) == (False, {"7", "8"})
    assert (4 <= len(found.seconds) <= len(asked), found.failed) == (True, 1)


async def test_the_incident_the_old_way_kills_a_site_that_outlives_ours(world: World) -> None:
    """All differences in one request end the site; ours brings the same ones in step.

    Its memory is limited to 14 MB over idle: a chunk takes half of that, all at once 20 MB.
    """
    site, tables = world.website, BenchTables(world.tables)
    roles, users = await world.expected_roles(), await world.expected_users()
    await tables.keep(roles=roles, users=users)
    side = Side(site=site, tables=tables, postgres=world.postgres)
    await side.warm()
    everybody = Spoilt(renamed=frozenset(user.id for user in users))
    site.settings["MEMORY_LIMIT_MB"] = str(math.ceil(site.peak_rss_mb()) + 14)
    await side.restart()

    await side.spoil(everybody)
    taken = await side.by_bot(
        world,
        world.bot(**bots.SETTINGS),
        members=MEMBERS,
        changes=len(users),
    )
    ours = (taken.figures["kills"], await tables.differing(), site.running)
    await side.spoil(everybody)
    at_once = OldSyncer(api_url=site.api_url, token=site.token, page_rows=1_000, chunk_rows=None)
    with pytest.raises(httpx.TransportError):
        await at_once.sync(roles=roles, members=users)

    assert ours == (0, 0, True)
    assert (await site.wait_ended(), len(site.events(EXCEEDED))) == (-signal.SIGKILL, 1)
    assert await tables.differing() == len(users)
