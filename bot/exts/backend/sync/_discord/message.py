"""A notice as discord.py's arguments; here texts learn how the bot is called."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import discord

from .._core.messages.notice import fit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from discord.ext import commands

    from .._core.messages.buttons import Button
    from .._core.messages.listing import File
    from .._core.messages.notice import Notice
    from .._core.messages.reply import Reply

# As the core's texts name the commands. Nothing of users or the site can hold it: their backticks
# are escaped, or replaced in spans of code.
_NAMED = "`!sync"


def prefix_of(bot: commands.Bot) -> str:
    """Return what stands before a command of this bot; a slash if only a message could tell."""
    prefix: Any = bot.command_prefix
    if isinstance(prefix, str):
        return prefix
    if callable(prefix):
        return "/"
    return str(next(iter(prefix), "/"))


def named(text: str, *, prefix: str) -> str:
    """Return a text of the core's with its commands named as this bot hears them."""
    return text.replace(_NAMED, f"`{prefix}sync")


def to_embed(notice: Notice, *, prefix: str) -> discord.Embed:
    """Return a notice as discord.py's embed, its commands named with the bot's prefix."""
    # Fitted once more: a prefix may be long, a mention or a word.
    notice = fit(
        replace(
            notice,
            description=named(notice.description, prefix=prefix),
            fields=tuple((name, named(value, prefix=prefix)) for name, value in notice.fields),
        )
    )
    embed = discord.Embed(
        title=notice.title, description=notice.description, colour=notice.tone.value
    )
    for name, value in notice.fields:
        embed.add_field(name=name, value=value, inline=False)
    if notice.footer:
        embed.set_footer(text=notice.footer)
    return embed


def to_view(buttons: Iterable[Button]) -> discord.ui.View | None:
    """Return buttons as discord.py's view, or None where there are none.

    discord.py would keep each view that it sends, to hear its buttons. Ours are heard by what their
    `custom_id` says, whoever sent them, so the view says that it is over.
    """
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(
            discord.ui.Button(
                label=button.label,
                style=discord.ButtonStyle[button.style.value],
                custom_id=button.custom_id,
            )
        )
    view.stop()
    return view if view.children else None


def to_answer(reply: Reply, *, prefix: str) -> dict[str, Any]:
    """Return the arguments with which a message answers so; it pings nobody."""
    view, file = to_view(reply.notice.buttons), reply.file
    return {
        "embed": to_embed(reply.notice, prefix=prefix),
        "allowed_mentions": mentions(),
        "silent": True,
        **({} if view is None else {"view": view}),
        **({} if file is None else {"file": to_file(file)}),
    }


def to_file(file: File) -> discord.File:
    """Return a file as discord.py's."""
    return discord.File(io.BytesIO(file.content), filename=file.name)


def mentions(*role_ids: int) -> discord.AllowedMentions:
    """Let these roles be pinged, and nobody else, whatever the text says."""
    return discord.AllowedMentions(
        everyone=False,
        users=False,
        roles=[discord.Object(id_) for id_ in role_ids],
        replied_user=False,
    )
