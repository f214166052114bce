"""How a command is answered: in time, to who may read it, and also when it goes wrong.

What names members is for mod-log, or for the caller alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import sentry_sdk
import structlog

from .._clock import wait_first
from .._core.messages import usage
from .._core.messages.reply import Reply, said
from .._errors import UnansweredError

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .._ports import (
        Call,
        Clock,
        ModLog,
        Press,
        Sent,
    )

log = structlog.get_logger(__name__)

_DEFER_AFTER_S: Final = 1.0  # of the three that Discord gives
_TOKEN_S: Final = 14 * 60.0  # of the fifteen minutes
_REFUSALS: Final = 40
_PRIVATE_REFUSALS: Final = 15
_REFUSALS_PER_S: Final = 10.0


class Answers:
    """What is said to whoever typed a command or pressed a button; `mod_log_id` is a channel.

    `whose` says below each answer which bot it is that answers, if there is more than one.
    """

    def __init__(
        self,
        *,
        mod_log: ModLog,
        mod_log_id: int,
        clock: Clock,
        chance: random.Random,
        whose: Callable[[], str],
    ) -> None:
        self._mod_log = mod_log
        self._mod_log_id = mod_log_id
        self._clock = clock
        self._chance = chance
        self._whose = whose
        self._refused: deque[tuple[float, int]] = deque(maxlen=_REFUSALS)

    async def carry_out(self, call: Call, work: Awaitable[Reply]) -> None:
        """Do what a command asks for, and answer it, in time also where that takes longer."""
        task = asyncio.ensure_future(work)
        try:
            if call.has_token and not await wait_first(
                {task}, clock=self._clock, within_s=_DEFER_AFTER_S
            ):
                await self.defer(call, private=False)
            reply = await task
        finally:
            task.cancel()
        await self.give(call, reply)

    async def follow(self, call: Call, replies: AsyncIterator[Reply]) -> None:
        """Give an answer that holds members' data, and let it become what follows."""
        await self.defer(call, private=True)
        sent: Sent | None = None
        said_so = False
        async for reply in replies:
            if sent is not None:
                try:
                    await sent.edit(self._signed(reply))
                except UnansweredError as exc:
                    self._log_unanswered(call, exc)
                    sent = None
                else:
                    continue
            elif said_so:
                continue  # nobody can be shown it; once is enough
            sent, said_so = await self.give(call, reply, private=True), True

    async def defer(self, call: Call, *, private: bool) -> None:
        """Tell Discord that an answer follows."""
        try:
            await call.defer(private=private)
        except UnansweredError as exc:
            # Too late for Discord: the answer goes another way then.
            log.warning("sync.command.not_deferred", command=call.name, error=str(exc))

    async def give(self, call: Call, reply: Reply, *, private: bool = False) -> Sent | None:
        """Answer a command; return what was sent. A `private` answer holds members' data.

        As a slash command's it is for its caller alone; as another's it goes to mod-log.
        """
        reply = self._signed(reply)
        try:
            if call.has_token:
                if self._has_time(call):
                    try:
                        # An order that was carried out is for everybody to see.
                        return await call.answer(reply, private=private or not reply.done)
                    except UnansweredError as exc:
                        self._log_unanswered(call, exc)
                if not private:
                    return await call.post(reply)
            elif not private or call.channel_id == self._mod_log_id:
                return await call.answer(reply, private=False)
            return await self._give_in_mod_log(call, reply)
        except UnansweredError as exc:
            self._log_unanswered(call, exc)
            return None

    async def _give_in_mod_log(self, call: Call, reply: Reply) -> Sent | None:
        sent = await self._mod_log.say(f"<@{call.person_id}> asked for this:", reply)
        if call.has_token:
            return sent  # here nobody can be answered who alone would see it
        where = (
            f"The answer is in <#{self._mod_log_id}>, since it names members."
            if sent is not None
            else "The answer names members, so it is not for this channel, and mod-log can't be "
            "used now."
        )
        text = f"{where} As the slash command `/{call.name}` you alone see it."
        await call.answer(said(text), private=True)
        return sent

    def _signed(self, reply: Reply) -> Reply:
        whose = self._whose()
        if not whose:
            return reply
        notice = reply.notice
        return replace(reply, notice=replace(notice, fields=(*notice.fields, ("This bot", whose))))

    def _has_time(self, call: Call) -> bool:
        return self._clock.monotonic() - call.since_s < _TOKEN_S

    # -- buttons ----------------------------------------------------------------------------------

    async def answer_press(self, press: Press, work: Callable[[], Awaitable[Reply]]) -> None:
        """Do what a button is for, unless Discord has forgotten the press, and answer it."""
        try:
            await press.defer(private=True)
            try:
                reply = await work()
            except Exception as exc:  # noqa: BLE001 - a press ends here; whatever it met is told
                reply = said(self.fault(press, exc))
            if reply.done:
                await self._strike_off(press, reply)
            await press.answer(self._signed(reply), private=True)
        except UnansweredError as exc:
            self._log_unanswered(press, exc)

    async def _strike_off(self, press: Press, reply: Reply) -> None:
        try:
            await press.strike_off(reply)
        except UnansweredError as exc:
            log.warning("sync.button.not_struck_off", button=press.name, error=str(exc))

    # -- what goes wrong --------------------------------------------------------------------------

    async def refuse(self, call: Call, text: str) -> None:
        """Tell somebody who may not use this, unless that would fill a channel."""
        if self._may_refuse(call.person_id, private=call.has_token):
            await self.tell(call, text)

    def _may_refuse(self, person_id: int, *, private: bool) -> bool:
        """Say whether to answer somebody who may not use this.

        Whoever asks in private sees it alone, and sees an error of Discord's where no answer comes.
        """
        now = self._clock.monotonic()
        while self._refused and now - self._refused[0][0] >= _REFUSALS_PER_S:
            self._refused.popleft()
        theirs = sum(id_ == person_id for _, id_ in self._refused)
        if len(self._refused) == _REFUSALS or theirs >= (_PRIVATE_REFUSALS if private else 1):
            return False
        self._refused.append((now, person_id))
        return True

    async def tell(self, call: Call, text: str) -> None:
        """Answer with a plain sentence."""
        try:
            await call.tell(text)
        except UnansweredError as exc:
            self._log_unanswered(call, exc)

    def fault(self, call: Call, exc: BaseException) -> str:
        """Log and report what was nobody's doing but ours; return what to say to who met it."""
        reference = f"{self._chance.getrandbits(32):08x}"
        log.error(
            "sync.command.failed",
            command=call.name,
            reference=reference,
            user_id=call.person_id,
            exc_info=exc,
        )
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("reference", reference)
            scope.set_tag("command", call.name)
            sentry_sdk.capture_exception(exc)
        return usage.fault(reference)

    @staticmethod
    def _log_unanswered(call: Call, exc: UnansweredError) -> None:
        log.warning(
            "sync.command.unanswered", command=call.name, user_id=call.person_id, error=str(exc)
        )
