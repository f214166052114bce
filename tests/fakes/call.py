"""A command or a press in memory: what its caller and the others see, and when Discord says no."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from bot.exts.backend.sync._core.messages.reply import said
from bot.exts.backend.sync._errors import UnansweredError
from tests.fakes.faults import Faults

if TYPE_CHECKING:
    from bot.exts.backend.sync._core.messages.reply import Reply
    from bot.exts.backend.sync._ports import Clock

_RESPONSE_S: Final = 3.0
_TOKEN_S: Final = 15 * 60.0
FORGOTTEN: Final = "404 Not Found (error code: 10062): Unknown interaction"
EXPIRED: Final = "401 Unauthorized (error code: 50027): Invalid Webhook Token"


class Kind(Enum):
    """How somebody asks."""

    TEXT = "text"
    SLASH = "slash"
    PRESS = "press"


@dataclass(slots=True, kw_only=True)
class Said:
    """An answer: what it says now, and whether the caller alone sees it."""

    reply: Reply
    private: bool
    posted: bool = False
    edits: int = 0

    @property
    def text(self) -> str:
        """What it says now."""
        return self.reply.notice.description


@dataclass(slots=True, kw_only=True)
class FakeCall:
    """A command, or the press of a button, in a channel that may be `forbidden` to the bot."""

    clock: Clock
    kind: Kind = Kind.SLASH
    name: str = "sync status"
    person_id: int = 7
    channel_id: int = 50
    forbidden: bool = False
    faults: Faults = field(default_factory=Faults)
    said: list[Said] = field(default_factory=list)
    deferred: bool | None = None  # how private, once that is settled
    struck_off: Reply | None = None
    since_s: float = field(init=False)
    _acknowledged: bool = False

    def __post_init__(self) -> None:
        self.since_s = self.clock.monotonic()

    @property
    def has_token(self) -> bool:
        """Whether it is no message that everybody sees."""
        return self.kind is not Kind.TEXT

    @property
    def thinks(self) -> bool:
        """Whether people still see that an answer is to follow."""
        return self.deferred is not None and self.kind is Kind.SLASH and not self.said

    async def defer(self, *, private: bool) -> None:
        """Tell Discord that an answer follows."""

        async def call() -> None:
            await self._reach()
            if self.has_token:
                self._respond()
                self.deferred = private

        await self.faults.around("call.defer", call)

    async def answer(self, reply: Reply, *, private: bool) -> _Sent:
        """Answer it."""

        async def call() -> _Sent:
            await self._reach()
            if not self.has_token:
                return self._add(reply, private=False)
            if self._acknowledged:
                self._follow_up()
                private_ = bool(self.deferred) if self.thinks else private
                return self._add(reply, private=private_)
            self._respond()
            return self._add(reply, private=private)

        return await self.faults.around("call.answer", call)

    async def tell(self, text: str) -> None:
        """Answer with a plain sentence."""
        await self.answer(said(text), private=True)

    async def post(self, reply: Reply) -> _Sent:
        """Post a message of its own."""

        async def call() -> _Sent:
            await self._reach()
            return self._add(reply, private=False, posted=True)

        return await self.faults.around("call.post", call)

    async def strike_off(self, reply: Reply) -> None:
        """Let the button's message say that it was pressed."""

        async def call() -> None:
            await self._reach()
            self._follow_up()
            self.struck_off = reply

        await self.faults.around("call.strike_off", call)

    def _add(self, reply: Reply, *, private: bool, posted: bool = False) -> _Sent:
        if self.forbidden and (posted or not self.has_token):
            raise UnansweredError("403 Forbidden (error code: 50001): Missing Access")
        one = Said(reply=reply, private=private, posted=posted)
        self.said.append(one)
        return _Sent(self, one)

    def _respond(self) -> None:
        if self._acknowledged:
            raise UnansweredError("This interaction has already been responded to before")
        if self.clock.monotonic() - self.since_s > _RESPONSE_S:
            raise UnansweredError(FORGOTTEN)
        self._acknowledged = True

    def _follow_up(self) -> None:
        if self.clock.monotonic() - self.since_s > _TOKEN_S:
            raise UnansweredError(EXPIRED)

    async def _reach(self) -> None:
        await asyncio.sleep(0)


class _Sent:
    def __init__(self, call: FakeCall, one: Said) -> None:
        self._call = call
        self._one = one

    async def edit(self, reply: Reply) -> None:
        """Let it say something else."""

        async def call() -> None:
            await asyncio.sleep(0)
            if self._call.has_token and not self._one.posted:
                self._call._follow_up()
            self._one.reply = reply
            self._one.edits += 1

        await self._call.faults.around("call.edit", call)
