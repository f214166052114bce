"""The site is away for a while; the guild lives on, and the bot is restarted meanwhile."""

from typing import Final

from sandbox.replay.outcome import Outcome
from sandbox.replay.scene import scene, wait_s
from sandbox.replay.screen import Screen
from sandbox.replay.world import World

_DOWN_S: Final = 60.0  # of the ten minutes, which the bot's settings shorten alike
_EVENTS_PER_S: Final = 20
# Times of the bot in a tenth: it must meet each of its bounds while the site is away.
_SETTINGS: Final = {"SYNC_BACKOFF_S": "0.1", "SYNC_STALL_S": "60"}


async def site_down_10_min(world: World, *, members: int, screen: Screen) -> Outcome:
    """Stop the site, let things happen, restart the bot, and start the site again."""
    async with scene(world, screen, members=members, **_SETTINGS) as on:
        await on.start_bot_in_step()
        down_s = wait_s(_DOWN_S, members=members)
        on.begin(f"stopping the site for {down_s:g} s: ten minutes, shortened")
        await world.website.stop()
        some = round(_EVENTS_PER_S * down_s / 2)
        await on.do(on.crowd.bustle(some), per_s=_EVENTS_PER_S)
        screen.say("restarting the bot: what waited there is lost with it")
        await on.restart_bot()
        await on.do(on.crowd.bustle(some), per_s=_EVENTS_PER_S)
        screen.say("starting the site again")
        await world.website.start()
        await on.agree()
        return await on.outcome()
