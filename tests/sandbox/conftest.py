"""The real discord.py client, pointed at a local Discord that lives for one test."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import discord
import pytest
import yarl
from discord.gateway import DiscordWebSocket

from sandbox.discord.client import DiscordControl
from sandbox.discord.server import DiscordServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "sandbox-token"
GUILD = 1_000_000_000_000


class Client(discord.Client):
    """discord.py's client with every privileged intent and without its pauses before IDENTIFY."""

    def __init__(self) -> None:
        super().__init__(
            intents=discord.Intents.all(), chunk_guilds_at_startup=False, guild_ready_timeout=0.01
        )
        self.told: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def before_identify_hook(self, _shard: int | None, *, initial: bool = False) -> None:
        """Go ahead at once."""

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Keep every event for `hear` too."""
        super().dispatch(event, *args, **kwargs)
        self.told.put_nowait((event, args))

    async def hear(self, *events: str) -> list[tuple[str, Any]]:
        """Wait until each event came as often as it is named; return them in their order."""
        heard: list[tuple[str, Any]] = []
        wanted = Counter(events)
        async with asyncio.timeout(5):
            while wanted - Counter(name for name, _ in heard):
                event = await self.told.get()
                if event[0] in wanted:
                    heard.append(event)
        return heard

    @property
    def home(self) -> discord.Guild:
        guild = self.get_guild(GUILD)
        assert guild is not None
        return guild

    @property
    def mod_log(self) -> discord.TextChannel:
        return self.home.text_channels[0]


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DiscordServer]:
    """Run a Discord and let discord.py find it instead of the real one."""
    async with DiscordServer(token=TOKEN) as running:
        monkeypatch.setattr(discord.http.Route, "BASE", running.api_url)
        monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(running.gateway_url))
        yield running


@pytest.fixture
async def control(server: DiscordServer) -> AsyncIterator[DiscordControl]:
    """Connect to its control API."""
    async with DiscordControl(server.url) as connected:
        yield connected


@pytest.fixture
async def client(control: DiscordControl) -> AsyncIterator[Client]:
    """Connect to a guild of 300 members, in which everybody holds the role "everybody"."""
    await control.create_guild(GUILD, members=300, roles=3, everyone_holds="everybody", seed=1)
    async with Client() as client, running(client):
        await client.hear("ready")
        yield client


@contextlib.asynccontextmanager
async def running(client: discord.Client) -> AsyncIterator[None]:
    """Keep a client connected for as long as this is entered."""
    task = asyncio.create_task(client.start(TOKEN))
    try:
        yield
    finally:
        await client.close()
        await task
