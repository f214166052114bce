"""A notice on its way to Discord: who is pinged, how commands are named, which limits hold."""

from dataclasses import replace
from typing import Any

import discord
import pytest
from discord.ext import commands
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.messages.buttons import Action, Button
from bot.exts.backend.sync._core.messages.notice import Notice, Tone, fit
from bot.exts.backend.sync._discord.message import (
    mentions,
    prefix_of,
    to_embed,
    to_view,
)

PREFIXES = st.sampled_from(["!", "", "/", "?", "a long word before each command ", "<@123> "])
TEXTS = st.text(max_size=5000) | st.just("`!sync status` @everyone <@&5> " * 200)


@pytest.mark.parametrize(
    ("given_prefix", "shown"),
    [
        ("!", "!"),
        ("", ""),
        (["?", "!"], "?"),
        (("sync ",), "sync "),
        ([], "/"),
        (commands.when_mentioned, "/"),
        (commands.when_mentioned_or("?"), "/"),
    ],
)
def test_commands_are_named_as_this_bot_is_called(given_prefix: Any, shown: str) -> None:
    """With its prefix; where only a message could tell it, as the slash commands that they are."""
    bot = commands.Bot(given_prefix, intents=discord.Intents.none())

    assert prefix_of(bot) == shown


def test_a_text_names_a_command_with_the_prefix_and_nothing_else_is_changed() -> None:
    """Neither a name that looks like a command, nor what people wrote."""
    notice = Notice(
        title="!sync",
        description="`!sync all force` and !sync and \\`!sync",
        tone=Tone.BAD,
        fields=(("a", "`!sync approve x`"),),
    )
    embed = to_embed(notice, prefix="?")

    assert [embed.title, embed.description, embed.fields[0].value] == [
        "!sync",
        "`?sync all force` and !sync and \\`?sync",
        "`?sync approve x`",
    ]


@given(TEXTS, TEXTS, TEXTS, PREFIXES)
def test_discord_takes_every_message(title: str, text: str, field: str, prefix: str) -> None:
    """Its limits hold after the prefix was put in, too."""
    notice = fit(
        Notice(
            title=title,
            description=text,
            tone=Tone.RUNNING,
            fields=tuple((title, field) for _ in range(30)),
            footer=text,
        )
    )
    embed = to_embed(notice, prefix=prefix)

    assert len(embed) <= 6000
    assert len(embed.title or "") <= 256
    assert len(embed.description or "") <= 4096
    assert len(embed.fields) <= 25
    assert all(1 <= len(f.name or "") <= 256 for f in embed.fields)
    assert all(1 <= len(f.value or "") <= 1024 for f in embed.fields)
    assert len(embed.footer.text or "") <= 2048


@given(st.lists(st.integers(1, 2**63 - 1), max_size=1))
def test_nobody_is_pinged_but_the_roles_that_are_named(roles: list[int]) -> None:
    """Whatever a text says: Discord pings nobody whom these allowances leave out."""
    allowed: dict[str, Any] = dict(mentions(*roles).to_dict())

    # discord.py leaves out what is False; "parse" lists all that a text alone may ping.
    assert allowed.pop("parse") == []
    assert [int(id_) for id_ in allowed.pop("roles", [])] == roles
    assert not allowed.pop("replied_user", False)
    assert allowed == {}


async def test_a_view_has_the_buttons_and_is_kept_by_nobody() -> None:
    """discord.py keeps every view that is not finished, for as long as the process lives."""
    buttons = (Button(action=Action.PAUSE, argument="r1"), Button(action=Action.DETAILS))
    view = to_view(buttons)

    assert view is not None
    assert view.is_finished()
    assert [(b["label"], b["custom_id"]) for b in view.to_components()[0]["components"]] == [
        ("Pause", "sync:pause:r1"),
        ("Details", "sync:details:"),
    ]
    assert to_view(()) is None


def test_more_buttons_than_discord_takes_are_left_out() -> None:
    """Five rows of five."""
    many = tuple(Button(action=Action.DETAILS, argument=str(number)) for number in range(30))
    notice = Notice(title="t", description="d", tone=Tone.GOOD)

    assert fit(replace(notice, buttons=many)).buttons == many[:25]
