"""Mod-log in the terminal, and the figures laid out for people."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from sandbox.replay.checks import ModLogMessage
from sandbox.replay.screen import Screen, formatted, panel

NOON = datetime(2021, 1, 12, 12, tzinfo=UTC)
EMBED = {
    "title": "Syncing users",
    "description": "**Writing users**\n`██░░` 50%",
    "color": 0x57F287,
    "fields": [{"name": "Cause", "value": "12: role *Developers* removed"}],
    "footer": {"text": "run abc"},
}
MESSAGE = ModLogMessage(id=1, author_id=2, states=((NOON, {"embeds": [EMBED]}),))


def drawn(console: Console) -> str:
    """Return what stands on a console made by the tests."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("markdown", "words", "styles"),
    [
        ("**12** of *all*", "12 of all", ["bold", "italic"]),
        ("**role *Devs* left**", "role Devs left", ["italic", "bold"]),
        (r"\*\*not\_bold\*\* 2\*3", "**not_bold** 2*3", []),
        ("`1 < 2` `█░`", "1 < 2 █░", ["reverse", ""]),
        ("at <t:1610452800:R>", "at 12:00:00 UTC", []),
        ("[red]brackets[/red]", "[red]brackets[/red]", []),
    ],
)
def test_discord_markdown_is_shown_as_discord_would(
    markdown: str, words: str, styles: list[str]
) -> None:
    """Marks become styles, escaped ones stay as they are, and rich's own markup means nothing."""
    text = formatted(markdown)

    assert (text.plain, [span.style for span in text.spans if span.style]) == (
        words,
        [style for style in styles if style],
    )


def test_an_embed_is_drawn_from_title_to_footer() -> None:
    """The box shows each part of the embed on lines of its own."""
    console = Console(file=io.StringIO(), width=80)
    console.print(panel(MESSAGE))

    lines = [line.strip(" │╭╮╰╯─") for line in drawn(console).splitlines()]
    assert lines == [
        "Syncing users",
        "Writing users",
        "██░░ 50%",
        "Cause",
        "12: role Developers removed",
        "run abc",
    ]


def test_without_a_terminal_each_change_is_told_once() -> None:
    """A pipe gets one line a change of a message, and none for looking again."""
    console = Console(file=io.StringIO(), width=80)
    edited = replace(
        MESSAGE,
        states=(
            *MESSAGE.states,
            (NOON + timedelta(seconds=5), {"embeds": [{"title": "Sync of users finished"}]}),
        ),
    )
    with Screen(console) as screen:
        for messages in ([MESSAGE], [MESSAGE], [edited], [edited]):
            screen.show(messages)

    told = [line.partition("│ ")[2] for line in drawn(console).splitlines()]
    assert told == [
        "Syncing users · Writing users · ██░░ 50% · Cause: 12: role Developers removed · run abc",
        "Sync of users finished",
    ]


def test_on_a_terminal_the_last_state_remains() -> None:
    """Where mod-log can be redrawn it is, and its end stays on the screen."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with Screen(console) as screen:
        screen.show([MESSAGE])
        screen.say("a step")

    last = drawn(console).rpartition("a step")[2]
    assert ("Syncing users" in last, "run abc" in last) == (True, True)
