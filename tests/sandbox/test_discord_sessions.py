"""What sessions of the local Discord's gateway outlive, and what ends them: by plain websockets."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.sandbox.conftest import GUILD, TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.discord.client import DiscordControl
    from sandbox.discord.server import DiscordServer

_IDENTIFY = {"token": TOKEN, "intents": 1 << 1, "properties": {}, "large_threshold": 250}


class Socket:
    """A connection to the gateway that sends and reads only when it is told to."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket
        self.session_id = ""
        self.sequence = 0

    async def send(self, op: int, payload: Any = None) -> None:
        await self.websocket.send_json({"op": op, "d": payload})

    async def read(self) -> dict[str, Any]:
        """Return the next message, within 5 s."""
        message: dict[str, Any] = await self.websocket.receive_json(timeout=5)
        self.sequence = message["s"] or self.sequence
        return message

    async def identify(self) -> dict[str, Any]:
        """Begin a session; return the GUILD_CREATE that follows READY."""
        await self.send(2, _IDENTIFY)
        self.session_id = (await self.read())["d"]["session_id"]
        created: dict[str, Any] = (await self.read())["d"]
        return created

    async def resume(self, session_id: str, sequence: int) -> None:
        await self.send(6, {"token": TOKEN, "session_id": session_id, "seq": sequence})


@contextlib.asynccontextmanager
async def _connected(server: DiscordServer) -> AsyncIterator[Socket]:
    """Connect and read HELLO; at the end the connection is cut without a word."""
    async with aiohttp.ClientSession() as http:
        connected = Socket(await http.ws_connect(server.gateway_url, max_msg_size=0))
        assert (await connected.read())["op"] == 10
        yield connected


@pytest.mark.parametrize(
    ("members", "named"), [(249, 250), (250, 4), (75_000, 1)], ids=["small", "large", "huge"]
)
async def test_a_guild_comes_with_as_many_members_as_discord_names(
    server: DiscordServer, control: DiscordControl, *, members: int, named: int
) -> None:
    """All up to the client's threshold, then a few, and above 75,000 the bot alone."""
    await control.create_guild(GUILD, members=members, roles=1)
    async with _connected(server) as bot:
        guild = await bot.identify()

    assert (len(guild["members"]), guild["member_count"], guild["large"]) == (
        named,
        members + 1,
        members >= 250,
    )


async def test_a_client_that_does_not_read_keeps_nobody_waiting(
    server: DiscordServer, control: DiscordControl
) -> None:
    """Two bots with one token: the one that hangs costs the other nothing."""
    await control.create_guild(GUILD, members=30_000, roles=1)
    await control.fault("member_interval_s", 0)
    async with _connected(server) as stuck, _connected(server) as lively:
        await stuck.identify()
        await lively.identify()
        for bot in (stuck, lively):
            await bot.send(8, {"guild_id": str(GUILD), "query": "", "limit": 0})

        chunks = [(await lively.read())["d"]["chunk_index"] for _ in range(31)]

    assert chunks == list(range(31))


async def test_chunks_go_on_after_a_resume(server: DiscordServer, control: DiscordControl) -> None:
    """A connection that is lost amid the chunks of a request loses none of them."""
    await control.create_guild(GUILD, members=20_000, roles=1)
    async with _connected(server) as first:
        await first.identify()
        await first.send(8, {"guild_id": str(GUILD), "query": "", "limit": 0})
        got = [(await first.read())["d"]["chunk_index"] for _ in range(3)]
        await first.websocket.close(code=4000)
    async with _connected(server) as second:
        await second.resume(first.session_id, first.sequence)
        after = [await second.read() for _ in range(19)]

    got += [each["d"]["chunk_index"] for each in after if each["t"] == "GUILD_MEMBERS_CHUNK"]
    assert got == list(range(21))
    assert [each["t"] for each in after].count("RESUMED") == 1


@pytest.mark.parametrize(("code", "answer"), [(4000, "RESUMED"), (1000, None), (1001, None)])
async def test_a_client_that_says_goodbye_ends_its_session(
    server: DiscordServer, control: DiscordControl, *, code: int, answer: str | None
) -> None:
    """As with Discord, a close with 1000 or 1001 leaves nothing to resume; others do."""
    await control.create_guild(GUILD, members=1, roles=1)
    async with _connected(server) as first:
        await first.identify()
        await first.websocket.close(code=code)
    async with _connected(server) as second:
        await second.resume(first.session_id, first.sequence)
        told = await second.read()

    assert (told["op"], told["t"]) == ((0, answer) if answer else (9, None))


async def test_only_the_latest_lost_sessions_are_kept(
    server: DiscordServer, control: DiscordControl
) -> None:
    """A bot that is killed over and over leaves no more than 8 sessions behind."""
    await control.create_guild(GUILD, members=1, roles=1)
    lost = []
    for _ in range(10):
        async with _connected(server) as each:
            await each.identify()
            await each.websocket.close(code=4000)
        lost.append(each)
    told = []
    for each in lost:
        async with _connected(server) as again:
            await again.resume(each.session_id, each.sequence)
            told.append((await again.read())["op"])
            await again.websocket.close(code=4000)

    assert told == [9, 9, *([0] * 8)]


async def test_what_was_forgotten_cannot_be_resumed(
    server: DiscordServer, control: DiscordControl
) -> None:
    """The replay ends at 20,000 events; who missed more begins anew instead of missing some."""
    await control.create_guild(GUILD, members=1, roles=1)
    async with _connected(server) as first:
        await first.identify()
        await first.websocket.close(code=4000)
    id_ = next(iter([row["id"] async for row in control.members(GUILD)]))
    renames = [{"op": "change", "id": id_, "nick": str(number)} for number in range(20_001)]
    await control.operations(GUILD, renames)
    async with _connected(server) as second:
        await second.resume(first.session_id, first.sequence)
        told = await second.read()

    assert (told["op"], told["d"]) == (9, False)


@pytest.mark.parametrize(
    ("messages", "code"),
    [([(99, None)], 4001), ([(8, {})], 4003), ([(1, None)] * 121, 4008)],
    ids=["unknown opcode", "not identified", "121 messages in a minute"],
)
async def test_a_client_that_breaks_the_rules_is_shut_out(
    server: DiscordServer, messages: list[tuple[int, Any]], code: int
) -> None:
    """With Discord's own close codes."""
    async with _connected(server) as bot:
        for op, payload in messages:
            await bot.send(op, payload)
        async with asyncio.timeout(5):
            async for _ in bot.websocket:
                pass

    assert bot.websocket.close_code == code
