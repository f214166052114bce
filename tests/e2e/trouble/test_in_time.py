"""Answers that take longer than Discord waits: three seconds, and a quarter of an hour."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.trouble.faulty_site import Answer, Call, Forward
from tests.e2e.trouble.harness import GUILD, Stage
from tests.e2e.trouble.people import People, text_of

ORDERS = [
    "sync pause",
    *(
        pytest.param(f"sync {order}", marks=pytest.mark.slow)
        for order in ("resume", "breaker open", "breaker reset", "retry")
    ),
]


async def given(stage: Stage, channel: int, person: int, command: str) -> int:
    """Give a slash command, and return its id once the bot has acknowledged it."""
    asked = await stage.control.invoke(channel, person, command, {})
    interaction = stage.discord.interactions.get(asked)
    assert interaction is not None
    await stage.until(lambda: interaction.acknowledged)
    return asked


async def text(stage: Stage, asked: int) -> str:
    """Return the last answer once it says something."""
    async with asyncio.timeout(15):
        while True:
            answers = [a for a in await stage.control.responses(asked) if "body" in a]
            if answers and text_of(answers[-1]["body"]):
                return text_of(answers[-1]["body"])
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("command", ORDERS)
async def test_an_order_that_waits_for_the_store_is_answered(
    stage: Stage, tmp_path: Path, command: str
) -> None:
    """A backup locks the store's file; Discord hears in time that an answer follows."""
    await stage.guild()
    people = await People.of(stage)
    await stage.fill_site()
    file = tmp_path / "state.sqlite3"
    async with stage.bot(SYNC_STATE_URL=f"sqlite:///{file}"):
        await stage.ready()
        backup = sqlite3.connect(file, isolation_level=None)
        backup.execute("BEGIN EXCLUSIVE")
        asked = await given(stage, stage.mod_log, people.administrator, command)
        backup.execute("COMMIT")
        backup.close()
        await stage.control.fault("ahead_s", 10)
        answer = await text(stage, asked)

    assert answer.startswith("Sync")


@pytest.mark.parametrize("member_cache", ["off"], indirect=True)
async def test_a_plan_that_outlives_its_token_is_given_in_mod_log(stage: Stage) -> None:
    """Without a member cache a large guild's may take that long."""
    await stage.guild()
    people = await People.of(stage)
    await stage.fill_site()
    channel = await stage.control.create_channel(GUILD, "bots")
    go_on = asyncio.Event()

    async def hold(call: Call, forward: Forward) -> Answer:
        await asyncio.wait_for(go_on.wait(), 20)
        return await forward(call)

    async with stage.bot():
        await stage.ready()
        stage.site.fault = hold
        asked = await given(stage, channel, people.administrator, "sync plan")
        await stage.control.fault("ahead_s", 15 * 60 + 1)
        go_on.set()
        await stage.until(lambda: "asked for this" in str(stage.bodies()[-1].get("content")))

    assert [text_of(a["body"]) for a in await stage.control.responses(asked)] == [""]
    assert stage.bodies()[-1]["content"] == f"<@{people.administrator}> asked for this:"
    assert "**Nothing differs.**" in text_of(stage.bodies()[-1])
