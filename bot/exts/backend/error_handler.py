"""What people read in Discord when a command of theirs fails."""

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import discord
import sentry_sdk
import structlog
from discord import app_commands
from discord.ext import commands

if TYPE_CHECKING:
    from collections.abc import Iterable

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_ARGUMENT_CHARACTERS = 80
_SENTENCE_CHARACTERS = 400
# How discord.py's own texts begin where an extension gave none; they name functions and classes.
_STOCK_TEXTS = ("The check functions", "The global check", "Converting to ", "Failed to convert ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Nobody is answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The person is told what to do otherwise."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unforeseen:
    """A fault of the bot's: reported, and answered with a reference."""

    cause: BaseException


def answer_to(error: BaseException, *, usage: str) -> Ignored | Refusal | Unforeseen:
    """Decide what to say about an error that a text or slash command ended with.

    Usage is the command as it is typed, like `!sync user <member>`; it is shown as it is.
    """
    match error:
        case commands.HybridCommandError():
            return answer_to(error.original, usage=usage)
        case commands.CommandNotFound():
            return Ignored()
        case (
            commands.CommandInvokeError() | commands.ConversionError()
        ) | app_commands.CommandInvokeError():
            return Unforeseen(cause=error.original)
        case commands.UserInputError():
            return Refusal(text=f"{_input_sentence(error)} Usage: `{usage}`")
        case commands.CommandError() | app_commands.AppCommandError():
            text = _refusal_sentence(error)
            return Unforeseen(cause=error) if text is None else Refusal(text=text)
        case _:
            return Unforeseen(cause=error)


def _input_sentence(error: commands.UserInputError) -> str:  # noqa: C901 - one arm a class
    match error:
        case commands.MissingRequiredArgument() | commands.MissingRequiredAttachment():
            return f"`{error.param.displayed_name or error.param.name}` is missing."
        case commands.MemberNotFound() | commands.UserNotFound():
            return f"Nobody in this server is known as “{shown(error.argument)}”."
        case commands.RoleNotFound():
            return f"This server has no role “{shown(error.argument)}”."
        case (
            commands.ChannelNotFound()
            | commands.ThreadNotFound()
            | commands.ObjectNotFound()
            | commands.MessageNotFound()
        ):
            return f"“{shown(str(error.argument))}” was not found."
        case commands.BadLiteralArgument():
            choices = ", ".join(f"`{choice}`" for choice in error.literals)
            return f"`{error.param.name}` must be one of {choices}."
        case commands.BadUnionArgument():
            return f"`{error.param.name}` was not understood."
        case commands.BadBoolArgument():
            return f"“{shown(error.argument)}” is neither yes nor no."
        case commands.RangeError():
            return f"“{shown(str(error.value))}” is out of range."
        case commands.TooManyArguments():
            return "That is more than this command takes."
        case commands.ArgumentParsingError():
            return "The quotation marks do not match up."
        case _:
            return _own_text(error) or "An argument was not understood."


def _refusal_sentence(  # noqa: C901 - one arm a class
    error: commands.CommandError | app_commands.AppCommandError,
) -> str | None:
    match error:
        case commands.CommandOnCooldown() | app_commands.CommandOnCooldown():
            return f"Try again in {max(1, round(error.retry_after))} s."
        case commands.MaxConcurrencyReached():
            return "This command is already running; try again when it has ended."
        case commands.DisabledCommand():
            return "This command is switched off."
        case commands.NoPrivateMessage() | app_commands.NoPrivateMessage():
            return "This command works in a server only."
        case commands.PrivateMessageOnly():
            return "This command works in direct messages only."
        case commands.MissingPermissions() | app_commands.MissingPermissions():
            return f"You need {_permissions(error.missing_permissions)} for this command."
        case commands.BotMissingPermissions() | app_commands.BotMissingPermissions():
            return f"I need {_permissions(error.missing_permissions)} here for this command."
        case commands.CheckFailure() | app_commands.CheckFailure():
            return _own_text(error) or "You may not use this command."
        case app_commands.TransformerError():
            return f"“{shown(str(error.value))}” cannot be used here."
        case app_commands.CommandNotFound() | app_commands.CommandSignatureMismatch():
            return "This command has changed; reload Discord and try again."
        case _:
            return None


def shown(text: str, *, limit: int = _ARGUMENT_CHARACTERS) -> str:
    """Return foreign text on one line, cut, and unable to format, link or ping."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) > limit:
        line = line[: limit - 1] + "…"
    return discord.utils.escape_mentions(
        discord.utils.escape_markdown(line, ignore_links=False)
    ).replace("://", ":\u200b//")


def _own_text(error: Exception) -> str | None:
    """Return the text that an extension gave its error, if it gave one."""
    stock = type(error) in _STOCK_CLASSES or str(error).startswith(_STOCK_TEXTS)
    return None if stock or not str(error) else shown(str(error), limit=_SENTENCE_CHARACTERS)


# Their texts list role ids or functions, or say less than ours.
_STOCK_CLASSES = (
    commands.NotOwner,
    commands.CheckAnyFailure,
    commands.MissingRole,
    commands.MissingAnyRole,
    commands.BotMissingRole,
    commands.BotMissingAnyRole,
    commands.NSFWChannelRequired,
    app_commands.MissingRole,
    app_commands.MissingAnyRole,
)


def _permissions(names: "Iterable[str]") -> str:
    titles = [name.replace("_", " ").replace("guild", "server").title() for name in names]
    word = "permission" if len(titles) == 1 else "permissions"
    return f"the {word} " + " and ".join(f"“{title}”" for title in titles)


class ErrorHandler(commands.Cog):
    """Answers whoever called a failing command, and reports what was nobody's doing but ours."""

    def __init__(self, bot: commands.Bot) -> None:
        self._bot = bot
        self._tree_handler = bot.tree.on_error

    async def cog_load(self) -> None:
        """Take over the command tree's errors."""
        self._bot.tree.error(self.on_app_command_error)

    async def cog_unload(self) -> None:
        """Give the command tree's errors back."""
        self._bot.tree.error(self._tree_handler)

    @commands.Cog.listener()
    async def on_command_error(
        self, context: commands.Context[commands.Bot], error: commands.CommandError
    ) -> None:
        """Answer a failing text command, or a failing hybrid one however it was called."""
        command = context.command
        if command is not None and (
            command.has_error_handler()
            or (command.cog is not None and command.cog.has_error_handler())
        ):
            return
        name = command.qualified_name if command else ""
        signature = command.signature if command else ""
        text = _report(
            answer_to(error, usage=f"{context.prefix or '/'}{name} {signature}".strip()),
            command=name,
            user_id=context.author.id,
        )
        if text is None:
            return
        try:
            await context.send(text, ephemeral=True, allowed_mentions=_NOBODY)
        except discord.HTTPException as exc:
            _log.warning("bot.command.answer_failed", command=name, error=str(exc))

    async def on_app_command_error(
        self, interaction: discord.Interaction[Any], error: app_commands.AppCommandError
    ) -> None:
        """Answer a failing slash command, to its caller only."""
        command = interaction.command
        if (
            isinstance(command, app_commands.Command) and command._has_any_error_handlers()  # noqa: SLF001 - as discord.py's own handler asks
        ):
            return
        name = command.qualified_name if command else ""
        text = _report(
            answer_to(error, usage=f"/{name}"), command=name, user_id=interaction.user.id
        )
        if text is None:
            return
        try:
            if interaction.response.is_done():
                await interaction.followup.send(text, ephemeral=True, allowed_mentions=_NOBODY)
            else:
                await interaction.response.send_message(
                    text, ephemeral=True, allowed_mentions=_NOBODY
                )
        except discord.HTTPException as exc:
            _log.warning("bot.command.answer_failed", command=name, error=str(exc))


_NOBODY = discord.AllowedMentions.none()


def _report(answer: Ignored | Refusal | Unforeseen, *, command: str, user_id: int) -> str | None:
    """Log the answer, report a fault once, and return what to say."""
    match answer:
        case Ignored():
            return None
        case Refusal(text=text):
            # Not what is answered: it repeats what was typed, which may be anybody's name.
            _log.info("bot.command.refused", command=command, user_id=user_id)
            return text
        case Unforeseen(cause=cause):
            with sentry_sdk.new_scope() as scope:
                scope.set_tag("command", command)
                reference = sentry_sdk.capture_exception(cause) or uuid.uuid4().hex
            _log.error(
                "bot.command.failed",
                command=command,
                user_id=user_id,
                reference=reference,
                exc_info=cause,
            )
            return f"Something went wrong, and it was reported. Reference: `{reference}`"


async def setup(bot: commands.Bot) -> None:
    """Add the error handler to a bot."""
    await bot.add_cog(ErrorHandler(bot))
