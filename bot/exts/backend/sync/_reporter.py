"""The mod-log channel: one live message a run, and alerts that are messages of their own.

Only the newest state is ever kept for a message, so that a slow Discord makes edits rarer and never
a queue of stale ones. Nothing that goes wrong here reaches a run.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import discord
import sentry_sdk
import structlog

from ._core.report import render
from ._errors import StoreError
from ._ports import Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discord.ext import commands

    from ._core.alert import Alert
    from ._core.report import Notice, RunView

log = structlog.get_logger(__name__)

_ROLL_AFTER_S: Final = 55 * 60  # messages older than an hour have a low limit of edits
_RETRY_S: Final = 2.0
_LAST_RETRY_S: Final = 0.5
_MAX_RETRY_S: Final = 60.0
_SEARCHED: Final = 100
_FINISH_S: Final = 30.0


class Keeper(Protocol):
    """Who remembers over a restart which message shows a run, and how far it was."""

    async def shown(
        self, run_id: str, *, channel_id: int, message_id: int, done: int, planned: int
    ) -> None: ...


@dataclass(slots=True, kw_only=True)
class _Shown:
    """What mod-log shows of a run.

    `told` is the state that its message has, `view` the newest; once `is_last`, none will follow.
    `posts` counts its messages, and `nonce` is that of the last one that was sent.
    """

    view: RunView
    is_last: bool = False
    told: RunView | None = None
    message: discord.Message | None = None
    posts: int = 0
    nonce: str = ""
    done: asyncio.Event = field(default_factory=asyncio.Event)


class _UnusableError(discord.ClientException):
    """The configured channel is of a kind that takes no messages."""


class DiscordModLog:
    """The channel `channel_id`; `interval_s` is the least time between two edits of a message."""

    def __init__(
        self,
        bot: commands.Bot,
        *,
        channel_id: int,
        alert_role_id: int | None,
        interval_s: float,
    ) -> None:
        self.keeper: Keeper | None = None
        self._bot = bot
        self._channel_id = channel_id
        self._alert_role_id = alert_role_id
        self._interval_s = interval_s
        self._runs: dict[str, _Shown] = {}
        self._changed = asyncio.Event()
        self._last = asyncio.Event()
        self._edited_at = 0.0
        self._unusable: str | None = None
        self._writing = False

    def show(self, view: RunView) -> None:
        """Show the newest state of a run, as soon as the edit interval allows."""
        shown = self._runs.setdefault(view.run_id, _Shown(view=view))
        shown.view = view
        self._changed.set()

    async def finish(self, view: RunView) -> None:
        """Show the last state of a run without waiting for the interval."""
        self.show(view)
        shown = self._runs[view.run_id]
        shown.is_last = True
        if not self._writing:
            return
        self._last.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(shown.done.wait(), _FINISH_S)

    async def run_forever(self) -> None:
        """Write what is shown, for as long as the extension is loaded."""
        loop = asyncio.get_running_loop()
        # An extension may be loaded long before its bot logs in, and discord.py's REST client has
        # no session until then.
        await self._bot.wait_until_ready()
        self._writing = True
        wait_s = _LAST_RETRY_S
        while True:
            await self._changed.wait()
            wait = self._edited_at + self._interval_s - loop.time()
            if wait > 0 and not self._last.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._last.wait(), wait)
            self._changed.clear()
            self._last.clear()
            untold = [shown for shown in tuple(self._runs.values()) if not await self._bring(shown)]
            self._edited_at = loop.time()
            if untold:
                # How a run ended must not be lost because the next one began meanwhile.
                loop.call_later(wait_s, self._last.set)
                loop.call_later(wait_s, self._changed.set)
            wait_s = min(wait_s * 2, _MAX_RETRY_S) if untold else _LAST_RETRY_S

    async def _bring(self, shown: _Shown) -> bool:
        """Bring a run's message to its newest state; return whether nothing is left to be told."""
        view, is_last = shown.view, shown.is_last
        if view is not shown.told and await self._write(shown, view):
            shown.told = view
        if not is_last:
            return True
        if view is shown.told:
            self._runs.pop(view.run_id, None)
            shown.done.set()
        return view is shown.told

    async def _write(self, shown: _Shown, view: RunView) -> bool:
        """Bring the run's message to this state; return whether there is no use in trying again."""
        embed = to_embed(render(view))
        message = shown.message
        try:
            if message is not None and _age_s(message) < _ROLL_AFTER_S:
                with suppress(discord.NotFound):
                    shown.message = await message.edit(embed=embed)
                    await self._keep(shown, view)
                    return True
            nonce = f"{view.run_id}-{shown.posts}"
            again, shown.nonce = nonce == shown.nonce, nonce
            shown.message = await self._send(embed=embed, nonce=nonce)
            shown.posts += 1
            if again:
                # Where only the answer to the first try was lost, this is the message it made.
                shown.message = await shown.message.edit(embed=embed)
            await self._keep(shown, view)
        except (discord.HTTPException, discord.ClientException, OSError) as exc:
            return self._is_hopeless(exc)
        return True

    async def _keep(self, shown: _Shown, view: RunView) -> None:
        if self.keeper is None or shown.message is None or view.ending is not None:
            return
        try:
            await self.keeper.shown(
                view.run_id,
                channel_id=self._channel_id,
                message_id=shown.message.id,
                done=view.done,
                planned=view.planned,
            )
        except StoreError as exc:
            # The next start finds the message by its looks, and counts from what was kept before.
            log.warning("sync.mod_log.unkept", error=str(exc))

    def _is_hopeless(self, exc: Exception) -> bool:
        """Log why Discord did not take a message; return whether only an operator can help.

        That is told to Sentry too, once for each reason: here mod-log can't speak for itself.
        """
        log.warning("sync.mod_log.failed", channel_id=self._channel_id, error=str(exc))
        if not isinstance(exc, discord.NotFound | discord.Forbidden | _UnusableError):
            return False
        if self._unusable != str(exc):
            self._unusable = str(exc)
            sentry_sdk.capture_message(
                f"MOD_LOG_CHANNEL_ID {self._channel_id} can't be used: {exc}", level="error"
            )
        return True

    async def post(self, alert: Alert, *, again: bool) -> bool:
        """Post an alert, which pings the configured role if it asks for it."""
        await self._bot.wait_until_ready()
        try:
            if again and await self._shows(alert.id):
                return True
            role_id = self._alert_role_id if alert.notice.ping else None
            await self._send(
                content=None if role_id is None else f"<@&{role_id}>",
                embed=to_embed(alert.notice),
                pings=() if role_id is None else (discord.Object(role_id),),
                nonce=alert.id,
            )
        except (discord.HTTPException, discord.ClientException, OSError) as exc:
            self._is_hopeless(exc)
            return False
        return True

    async def _shows(self, alert_id: str) -> bool:
        try:
            seen = await self._read(_SEARCHED)
        except discord.Forbidden:
            return False  # it may write but not look back: the nonce has to do
        return any(alert_id in message.footer for message in seen)

    async def recent(self, count: int) -> Sequence[Seen] | None:
        """Return our messages among the latest, newest first, however long Discord is away."""
        await self._bot.wait_until_ready()
        wait_s = _RETRY_S
        while True:
            try:
                return await self._read(count)
            except (discord.HTTPException, discord.ClientException, OSError) as exc:
                if self._is_hopeless(exc):
                    return None
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _MAX_RETRY_S)

    async def _read(self, count: int) -> list[Seen]:
        channel = await self._channel()
        me = self._bot.user
        return [
            Seen(id=message.id, title=embed.title or "", footer=embed.footer.text or "")
            async for message in channel.history(limit=count)
            if me is not None and message.author.id == me.id
            for embed in message.embeds[:1]
        ]

    async def replace(self, message_id: int, notice: Notice) -> bool:
        """Let a message say something else for good."""
        try:
            channel = await self._channel()
            message = await channel.fetch_message(message_id)
            await message.edit(embed=to_embed(notice), view=None)
        except (discord.HTTPException, discord.ClientException, OSError) as exc:
            self._is_hopeless(exc)
            return False
        return True

    async def _send(
        self,
        *,
        embed: discord.Embed,
        content: str | None = None,
        pings: tuple[discord.Object, ...] = (),
        nonce: str | None = None,
    ) -> discord.Message:
        channel = await self._channel()
        mentions = discord.AllowedMentions(
            everyone=False, users=False, roles=pings, replied_user=False
        )
        # discord.py sends `enforce_nonce` along: a repeated one is answered with the first message.
        message = await channel.send(
            content=content,
            embed=embed,
            allowed_mentions=mentions,
            nonce=nonce,  # type: ignore[arg-type] # typed without the None that is its default
        )
        self._unusable = None
        return message

    async def _channel(self) -> discord.abc.MessageableChannel:
        channel = self._bot.get_channel(self._channel_id)
        if channel is None:
            channel = await self._bot.fetch_channel(self._channel_id)
        if not isinstance(channel, discord.abc.Messageable):
            raise _UnusableError(f"it is no channel for messages, but a {type(channel).__name__}")
        return channel


def to_embed(notice: Notice) -> discord.Embed:
    """Return a notice as discord.py's embed."""
    embed = discord.Embed(
        title=notice.title, description=notice.description, colour=notice.tone.value
    )
    for name, value in notice.fields:
        embed.add_field(name=name, value=value, inline=False)
    if notice.footer:
        embed.set_footer(text=notice.footer)
    return embed


def _age_s(message: discord.Message) -> float:
    return (discord.utils.utcnow() - message.created_at).total_seconds()
