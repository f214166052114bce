"""Commands and presses as the real client brings them, on the local Discord: the real promises."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import discord
import pytest
from discord.ext import commands

from bot.exts.backend.sync._clock import SystemClock
from bot.exts.backend.sync._core.messages.buttons import Action, Button
from bot.exts.backend.sync._discord.call import ButtonPress, ContextCall
from bot.exts.backend.sync._discord.message import to_view
from bot.exts.backend.sync._discord.presses import hearing
from tests.e2e.trouble.harness import BOT, QuickBot, Stage
from tests.fakes.call import Kind
from tests.fakes.call_contract import CallContract

_T = TypeVar("_T")
Json = dict[str, Any]
BUTTON = Button(action=Action.PAUSE)


class OnDiscord:
    """Somebody who has just asked a bot without the extension."""

    def __init__(self, stage: Stage, kind: Kind, call: Any, *, asked: int, shown: int) -> None:
        self.kind = kind
        self.call = call
        self._stage = stage
        self._asked = asked
        self._shown = shown

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return await work

    async def let_pass(self, seconds: float) -> None:
        before = self._stage.discord.faults.ahead_s
        await self._stage.control.fault("ahead_s", before + seconds)

    async def seen(self) -> list[tuple[str, bool]]:
        answers: dict[int, tuple[Json, bool]] = {}
        channel = self._stage.discord.state.channel(self._stage.mod_log)
        assert channel is not None
        for message in channel.messages.values():
            if int(message.author["id"]) == BOT and message.id != self._shown:
                answers[message.id] = message.body, False
        responses = await self._stage.control.responses(self._asked) if self._asked else []
        for one in responses:
            answers[one["id"]] = one["body"], one["ephemeral"]
        texts = {id_: (_text(body), private) for id_, (body, private) in answers.items()}
        return [one for _, one in sorted(texts.items()) if one[0]]


def _text(body: Json) -> str:
    embeds = body.get("embeds") or ()
    return "".join(embed["description"] for embed in embeds) or str(body.get("content") or "")


@contextlib.asynccontextmanager
async def asking(stage: Stage, kind: Kind) -> AsyncIterator[OnDiscord]:
    """Let the owner of a guild type a command, choose it, or press a button."""
    ids = await stage.guild()
    person, heard, clock = min(set(ids) - {BOT}), asyncio.Queue[Any](), SystemClock()
    async with stage.bot(BOT_EXTENSIONS="bot.exts.backend.error_handler") as bot:
        await bot.wait_until_ready()

        async def press(interaction: discord.Interaction[Any], button: Button | None) -> None:
            await heard.put(ButtonPress(interaction, button, prefix="!", clock=clock))
            await asyncio.sleep(60)

        bot.add_dynamic_items(hearing(press))
        bot.add_command(probe(heard))
        await bot.tree.sync()
        asked = shown = 0
        match kind:
            case Kind.TEXT:
                await stage.control.post(stage.mod_log, person, "!probe")
            case Kind.SLASH:
                asked = await stage.control.invoke(stage.mod_log, person, "probe", {})
            case Kind.PRESS:
                channel: Any = bot.get_channel(stage.mod_log)
                shown = (await channel.send("here", view=to_view([BUTTON]))).id
                asked = await stage.control.press(stage.mod_log, shown, person, BUTTON.custom_id)
        call = await asyncio.wait_for(heard.get(), 10)
        yield OnDiscord(stage, kind, call, asked=asked, shown=shown)


def probe(heard: "asyncio.Queue[Any]") -> commands.HybridCommand[Any, ..., Any]:
    """Return a command that hands over how it was given."""

    @commands.hybrid_command(name="probe")
    async def command(ctx: commands.Context[QuickBot]) -> None:
        """Ask."""
        await heard.put(ContextCall(ctx, clock=SystemClock()))

    return command


class TestOnDiscord(CallContract):
    """With the real client, on the local Discord."""

    @pytest.fixture
    async def caller(self, stage: Stage, kind: Kind) -> AsyncIterator[OnDiscord]:
        """Yield somebody who asks."""
        async with asking(stage, kind) as made:
            yield made
