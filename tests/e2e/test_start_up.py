"""The main job, from a bot's start to its last word in mod-log, on real parts."""

import asyncio

from rich.console import Console

from sandbox.replay import checks
from sandbox.replay.first_run import follow
from sandbox.replay.screen import Screen
from sandbox.replay.world import World


async def test_a_deleted_role_is_taken_from_everybody(world: World) -> None:
    """After the start-up sync every row of the site is what the guild says."""
    ids = await world.make_guild(members=300)
    await world.fill_site()
    await world.control.delete_role(ids.guild, ids.shared_role)
    bot = world.bot()
    await bot.start()

    finished = await bot.wait_for_event("sync.run.finished")

    assert (finished["ending"], finished["changes"], await world.differences()) == (
        "verified",
        300,
        [],
    )


async def test_a_site_in_step_is_left_alone(world: World) -> None:
    """First contact with a site that is in step plans nothing and writes nothing."""
    await world.make_guild(members=300)
    await world.fill_site()
    bot = world.bot()
    await bot.start()

    finished = await bot.wait_for_event("sync.run.finished")

    writes = [request for request in world.site_requests() if request.method != "GET"]
    assert (finished["ending"], finished["changes"], writes) == ("verified", 0, [])


async def test_an_empty_site_is_filled(world: World) -> None:
    """A new site gets every role and member, and mod-log's last word says so."""
    await world.make_guild(members=99)
    bot = world.bot()
    await bot.start()

    async with asyncio.timeout(60):
        ended = await follow(world, bot, Screen(Console(quiet=True)))

    assert [
        ended.line["created"],
        await world.differences(),
        checks.mod_log_faults(ended.mod_log, ended.run_id),
    ] == [100, [], []]
