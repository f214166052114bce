"""What one who watches the local Discord is told, and who may see which channel."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import discord
import pytest

from sandbox.discord.client import ControlError
from tests.sandbox.conftest import GUILD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.discord.client import DiscordControl
    from tests.sandbox.conftest import Client


@pytest.fixture
async def feed(control: DiscordControl, client: Client) -> AsyncIterator[asyncio.Queue[Any]]:
    """Watch from the moment on at which that is confirmed."""
    del client  # it is there first
    news: asyncio.Queue[Any] = asyncio.Queue()

    async def watch() -> None:
        async for told in control.feed():
            news.put_nowait(told)

    task = asyncio.create_task(watch())
    assert await news.get() == {"watching": True}
    yield news
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_message_is_told_in_each_of_its_states(
    feed: asyncio.Queue[Any], client: Client
) -> None:
    """New, edited, deleted."""
    message = await client.mod_log.send("first")
    await message.edit(content="second")
    await message.delete()

    told = [await feed.get() for _ in range(3)]
    assert [(t["message"]["content"], t["deleted"], t["visible_to"]) for t in told] == [
        ("first", False, None),
        ("second", False, None),
        ("second", True, None),
    ]


async def test_an_answer_for_one_member_says_for_whom(
    feed: asyncio.Queue[Any], client: Client, control: DiscordControl
) -> None:
    """And that the interaction was acknowledged, which its state says too."""
    await client.mod_log.send("press me", view=_Pressed())
    message = (await feed.get())["message"]
    owner = client.home.owner_id
    assert owner is not None
    id_ = await control.press(client.mod_log.id, int(message["id"]), owner, "a-button")

    told = [await feed.get(), await feed.get()]

    assert told[0] == {"interaction": id_, "acknowledged": True}
    assert (told[1]["message"]["content"], told[1]["visible_to"]) == ("for you", owner)
    assert told[1]["interaction"]["id"] == str(id_)
    assert await control.interaction_state(id_) == {"acknowledged": True, "forgotten": False}


async def test_a_hidden_channel_is_for_those_who_hold_a_role(
    control: DiscordControl, client: Client
) -> None:
    """Others don't find it and can't speak there; administrators and the bot can."""
    people = [m["id"] async for m in control.members(GUILD) if not m["bot"]]
    role = await control.create_role(GUILD, "staff")
    owner, member, stranger = people[:3]
    await control.set_roles(GUILD, member, [role])
    await control.set_roles(GUILD, stranger, [])
    channel = await control.create_channel(GUILD, "staff")
    await control.hide_channel(channel, [role])

    seen = {
        who: {c["name"] for c in await control.channels(GUILD, id_)}
        for who, id_ in (("owner", owner), ("member", member), ("stranger", stranger))
    }

    assert seen == {
        "owner": {"mod-log", "staff"},
        "member": {"mod-log", "staff"},
        "stranger": {"mod-log"},
    }
    with pytest.raises(ControlError, match="may not see channel"):
        await control.post(channel, stranger, "hello?")
    await control.post(channel, member, "hello")
    await client.get_partial_messageable(channel).send("hello, too")
    await control.hide_channel(channel, None)
    await control.post(channel, stranger, "now")


async def test_faults_of_one_pattern_end_alone(control: DiscordControl, client: Client) -> None:
    """What another pattern says goes on."""
    await control.rest_fault("GET /channels/*", count=9, status=404)
    await control.rest_fault("POST /channels/*", count=9, status=404)
    await control.remove_rest_faults("GET /channels/*")

    await client.fetch_channel(client.mod_log.id)
    with pytest.raises(discord.NotFound):
        await client.mod_log.send("no")


class _Pressed(discord.ui.View):
    """A button that answers its presser alone."""

    @discord.ui.button(label="Press", custom_id="a-button")
    async def press(self, interaction: discord.Interaction, _button: Any) -> None:
        await interaction.response.send_message("for you", ephemeral=True)
