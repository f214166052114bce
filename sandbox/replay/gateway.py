"""What Discord's gateway does to the member list, and to a bot that trusts it too early."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sandbox.replay.outcome import Outcome
from sandbox.replay.scene import AS_IN_REALITY, Scene, scene, wait_s
from sandbox.replay.screen import Screen
from sandbox.replay.world import SHARED_ROLE, World

_CHUNK: Final = 1_000  # members in each part of Discord's answer
_MEMBER_INTERVAL_S: Final = 30.0  # between two requests of all members, by Discord's rule
_RESTART_S: Final = 8.0
_SILENCE_S: Final = 20.0
_OUTAGE_S: Final = 30.0
_MISSED: Final = 200  # things that happen while nobody tells of them
_MISSED_DEPARTURES: Final = 40


async def partial_chunk(world: World, *, members: int, screen: Screen) -> Outcome:
    """Answer the request for all members with half of them, and never with the rest."""
    return await _half_way(
        world,
        screen,
        members,
        fault="chunks_only",
        what="of the member list only {half:,} parts of 1,000 will come",
    )


async def ready_mid_chunk(world: World, *, members: int, screen: Screen) -> Outcome:
    """Lose connection and session when half of the members have come: a READY follows."""
    return await _half_way(
        world,
        screen,
        members,
        fault="drop_after_chunks",
        what="it loses its session after {half:,} parts of the member list",
    )


async def ready_mid_run(world: World, *, members: int, screen: Screen) -> Outcome:
    """Lose the session while the incident's run is writing; much is missed until the READY."""
    async with _scene(world, screen, members, **_slow_run(members)) as on:
        role = world.ids.shared_role
        await on.do([{"op": "delete_role", "id": role}], silent=True)
        on.crowd.forget_role(role)
        on.begin(f"starting the bot: the role {SHARED_ROLE!r} is gone, which all members held")
        await on.start_bot()
        await on.written(members * 9 // 10)
        screen.say("ending the bot's session in the middle of its run")
        async with world.tables.held():  # discord.py takes 5 s, in which the run might end
            await on.control.drop(resumable=False)
            await miss_much(on)
            await on.counted("identify", 2)
            in_its_middle = on.chronicle.differing > members // 2
        if not in_its_middle:
            on.faults.append("the run had written most before the READY: nothing was tried")
        await on.runs(1)
        await on.agree()
        return await on.outcome(**await _counted(on))


async def guild_outage(world: World, *, members: int, screen: Screen) -> Outcome:
    """Take the guild away in the middle of a burst, and give it back when much has changed."""
    async with _scene(world, screen, members) as on:
        await on.start_bot_in_step()
        on.begin("making the guild unavailable in the middle of a burst")
        await on.do(on.crowd.bustle(_MISSED))
        await on.control.outage(on.guild, begin=True)
        await miss_much(on)
        await on.look_on(wait_s(_OUTAGE_S, members=members))
        screen.say("making it available again")
        await on.control.outage(on.guild, begin=False)
        await on.do(on.crowd.bustle(_MISSED), per_s=_MISSED)
        await on.agree()
        return await on.outcome(**await _counted(on))


async def rate_limited_chunk(world: World, *, members: int, screen: Screen) -> Outcome:
    """Restart the bot within the time in which Discord gives the member list only once."""
    async with _scene(world, screen, members) as on:
        began = time.monotonic()
        await on.start_bot_in_step()
        await on.stop_bot()
        await miss_much(on)
        # However long a busy machine took, and will take to start it again.
        passed_s = time.monotonic() - began
        interval_s = max(_RESTART_S, wait_s(_MEMBER_INTERVAL_S, members=members), passed_s)
        await on.control.fault("member_interval_s", passed_s + interval_s)
        on.begin("starting the bot again, too soon for another member list")
        await on.start_bot()
        await on.do(on.crowd.bustle(_MISSED), per_s=_MISSED)
        await on.runs(2)
        await on.agree()
        counters = await _counted(on)
        if not counters["rate_limited"]:
            on.faults.append("no request for members was refused: nothing was tried")
        return await on.outcome(**counters)


async def miss_much(on: Scene) -> None:
    """Let members come, change and go without a word of the gateway."""
    crowd = on.crowd
    gone = [crowd.leave() for _ in range(_MISSED_DEPARTURES)]
    await on.do([*gone, *crowd.bustle(_MISSED)], silent=True)


async def _half_way(
    world: World, screen: Screen, members: int, *, fault: str, what: str
) -> Outcome:
    """Let this fault happen in the middle of the member list that a bot asks for as it starts."""
    async with _scene(world, screen, members) as on:
        await miss_much(on)
        half = members // _CHUNK // 2
        on.begin(f"starting the bot: {what.format(half=half)}")
        await on.control.fault(fault, half)
        await on.start_bot()
        await on.runs(1)
        await on.agree()
        return await on.outcome(**await _counted(on))


def _slow_run(members: int) -> dict[str, str]:
    """Return settings with which a run lasts long enough to be met in its middle."""
    return {} if members >= AS_IN_REALITY else {"SYNC_MAX_ITEMS": "25"}


@asynccontextmanager
async def _scene(
    world: World, screen: Screen, members: int, **settings: str
) -> AsyncIterator[Scene]:
    """Set a scene in which Discord's rule about member lists holds, and waits end in good time."""
    await world.control.fault("member_interval_s", wait_s(_MEMBER_INTERVAL_S, members=members))
    silence_s = wait_s(_SILENCE_S, members=members)
    async with scene(
        world, screen, members=members, SYNC_MEMBER_TIMEOUT_S=f"{silence_s:g}", **settings
    ) as on:
        yield on


async def _counted(on: Scene) -> dict[str, int]:
    """Return how often the bot connected, asked for members, and was refused."""
    counters = await on.counters()
    return {name: counters[name] for name in ("identify", "member_requests", "rate_limited")}
