"""Each check is seen to fail, by a run that is broken on purpose: what passes them means something.

The rounds are small and mostly calm, since only the one thing that is broken should go wrong.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import aiohttp
import pytest
import pytest_asyncio
from rich.console import Console

from sandbox.chaos.plan import Fault, Moment, Poison, Round, Store
from sandbox.chaos.rivals import Rivals
from sandbox.chaos.round import Chaos, Play
from sandbox.judging import is_open
from sandbox.replay.restart_loop import restart_loop
from sandbox.replay.screen import Screen
from sandbox.replay.world import World
from sandbox.servers import Valkey

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALM: Final = Round(
    number=1, seed="calm", store=Store.SQLITE, store_away=False, moments=[], poison=[]
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chaos(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chaos]:
    """Start the servers for all these rounds."""
    directory = tmp_path_factory.mktemp("chaos")
    async with World(directory, durable=False) as world, Valkey(directory / "valkey") as valkey:
        yield Chaos(world=world, valkey=valkey, members=60)


async def test_a_calm_round_is_well(chaos: Chaos, tmp_path: Path) -> None:
    """Where nothing is broken there is nothing to find: what follows is not the harness's own."""
    outcome = await chaos.play(replace(CALM, poison=list(Poison)), tmp_path)

    assert (outcome.faults, outcome.parked, len(outcome.poisoned)) == ([], outcome.poisoned, 3)


async def test_a_wrong_row_is_found(chaos: Chaos, tmp_path: Path) -> None:
    """One field of one row, changed behind the back of bot and site, is the one fault."""
    async with chaos.playing(CALM, tmp_path) as play:
        await play.befall()
        await play.settle()
        row = (await play.world.tables.users())[30]
        await play.world.tables.execute("UPDATE api_user SET name = 'eve' WHERE id = %s", row.id)
        outcome = await play.judge()

    assert outcome.faults == [
        f"user {row.id}: name is 'eve' on the site and {row.name!r} in the guild"
    ]


async def test_without_parking_the_poisoned_rows_are_found(chaos: Chaos, tmp_path: Path) -> None:
    """A bot that fails at any rejected row never comes to an end with them."""
    broken = replace(
        chaos, bot_settings={"SYNC_PARKED_MIN": "0", "SYNC_PARKED_PART": "0"}, settle_s=8
    )
    outcome = await broken.play(replace(CALM, poison=[Poison.NAMED]), tmp_path)

    (poisoned,) = outcome.poisoned
    assert outcome.misparked == [f"row {poisoned} is poisoned and was not parked"]


async def test_a_write_while_the_breaker_is_open_is_found(chaos: Chaos, tmp_path: Path) -> None:
    """A stranger's write at that time is the one fault, though every row is right after it."""

    async def intrude(play: Play) -> None:
        async with asyncio.timeout(30):
            while not is_open(await play.world.mod_log()):  # noqa: ASYNC110  another process's state
                await asyncio.sleep(0.05)
        row = (await play.world.tables.users())[30]
        token = play.world.website.token
        async with (
            aiohttp.ClientSession(
                base_url=play.proxy.api_url,
                headers={"Authorization": f"Token {token}", "X-Request-ID": "stranger-1"},
            ) as session,
            session.patch(f"bot/users/{row.id}", json={"name": row.name}) as answer,
        ):
            await answer.read()

    plan = replace(CALM, moments=[Moment(fault=Fault.DOWN_THEN_WELL, after_requests=1)])
    async with chaos.playing(plan, tmp_path) as play, asyncio.TaskGroup() as group:
        group.create_task(intrude(play))
        await play.befall()
        await play.settle()
        outcome = await play.judge()

    assert [fault.split(" was sent")[0] for fault in outcome.faults] == ["write stranger-1"]


async def test_without_a_breaker_its_alert_is_missed(chaos: Chaos, tmp_path: Path) -> None:
    """A bot that never opens its breaker tells of no opening after three bad runs."""
    broken = replace(chaos, bot_settings={"SYNC_BREAKER_THRESHOLD": "1000000000"}, settle_s=5)
    plan = replace(CALM, moments=[Moment(fault=Fault.DOWN_THEN_WELL, after_requests=1)])
    outcome = await broken.play(plan, tmp_path)

    assert [fault.split(" runs ")[0] for fault in outcome.alerts_lost] == ["no alert tells that"]


async def test_without_a_breaker_every_restart_writes(chaos: Chaos, tmp_path: Path) -> None:
    """The restart loop counts an attempt a start, and no notice tells of an opening."""
    async with chaos.world.renewed(tmp_path) as world:
        outcome = await restart_loop(
            world,
            members=100,
            screen=Screen(Console(quiet=True)),
            restarts=4,
            settings={"SYNC_BREAKER_THRESHOLD": "1000000000"},
        )

    assert outcome.further["attempts_before_open"] == 5
    assert "5 attempts were made before the breaker opened" in outcome.faults
    assert "mod-log has 0 notices 'Sync breaker opened', not one" in outcome.faults


async def test_without_a_shared_lease_both_bots_write(chaos: Chaos, tmp_path: Path) -> None:
    """Two bots with a store each are found at the site together."""
    rivals = Rivals(
        world=chaos.world,
        valkey=chaos.valkey,
        seed=1,
        members=60,
        second_settings={"SYNC_STATE_URL": f"sqlite:///{tmp_path}/own.db"},
    )
    outcome = await rivals.compete(Store.SQLITE, starts=4, directory=tmp_path)

    assert outcome.rivals_writing
