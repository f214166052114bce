"""docs/mod-log.md shows every message that there is, and can be renewed by real runs."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.bot.exts.backend.sync.state.notices import all_notices
from tests.e2e import mod_log_page
from tests.e2e.mod_log_page import PAGE, Numbers, Shot, markdown, refused, renewed

_NOTED = re.compile(r'camera\.(?:take|answered)\(\s*"([\w-]+)"')


def test_the_page_shows_what_the_runs_note_and_nothing_else() -> None:
    """A message that is noted and not shown is work for nothing; one that no run makes is a lie."""
    source = Path(mod_log_page.__file__).read_text("utf-8")
    blocks = re.findall(
        r"<!-- real: ([\w-]+) -->\n(.*?)<!-- end -->", PAGE.read_text("utf-8"), re.DOTALL
    )

    assert sorted(name for name, _ in blocks) == sorted(set(_NOTED.findall(source)))
    assert [name for name, text in blocks if not text.startswith("> ")] == []


def test_the_page_shows_every_alert_that_there_is() -> None:
    """A new kind of alert is not done before people can read about it."""
    page = PAGE.read_text("utf-8")
    titles = {notice.title for notice in all_notices("text")} - {"Sync"}

    assert sorted(title for title in titles if f"**{title}**" not in page) == []


def test_a_block_is_replaced_and_the_rest_is_left() -> None:
    """Prose is people's, messages are the bot's; what no run shows is not left as it was."""
    page = "a\n<!-- real: x -->\n> old\n<!-- end -->\nb\n"

    assert renewed(page, {"x": "> new", "y": "> other"}) == page.replace("old", "new")
    with pytest.raises(ValueError, match="no run shows"):
        renewed(page, {})


def test_ids_are_numbered_and_moments_are_told_in_words() -> None:
    """Two renewals of the same texts give the same page."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    seconds = int(at.timestamp())
    embed = {
        "title": "Sync",
        "color": 0xED4245,
        "description": f"run `0a1b2c3d` <t:{seconds + 900}:R> <t:{seconds - 86400}:R> <@5>",
        "footer": {"text": "run 0a1b2c3d · alert 0123456789ab"},
    }

    text = markdown(Shot(name="x", at=at, body={"embeds": [embed]}), Numbers())

    assert text.splitlines() == [
        "> **Sync** (red)",
        ">",
        "> run `00000001` _in 15 minutes_ _1 day ago_ @someone",
        ">",
        "> <sub>run 00000001</sub>",
    ]


async def test_a_run_is_photographed() -> None:
    """One of the runs, as the program makes it."""
    (shot,) = await mod_log_page.photographed([refused])

    assert "refuses the bot's token" in markdown(shot, Numbers())
