"""The local Discord's gateway, judged by the real discord.py client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import discord
import pytest

from tests.sandbox.conftest import GUILD, TOKEN, Client, running

if TYPE_CHECKING:
    from sandbox.discord.client import DiscordControl


def _row(member: discord.Member) -> dict[str, Any]:
    return {
        "id": member.id,
        "name": member.name,
        "global_name": member.global_name,
        "nick": member.nick,
        "roles": [role.id for role in member.roles if not role.is_default()],
        "discriminator": member.discriminator,
        "bot": member.bot,
    }


async def test_a_large_guild_arrives_with_its_roles_and_almost_no_members(client: Client) -> None:
    """As from real Discord: the cache is not full until it has been chunked."""
    guild = client.home

    assert {
        "members": guild.member_count,
        "known": len(guild.members) <= 4,
        "chunked": guild.chunked,
        "roles": [role.name for role in guild.roles],
        "channels": [channel.name for channel in guild.channels],
    } == {
        "members": 301,
        "known": True,
        "chunked": False,
        "roles": ["@everyone", "role1", "role2", "role3", "everybody"],
        "channels": ["mod-log"],
    }


async def test_a_guild_chunks_into_exactly_its_members(control: DiscordControl) -> None:
    """Every member comes in chunks of 1,000, with names and roles as they are."""
    await control.create_guild(GUILD, members=5_000, roles=20, everyone_holds="everybody")
    async with Client() as client, running(client):
        await client.hear("ready")
        await asyncio.wait_for(client.home.chunk(), 10)

        known = {member.id: _row(member) for member in client.home.members}
    truth = {row["id"]: row async for row in control.members(GUILD)}

    assert len(truth) == 5_001
    assert known == truth


async def test_members_are_found_by_their_ids(client: Client, control: DiscordControl) -> None:
    """A request by ids brings those who are there, and leaves out who is not."""
    rows = [row async for row in control.members(GUILD)][50:60]

    found = await client.home.query_members(user_ids=[*(row["id"] for row in rows), 5], limit=100)

    assert [_row(member) for member in found] == rows


async def test_a_second_full_request_is_rate_limited(client: Client) -> None:
    """All members can be asked for once in thirty seconds; the refusal says how long to wait."""
    told: asyncio.Queue[Any] = asyncio.Queue()
    client._connection.parsers["RATE_LIMITED"] = told.put_nowait
    await client.home.chunk()
    await client.ws.request_chunks(GUILD, query="", limit=0, nonce="again")

    refusal = await asyncio.wait_for(told.get(), 5)

    assert 25 < refusal.pop("retry_after") <= 30
    assert refusal == {"opcode": 8, "meta": {"guild_id": str(GUILD), "nonce": "again"}}


async def test_a_forced_rate_limit_bars_nothing_afterwards(
    client: Client, control: DiscordControl
) -> None:
    """Who is refused by a fault may ask again when told to."""
    told: asyncio.Queue[Any] = asyncio.Queue()
    client._connection.parsers["RATE_LIMITED"] = told.put_nowait
    await control.fault("rate_limit_members")
    await client.ws.request_chunks(GUILD, query="", limit=0, nonce="first")
    refusal = await asyncio.wait_for(told.get(), 5)

    await asyncio.wait_for(client.home.chunk(), 5)

    assert refusal["retry_after"] == 0.1
    assert len(client.home.members) == 301


async def test_a_repeat_can_be_refused_however_late_it_comes(
    client: Client, control: DiscordControl
) -> None:
    """The guild's first full request is served, the next refused once, without any interval."""
    told: asyncio.Queue[Any] = asyncio.Queue()
    client._connection.parsers["RATE_LIMITED"] = told.put_nowait
    await control.fault("member_interval_s", 0)
    await control.fault("rate_limit_repeats")
    await asyncio.wait_for(client.home.chunk(), 5)
    await client.ws.request_chunks(GUILD, query="", limit=0, nonce="second")

    refusal = await asyncio.wait_for(told.get(), 5)
    await asyncio.wait_for(client.home.chunk(), 5)

    assert (refusal["meta"]["nonce"], refusal["retry_after"], told.empty()) == ("second", 0.1, True)


@pytest.mark.parametrize("fault", ["drop", "reconnect"])
async def test_what_a_connection_missed_is_replayed_on_resuming(
    client: Client, control: DiscordControl, fault: str
) -> None:
    """Events from before, during and after the loss arrive once each, in their order."""
    ids = [row["id"] async for row in control.members(GUILD) if not row["bot"]]
    operations = [{"op": "leave", "id": id_} for id_ in ids]
    leaving = asyncio.create_task(control.operations(GUILD, operations, per_s=1000))
    await control.drop() if fault == "drop" else await control.reconnect()

    heard = await client.hear("resumed", *["raw_member_remove"] * 300)
    counters = await control.counters()

    left = [args[0].user.id for event, args in heard if event == "raw_member_remove"]
    assert await leaving == 300
    assert left == ids
    assert (counters["identify"], counters["resume"]) == (1, 1)


@pytest.mark.parametrize("fault", ["invalidate", "drop", "refuse_resume"])
async def test_a_session_that_is_over_is_begun_anew(
    client: Client, control: DiscordControl, fault: str
) -> None:
    """The client identifies again and finds the guild as it has become."""
    if fault == "invalidate":
        await control.invalidate()
    else:
        await control.fault("refuse_resume", 1 if fault == "refuse_resume" else 0)
        await control.drop(resumable=fault == "refuse_resume")
    await control.tell_member_count(GUILD, 7)

    await client.hear("ready")

    assert client.home.member_count == 7
    assert (await control.counters())["identify"] == 2


async def test_an_outage_takes_the_guild_away_and_gives_it_back(
    client: Client, control: DiscordControl
) -> None:
    """Nothing is told of an unavailable guild; afterwards it comes whole."""
    member, *_ = [row async for row in control.members(GUILD)]
    await control.outage(GUILD, begin=True)
    await control.nick(GUILD, member["id"], "unseen")
    await control.outage(GUILD, begin=False)
    await control.nick(GUILD, member["id"], "seen")

    heard = await client.hear("guild_unavailable", "guild_available", "member_update")

    assert [event for event, _ in heard] == [
        "guild_unavailable",
        "guild_available",
        "member_update",
    ]
    assert [person.nick for person in heard[-1][1]] == ["unseen", "seen"]


async def test_a_wrong_token_cannot_log_in(control: DiscordControl) -> None:
    """discord.py says so itself."""
    async with Client() as client:
        with pytest.raises(discord.LoginFailure):
            await asyncio.wait_for(client.start(TOKEN + "x"), 5)

    assert (await control.counters())["identify"] == 0


async def test_privileged_intents_can_be_forbidden(control: DiscordControl) -> None:
    """The gateway closes with 4014, which discord.py names."""
    await control.allow_intents(allowed=False)
    async with Client() as client:
        with pytest.raises(discord.PrivilegedIntentsRequired):
            await asyncio.wait_for(client.start(TOKEN), 5)


@pytest.mark.parametrize(
    ("fault", "value", "first"),
    [("ignore_member_requests", 1, []), ("chunks_only", 2, [0, 1]), ("drop_after_chunks", 1, [0])],
)
async def test_a_member_request_can_go_wrong_once(
    control: DiscordControl, fault: str, value: int, first: list[int]
) -> None:
    """Chunks stay away, wholly or in part, with the session or without; the next time they come."""
    await control.create_guild(GUILD, members=2_500, roles=1)
    await control.fault("member_interval_s", 0)
    await control.fault(fault, value)
    async with Client() as client, running(client):
        chunks: asyncio.Queue[Any] = asyncio.Queue()
        client._connection.parsers["GUILD_MEMBERS_CHUNK"] = chunks.put_nowait
        await client.hear("ready")
        await client.ws.request_chunks(GUILD, query="", limit=0, nonce="first")
        got = [await asyncio.wait_for(chunks.get(), 5) for _ in first]
        if fault == "drop_after_chunks":
            await client.hear("ready")
        await client.ws.request_chunks(GUILD, query="", limit=0, nonce="again")
        got += [await asyncio.wait_for(chunks.get(), 5) for _ in range(3)]

    told = [(chunk["nonce"], chunk["chunk_index"], chunk["chunk_count"]) for chunk in got]
    assert told == [
        *(("first", index, 3) for index in first),
        *(("again", index, 3) for index in range(3)),
    ]
