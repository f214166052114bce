"""The incident of 12 January 2021: a role that everybody held is deleted while the bot is down."""

from sandbox.replay.first_run import FirstRun
from sandbox.replay.outcome import Outcome
from sandbox.replay.screen import Screen
from sandbox.replay.world import SHARED_ROLE, World


async def incident(world: World, *, members: int, screen: Screen) -> Outcome:
    """Fill both sides in step, delete the role, start the bot, and judge what it leaves behind."""
    run = await FirstRun.filled(world, screen, members=members)
    screen.say(f"deleting the role {SHARED_ROLE!r}, which all of them hold, while the bot is down")
    await world.control.delete_role(world.ids.guild, world.ids.shared_role)
    changes = {found.id for found in await world.differences() if found.what == "user"}
    await run.start(f"starting the bot: the site differs in {len(changes):,} users")
    await run.follow()
    await run.stop()
    return await run.outcome(changes=len(changes))
