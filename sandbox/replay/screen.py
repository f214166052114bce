"""Mod-log in the terminal: as Discord shows it, or line by line where nothing can be redrawn."""

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from sandbox.replay.checks import ModLogMessage

_MARKDOWN: Final = re.compile(
    r"\\(?P<escaped>.)"
    r"|`(?P<code>[^`]+)`"
    r"|\*\*(?P<bold>.+?)\*\*"
    r"|(?<!\\)\*(?P<italic>.+?)\*"
    r"|<t:(?P<moment>\d+)(?::[a-zA-Z])?>",
    re.DOTALL,
)
_WIDTH: Final = 76
_SHOWN: Final = 4  # messages: more would not fit below each other and could not be redrawn
_LINE: Final = 240


class Screen:
    """Where a scenario tells what it does and shows mod-log while it changes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._started_s = time.monotonic()
        self._live: Live | None = None
        self._told: dict[int, datetime] = {}

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=8, transient=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, what: str) -> None:
        """Tell of a step, with the seconds since the beginning."""
        elapsed_s = time.monotonic() - self._started_s
        self.console.print(
            f"{elapsed_s:6.1f} s  {what}", markup=False, highlight=False, soft_wrap=True
        )

    def show(self, messages: Sequence[ModLogMessage]) -> None:
        """Show mod-log as it is now; where it can't be redrawn, say what is new in it."""
        if self._live is not None:
            shown = [message for message in messages if not message.deleted][-_SHOWN:]
            self._live.update(Group(*(panel(message) for message in shown)))
            return
        for message in messages:
            if self._told.get(message.id) != message.changed_at:
                self._told[message.id] = message.changed_at
                self.say(f"mod-log │ {_one_line(message)}")


def panel(message: ModLogMessage) -> RenderableType:
    """Draw a message as Discord does: its words, then a box for each embed in its colour."""
    content = message.states[-1][1].get("content")
    parts: list[RenderableType] = [formatted(content)] if content else []
    for embed in message.embeds:
        body = [formatted(embed["description"])] if embed.get("description") else []
        for field in embed.get("fields") or ():
            body += [formatted(f"**{field['name']}**"), formatted(field["value"])]
        colour = f"#{embed.get('color') or 0x4E5058:06x}"
        footer = (embed.get("footer") or {}).get("text") or ""
        parts.append(
            Panel(
                Text("\n").join(body),
                title=formatted(f"**{embed.get('title') or ''}**"),
                title_align="left",
                subtitle=Text(footer, style="dim"),
                subtitle_align="left",
                border_style=colour,
                width=_WIDTH,
            )
        )
    return Group(*parts)


def formatted(markdown: str) -> Text:
    """Read Discord's markdown as far as the bot uses it."""
    text = Text()
    position = 0
    for found in _MARKDOWN.finditer(markdown):
        text.append(markdown[position : found.start()])
        position = found.end()
        match found.groupdict():
            case {"escaped": str(character)}:
                text.append(character)
            case {"code": str(code)}:
                text.append(code, style="reverse" if not _is_bar(code) else "")
            case {"bold": str(inner)}:
                text.append_text(_styled(inner, "bold"))
            case {"italic": str(inner)}:
                text.append_text(_styled(inner, "italic"))
            case {"moment": str(seconds)}:
                text.append(f"{datetime.fromtimestamp(int(seconds), UTC):%H:%M:%S} UTC")
            case _:
                pass
    text.append(markdown[position:])
    return text


def _styled(markdown: str, style: str) -> Text:
    inner = formatted(markdown)
    inner.stylize(style)
    return inner


def _is_bar(code: str) -> bool:
    return not set(code) - set("█░")


def _one_line(message: ModLogMessage) -> str:
    words = formatted(message.text).plain if not message.deleted else "(deleted)"
    line = " · ".join(part for part in words.splitlines() if part)
    return line if len(line) <= _LINE else f"{line[: _LINE - 1]}…"
