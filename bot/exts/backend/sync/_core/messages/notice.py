"""A message as a value, and texts that nothing from outside can break.

Names and error texts of users or the site are escaped and cut, and every limit of Discord's is kept
for any input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from .buttons import MAX_BUTTONS, Button

if TYPE_CHECKING:
    from datetime import datetime, timedelta


# Source: Discord's documentation of embeds, limits.
MAX_TITLE: Final = 256


MAX_DESCRIPTION: Final = 4096


MAX_FIELD_NAME: Final = 256


MAX_FIELD_VALUE: Final = 1024


MAX_FOOTER: Final = 2048


MAX_FIELDS: Final = 25


MAX_EMBED: Final = 6000


YOU_CAN: Final = "**You can**"


_MAX_QUOTE: Final = 200


_MARKDOWN = re.compile(r"([\\*_~`|>#\[\]()<@:/-])")


# Control characters, marks of direction and width, and halves of surrogate pairs.
_INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)


class Tone(Enum):
    """The colour of a message, as 0xRRGGBB."""

    RUNNING = 0x5865F2
    GOOD = 0x57F287
    WARNING = 0xFEE75C
    BAD = 0xED4245


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message: an embed's parts and the buttons below it.

    `ping` asks for the configured role to be mentioned.
    """

    title: str
    description: str
    tone: Tone
    fields: tuple[tuple[str, str], ...] = ()
    footer: str = ""
    ping: bool = False
    buttons: tuple[Button, ...] = ()


def when(moment: datetime) -> str:
    """Return a moment as Discord shows it, relative to its reader's now."""
    return f"<t:{int(moment.timestamp())}:R>"


def span(time: timedelta) -> str:
    """Say how long something took."""
    seconds = time.total_seconds()
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def capital(text: str) -> str:
    """Return a text whose first letter is a capital one."""
    return text[:1].upper() + text[1:]


def quote(text: str) -> str:
    """Return text of users or of the site so that it shows as it is: escaped, on one line, cut."""
    flat = _INVISIBLE.sub(" ", text).strip()
    if len(flat) > _MAX_QUOTE:
        flat = flat[: _MAX_QUOTE - 1] + "…"
    # A zero-width space keeps "@everyone" from being a mention even where markdown is not read.
    return _MARKDOWN.sub(r"\\\1", flat).replace("@", "@\u200b")


def code(text: str) -> str:
    """Return text as a code span, in which markdown means nothing and a backtick would end it."""
    flat = _INVISIBLE.sub(" ", text).replace("`", "'").strip()[:_MAX_QUOTE] or " "
    return "`" + flat.replace("@", "@\u200b") + "`"


def fit(notice: Notice) -> Notice:
    """Cut a notice to Discord's limits: each part to its own, then fields from the last on."""
    title = _cut(notice.title, MAX_TITLE)
    description = _cut(notice.description, MAX_DESCRIPTION)
    footer = _cut(notice.footer, MAX_FOOTER)
    room = MAX_EMBED - len(title) - len(footer)
    description = _cut(description, room)
    room -= len(description)
    fields = []
    for name, value in notice.fields[:MAX_FIELDS]:
        part = (_cut(name, MAX_FIELD_NAME) or "\u200b", _cut(value, MAX_FIELD_VALUE) or "\u200b")
        room -= len(part[0]) + len(part[1])
        if room < 0:
            break
        fields.append(part)
    return replace(
        notice,
        title=title,
        description=description,
        fields=tuple(fields),
        footer=footer,
        buttons=notice.buttons[:MAX_BUTTONS],
    )


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "…"[: max(0, limit)]
