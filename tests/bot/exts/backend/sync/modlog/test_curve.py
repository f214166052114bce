"""A curve of few points, however long the run: no peak is lost, and the order is kept."""

from random import Random

import pytest

from bot.exts.backend.sync._core.site.curve import MAX_POINTS, Curve, sparks


@pytest.mark.parametrize("count", [0, 1, 2, 119, 120, 121, 239, 240, 241, 1000, 5000])
@pytest.mark.parametrize("seed", range(3))
def test_a_curve_stays_small_and_keeps_its_peak(count: int, seed: int) -> None:
    """Its points ascend, there are never too many, and the slowest request is among them."""
    random = Random(seed)
    curve, at_s, slowest = Curve(), 0.0, 0.0
    for _ in range(count):
        at_s, seconds = at_s + random.random(), random.random() * 30
        slowest = max(slowest, round(seconds, 3))
        curve.add(at_s, seconds)
        assert len(curve.points) < MAX_POINTS * 2
    kept = curve.kept()

    assert min(count, MAX_POINTS // 2) <= len(kept) <= MAX_POINTS
    assert [at for at, _ in kept] == sorted(at for at, _ in kept)
    assert max((seconds for _, seconds in kept), default=0) == slowest


@pytest.mark.parametrize(
    ("seconds", "line"),
    [
        ([], ""),
        ([0.0], "▁"),
        ([5.0], "█"),
        ([0.1, 0.2, 0.4, 0.8], "▂▃▅█"),
        ([1.0, 0.0, 1.0], "█▁█"),
        ([0.1] * 79 + [1.0], "▁" * 39 + "█"),
    ],
)
def test_a_curve_in_blocks(seconds: list[float], line: str) -> None:
    """As high as the slowest request, at most forty blocks wide."""
    assert sparks((float(at), value) for at, value in enumerate(seconds)) == line
