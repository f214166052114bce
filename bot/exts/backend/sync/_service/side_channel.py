"""Mod-log as a side channel: whatever it meets, nobody who tells it something is disturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from .._core.model.redaction import without_quoted
from .._supervision import Faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from .._core.messages.alert import Alert
    from .._core.messages.notice import Notice
    from .._core.messages.progress import RunView
    from .._core.messages.reply import Reply
    from .._ports import ModLog, Seen, Sent

    _T = TypeVar("_T")


class SideChannel:
    """A `ModLog` of whose faults nobody hears but the log and Sentry, each kind once.

    Messages come from outside: discord.py raises anything about one that it can't parse.
    """

    def __init__(self, mod_log: ModLog) -> None:
        self._mod_log = mod_log
        self._faults = Faults()

    def show(self, view: RunView) -> None:
        """Show the newest state of a run, as soon as the edit interval allows."""
        try:
            self._mod_log.show(view)
        except Exception as exc:  # noqa: BLE001 - told; no caller is disturbed
            self._tell("show", exc)

    async def finish(self, view: RunView) -> None:
        """Show the last state of a run, and return when it is shown or was kept for later."""
        await self._or_else(None, "finish", self._mod_log.finish(view))

    async def post(self, alert: Alert, *, again: bool) -> bool:
        """Post an alert, and return whether mod-log shows it now."""
        return await self._or_else(False, "post", self._mod_log.post(alert, again=again))  # noqa: FBT003 - what `post` would say

    async def recent(self, count: int) -> Sequence[Seen] | None:
        """Return our latest messages, newest first, at most so many; None if they can't be read."""
        return await self._or_else(None, "recent", self._mod_log.recent(count))

    @property
    def trouble(self) -> str | None:
        """Why nothing can be shown now, as far as is known; None if all is well."""
        try:
            return self._mod_log.trouble
        except Exception as exc:  # noqa: BLE001 - told; no caller is disturbed
            self._tell("trouble", exc)
            return without_quoted(repr(exc))

    def url(self, message_id: int) -> str:
        """Return where people find a message of the channel."""
        try:
            return self._mod_log.url(message_id)
        except Exception as exc:  # noqa: BLE001 - told; no caller is disturbed
            self._tell("url", exc)
            return ""

    async def replace(self, message_id: int, notice: Notice) -> bool:
        """Let a message say something else for good, and return whether it does."""
        return await self._or_else(False, "replace", self._mod_log.replace(message_id, notice))  # noqa: FBT003 - what `replace` would say

    async def say(self, text: str, reply: Reply) -> Sent | None:
        """Post an answer that is not for another channel; None if none was posted."""
        return await self._or_else(None, "say", self._mod_log.say(text, reply))

    async def _or_else(self, otherwise: _T, call: str, answer: Awaitable[_T]) -> _T:
        try:
            return await answer
        except Exception as exc:  # noqa: BLE001 - told; no caller is disturbed
            self._tell(call, exc)
            return otherwise

    def _tell(self, call: str, exc: Exception) -> None:
        self._faults.tell("sync.mod_log.broke", exc, task=f"mod-log's {call}")
