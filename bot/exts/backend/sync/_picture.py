"""A run's latency curve as a small picture. The one module that needs Pillow."""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from ._core.messages.listing import File

if TYPE_CHECKING:
    from ._core.messages.history import PastRun

# A bot that the extension was dropped into need not have it.
AVAILABLE: Final = find_spec("PIL") is not None
_WIDTH, _HEIGHT = 640, 220
_LEFT, _TOP, _RIGHT, _BOTTOM = 56, 30, 16, 30
# Discord's own dark background, and the colours of its text and of a run's message.
_BACKGROUND: Final = "#2b2d31"
_TEXT: Final = "#b5bac1"
_GRID: Final = "#3f4147"
_CURVE: Final = "#5865f2"
_LINES: Final = 4


def draw(run: PastRun) -> File | None:
    """Draw how long the run's requests took; None without points to draw, or without Pillow.

    It takes some milliseconds, off the event loop.
    """
    if not AVAILABLE or len(run.curve) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - see AVAILABLE

    image = Image.new("RGB", (_WIDTH, _HEIGHT), _BACKGROUND)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=13)
    end_s = max(at_s for at_s, _ in run.curve) or 1.0
    top_s = max(seconds for _, seconds in run.curve) or 1.0
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    for number in range(_LINES + 1):
        y = _TOP + height * number / _LINES
        pen.line([(_LEFT, y), (_WIDTH - _RIGHT, y)], fill=_GRID)
        label = f"{top_s * (_LINES - number) / _LINES:.2f} s"
        pen.text((_LEFT - 6, y), label, fill=_TEXT, font=font, anchor="rm")
    pen.text((_LEFT, 8), f"Run {run.run_id}: seconds a request", fill=_TEXT, font=font)
    pen.text((_LEFT, _HEIGHT - 20), "0 s", fill=_TEXT, font=font)
    pen.text((_WIDTH - _RIGHT, _HEIGHT - 20), f"{end_s:,.0f} s", fill=_TEXT, font=font, anchor="ra")
    points = [
        (_LEFT + width * at_s / end_s, _TOP + height * (1 - seconds / top_s))
        for at_s, seconds in run.curve
    ]
    pen.line(points, fill=_CURVE, width=2, joint="curve")
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return File(name=f"run-{run.run_id}.png", content=file.getvalue())
