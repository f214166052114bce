"""What a request costs the site, told apart from how long it queued there behind others.

A request of `n` rows takes `q + a + b * n` seconds: `q` behind other traffic, `a` for itself and
`b` for each row. Only `a + b * n` is time that it holds the site, and only `b` says how many rows
it may have: whoever takes the whole for the cost of rows sends ever smaller requests to a busy
site, whose overhead `a` is the larger part then (spirit's `dynamic_chunk_sizer` fell for that).

`q` is never below 0 and different each time, so the quickest requests of each size are nearest to
the truth. The line is the one of least pinball loss at the quantile `_QUANTILE`, over all lines
through two requests of different sizes and all through one and the origin; deviations count as
parts of what a request took, so that one of 30 s counts no more than one of 3 s. Sizes must vary
for that, which the pace sees to. Where the site itself says how long it took (`Server-Timing`),
there is no `q` to tell apart.

`tests/bot/exts/backend/sync/core/site_models.py` models sites, and prints what this makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_REMEMBERED: Final = 16
_MEMORY: Final = 0.9  # what one more request leaves of the weight of those before it
_QUANTILE: Final = 0.2
_APART: Final = 1.25  # sizes nearer to each other say little of a slope
_LEAST_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Sample:
    """A request of so many rows that took so many seconds."""

    rows: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """`fixed_s` seconds a request and `row_s` more for each of its rows; zeros before the first."""

    fixed_s: float = 0.0
    row_s: float = 0.0
    samples: tuple[Sample, ...] = ()

    def of(self, rows: int) -> float:
        """Return for how long a request of so many rows holds the site, in seconds."""
        return self.fixed_s + self.row_s * rows

    def learnt(self, *samples: Sample) -> Cost:
        """Return the cost with these, newest last, taken into account."""
        kept = (*self.samples, *samples)[-_REMEMBERED:]
        return _fitted(tuple(Sample(one.rows, max(one.seconds, _LEAST_S)) for one in kept))


def _fitted(samples: tuple[Sample, ...]) -> Cost:
    """Return the line of least loss; of two such lines, the steeper one through the origin."""
    weights = [_MEMORY**age for age in range(len(samples) - 1, -1, -1)]
    lines = [(0.0, one.seconds / one.rows) for one in samples]
    for index, one in enumerate(samples):
        lines += [line for other in samples[:index] if (line := _through(one, other)) is not None]

    def loss(line: tuple[float, float]) -> float:
        fixed_s, row_s = line
        total = 0.0
        for one, weight in zip(samples, weights, strict=True):
            over = 1 - (fixed_s + row_s * one.rows) / one.seconds
            total += weight * over * (_QUANTILE if over > 0 else _QUANTILE - 1)
        return total

    fixed_s, row_s = min(lines, key=loss)
    return Cost(fixed_s=fixed_s, row_s=row_s, samples=samples)


def _through(one: Sample, other: Sample) -> tuple[float, float] | None:
    """Return the line through two requests, if they can be of one that rises from 0 or above."""
    less, more = sorted((one, other), key=lambda sample: sample.rows)
    if more.rows < less.rows * _APART or more.seconds <= less.seconds:
        return None
    row_s = (more.seconds - less.seconds) / (more.rows - less.rows)
    fixed_s = less.seconds - row_s * less.rows
    return (fixed_s, row_s) if fixed_s >= 0 else None
