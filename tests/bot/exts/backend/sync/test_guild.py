"""How the guild is read: what discord.py's client must do while its members arrive."""

import asyncio
import json
from collections import deque

import aiohttp
import pytest
from discord.gateway import DiscordWebSocket

from bot.exts.backend.sync._discord.private import _in_turns

FRAMES = 5


class Arrived:
    """The socket of a client that is behind: these frames have come already."""

    def __init__(self) -> None:
        self.frames = deque(
            aiohttp.WSMessage(
                aiohttp.WSMsgType.TEXT,
                json.dumps({"op": 0, "t": "GUILD_MEMBERS_CHUNK", "s": number, "d": {}}),
                None,
            )
            for number in range(FRAMES)
        )

    async def receive(self, timeout: float) -> aiohttp.WSMessage:  # noqa: ARG002 - aiohttp's name
        return self.frames.popleft()


async def read_all(*, in_turns: bool) -> list[str]:
    """Let discord.py read the frames beside another task; return the order of their turns."""
    order: list[str] = []
    websocket = DiscordWebSocket(
        Arrived(),  # type: ignore[arg-type]  # as much of aiohttp's socket as reading needs
        loop=asyncio.get_running_loop(),
    )
    websocket._discord_parsers = {"GUILD_MEMBERS_CHUNK": lambda _: order.append("frame")}
    websocket.shard_id, websocket._max_heartbeat_timeout = None, 60.0

    async def read() -> None:
        for _ in range(FRAMES):
            await websocket.poll_event()

    async def live() -> None:
        while len(order) < 2 * FRAMES:
            order.append("other")
            await asyncio.sleep(0)

    if not in_turns:
        await asyncio.gather(read(), live())
        return order
    with _in_turns(websocket):
        with _in_turns(websocket):
            pass  # a second request that begins and ends meanwhile
        await asyncio.gather(read(), live())
    assert "poll_event" not in vars(websocket)
    return order


@pytest.mark.parametrize(
    ("in_turns", "order"),
    [
        (False, ["frame"] * FRAMES + ["other"] * FRAMES),
        (True, ["other", "frame"] * FRAMES),
    ],
)
async def test_nobody_waits_for_more_than_one_frame(*, in_turns: bool, order: list[str]) -> None:
    """discord.py reads a burst without giving way; while we ask for members it takes turns.

    At 80,000 members bursts kept the loop for up to 0.6 s, and no heartbeat is sent meanwhile.
    """
    assert await read_all(in_turns=in_turns) == order
