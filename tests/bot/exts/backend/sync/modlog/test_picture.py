"""The picture of a run's requests: a small file that shows its peaks where they were."""

import io
from dataclasses import replace

import pytest

from bot.exts.backend.sync._picture import draw
from tests.bot.exts.backend.sync.state.examples import PAST

POINTS = tuple((float(at_s), 30.0 if at_s == 60 else 0.5) for at_s in range(121))


def test_the_curve_of_a_run() -> None:
    """A PNG of a few kilobytes; its peak reaches the top in the middle, and nowhere else."""
    from PIL import Image  # noqa: PLC0415 - the extension does without it, too

    file = draw(replace(PAST, curve=POINTS))

    assert file is not None
    assert [file.name, len(file.content) < 50_000] == ["run-r1.png", True]
    with Image.open(io.BytesIO(file.content)) as image:
        assert [image.format, image.size] == ["PNG", (640, 220)]
        pixels = image.convert("RGB")
        drawn = [
            x
            for x in range(60, 620)
            if any(pixels.getpixel((x, y)) == (0x58, 0x65, 0xF2) for y in range(30, 100))
        ]
    assert drawn
    assert min(drawn) > 330
    assert max(drawn) < 350


@pytest.mark.parametrize("points", [(), POINTS[:1]])
def test_no_picture_of_less_than_a_line(points: tuple[tuple[float, float], ...]) -> None:
    """The text says all that there is to say of one request."""
    assert draw(replace(PAST, curve=points)) is None
