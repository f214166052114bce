"""How long the requests of a run took, in few points: what a run's history shows of the site."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_POINTS: Final = 120
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_SPARKS: Final = 40


@dataclass(slots=True)
class Curve:
    """The points of a run so far, ascending: seconds since it began, seconds a request took.

    However long the run: when there are too many, each two neighbours become one, and the slower of
    them counts, so that no peak is lost.
    """

    points: list[tuple[float, float]] = field(default_factory=list)

    def add(self, at_s: float, seconds: float) -> None:
        """Note a request that ended `at_s` after the run began."""
        self.points.append((round(at_s, 1), round(seconds, 3)))
        if len(self.points) >= MAX_POINTS * 2:
            self.points = _halved(self.points)

    def kept(self) -> tuple[tuple[float, float], ...]:
        """Return at most `MAX_POINTS` points."""
        points = self.points
        return tuple(points if len(points) <= MAX_POINTS else _halved(points))


def _halved(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    pairs = (points[start : start + 2] for start in range(0, len(points), 2))
    return [(pair[0][0], max(seconds for _, seconds in pair)) for pair in pairs]


def sparks(points: Iterable[tuple[float, float]]) -> str:
    """Return the curve as a line of blocks, as high as the slowest request; empty without points.

    Each block stands for as many requests, not for as long a time.
    """
    seconds = [seconds for _, seconds in points]
    if not seconds:
        return ""
    size = -(-len(seconds) // _SPARKS)
    peaks = [max(seconds[start : start + size]) for start in range(0, len(seconds), size)]
    top = max(peaks) or 1.0
    return "".join(_BLOCKS[min(int(peak / top * len(_BLOCKS)), len(_BLOCKS) - 1)] for peak in peaks)
