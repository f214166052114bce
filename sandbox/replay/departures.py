"""More members gone at once than can be believed without a moderator."""

from typing import Final

from sandbox.replay.outcome import Outcome
from sandbox.replay.scene import scene
from sandbox.replay.screen import Screen
from sandbox.replay.world import World

_SHARE: Final = 0.15  # of the members: beyond every gate
_OTHERS: Final = 200
_SEEN_LEAVING: Final = 20


async def mass_departure(world: World, *, members: int, screen: Screen) -> Outcome:
    """Let a seventh of the guild leave unseen, and see that nobody is marked as gone for it.

    The rest proceeds: what else changed is written, and so is who is seen leaving. The bot can't
    be given the approval yet, so the withheld departures are all that may differ in the end.
    """
    async with scene(world, screen, members=members) as on:
        gone = [on.crowd.leave() for _ in range(round(members * _SHARE))]
        on.withheld = frozenset(operation["id"] for operation in gone)
        changes = [on.crowd.change() for _ in range(_OTHERS)]
        await on.do([*gone, *changes], silent=True)
        on.begin(f"starting the bot: {len(gone):,} members have left while it was away")
        await on.start_bot()
        await on.runs(1)
        await on.do([on.crowd.leave() for _ in range(_SEEN_LEAVING)])
        await on.agree()
        said = f"Departures withheld: {len(gone):,}"
        if not any(said in message.text for message in await world.mod_log()):
            on.faults.append(f"mod-log does not say {said!r}")
        rows = {row.id: row.in_guild for row in await world.tables.users()}
        written = sum(not rows[id_] for id_ in on.withheld)
        if written:
            on.faults.append(f"{written:,} departures were written without a moderator's word")
        return await on.outcome(departures_withheld=len(gone), approved=False)
