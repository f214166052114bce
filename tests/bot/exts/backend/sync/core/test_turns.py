"""How soon live changes follow each other."""

import pytest

from bot.exts.backend.sync._core.policy.turns import pause_s


@pytest.mark.parametrize(
    ("answer_s", "is_busy", "pause"),
    [
        (0.0, False, 0.135),
        (0.05, False, 0.135),
        (0.08, False, 0.216),
        (0.1, False, 0.27),
        (0.12, False, 0.27),
        (0.2, False, 0.4),
        (5.0, False, 10.0),
        (0.05, True, 0.6),
        (0.2, True, 0.6),
        (5.0, True, 10.0),
    ],
)
def test_a_site_is_spared_as_its_answers_ask_for(
    answer_s: float,
    is_busy: bool,  # noqa: FBT001
    pause: float,
) -> None:
    """A quick one has fewer than eight writes a second, a slow one half of its time for itself."""
    assert pause_s(answer_s, is_busy=is_busy) == pytest.approx(pause)
