"""The main jobs on each kind of site: with digests, without, and with nothing but the contract."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from aiohttp import web

from sandbox.replay.world import World
from sandbox.servers import Bot
from sandbox.site_proxy import Answer, Call, Forward, SiteProxy

SITES: Final[Mapping[str, Callable[[Path], World]]] = {
    "digests": partial(World, durable=False),
    "no digests": partial(World, durable=False, digests=False),
    "plain": partial(World, durable=False, plain=True),
}
MEMBERS: Final = 300
CHECKS: Final = {"SYNC_DRIFT_EVERY_S": "0.5"}
WITHIN_S: Final = 30.0

with_digests = pytest.mark.parametrize("sites", ["digests"], indirect=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=list(SITES))
async def sites(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """Start a world around each kind of site, for all tests of it."""
    async with SITES[request.param](tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def world(sites: World, tmp_path: Path) -> AsyncIterator[World]:
    """Give a guild and a site in step."""
    async with sites.renewed(tmp_path) as fresh:
        await fresh.make_guild(members=MEMBERS)
        await fresh.fill_site()
        yield fresh


async def in_step(world: World) -> bool:
    """Wait until every row is right, and say whether it is."""
    async with asyncio.timeout(WITHIN_S):
        while await world.differences():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.1)
    return True


async def start(world: World, **settings: str) -> Bot:
    """Start a bot, and wait until its first sync has ended well."""
    bot = world.bot(**settings)
    await bot.start()
    finished = await bot.wait_for_event("sync.run.finished")
    assert finished["ending"] == "verified"
    return bot


async def next_check(bot: Bot) -> None:
    """Wait until a check has ended that began after this."""
    count = len(bot.events("sync.run.finished")) + 2
    await bot.wait_for_event("sync.run.finished", count=count)


async def test_a_deleted_role_is_taken_from_everybody(world: World) -> None:
    """The incident, verified by whatever the site has for it."""
    ids = world.ids
    await world.control.delete_role(ids.guild, ids.shared_role)
    bot = await start(world)
    (finished,) = bot.events("sync.run.finished")

    assert finished["changes"] == MEMBERS
    assert finished["verification"] in {"digests", "every written row", "answers and a sample"}
    assert await world.differences() == []


async def test_what_happens_in_the_guild_reaches_the_site(world: World) -> None:
    """Somebody comes, changes, goes; a role is deleted, of whose loss no member's event tells."""
    guild = world.ids.guild
    ids = [member["id"] async for member in world.control.members(guild)]
    bot = await start(world, **CHECKS)
    await world.control.operations(
        guild,
        [
            {"op": "put", "member": {"id": 800_000_000_000_000_000, "name": "new", "roles": []}},
            {"op": "change", "id": ids[50], "nick": "renamed"},
            {"op": "leave", "id": ids[60]},
        ],
    )
    assert await in_step(world)
    role = next(one for one in await world.control.roles(guild) if one["position"] == 3)
    await world.control.delete_role(guild, role["id"])
    assert await in_step(world)
    await next_check(bot)

    assert await in_step(world)
    assert bot.events("sync.hashes.wrong") == []


PLANTED: Final[Mapping[str, str]] = {
    "a wrong name": "UPDATE api_user SET name = 'wrong' WHERE id = %s",
    "a member who is said to have left": "UPDATE api_user SET in_guild = false WHERE id = %s",
    "a missing row": "DELETE FROM api_user WHERE id = %s",
    "a row too many": "INSERT INTO api_user"
    " (id, name, display_name, discriminator, roles, in_guild) SELECT"
    " 7, name, display_name, discriminator, roles, true FROM api_user WHERE id = %s",
}


async def test_a_check_finds_what_no_event_told_of(world: World) -> None:
    """Whatever is wrong in a row, and mends it."""
    bot = await start(world, **CHECKS)
    ids = sorted(user.id for user in await world.tables.users())
    for place, statement in enumerate(PLANTED.values()):
        await world.tables.execute(statement, ids[50 * (place + 1)])
    found = {difference.id for difference in await world.differences()}
    await next_check(bot)

    assert found == {ids[50], ids[100], ids[150], 7}
    assert await in_step(world)


def altering(change: Callable[[dict[str, Any]], None]) -> Any:
    """Return the fault of a site that gives other digests than those of its rows."""

    async def alter(call: Call, forward: Forward) -> Answer:
        answer = await forward(call)
        if call.path != "bot/sync/digests" or not isinstance(answer.body, bytes):
            return answer
        said = json.loads(answer.body)
        change(said)
        return web.json_response(said)

    return alter


def count_twice(said: dict[str, Any]) -> None:
    """Count the rows of the last range twice."""
    said["counts"][-1] *= 2


def sum_wrongly(said: dict[str, Any]) -> None:
    """Give the first range another sum."""
    said["sums"][0] = f"{int(said['sums'][0], 16) ^ 1:016x}"


@with_digests
@pytest.mark.parametrize("change", [count_twice, sum_wrongly])
async def test_a_site_that_sums_wrongly_is_read(
    world: World, change: Callable[[dict[str, Any]], None]
) -> None:
    """It is reported, nothing is written, and whatever is wrong there later is found by rows."""
    async with SiteProxy(world.website.api_url) as proxy:
        proxy.fault = altering(change)
        bot = await start(world, SITE_API_URL=proxy.api_url, **CHECKS)
        await next_check(bot)
        writes = proxy.writes()
        reported = bot.events("sync.digests.wrong")
        ids = sorted(user.id for user in await world.tables.users())
        await world.tables.execute(PLANTED["a wrong name"], ids[100])
        assert await in_step(world)

    assert (writes, len(reported)) == ([], 1)


@with_digests
async def test_a_check_in_step_reads_no_row(world: World) -> None:
    """Three small requests, but for the one in ten that looks at a page, and no word in mod-log."""
    bot = await start(world, **CHECKS)
    told, paths = len(await world.mod_log()), {""}
    for _ in range(6):
        before = len(world.site_requests())
        await next_check(bot)
        paths = {request.path for request in world.site_requests()[before:]}
        if "/api/bot/users" not in paths:
            break

    assert paths <= {f"/api/bot/{path}" for path in ("sync/capabilities", "roles", "sync/digests")}
    assert len(await world.mod_log()) == told
