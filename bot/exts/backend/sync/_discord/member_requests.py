"""Member requests: sent with a nonce of our own, answered in chunks, in the gateway's order.

While the connection is down nothing is asked, and no silence counts: it ends with a RESUMED, after
which Discord replays what was missed, or with a READY, which begins a new epoch and ends them all.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import discord
import structlog

from .._clock import wait_first
from .private import in_turns, request_members

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discord.ext import commands

    from .._core.model.members import UserId
    from .._ports import Clock

log = structlog.get_logger(__name__)

_QUERY_S: Final = 10.0
_QUERY_TRIES: Final = 3
# Of the 120 messages that Discord takes of a connection in a minute; the rest is for the others.
_QUERIES_A_MINUTE: Final = 60
_MINUTE_S: Final = 60.0


@dataclass(slots=True, kw_only=True)
class MemberRequest:
    """A member request of ours that is under way, until it is `done` or its epoch is over."""

    nonce: str
    done: asyncio.Future[float | None]  # None: answered in full; a float: wait so many seconds
    wrong: set[UserId] | None = None  # whom the cache had wrong, if that is to be known
    seen: set[int] = field(default_factory=set)
    chunks: set[int] = field(default_factory=set)
    corrected: int = 0
    heard_at: float = 0.0

    @property
    def is_over(self) -> bool:
        return self.done.done()


class MemberRequests:
    """The member requests about one guild; `linked` says whether the connection is up."""

    def __init__(self, bot: commands.Bot, guild_id: int, *, clock: Clock) -> None:
        self._bot = bot
        self._guild_id = guild_id
        self._clock = clock
        self._epoch = 0
        self._queried_at: deque[float] = deque(maxlen=_QUERIES_A_MINUTE)
        self._requests: dict[str, MemberRequest] = {}
        self.linked = asyncio.Event()

    def by(self, nonce: object) -> MemberRequest | None:
        """Return the request of this nonce, if it is one of ours."""
        return self._requests.get(str(nonce))

    def begin_epoch(self) -> None:
        """End all that were sent before: nothing of another session answers them."""
        self._epoch += 1
        for request in self._requests.values():
            if not request.is_over:
                request.done.set_result(None)

    def resumed(self) -> None:
        """Note that the connection is up again, and what was missed follows."""
        self.linked.set()
        for request in self._requests.values():
            request.heard_at = self._clock.monotonic()

    def rate_limited(self, payload: Any) -> None:
        """Note that Discord takes one of them later only."""
        meta = payload.get("meta") or {}
        request = self.by(meta.get("nonce"))
        if request is None and int(meta.get("guild_id") or 0) == self._guild_id:
            request = next((r for r in self._requests.values() if not r.chunks), None)
        if request is not None and not request.is_over:
            request.done.set_result(float(payload.get("retry_after", 30)))

    def answered(self, request: MemberRequest, payload: Any) -> None:
        """Note that a chunk of the answer was read."""
        if len(request.chunks) >= int(payload.get("chunk_count", 1)):
            request.done.set_result(None)

    def hear(self, request: MemberRequest, payload: Any) -> None:
        """Note that a chunk of the answer has come."""
        request.heard_at = self._clock.monotonic()
        request.chunks.add(int(payload.get("chunk_index", 0)))

    async def query(self, ids: Sequence[UserId]) -> MemberRequest | None:
        """Ask about these ids, 100 at most; None when no answer came, in a few tries."""
        epoch = self._epoch
        for _ in range(_QUERY_TRIES):
            await self._query_turn()
            request = await self.ask(
                idle_s=_QUERY_S, query=None, user_ids=[int(id_) for id_ in ids]
            )
            if request is not None or self._epoch != epoch:
                return request
            log.warning("sync.query.lost", ids=len(ids))
        return None

    async def _query_turn(self) -> None:
        """Wait until one more query is within what a minute may have."""
        while len(self._queried_at) == _QUERIES_A_MINUTE:
            wait_s = self._queried_at[0] + _MINUTE_S - self._clock.monotonic()
            if wait_s <= 0:
                break
            await self._clock.sleep(wait_s)
        self._queried_at.append(self._clock.monotonic())

    async def ask(
        self,
        *,
        idle_s: float,
        query: str | None = "",
        user_ids: list[int] | None = None,
        wrong: set[UserId] | None = None,
    ) -> MemberRequest | None:
        """Send a request until Discord takes it; None when no answer came in time.

        It asks for all members unless it names some. `idle_s` is how long it may stay silent.
        """
        epoch = self._epoch
        while True:
            request = MemberRequest(nonce=os.urandom(16).hex(), done=asyncio.Future(), wrong=wrong)
            self._requests[request.nonce] = request
            try:
                await self._while_linked(request)
                if self._epoch != epoch:
                    return None
                with in_turns(self._bot, self._guild_id):
                    await request_members(
                        self._bot,
                        self._guild_id,
                        query=query,
                        limit=0,
                        user_ids=user_ids,
                        nonce=request.nonce,
                    )
                    # Not before: discord.py holds requests back that would be too many.
                    request.heard_at = self._clock.monotonic()
                    retry_after = await self._answer(request, idle_s)
            except (discord.ConnectionClosed, ConnectionError, TimeoutError):
                return None
            finally:
                del self._requests[request.nonce]
            if retry_after is not None:
                log.info("sync.members.rate_limited", retry_after_s=retry_after)
                await self._clock.sleep(retry_after)
            if self._epoch != epoch:
                return None
            if retry_after is None:
                return request

    async def _answer(self, request: MemberRequest, idle_s: float) -> float | None:
        """Wait while chunks keep coming; raise `TimeoutError` after `idle_s` of silence.

        A silence while the connection is down is none.
        """
        while not request.is_over:
            await self._while_linked(request)
            left = request.heard_at + idle_s - self._clock.monotonic()
            if left <= 0:
                raise TimeoutError
            await wait_first({request.done}, clock=self._clock, within_s=left)
        return request.done.result()

    async def _while_linked(self, request: MemberRequest) -> None:
        """Wait until the connection is up, or the request has ended with its epoch."""
        if self.linked.is_set() or request.is_over:
            return
        linked = asyncio.ensure_future(self.linked.wait())
        try:
            await wait_first({linked, request.done}, clock=self._clock)
        finally:
            linked.cancel()
        request.heard_at = self._clock.monotonic()
