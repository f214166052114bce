"""The live message under fire: floods of states, a Discord that takes nothing, moderators."""

import asyncio
import contextlib
import gc
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import discord
import pytest

from bot.exts.backend.sync._clock import SystemClock
from bot.exts.backend.sync._core.messages.progress import Ending, Phase, RunView
from bot.exts.backend.sync._discord.mod_log import DiscordModLog
from tests.e2e.trouble.harness import BOT, GUILD, Stage
from tests.fakes.mod_log_contract import NOW, VIEW, ModLogContract

_T = TypeVar("_T")
END = replace(VIEW, ending=Ending.VERIFIED, phase=Phase.ENDED, now=NOW + timedelta(seconds=7))
DONE = "**0** of **1,000,000** changes written.\n**Verified** in 7.0 s."


@contextlib.asynccontextmanager
async def reporting(stage: Stage, **settings: Any) -> AsyncIterator[DiscordModLog]:
    """Run the reporter alone, in a bot without the extension."""
    await stage.guild()
    async with stage.bot(BOT_EXTENSIONS="bot.exts.backend.error_handler") as bot:
        mod_log = DiscordModLog(
            bot,
            clock=SystemClock(),
            **({"guild_id": GUILD, "channel_id": stage.mod_log, "alert_role_id": None} | settings),
        )
        writing = asyncio.create_task(mod_log.run_forever())
        await bot.wait_until_ready()
        try:
            yield mod_log
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)


def shown(stage: Stage) -> list[str]:
    """Return the descriptions that mod-log shows, oldest first."""
    return [embed["description"] for embed in stage.embeds()]


def edits(stage: Stage) -> list[datetime]:
    """Return when the messages of mod-log were made and edited."""
    channel = stage.discord.state.channel(stage.mod_log)
    assert channel is not None
    ours = (m for m in channel.messages.values() if int(m.author["id"]) == BOT)
    return sorted(edit.at for message in ours for edit in message.edits)


def alive(kind: type) -> int:
    """Count the objects of a class that are still referred to."""
    gc.collect()
    return sum(type(each) is kind for each in gc.get_objects())


@pytest.mark.slow
async def test_a_flood_of_states_makes_few_edits(stage: Stage) -> None:
    """1,000 states a second: an edit per interval, the last one right, and none of them is kept."""
    async with reporting(stage, interval_s=0.5) as mod_log:
        views, buttons = alive(RunView), alive(discord.ui.View)
        done = 0
        for _ in range(300):
            for _ in range(10):
                done += 1
                mod_log.show(replace(VIEW, done=done))
            await asyncio.sleep(0.01)
        kept = [alive(RunView) - views, alive(discord.ui.View) - buttons]
        await mod_log.finish(replace(END, done=done))
    times = edits(stage)
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(times)]

    assert done == 3000
    assert 3 <= len(times) <= (times[-1] - times[0]).total_seconds() / 0.5 + 3
    # Only the last edit may come sooner; the clock of the server stands beside that of the bot.
    assert min(gaps[:-1]) > 0.45
    assert shown(stage) == [DONE]
    assert [kept[0] <= 3, kept[1] <= 1] == [True, True]


async def test_a_state_that_shows_nothing_new_costs_no_edit(stage: Stage) -> None:
    """The clock alone changes no message."""
    async with reporting(stage, interval_s=0.05) as mod_log:
        for second in range(20):
            mod_log.show(replace(VIEW, now=NOW + timedelta(seconds=second)))
            await asyncio.sleep(0.02)

    assert len(edits(stage)) == 1


async def test_a_deleted_message_is_made_anew(stage: Stage) -> None:
    """A moderator's broom sweeps one state away, and no run."""
    async with reporting(stage, interval_s=0.05) as mod_log:
        mod_log.show(replace(VIEW, done=1))
        await stage.until(lambda: len(shown(stage)) == 1)
        channel = stage.discord.state.channel(stage.mod_log)
        assert channel is not None
        (message,) = channel.messages
        await stage.control.delete_message(stage.mod_log, message)
        mod_log.show(replace(VIEW, done=2))
        await stage.until(lambda: "**2** of" in str(shown(stage)))
        await mod_log.finish(END)

    assert shown(stage) == [DONE]


async def test_an_old_message_is_followed_by_a_new_one(stage: Stage) -> None:
    """The old one has no buttons and links to the new one, which goes on from there."""
    async with reporting(stage, interval_s=0.05, roll_after_s=0.3) as mod_log:
        mod_log.show(replace(VIEW, done=1))
        await stage.until(lambda: len(shown(stage)) == 1)
        await asyncio.sleep(0.3)  # how old the message must be
        mod_log.show(replace(VIEW, done=2))
        await stage.until(lambda: len(shown(stage)) == 2 and "newer message" in shown(stage)[0])
        await mod_log.finish(END)
    channel = stage.discord.state.channel(stage.mod_log)
    assert channel is not None
    ids = list(channel.messages)

    assert [embed["title"] for embed in stage.embeds()] == [
        "Sync of users continues below",
        "Sync of users finished",
    ]
    assert shown(stage)[0].endswith(f"/{stage.mod_log}/{ids[1]}")
    assert not stage.bodies()[0]["components"]


async def test_what_discord_did_not_take_comes_when_it_does(stage: Stage) -> None:
    """Two runs end while it is down; their last states, and no others, come later, one each."""
    async with reporting(stage, interval_s=0.05) as mod_log:
        mod_log.show(replace(VIEW, done=1))
        await stage.until(lambda: len(shown(stage)) == 1)
        path = f"* /channels/{stage.mod_log}/messages*"
        await stage.control.rest_fault(path, count=10_000, status=503)
        other = replace(VIEW, run_id="r2")
        for done in range(100):
            mod_log.show(replace(VIEW, done=done))
        ends = [
            asyncio.create_task(mod_log.finish(END)),
            asyncio.create_task(mod_log.finish(replace(END, run_id="r2", what="roles"))),
        ]
        mod_log.show(replace(other, run_id="r3", what="roles and users", done=5))
        await stage.until(lambda: stage.discord.state.channel(stage.mod_log) is not None)
        await asyncio.sleep(0.5)  # so that it has tried and failed
        during = shown(stage)
        await stage.control.clear_faults()
        await asyncio.gather(*ends)
        await stage.until(lambda: len(shown(stage)) == 3)

    assert ["**1** of" in during[0], len(during)] == [True, 1]
    assert [embed["title"] for embed in stage.embeds()] == [
        "Sync of users finished",
        "Sync of roles finished",
        "Syncing roles and users",
    ]


async def test_a_channel_that_may_not_be_used_holds_nothing_up(stage: Stage) -> None:
    """The run ends without waiting; with the permission comes the last state."""
    async with reporting(stage, interval_s=0.05) as mod_log:
        await stage.control.forbid_channel(stage.mod_log)
        mod_log.show(VIEW)
        await asyncio.wait_for(mod_log.finish(END), 5)
        during = shown(stage)
        await stage.control.forbid_channel(stage.mod_log, forbidden=False)
        await stage.until(lambda: shown(stage) == [DONE])

    assert during == []


async def test_a_deleted_channel_holds_nothing_up(stage: Stage) -> None:
    """Its runs end, and what waits for the channel is bounded."""
    async with reporting(stage, interval_s=0.05) as mod_log:
        mod_log.show(VIEW)
        await stage.until(lambda: len(shown(stage)) == 1)
        await stage.control.delete_channel(stage.mod_log)
        for number in range(100):
            view = replace(END, run_id=f"r{number}")
            await asyncio.wait_for(mod_log.finish(view), 5)
        waiting = len(mod_log._newest)

    assert waiting == 20


class OnDiscord:
    """The channel on the local Discord."""

    def __init__(self, stage: Stage, mod_log: DiscordModLog) -> None:
        self.stage = stage
        self.mod_log = mod_log

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return await work

    async def until(self, condition: Callable[[], bool]) -> None:
        await self.stage.until(condition)

    async def away(self, *, begin: bool) -> None:
        if begin:
            await self.stage.control.rest_fault("* /channels/*", count=1000, status=403)
        else:
            await self.stage.control.clear_faults()

    def told(self) -> list[str]:
        return [f"{embed['title']} | {embed['footer']['text']}" for embed in self.stage.embeds()]

    def described(self) -> list[str]:
        return shown(self.stage)


class TestOnDiscord(ModLogContract):
    """What is promised of mod-log, kept by the real client in the local Discord's channel."""

    @pytest.fixture
    async def room(self, stage: Stage) -> AsyncIterator[OnDiscord]:
        """Open the channel."""
        async with reporting(stage, interval_s=0.2) as mod_log:
            yield OnDiscord(stage, mod_log)
