"""A command or a press as discord.py brings it, behind the ports that answers go through."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import discord
from discord import app_commands
from discord.ext import commands

from .._core.messages import usage
from .._core.messages.marks import Mark, mark_of
from .._core.messages.notice import MAX_DESCRIPTION
from .._core.messages.report import pressed_by
from .._core.site.wire import shown
from .._errors import UnansweredError
from .message import (
    mentions,
    named,
    prefix_of,
    to_answer,
    to_embed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._core.messages.buttons import Button
    from .._core.messages.reply import Reply
    from .._ports import Clock, Sent

_Context = commands.Context[Any]

# aiohttp's own errors pass through discord.py as they are.
_TROUBLE: Final = (discord.DiscordException, aiohttp.ClientError, OSError)
_DUE: Final = {
    "force": "`force`, or left out",
    "member": "a member, by mention, name or id",
    "name": "`target` or `max-items`",
    "value": "a number",
}


@contextlib.contextmanager
def taken() -> Iterator[None]:
    """Raise `UnansweredError` for whatever Discord, or the way to it, says no with."""
    try:
        yield
    except _TROUBLE as exc:
        raise UnansweredError(shown(str(exc)) or type(exc).__name__) from exc


class SentMessage:
    """An answer that Discord has taken."""

    def __init__(self, message: discord.Message, *, prefix: str) -> None:
        self._message = message
        self._prefix = prefix

    async def edit(self, reply: Reply) -> None:
        """Let it say something else."""
        embed = to_embed(reply.notice, prefix=self._prefix)
        with taken():
            await self._message.edit(embed=embed, allowed_mentions=mentions())


class ContextCall:
    """A command, typed as text or chosen as a slash command."""

    def __init__(self, ctx: _Context, *, clock: Clock) -> None:
        self._ctx = ctx
        self._prefix = prefix_of(ctx.bot)
        self.name = "sync" if ctx.command is None else ctx.command.qualified_name
        self.person_id = ctx.author.id
        self.channel_id = ctx.channel.id
        self.has_token = ctx.interaction is not None
        self.since_s = clock.monotonic()

    async def defer(self, *, private: bool) -> None:
        """Tell Discord that an answer follows; as text, show for a while that the bot types."""
        with taken():
            await self._ctx.defer(ephemeral=private)

    async def answer(self, reply: Reply, *, private: bool) -> Sent:
        """Answer it."""
        with taken():
            arguments = to_answer(reply, prefix=self._prefix)
            message = await self._ctx.send(**arguments, ephemeral=private)
        return SentMessage(message, prefix=self._prefix)

    async def tell(self, text: str) -> None:
        """Answer with a plain sentence."""
        with taken():
            text = named(text, prefix=self._prefix)
            await self._ctx.send(text, ephemeral=True, allowed_mentions=mentions())

    async def post(self, reply: Reply) -> Sent:
        """Post a message of its own."""
        with taken():
            message = await self._ctx.channel.send(
                self._ctx.author.mention, **to_answer(reply, prefix=self._prefix)
            )
        return SentMessage(message, prefix=self._prefix)


class ButtonPress:
    """A button that was pressed; None as the `button` is one of another version's."""

    has_token: Final = True

    def __init__(
        self,
        interaction: discord.Interaction[Any],
        button: Button | None,
        *,
        prefix: str,
        clock: Clock,
    ) -> None:
        self._interaction = interaction
        self._button = button
        self._prefix = prefix
        self.name = "button" if button is None else f"button {button.action.value}"
        self.person_id = interaction.user.id
        self.channel_id = interaction.channel_id or 0
        self.since_s = clock.monotonic()

    async def defer(self, *, private: bool) -> None:  # noqa: ARG002 - the message is there already
        """Tell Discord that the press was heard."""
        with taken():
            await self._interaction.response.defer()

    async def answer(self, reply: Reply, *, private: bool) -> Sent:
        """Answer it beside the button's message."""
        arguments: dict[str, Any] = {
            **to_answer(reply, prefix=self._prefix),
            "ephemeral": private,
            "wait": True,
        }
        with taken():
            message: discord.Message = await self._interaction.followup.send(**arguments)
        return SentMessage(message, prefix=self._prefix)

    async def tell(self, text: str) -> None:
        """Answer with a plain sentence, and nothing else."""
        with taken():
            await self._interaction.response.send_message(
                named(text, prefix=self._prefix), ephemeral=True, allowed_mentions=mentions()
            )

    async def post(self, reply: Reply) -> Sent:
        """Post a message of its own."""
        channel: Any = self._interaction.channel
        with taken():
            message = await channel.send(
                self._interaction.user.mention, **to_answer(reply, prefix=self._prefix)
            )
        return SentMessage(message, prefix=self._prefix)

    async def strike_off(self, reply: Reply) -> None:
        """Let the button's message say that it was pressed."""
        message = self._interaction.message
        embed = message.embeds[0] if message is not None and message.embeds else None
        if self._button is None or embed is None:
            return
        if mark_of(embed.title or "", embed.footer.text or "") is Mark.LIVE:
            return
        person = f"<@{self.person_id}>"
        line = pressed_by(person, self._button, reply.notice.description)
        embed.description = f"{embed.description}\n{line}"[:MAX_DESCRIPTION]
        with taken():
            await self._interaction.edit_original_response(
                embed=embed, view=None, allowed_mentions=mentions()
            )


# -- what goes wrong before a command is carried out ----------------------------------------------


def cause(error: BaseException) -> BaseException:
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


def complaint(ctx: _Context, error: Exception) -> str | None:
    """Say in a sentence what is wrong with a command as it was given; None if nothing is."""
    match error:
        case commands.UserInputError():
            return _about_input(ctx, error)
        case commands.DisabledCommand():
            return "This command is switched off in this bot."
        case commands.CheckFailure():
            return "This bot does not let you use this command here."
        case commands.HybridCommandError(original=app_commands.TransformerError()):
            return _about_input(ctx, commands.BadArgument())
        case _:
            return None


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
