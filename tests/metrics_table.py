"""Renew the tables in docs/metrics.md: of every metric its name, type, unit, labels and meaning.

`python -m tests.metrics_table` writes what is declared between the page's markers. A test holds the
page against the declarations, and the declarations against what is exposed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import bot.metrics
from bot.exts.backend.sync._telemetry import metrics
from bot.exts.backend.sync._telemetry.declared import table
from tests.website import metrics_page

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE: Final = Path(__file__).parents[1] / "docs" / "metrics.md"
_BLOCK: Final = re.compile(r"(<!-- metrics: ([\w-]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def tables() -> dict[str, str]:
    """Return the table of each block of the page, by the block's name."""
    return {
        "extension": table(metrics.METRICS),
        "bot": table(bot.metrics.METRICS),
        "website": metrics_page.table(),
    }


def renewed(page: str, blocks: Mapping[str, str]) -> str:
    """Return the page with these tables in it; other blocks are left as they are."""

    def renew(block: re.Match[str]) -> str:
        head, name, end = block.groups()
        return f"{head}{blocks[name]}\n{end}" if name in blocks else block[0]

    return _BLOCK.sub(renew, page)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8"), tables()), "utf-8")
