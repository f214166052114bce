"""Everything that the world panel offers can be done and undone, and Truth sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.playground.actions import ACTIONS, BY_ID
from sandbox.playground.sampling import Sampler
from sandbox.playground.stories import Stage

if TYPE_CHECKING:
    from sandbox.playground.ground import Ground
    from sandbox.playground.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

# What each does to the guild while no bot runs, by how many rows differ then of 61 users, 15 roles.
DIFFER = {
    "join-many": 1_000,
    "leave-many": 34,
    "delete-role": 61,
    "rename": 1,
    "rename-badly": 1,
    "join": 1,
    "leave": 1,
    "burst": 57,
}
LARGE = {"grow"}  # played by a story


async def test_truth_counts_each_row_that_differs(ground: Ground) -> None:
    """The database itself says so, after each click and after it was undone."""
    sampler = Sampler(ground)
    seen = {}
    for id_ in DIFFER:
        undo = await BY_ID[id_].run(ground)
        seen[id_] = (await sampler.sample())[0]["differ"]
        await undo()
        assert (await sampler.sample())[0]["differ"] == 0, id_

    assert seen == DIFFER


async def test_whatever_is_done_can_be_undone(world: World, ground: Ground) -> None:
    """After all of it, one after the other, the bot brings guild and site in step again."""
    await ground.bot.start()
    await ground.bot.wait_for_event("sync.run.finished")
    failed = {}
    for action in ACTIONS:
        if action.id in DIFFER or action.id in LARGE:
            continue
        if action.id == "start-bot":
            await ground.bot.stop()
        await world.act(action.id)
        await world.undo(action.id)
        if action.id == "start-bot":
            await ground.bot.start()
        shown = next(each for each in world.panel()["actions"] if each["id"] == action.id)
        if shown["failed"] or shown["done"]:
            failed[action.id] = shown["failed"]
    await Stage(world).in_step(within_s=60)

    assert failed == {}


async def test_what_cannot_be_done_is_said(world: World, ground: Ground) -> None:
    """A bot that runs can't be started: the panel and the time line say why."""
    if not ground.bot.running:
        await ground.bot.start()
    await world.act("start-bot")

    shown = next(each for each in world.panel()["actions"] if each["id"] == "start-bot")
    assert shown["failed"] == "the bot runs already"
    assert world.lines[-1]["data"]["text"] == "Could not be done: the bot runs already"
