"""The guild in memory keeps the promises of the real ones."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import pytest

from tests.fakes.clock import HandClock
from tests.fakes.guild import EVERYONE, Discord, FakeGuild, PagedFake
from tests.fakes.guild_contract import GuildContract, PagedContract

_T = TypeVar("_T")


class Memory:
    """A guild of twenty in memory, on a clock that moves whenever somebody waits."""

    def __init__(self, make: type[FakeGuild]) -> None:
        self.clock = HandClock()
        self.discord = Discord()
        self.roles = (int(EVERYONE), 5, 6, 7)
        for role in self.roles[1:]:
            self.discord.create_role(role)
        self.ids = [*range(100, 120)]
        for id_ in self.ids:
            self.discord.join(id_, roles=[5])
        self.guild = make(self.discord, clock=self.clock)

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        task = asyncio.ensure_future(work)
        for _ in range(1000):
            await self.clock.advance(1)
            if task.done():
                return task.result()
        raise TimeoutError

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        for _ in range(100):
            if await condition():
                return
            await self.clock.advance(0.1)
        raise TimeoutError

    async def join(self, id_: int, name: str, roles: Iterable[int] = ()) -> None:
        self.discord.join(id_, name=name, roles=roles)

    async def leave(self, id_: int, *, silent: bool = False) -> None:
        self._do(lambda: self.discord.leave(id_), silent=silent)

    async def rename(self, id_: int, name: str, *, silent: bool = False) -> None:
        self._do(lambda: self.discord.change(id_, name=name), silent=silent)

    def _do(self, change: Callable[[], None], *, silent: bool) -> None:
        connected = self.discord.connected
        if silent:
            self.discord.connected = []
        change()
        self.discord.connected = connected

    async def set_roles(self, id_: int, roles: Iterable[int]) -> None:
        self.discord.change(id_, roles=roles)

    async def delete_role(self, id_: int) -> None:
        self.discord.delete_role(id_)

    async def lose_session(self) -> None:
        self.guild.lose_session()
        self.guild.connect()

    async def outage(self, *, begin: bool) -> None:
        self.discord.available = not begin
        self.guild.receive(FakeGuild.hear_outage if begin else FakeGuild.hear_guild)

    async def fall_silent(self) -> None:
        self.discord.loses_requests = True

    async def due(self) -> dict[int, tuple[str, tuple[int, ...]]]:
        return {
            int(id_): (member.name, tuple(map(int, member.roles)))
            for id_, member in self.discord.of_now().items()
        }


async def set_scene(make: type[FakeGuild]) -> AsyncIterator[Memory]:
    """Yield a guild of twenty, proven."""
    scene = Memory(make)
    hearing = asyncio.ensure_future(scene.guild.run_forever())
    scene.guild.connect()
    await scene.run(scene.guild.prove())
    yield scene
    hearing.cancel()


class TestInMemory(GuildContract):
    """With and without a cache of members."""

    @pytest.fixture(params=[FakeGuild, PagedFake], ids=["cached", "uncached"])
    async def scene(self, request: pytest.FixtureRequest) -> AsyncIterator[Memory]:
        """Set the scene."""
        async for scene in set_scene(request.param):
            yield scene


class TestPagesInMemory(PagedContract):
    """Without a cache of members."""

    @pytest.fixture
    async def scene(self) -> AsyncIterator[Memory]:
        """Set the scene."""
        async for scene in set_scene(PagedFake):
            yield scene
