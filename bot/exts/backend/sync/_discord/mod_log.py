"""The mod-log channel: one live message a run, and alerts that are messages of their own.

Only the newest state is ever kept for a run, so that a slow Discord makes edits rarer and never a
queue of stale ones. What Discord does not take is tried again for as long as the extension is
loaded. Nothing that goes wrong here reaches a run.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp
import discord
import sentry_sdk
import structlog

from .._clock import deadline, happens
from .._core.messages.marks import run_shown
from .._core.messages.report import render, rolled
from .._core.site.wire import shown
from .._errors import StoreError
from .._ports import Seen
from .._supervision import Faults
from .call import SentMessage
from .message import (
    mentions,
    prefix_of,
    to_answer,
    to_embed,
    to_view,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from discord.ext import commands

    from .._core.messages.alert import Alert
    from .._core.messages.notice import Notice
    from .._core.messages.progress import RunView
    from .._core.messages.reply import Reply
    from .._ports import Clock, Sent

log = structlog.get_logger(__name__)

_ROLL_AFTER_S: Final = 55 * 60.0  # messages older than an hour have a low limit of edits
_RETRY_S: Final = 2.0
_FIRST_RETRY_S: Final = 0.5
_MAX_RETRY_S: Final = 60.0
# How far mod-log is looked back in, past what others say there.
_LOOK_BACK: Final = timedelta(days=7)
_MOST_READ: Final = 2000
_PAGE: Final = 100  # Discord's bound
_FINISH_S: Final = 30.0
_MAX_UNSHOWN: Final = 20
_PASSING: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_UNKNOWN_MESSAGE: Final = 10008  # Discord's code: somebody has deleted it
# aiohttp's own errors pass through discord.py as they are.
_TROUBLE: Final = (
    discord.HTTPException,
    discord.ClientException,
    aiohttp.ClientError,
    OSError,
)


class Keeper(Protocol):
    """Who remembers over a restart which message shows a run, and how far it was."""

    async def shown(
        self, run_id: str, *, channel_id: int, message_id: int, done: int, planned: int
    ) -> None: ...


class _UnusableError(discord.ClientException):
    """The configured channel is of a kind that takes no messages."""


@dataclass(slots=True)
class _Live:
    """The message of a run, and what it says."""

    message: discord.Message
    notice: Notice
    made_at: float  # by the monotonic clock

    def age_s(self, clock: Clock) -> float:
        """Return how old the message is: by that of the two clocks that says more.

        The wall clock may be wrong, and the monotonic one may stand still while a machine sleeps.
        """
        by_id = clock.now() - self.message.created_at
        return max(by_id.total_seconds(), clock.monotonic() - self.made_at)


class DiscordModLog:
    """The channel `channel_id` of a guild; `interval_s` is the least time between two edits in it.

    A live message older than `roll_after_s` is followed by a new one. Live messages and alerts are
    one class, since they share the channel, its rate limits and what is known of its trouble.
    """

    def __init__(
        self,
        bot: commands.Bot,
        *,
        guild_id: int,
        channel_id: int,
        alert_role_id: int | None,
        interval_s: float,
        clock: Clock,
        roll_after_s: float = _ROLL_AFTER_S,
    ) -> None:
        self.keeper: Keeper | None = None
        self._clock = clock
        self._bot = bot
        self._guild_id = guild_id
        self._channel_id = channel_id
        self._alert_role_id = alert_role_id
        self._interval_s = interval_s
        self._roll_after_s = roll_after_s
        self._newest: dict[str, RunView] = {}  # of each run whose message does not show it yet
        self._live: dict[str, _Live] = {}
        self._ended: set[str] = set()  # runs whose newest state is their last
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._turned = asyncio.Event()
        self._tried_at = 0.0
        self._retry_s = 0.0
        self._nonce = ""
        self._unusable: str | None = None
        self._failure: str | None = None  # of the latest request, if it failed
        self._was_cached = False
        self._faults = Faults()
        self._writing = False

    def show(self, view: RunView) -> None:
        """Show the newest state of a run, as soon as the edit interval allows."""
        self._newest[view.run_id] = view
        while len(self._newest) > _MAX_UNSHOWN:
            # The next start ends a live message that was given up here.
            self._forget(next(iter(self._newest)))
        self._changed.set()

    async def finish(self, view: RunView) -> None:
        """Show the last state of a run without waiting for the interval."""
        self._ended.add(view.run_id)
        self.show(view)
        if not self._writing:
            return
        self._hurry.set()
        with suppress(TimeoutError):
            async with deadline(self._clock, _FINISH_S):
                while self._newest.get(view.run_id) is view and self._unusable is None:
                    await self._turned.wait()

    async def run_forever(self) -> None:
        """Write what is shown, for as long as the extension is loaded."""
        # An extension may be loaded long before its bot logs in, and discord.py's REST client has
        # no session until then.
        await self._bot.wait_until_ready()
        self._writing = True
        while True:
            await self._changed.wait()
            await self._interval()
            self._hurry.clear()
            view = self._next()
            try:
                written = await self._write(view)
            except Exception as exc:  # noqa: BLE001 - told; the same back-off holds for alerts
                self._faults.tell("sync.mod_log.broke", exc, task="mod-log")
                self._back_off()
                written = False
            self._tried_at = self._clock.monotonic()
            if written and self._newest.get(view.run_id) is view:
                self._settle(view.run_id)
            if not self._newest:
                self._changed.clear()
            self._turned.set()
            self._turned = asyncio.Event()

    def _back_off(self) -> None:
        """Let whoever comes next wait, whatever they want to show: longer after each failure."""
        self._tried_at = self._clock.monotonic()
        self._retry_s = min(max(_FIRST_RETRY_S, self._retry_s * 2), _MAX_RETRY_S)

    def _went_well(self) -> None:
        self._unusable = self._failure = None
        self._retry_s = 0.0

    async def _backed_off(self) -> None:
        """Return once the next try may come after those that failed."""
        while self._retry_s:
            wait_s = self._tried_at + self._retry_s - self._clock.monotonic()
            if wait_s <= 0:
                return
            await self._clock.sleep(wait_s)

    async def _interval(self) -> None:
        """Wait until the next edit may come; a run's last one need not wait, but for Discord."""
        if self._retry_s:
            await self._backed_off()
            return
        wait_s = self._tried_at + self._interval_s - self._clock.monotonic()
        if wait_s <= 0:
            return
        await happens(self._hurry, clock=self._clock, within_s=wait_s)

    def _next(self) -> RunView:
        """Return the state to be written now: that of a run that has ended before all others."""
        ended = (view for run_id, view in self._newest.items() if run_id in self._ended)
        return next(ended, None) or next(iter(self._newest.values()))

    def _settle(self, run_id: str) -> None:
        del self._newest[run_id]
        if run_id in self._ended:
            self._forget(run_id)

    def _forget(self, run_id: str) -> None:
        self._newest.pop(run_id, None)
        self._live.pop(run_id, None)
        self._ended.discard(run_id)

    async def _write(self, view: RunView) -> bool:
        """Bring the run's message to this state, and return whether Discord took it."""
        notice = render(view)
        live = self._live.get(view.run_id)
        try:
            if live is None or not await self._edit(live, notice):
                await self._open(view, notice)
            await self._keep(view)
        except _TROUBLE as exc:
            self._note(exc)
            return False
        return True

    async def _edit(self, live: _Live, notice: Notice) -> bool:
        """Let a live message say this; return whether that is still to be done by another."""
        if live.notice == notice:
            return True
        if live.age_s(self._clock) >= self._roll_after_s:
            return False
        try:
            await live.message.edit(**self._saying(notice))
        except discord.NotFound:
            return False
        live.notice = notice
        self._went_well()
        return True

    async def _open(self, view: RunView, notice: Notice) -> None:
        """Begin a new live message, and let the one before, if it is still there, link to it."""
        before = self._live.get(view.run_id)
        nonce = f"{view.run_id}-{'' if before is None else before.message.id % 10**9}"
        again, self._nonce = nonce == self._nonce, nonce
        message = await self._send(notice, nonce=nonce)
        now = self._clock.monotonic()
        live = self._live[view.run_id] = _Live(message=message, notice=notice, made_at=now)
        if again:
            # Where only the answer to the first try was lost, this is the message it made.
            await message.edit(**self._saying(live.notice))
        if before is not None:
            with suppress(discord.HTTPException, OSError):
                end = rolled(view, url=message.jump_url)
                await before.message.edit(**self._saying(end))

    async def _keep(self, view: RunView) -> None:
        live = self._live.get(view.run_id)
        if self.keeper is None or live is None or view.ending is not None:
            return
        try:
            await self.keeper.shown(
                view.run_id,
                channel_id=self._channel_id,
                message_id=live.message.id,
                done=min(view.done, view.tally.total),  # not what was parked
                planned=view.planned,
            )
        except StoreError as exc:
            # The next start finds the message by its looks, and counts from what was kept before.
            log.warning("sync.mod_log.unkept", error=str(exc))

    def _note(self, exc: Exception) -> None:
        """Log why Discord did not take a message, and note whether only an operator can help.

        That is told to Sentry too, once for each reason: here mod-log can't speak for itself.
        """
        self._back_off()
        error = self._failure = shown(str(exc)) or type(exc).__name__
        log.warning("sync.mod_log.failed", channel_id=self._channel_id, error=error)
        if not _stays(exc):
            return
        if self._unusable != error:
            self._unusable = error
            sentry_sdk.capture_message(
                f"MOD_LOG_CHANNEL_ID {self._channel_id} can't be used: {error}", level="error"
            )

    async def post(self, alert: Alert, *, again: bool) -> bool:
        """Post an alert, which pings the configured role if it asks for it."""
        await self._bot.wait_until_ready()
        await self._backed_off()
        try:
            if again and await self._shows(alert.id):
                return True
            role_id = self._alert_role_id if alert.notice.ping else None
            await self._send(alert.notice, ping=role_id, nonce=alert.id)
        except _TROUBLE as exc:
            self._note(exc)
            return False
        return True

    async def _shows(self, alert_id: str) -> bool:
        def is_found(seen: list[Seen]) -> bool:
            return any(alert_id in message.footer for message in seen)

        try:
            return is_found(await self._read(is_found))
        except discord.Forbidden:
            return False  # it may write but not look back: the nonce has to do

    async def recent(self, count: int) -> Sequence[Seen] | None:
        """Return our latest messages, newest first, however long Discord is away."""
        await self._bot.wait_until_ready()
        wait_s = _RETRY_S
        while True:
            try:
                return (await self._read(lambda seen: len(seen) >= count))[:count]
            except _TROUBLE as exc:
                self._note(exc)
                if _stays(exc):
                    return None
            await self._clock.sleep(wait_s)
            wait_s = min(wait_s * 2, _MAX_RETRY_S)

    def run_shown(self, message: discord.Message) -> str:
        """Return the id of the run that a bot's message in mod-log shows, or nothing."""
        embed = message.embeds[0] if message.embeds else None
        if not message.author.bot or message.channel.id != self._channel_id or embed is None:
            return ""
        return run_shown(embed.footer.text or "")

    async def _read(self, is_enough: Callable[[list[Seen]], bool]) -> list[Seen]:
        """Return our messages, newest first, back to where they are enough, or are too old.

        Whatever else there is need not be understood. They are read as Discord sends them:
        discord.py gives none at all where it can't parse one.
        """
        await self._channel()
        me = self._bot.user
        oldest = discord.utils.time_snowflake(self._clock.now() - _LOOK_BACK)
        seen: list[Seen] = []
        before: int | None = None
        for _ in range(_MOST_READ // _PAGE):
            rows: Sequence[object] = await self._bot.http.logs_from(
                self._channel_id, _PAGE, before=before
            )
            found = (_seen(row, by="" if me is None else str(me.id)) for row in rows)
            seen += [one for one in found if one is not None and one.id > oldest]
            before = min(filter(None, map(_id, rows)), default=0)
            if len(rows) < _PAGE or before <= oldest or is_enough(seen):
                break
        return seen

    async def replace(self, message_id: int, notice: Notice) -> bool:
        """Let a message say something else for good."""
        try:
            channel = await self._channel()
            message = await channel.fetch_message(message_id)
            await message.edit(**self._saying(notice))
        except _TROUBLE as exc:
            if not (isinstance(exc, discord.NotFound) and exc.code == _UNKNOWN_MESSAGE):
                self._note(exc)
            return False
        return True

    def url(self, message_id: int) -> str:
        """Return where people find a message of the channel."""
        channel = self._bot.get_channel(self._channel_id)
        guild = getattr(channel, "guild", None)
        place = "@me" if guild is None else guild.id
        return f"https://discord.com/channels/{place}/{self._channel_id}/{message_id}"

    def _saying(self, notice: Notice) -> dict[str, Any]:
        """Return the arguments with which a message says this."""
        embed = to_embed(notice, prefix=prefix_of(self._bot))
        return {"embed": embed, "view": to_view(notice.buttons)}

    async def _send(
        self, notice: Notice, *, nonce: str, ping: int | None = None
    ) -> discord.Message:
        channel = await self._channel()
        # discord.py sends `enforce_nonce` along: a repeated one is answered with the first message.
        message: discord.Message = await channel.send(
            content=None if ping is None else f"<@&{ping}>",
            allowed_mentions=mentions() if ping is None else mentions(ping),
            nonce=nonce,
            **self._saying(notice),
        )
        self._went_well()
        return message

    async def say(self, text: str, reply: Reply) -> Sent | None:
        """Post an answer that is not for another channel; None if Discord does not take it."""
        prefix = prefix_of(self._bot)
        try:
            channel = await self._channel()
            message: discord.Message = await channel.send(text, **to_answer(reply, prefix=prefix))
        except _TROUBLE as exc:
            self._note(exc)
            return None
        return SentMessage(message, prefix=prefix)

    @property
    def trouble(self) -> str | None:
        """Why nothing can be shown now, as far as is known."""
        guild = self._bot.get_guild(self._guild_id)
        known = self._was_cached and guild is not None and not guild.unavailable
        if known and self._bot.get_channel(self._channel_id) is None:
            return "the channel was deleted, or the bot may not see it any more"
        return self._failure

    async def _channel(self) -> discord.abc.MessageableChannel:
        channel = self._bot.get_channel(self._channel_id)
        if channel is None:
            channel = await self._bot.fetch_channel(self._channel_id)
        # Threads leave the cache when they are archived, and are still there.
        elif isinstance(channel, discord.abc.GuildChannel):
            self._was_cached = True
        if not isinstance(channel, discord.abc.Messageable):
            raise _UnusableError(f"it is no channel for messages, but a {type(channel).__name__}")
        guild = getattr(channel, "guild", None)
        # Where the bot is not in that server at all, this is where people learn of it.
        is_there = self._bot.get_guild(self._guild_id) is not None
        if guild is None or (is_there and guild.id != self._guild_id):
            raise _UnusableError(f"it is not a channel of the server {self._guild_id} (GUILD_ID)")
        return channel


def _stays(exc: Exception) -> bool:
    """Say whether only a person can help: what Discord refuses, it refuses again."""
    if not isinstance(exc, discord.HTTPException):
        return isinstance(exc, _UnusableError)
    is_refusal = HTTPStatus.BAD_REQUEST <= exc.status < HTTPStatus.INTERNAL_SERVER_ERROR
    return is_refusal and exc.status not in _PASSING


def _id(row: object) -> int:
    """Return a message's id, or 0 where it has none."""
    match row:
        case {"id": str(id_)} if id_.isdecimal():
            return int(id_)
        case _:
            return 0


def _seen(row: object, *, by: str) -> Seen | None:
    """Return a message of Discord's as far as it is read here; None if it is nobody's of `by`."""
    match row:
        case {"id": str(id_), "author": {"id": str(author)}, "embeds": [{**embed}, *_]}:
            if author != by or not id_.isdecimal():
                return None
        case _:
            return None
    footer = embed.get("footer")
    return Seen(
        id=int(id_),
        title=_text(embed.get("title")),
        description=_text(embed.get("description")),
        footer=_text(footer.get("text")) if isinstance(footer, dict) else "",
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
