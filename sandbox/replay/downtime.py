"""The site is away for a while; the guild lives on, and the bot is restarted meanwhile."""

from typing import Final

from sandbox.replay.outcome import Outcome
from sandbox.replay.scene import AS_IN_REALITY, scene
from sandbox.replay.screen import Screen
from sandbox.replay.world import World

_EVENTS_PER_S: Final = 20
_OPENED, _RECOVERED = "Sync breaker opened", "Sync recovered"
_PATIENCE_S: Final = 120.0
# The bot's times in s, which are shortened like the ten minutes are.
_TIMES: Final = {
    "SYNC_BACKOFF_S": 1,
    "SYNC_FIRST_RETRY_S": 60,
    "SYNC_SECOND_RETRY_S": 300,
    "SYNC_BREAKER_OPEN_S": 900,
}
_TEN_MINUTES_S: Final = 600


async def site_down_10_min(world: World, *, members: int, screen: Screen) -> Outcome:
    """Stop the site until the bot has given up on it, restart the bot meanwhile, start the site."""
    shorter = 20 if members >= AS_IN_REALITY else 200
    await world.control.fault("member_interval_s", 0)
    settings = {name: f"{time_s / shorter:g}" for name, time_s in _TIMES.items()}
    async with scene(world, screen, members=members, **settings) as on:
        await on.start_bot_in_step()
        half_s = _TEN_MINUTES_S / shorter / 2
        on.begin(f"stopping the site for ten minutes, shortened to {2 * half_s:g} s")
        await world.website.stop()
        await on.do(on.crowd.bustle(round(_EVENTS_PER_S * half_s)), per_s=_EVENTS_PER_S)
        screen.say("restarting the bot: what waited in it is lost with it")
        await on.restart_bot()
        await on.do(on.crowd.bustle(round(_EVENTS_PER_S * half_s)), per_s=_EVENTS_PER_S)
        await on.told(_OPENED, within_s=_PATIENCE_S)
        screen.say("starting the site again")
        await world.website.start()
        await on.told(_RECOVERED, within_s=_PATIENCE_S)
        await on.agree()
        return await on.outcome()
