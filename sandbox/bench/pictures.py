"""Curves over the size of the guild, both axes logarithmic, as small pictures."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

_SCALE: Final = 2  # twice the size at which it is shown, for screens that have so many dots
_WIDTH, _HEIGHT = 720 * _SCALE, 360 * _SCALE
_LEFT, _TOP, _RIGHT, _BOTTOM = 76 * _SCALE, 40 * _SCALE, 190 * _SCALE, 44 * _SCALE
_BACKGROUND: Final = "#ffffff"
_TEXT: Final = "#24292f"
_GRID: Final = "#d8dee4"
# Told apart by people who see no red or no green, too (Okabe and Ito).
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
_POINT: Final = 4 * _SCALE


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Curves by their names, each a figure by number of members; figures of 0 are left out."""

    title: str
    unit: str
    by_name: Mapping[str, Mapping[int, float]]

    def shown(self) -> dict[str, list[tuple[int, float]]]:
        """Return the points of each curve that has any, ascending."""
        found = {
            name: sorted((x, y) for x, y in points.items() if y > 0)
            for name, points in self.by_name.items()
        }
        return {name: points for name, points in found.items() if points}


def draw(curves: Curves) -> bytes | None:
    """Return the picture as a PNG; None if there is no point."""
    shown = curves.shown()
    if not shown:
        return None
    image = Image.new("RGB", (_WIDTH, _HEIGHT), _BACKGROUND)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=13 * _SCALE)
    xs = _Axis.over([x for points in shown.values() for x, _ in points], _LEFT, _WIDTH - _RIGHT)
    ys = _Axis.over([y for points in shown.values() for _, y in points], _HEIGHT - _BOTTOM, _TOP)
    for x in xs.ticks:
        pen.line([(xs.at(x), _TOP), (xs.at(x), _HEIGHT - _BOTTOM)], fill=_GRID, width=_SCALE)
        place = (xs.at(x), _HEIGHT - _BOTTOM + 6 * _SCALE)
        pen.text(place, f"{x:,.0f}", fill=_TEXT, font=font, anchor="ma")
    for y in ys.ticks:
        pen.line([(_LEFT, ys.at(y)), (_WIDTH - _RIGHT, ys.at(y))], fill=_GRID, width=_SCALE)
        label = f"{y:,g} {curves.unit}"
        pen.text((_LEFT - 6 * _SCALE, ys.at(y)), label, fill=_TEXT, font=font, anchor="rm")
    pen.text((_LEFT, 10 * _SCALE), curves.title, fill=_TEXT, font=font)
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    pen.text((middle, _HEIGHT - 20 * _SCALE), "members", fill=_TEXT, font=font, anchor="ma")
    for number, (name, points) in enumerate(shown.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [(xs.at(x), ys.at(y)) for x, y in points]
        pen.line(places, fill=colour, width=2 * _SCALE, joint="curve")
        for x, y in places:
            pen.ellipse([(x - _POINT, y - _POINT), (x + _POINT, y + _POINT)], fill=colour)
        legend_y = _TOP + number * 22 * _SCALE
        left = _WIDTH - _RIGHT + 16 * _SCALE
        pen.line([(left, legend_y), (left + 18 * _SCALE, legend_y)], fill=colour, width=3 * _SCALE)
        pen.text((left + 24 * _SCALE, legend_y), name, fill=_TEXT, font=font, anchor="lm")
    file = io.BytesIO()
    image.quantize(64).save(file, format="PNG", optimize=True)
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class _Axis:
    """A logarithmic axis over whole decades, from one place to another."""

    low: float  # the decades' exponents
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> "_Axis":
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return cls(low, max(high, low + 1), start, end)

    @property
    def ticks(self) -> list[float]:
        return [10.0**exponent for exponent in range(int(self.low), int(self.high) + 1)]

    def at(self, value: float) -> float:
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)
