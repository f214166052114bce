"""The local Discord's REST API and messages, judged by the real discord.py client."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING

import aiohttp
import discord
import pytest

from tests.sandbox.conftest import GUILD, TOKEN, Client

if TYPE_CHECKING:
    from sandbox.discord.client import DiscordControl
    from sandbox.discord.server import DiscordServer


async def _somebody(control: DiscordControl) -> int:
    """Return the id of a member who is neither the bot nor the owner."""
    rows = [row["id"] async for row in control.members(GUILD)]
    return int(rows[50])


async def test_a_message_keeps_every_state_it_had(client: Client, control: DiscordControl) -> None:
    """Sent, edited and deleted: people see the last, the control API all of them, with times."""
    message = await client.mod_log.send("one", embed=discord.Embed(title="t"))
    await message.edit(content="two")
    seen = await client.mod_log.fetch_message(message.id)
    await message.delete()

    (kept,) = await control.messages(client.mod_log.id)

    assert (seen.content, seen.embeds[0].title, seen.edited_at is not None) == ("two", "t", True)
    assert [edit["body"]["content"] for edit in kept["edits"]] == ["one", "two"]
    times = [datetime.fromisoformat(edit["at"]) for edit in kept["edits"]]
    assert times == sorted(times)
    assert times[0].utcoffset() is not None
    assert (kept["id"], kept["deleted"]) == (message.id, True)
    with pytest.raises(discord.NotFound):
        await client.mod_log.fetch_message(message.id)


async def test_a_nonce_sends_a_message_once(client: Client, control: DiscordControl) -> None:
    """A repeated request with the same nonce answers with the message that is there already."""
    first = await client.mod_log.send("run begun", nonce="run-1")
    again = await client.mod_log.send("run begun", nonce="run-1")
    other = await client.mod_log.send("run begun", nonce="run-2")

    listed = [message["id"] for message in await control.messages(client.mod_log.id)]

    assert again.id == first.id
    assert listed == [first.id, other.id]


async def test_a_file_can_be_fetched_again(client: Client) -> None:
    """What was attached is what is downloaded."""
    sent = await client.mod_log.send(file=discord.File(BytesIO(b"id,name\n"), "plan.csv"))

    (attached,) = (await client.mod_log.fetch_message(sent.id)).attachments

    assert (attached.filename, await attached.read()) == ("plan.csv", b"id,name\n")


async def test_a_member_can_speak(client: Client, control: DiscordControl) -> None:
    """A text command arrives with its author and their permissions."""
    id_ = await _somebody(control)
    await control.make_administrator(GUILD, id_)
    await client.hear("guild_role_create")
    await control.post(client.mod_log.id, id_, "!sync users")

    [(_, (message,))] = await client.hear("message")

    assert (message.content, message.author.id) == ("!sync users", id_)
    assert message.author.guild_permissions.administrator
    assert message.guild.id == GUILD


async def test_a_429_is_waited_for(client: Client, control: DiscordControl) -> None:
    """discord.py tries again, and the message is there once."""
    await control.rest_fault("POST /channels/*", status=429, retry_after_s=0.01)

    await client.mod_log.send("patience")

    sent = [
        message["edits"][0]["body"]["content"]
        for message in await control.messages(client.mod_log.id)
    ]
    assert sent == ["patience"]
    assert (await control.counters())["rest message create"] == 2


async def test_the_sixth_message_in_five_seconds_is_refused(
    client: Client, server: DiscordServer, control: DiscordControl
) -> None:
    """The bucket's headers count down; the 429 says how long to wait, in both places."""
    url = f"{server.api_url}/channels/{client.mod_log.id}/messages"
    headers = {"Authorization": f"Bot {TOKEN}"}
    left = []
    async with aiohttp.ClientSession(headers=headers) as http:
        for _ in range(5):
            async with http.post(url, json={"content": "again"}) as answer:
                left.append((answer.status, answer.headers["X-RateLimit-Remaining"]))
        async with http.post(url, json={"content": "again"}) as refusal:
            body = await refusal.json()

    assert left == [(200, str(number)) for number in (4, 3, 2, 1, 0)]
    assert refusal.status == 429
    assert body["retry_after"] == pytest.approx(float(refusal.headers["Retry-After"]), abs=0.001)
    assert len(await control.messages(client.mod_log.id)) == 5


@pytest.mark.parametrize(("after", "sent"), [(False, 1), (True, 2)])
async def test_a_lost_answer_leaves_the_message(
    client: Client, control: DiscordControl, *, after: bool, sent: int
) -> None:
    """A failure before or after the fact looks alike to the sender, and only the channel tells."""
    await control.rest_fault("POST /channels/*", status=403, after=after)
    with pytest.raises(discord.Forbidden):
        await client.mod_log.send("once")
    await client.mod_log.send("once")

    assert len(await control.messages(client.mod_log.id)) == sent


async def test_a_forbidden_and_a_deleted_channel_say_so(
    client: Client, control: DiscordControl
) -> None:
    """403 without access, 404 once it is gone."""
    channel = client.mod_log
    await control.forbid_channel(channel.id)
    with pytest.raises(discord.Forbidden):
        await channel.send("hello")
    await control.delete_channel(channel.id)
    with pytest.raises(discord.NotFound):
        await channel.send("hello")

    await client.hear("guild_channel_delete")
    assert client.home.text_channels == []


async def test_what_is_not_implemented_says_so(client: Client) -> None:
    """A route that this Discord does not have answers 404 and names it."""
    with pytest.raises(discord.NotFound) as failure:
        await client.home.vanity_invite()

    assert failure.value.text == f"sandbox: not implemented: GET /guilds/{GUILD}/vanity-url"
