"""The fake of a command or a press keeps the contract."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from tests.fakes.call import FakeCall, Kind
from tests.fakes.call_contract import CallContract
from tests.fakes.clock import HandClock

_T = TypeVar("_T")


class InMemory:
    """Somebody who asks the fake."""

    def __init__(self, kind: Kind) -> None:
        self.clock = HandClock()
        self.kind = kind
        self.call = FakeCall(clock=self.clock, kind=kind)

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return await work

    async def let_pass(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    async def seen(self) -> list[tuple[str, bool]]:
        return [(one.text, one.private) for one in self.call.said]


class TestInMemory(CallContract):
    """By hand-made time."""

    @pytest.fixture
    def caller(self, kind: Kind) -> InMemory:
        """Return somebody who asks."""
        return InMemory(kind)
