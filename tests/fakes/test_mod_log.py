"""The mod-log in memory keeps the promises of the real one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from tests.fakes.clock import HandClock
from tests.fakes.mod_log import Channel, FakeModLog
from tests.fakes.mod_log_contract import ModLogContract

_T = TypeVar("_T")


class Memory:
    """A channel in memory, on a clock that moves whenever somebody waits."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.channel = Channel()
        self.mod_log = FakeModLog(self.channel, clock=self.clock)

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        task = asyncio.ensure_future(work)
        for _ in range(100):
            await self.clock.advance(0.1)
            if task.done():
                return task.result()
        raise TimeoutError

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(100):
            if condition():
                return
            await self.clock.advance(0.1)
        raise TimeoutError

    async def away(self, *, begin: bool) -> None:
        self.channel.away = begin

    def told(self) -> list[str]:
        notices = [message.notice for message in self.channel.messages]
        return [f"{notice.title} | {notice.footer}" for notice in notices]

    def described(self) -> list[str]:
        return [message.notice.description for message in self.channel.messages]


class TestInMemory(ModLogContract):
    """The fake."""

    @pytest.fixture
    async def room(self) -> AsyncIterator[Memory]:
        """Open the channel."""
        room = Memory()
        writing = asyncio.ensure_future(room.mod_log.run_forever())
        yield room
        writing.cancel()
