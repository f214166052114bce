"""A mod-log channel in memory: what everybody sees, and each process' way to it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bot.exts.backend.sync._clock import deadline, happens
from bot.exts.backend.sync._core.messages.report import render
from bot.exts.backend.sync._ports import Seen
from tests.fakes.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bot.exts.backend.sync._core.messages.alert import Alert
    from bot.exts.backend.sync._core.messages.notice import Notice
    from bot.exts.backend.sync._core.messages.progress import RunView
    from bot.exts.backend.sync._core.messages.reply import Reply
    from bot.exts.backend.sync._discord.mod_log import Keeper
    from bot.exts.backend.sync._ports import Clock

CHANNEL: Final = 900
_FINISH_S: Final = 30.0


@dataclass(slots=True, kw_only=True)
class Shown:
    """A message of the channel: what it says, and how often it was edited."""

    id: int
    notice: Notice
    alert_id: str | None = None
    edits: int = 0
    run_id: str | None = None
    line: str = ""  # above it


@dataclass(slots=True, kw_only=True)
class Channel:
    """The messages of the channel, oldest first; `away` lets nobody write or read."""

    messages: list[Shown] = field(default_factory=list)
    away: bool = False
    listeners: list[Callable[[Shown], None]] = field(default_factory=list)

    def add(self, notice: Notice, **more: Any) -> Shown:
        """Post a message."""
        shown = Shown(id=1000 + len(self.messages), notice=notice, **more)
        self.messages.append(shown)
        for hear in self.listeners:
            hear(shown)
        return shown

    @property
    def titles(self) -> list[str]:
        """The titles of all messages, oldest first."""
        return [message.notice.title for message in self.messages]


class SentThere:
    """An answer in the channel."""

    def __init__(self, message: Shown) -> None:
        self._message = message

    async def edit(self, reply: Reply) -> None:
        """Let it say something else."""
        await asyncio.sleep(0)
        self._message.notice = reply.notice
        self._message.edits += 1


class FakeModLog:
    """A process' way to the channel; as the real one, it shows newest states only."""

    def __init__(
        self,
        channel: Channel,
        *,
        clock: Clock,
        interval_s: float = 5.0,
        faults: Faults | None = None,
    ) -> None:
        self.channel = channel
        self.faults = faults or Faults()
        self.keeper: Keeper | None = None
        self.views: list[RunView] = []
        self.is_dead = False
        self._clock = clock
        self._interval_s = interval_s
        self._newest: dict[str, RunView] = {}
        self._ids: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._turned = asyncio.Event()

    async def run_forever(self) -> None:
        """Write what is shown, one state at a time."""
        while True:
            await self._changed.wait()
            self._hurry.clear()
            run_id = next(iter(self._newest))
            await self._out()
            view = self._newest.pop(run_id)
            if not self._newest:
                self._changed.clear()
            self._write(view)
            self._turned.set()
            self._turned = asyncio.Event()
            if self.keeper is not None and view.ending is None:
                # The next start finds the message by its looks. As with the real one, no error of
                # whatever kind ends the reporting.
                with contextlib.suppress(Exception):
                    await self.keeper.shown(
                        run_id,
                        channel_id=CHANNEL,
                        message_id=self._ids[run_id],
                        done=view.done,
                        planned=view.planned,
                    )
            await happens(self._hurry, clock=self._clock, within_s=self._interval_s)

    def _write(self, view: RunView) -> None:
        notice = render(view)
        if view.run_id not in self._ids:
            self._ids[view.run_id] = self.channel.add(notice, run_id=view.run_id).id
            return
        self._edit(self._ids[view.run_id], notice)

    def _edit(self, message_id: int, notice: Notice) -> bool:
        shown = next((one for one in self.channel.messages if one.id == message_id), None)
        if shown is None:
            return False
        shown.notice = notice
        shown.edits += 1
        return True

    def show(self, view: RunView) -> None:
        """Show the newest state of a run soon."""
        self.views.append(view)
        self._newest[view.run_id] = view
        self._changed.set()

    async def finish(self, view: RunView) -> None:
        """Show the last state of a run now."""

        async def call() -> None:
            self.show(view)
            self._hurry.set()
            with contextlib.suppress(TimeoutError):
                async with deadline(self._clock, _FINISH_S):
                    while self._newest.get(view.run_id) is view:
                        await self._turned.wait()

        await self.faults.around("mod_log.finish", call)

    async def post(self, alert: Alert, *, again: bool) -> bool:
        """Post an alert, once."""

        async def call() -> bool:
            await self._turn()
            if self.channel.away:
                return False
            known = any(one.alert_id == alert.id for one in self.channel.messages)
            if not (again and known):
                self.channel.add(alert.notice, alert_id=alert.id)
            return True

        return await self.faults.around("mod_log.post", call)

    async def recent(self, count: int) -> Sequence[Seen] | None:
        """Return the latest messages, newest first."""

        async def call() -> Sequence[Seen]:
            await self._out()
            return [
                Seen(
                    id=one.id,
                    title=one.notice.title,
                    description=one.notice.description,
                    footer=one.notice.footer,
                )
                for one in self.channel.messages[: -count - 1 : -1]
            ]

        return await self.faults.around("mod_log.recent", call)

    async def replace(self, message_id: int, notice: Notice) -> bool:
        """Let a message say something else."""

        async def call() -> bool:
            await self._turn()
            return not self.channel.away and self._edit(message_id, notice)

        return await self.faults.around("mod_log.replace", call)

    async def say(self, text: str, reply: Reply) -> SentThere | None:
        """Post an answer below a line."""

        async def call() -> SentThere | None:
            await self._turn()
            if self.channel.away:
                return None
            return SentThere(self.channel.add(reply.notice, line=text))

        return await self.faults.around("mod_log.say", call)

    @property
    def trouble(self) -> str | None:
        """Why nothing can be shown now."""
        return "it is away" if self.channel.away else None

    def url(self, message_id: int) -> str:
        """Return where people find a message."""
        return f"https://discord.com/channels/1/{CHANNEL}/{message_id}"

    async def _out(self) -> None:
        """Wait until the channel can be reached."""
        await self._turn()
        while self.channel.away:
            await self._clock.sleep(1.0)

    async def _turn(self) -> None:
        await asyncio.sleep(0)
        if self.is_dead:
            await asyncio.get_running_loop().create_future()
