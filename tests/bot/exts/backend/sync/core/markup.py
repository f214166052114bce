"""What Discord would make of a text: its markup, and whether it takes a notice at all."""

import re
from typing import Final

from bot.exts.backend.sync._core.messages.notice import Notice

# An escaped character, a code span (in which nothing has a meaning), or a character that formats,
# links or mentions.
_TOKEN: Final = re.compile(r"\\.|`[^`\n]*`|[*_~`|<>@#\[\]():/\n-]", re.DOTALL)


def markup(text: str) -> str:
    """Return the characters that Discord would not show as they are; a code span is a backtick."""
    tokens = (match[0] for match in _TOKEN.finditer(text))
    return "".join(token[0] for token in tokens if token[0] != "\\")


def assert_within_limits(notice: Notice) -> None:
    """Assert that Discord takes such an embed."""
    fields = [part for field in notice.fields for part in field]
    parts = [notice.title, notice.description, notice.footer, *fields]
    assert len(notice.title) <= 256
    assert len(notice.description) <= 4096
    assert len(notice.footer) <= 2048
    assert len(notice.fields) <= 25
    assert all(1 <= len(name) <= 256 and 1 <= len(value) <= 1024 for name, value in notice.fields)
    assert sum(map(len, parts)) <= 6000


def assert_marked_up_alike(notice: Notice, like: Notice) -> None:
    """Assert that two notices differ in plain text only, as far as what was cut lets one see."""
    pairs = [(notice.title, like.title), (notice.description, like.description)]
    for field, other in zip(notice.fields, like.fields, strict=False):
        pairs += zip(field, other, strict=True)
    for text, plain in pairs:
        assert markup(plain).startswith(markup(text))
        assert markup(plain) == markup(text) or text.endswith("…")
