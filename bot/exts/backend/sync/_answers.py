"""How a command is answered: in time, to who may read it, and also when it goes wrong.

Discord forgets a slash command that heard nothing for three seconds, and lets nobody answer one
after fifteen minutes. What names members is for mod-log, or for the caller alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import discord
import sentry_sdk
import structlog
from discord import app_commands
from discord.ext import commands

from ._clock import wait_first
from ._core import usage
from ._core.wire import shown
from ._message import mentions, named, prefix_of, to_embed, to_file, to_view
from ._orders import Reply, said

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable

    from ._ports import Clock
    from ._reporter import DiscordModLog

log = structlog.get_logger(__name__)

_Context = commands.Context[Any]

ELSEWHERE: Final = "This works only in the server that is synced."
# aiohttp's own errors pass through discord.py as they are.
_TROUBLE: Final = (discord.HTTPException, aiohttp.ClientError, OSError)
_DEFER_AFTER_S: Final = 1.0  # of the three that Discord gives
_TOKEN_S: Final = 14 * 60.0  # of the fifteen minutes
_REFUSALS: Final = 40
_PRIVATE_REFUSALS: Final = 15
_REFUSALS_PER_S: Final = 10.0
_DUE: Final = {
    "force": "`force`, or left out",
    "member": "a member, by mention, name or id",
    "name": "`target` or `max-items`",
    "value": "a number",
}


class NotAllowedError(commands.CheckFailure):
    """Somebody may not use the commands; the message says who may."""


class StandbyError(commands.CheckFailure):
    """Another process holds the lease, hears the same command, and answers it."""


class Answers:
    """What is said to whoever typed a command or pressed a button; `mod_log_id` is a channel."""

    def __init__(
        self,
        bot: commands.Bot,
        *,
        mod_log: DiscordModLog,
        mod_log_id: int,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._bot = bot
        self._mod_log = mod_log
        self._mod_log_id = mod_log_id
        self._clock = clock
        self._chance = chance
        self._refused: deque[tuple[float, int]] = deque(maxlen=_REFUSALS)

    def saying(self, reply: Reply) -> dict[str, Any]:
        """Return the arguments with which a message answers so."""
        view, file = to_view(reply.notice.buttons), reply.file
        return {
            "embed": to_embed(reply.notice, prefix=prefix_of(self._bot)),
            "allowed_mentions": mentions(),
            "silent": True,
            **({} if view is None else {"view": view}),
            **({} if file is None else {"file": to_file(file)}),
        }

    async def carry_out(self, ctx: _Context, work: Awaitable[Reply]) -> None:
        """Do what a command asks for, and answer it, in time also where that takes longer."""
        task = asyncio.ensure_future(work)
        try:
            if ctx.interaction is not None and not await wait_first(
                {task}, clock=self._clock, within_s=_DEFER_AFTER_S
            ):
                await self.defer(ctx, private=False)
            reply = await task
        finally:
            task.cancel()
        await self.give(ctx, reply)

    async def defer(self, ctx: _Context, *, private: bool) -> None:
        """Tell Discord that an answer follows."""
        try:
            await ctx.defer(ephemeral=private)
        except _TROUBLE as exc:
            # Too late for Discord: the answer goes another way then.
            log.warning("sync.command.not_deferred", error=shown(str(exc)))

    async def give(
        self, ctx: _Context, reply: Reply, *, private: bool = False
    ) -> discord.Message | None:
        """Answer a command; return the message. A `private` answer holds members' data.

        As a slash command's it is for its caller alone; as another's it goes to mod-log.
        """
        if ctx.interaction is not None:
            if self._has_token(ctx.interaction):
                try:
                    # An order that was carried out is for everybody to see.
                    return await ctx.send(**self.saying(reply), ephemeral=private or not reply.done)
                except _TROUBLE as exc:
                    log.warning("sync.command.unanswered", error=shown(str(exc)))
            if not private:
                return await ctx.channel.send(ctx.author.mention, **self.saying(reply))
        elif not private or ctx.channel.id == self._mod_log_id:
            return await ctx.send(**self.saying(reply))
        return await self._give_in_mod_log(ctx, reply)

    async def _give_in_mod_log(self, ctx: _Context, reply: Reply) -> discord.Message | None:
        message = await self._mod_log.say(
            f"{ctx.author.mention} asked for this:", self.saying(reply)
        )
        if ctx.interaction is not None and not self._has_token(ctx.interaction):
            return message
        name = "sync" if ctx.command is None else ctx.command.qualified_name
        where = (
            f"The answer is in <#{self._mod_log_id}>, since it names members."
            if message is not None
            else "The answer names members, so it is not for this channel, and mod-log can't be "
            "used now."
        )
        text = f"{where} As the slash command `/{name}` you alone see it."
        await ctx.send(**self.saying(said(text)), ephemeral=True)
        return message

    def _has_token(self, interaction: discord.Interaction[Any]) -> bool:
        age = self._clock.now() - interaction.created_at
        return age.total_seconds() < _TOKEN_S

    def may_refuse(self, person_id: int, *, private: bool) -> bool:
        """Say whether to answer somebody who may not use this, so that nobody fills a channel.

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

    # -- what goes wrong --------------------------------------------------------------------------

    async def of_error(self, ctx: _Context, error: Exception) -> None:
        """Answer a command that ended with an error, whatever it is."""
        match error:
            case StandbyError():
                return
            case NotAllowedError() | commands.NoPrivateMessage():
                if not self.may_refuse(ctx.author.id, private=ctx.interaction is not None):
                    return
                text = str(error) if isinstance(error, NotAllowedError) else ELSEWHERE
            case commands.UserInputError():
                text = _about_input(ctx, error)
            case commands.DisabledCommand():
                text = "This command is switched off in this bot."
            case commands.CheckFailure():
                text = "This bot does not let you use this command here."
            case commands.HybridCommandError(original=app_commands.TransformerError()):
                text = _about_input(ctx, commands.BadArgument())
            case _:
                text = self.fault(_cause(error), name=_name(ctx), person_id=ctx.author.id)
        text = named(text, prefix=prefix_of(self._bot))
        try:
            await ctx.send(text, ephemeral=True, allowed_mentions=mentions())
        except _TROUBLE as exc:
            log.warning("sync.command.unanswered", command=_name(ctx), error=shown(str(exc)))

    def fault(self, exc: BaseException, *, name: str, person_id: int) -> str:
        """Log and report what was nobody's doing but ours; return what to say to who met it."""
        reference = f"{self._chance.getrandbits(32):08x}"
        log.error(
            "sync.command.failed",
            command=name,
            reference=reference,
            user_id=person_id,
            exc_info=exc,
        )
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("reference", reference)
            scope.set_tag("command", name)
            sentry_sdk.capture_exception(exc)
        return usage.fault(reference)


def _cause(error: BaseException) -> BaseException:
    """Return what was raised in a command, out of what discord.py wraps around it."""
    while isinstance(
        error,
        commands.CommandInvokeError
        | commands.ConversionError
        | commands.HybridCommandError
        | app_commands.CommandInvokeError,
    ):
        error = error.original
    return error


def _name(ctx: _Context) -> str:
    return "sync" if ctx.command is None else ctx.command.qualified_name


def _about_input(ctx: _Context, error: commands.UserInputError) -> str:
    """Say in a sentence which word is wrong, and how the command is typed."""
    command = ctx.command
    if command is None:
        return "That was not understood."
    name = command.qualified_name
    how = f"{name} {command.signature}".strip()
    match error:
        case commands.MissingRequiredArgument():
            return usage.missing(error.param.name, usage=how)
        case commands.TooManyArguments():
            word = next(iter(ctx.view.buffer[ctx.view.index :].split()), "")
            if isinstance(command, commands.Group):
                return usage.no_command(word, group=name, known=_within(command))
            return usage.surplus(word, command=name, usage=how, beside=_within(command.parent))
        case commands.ArgumentParsingError():
            return usage.unpaired(usage=how)
        case _:
            parameter = ctx.current_parameter
            argument = "it" if parameter is None else parameter.name
            due = _DUE.get(argument, "something else")
            return usage.wrong(argument, ctx.current_argument, due=due, usage=how)


def _within(group: object) -> list[str]:
    return sorted(one.name for one in group.commands) if isinstance(group, commands.Group) else []
