"""More members gone at once than can be believed without a moderator."""

from typing import Final

from sandbox.replay.outcome import Outcome
from sandbox.replay.scene import Scene, scene
from sandbox.replay.screen import Screen
from sandbox.replay.world import World

_SHARE: Final = 0.15  # of the members: beyond every gate
_OTHERS: Final = 200
_SEEN_LEAVING: Final = 20
_BACK: Final = 10


async def mass_departure(world: World, *, members: int, screen: Screen) -> Outcome:
    """Let a seventh of the guild leave unseen: nobody is marked as gone without a moderator.

    The rest proceeds: what else changed is written, and so is who is seen leaving. Some come back
    before the moderator approves, and stay members.
    """
    async with scene(world, screen, members=members) as on:
        gone = [on.crowd.leave()["id"] for _ in range(round(members * _SHARE))]
        changes = [on.crowd.change() for _ in range(_OTHERS)]
        leaving = [{"op": "leave", "id": id_} for id_ in gone]
        await on.do([*leaving, *changes], silent=True)
        on.withheld = frozenset(gone)
        on.begin(f"starting the bot: {len(gone):,} members have left while it was away")
        await on.start_bot()
        await on.runs(1)
        await on.do([on.crowd.leave() for _ in range(_SEEN_LEAVING)])
        await on.agree()
        await _expect_withheld(on, len(gone))
        back = [{"op": "put", "member": {"id": id_, "name": "back again"}} for id_ in gone[:_BACK]]
        on.withheld -= frozenset(gone[:_BACK])
        await on.do(back)
        await on.agree()
        screen.say("approving, as the guild's owner")
        on.withheld = frozenset()
        await on.press("Approve")
        await on.agree()
        return await on.outcome(departures_withheld=len(gone), back_before_approval=_BACK)


async def _expect_withheld(on: Scene, count: int) -> None:
    said = f"Departures withheld: {count:,}"
    if not any(said in message.text for message in await on.world.mod_log()):
        on.faults.append(f"mod-log does not say {said!r}")
    rows = {row.id: row.in_guild for row in await on.world.tables.users()}
    written = sum(not rows[id_] for id_ in on.withheld)
    if written:
        on.faults.append(f"{written:,} departures were written without a moderator's word")
