"""What people are told when a command of theirs fails: one clear sentence, never a traceback."""

import inspect
from typing import Literal

import pytest
from discord import app_commands
from discord.ext import commands

from bot.exts.backend.error_handler import Ignored, Refusal, Unforeseen, answer_to, shown

USAGE = "!sync user <member>"
MEMBER = commands.Parameter("member", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str)
MODE = commands.Parameter(
    "mode", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Literal["on", "off"]
)
COOLDOWN = commands.Cooldown(1, 60.0)


class NotAModerator(commands.CheckFailure):
    """A refusal with a text of an extension's own."""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            commands.MissingRequiredArgument(MEMBER),
            "`member` is missing. Usage: `!sync user <member>`",
        ),
        (
            commands.MemberNotFound("@everyone **x**"),
            (
                "Nobody in this server is known as “@\u200beveryone \\*\\*x\\*\\*”. "
                "Usage: `!sync user <member>`"
            ),
        ),
        (
            commands.RoleNotFound("Helper"),
            "This server has no role “Helper”. Usage: `!sync user <member>`",
        ),
        (
            commands.BadLiteralArgument(MODE, ("on", "off"), [], "of"),
            "`mode` must be one of `on`, `off`. Usage: `!sync user <member>`",
        ),
        (
            commands.BadArgument('Converting to "int" failed for parameter "n".'),
            "An argument was not understood. Usage: `!sync user <member>`",
        ),
        (
            commands.BadArgument("No run of that name."),
            "No run of that name. Usage: `!sync user <member>`",
        ),
        (
            commands.ExpectedClosingQuoteError('"'),
            "The quotation marks do not match up. Usage: `!sync user <member>`",
        ),
        (
            commands.TooManyArguments(),
            "That is more than this command takes. Usage: `!sync user <member>`",
        ),
        (
            commands.MissingPermissions(["manage_guild", "ban_members"]),
            "You need the permissions “Manage Server” and “Ban Members” for this command.",
        ),
        (
            app_commands.BotMissingPermissions(["embed_links"]),
            "I need the permission “Embed Links” here for this command.",
        ),
        (
            commands.CheckFailure("The check functions for command sync failed."),
            "You may not use this command.",
        ),
        (commands.NotOwner("You do not own this bot."), "You may not use this command."),
        (app_commands.MissingRole(12), "You may not use this command."),
        (NotAModerator("Moderators only."), "Moderators only."),
        (commands.NoPrivateMessage(), "This command works in a server only."),
        (
            commands.CommandOnCooldown(COOLDOWN, 12.4, commands.BucketType.user),
            "Try again in 12 s.",
        ),
        (
            commands.MaxConcurrencyReached(1, commands.BucketType.guild),
            "This command is already running; try again when it has ended.",
        ),
        (
            app_commands.CommandNotFound("old", []),
            "This command has changed; reload Discord and try again.",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_refusal_says_what_to_do(error: Exception, text: str) -> None:
    """Each way to be refused is one sentence, the same for text commands and hybrid ones."""
    wrapped = (
        commands.HybridCommandError(error)
        if isinstance(error, app_commands.AppCommandError)
        else error
    )

    assert (answer_to(error, usage=USAGE), answer_to(wrapped, usage=USAGE)) == (
        Refusal(text=text),
        Refusal(text=text),
    )


def test_an_unknown_command_is_nobodys_business() -> None:
    """Another bot may share the prefix, so an unknown text command is not answered."""
    assert answer_to(commands.CommandNotFound("x"), usage=USAGE) == Ignored()


def test_a_fault_is_traced_to_its_cause() -> None:
    """What the bot did wrong is unwrapped, however the command was called."""
    cause = KeyError("x")
    in_text = commands.CommandInvokeError(cause)
    bare = RuntimeError("y")
    unknown = commands.CommandError("z")

    assert [answer_to(error, usage=USAGE) for error in (in_text, bare, unknown)] == [
        Unforeseen(cause=cause),
        Unforeseen(cause=bare),
        Unforeseen(cause=unknown),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\nb\tc\x00\u202ed", "a b c d"),
        ("x" * 81, "x" * 79 + "…"),
        ("`code` <@&140000000000000001>", "\\`code\\` <@\u200b&140000000000000001>"),
        ("https://e.example/a_b", "https:\u200b//e.example/a\\_b"),
    ],
)
def test_foreign_text_stays_text(text: str, expected: str) -> None:
    """Text from people is one short line that cannot format, link or ping."""
    assert shown(text) == expected
