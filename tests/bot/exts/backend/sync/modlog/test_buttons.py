"""A button says all about itself, so that any process can tell what pressing it means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.messages import buttons
from bot.exts.backend.sync._core.messages.buttons import (
    Action,
    Button,
    Style,
    pressed,
)

ARGUMENTS = st.from_regex(r"[0-9a-z-]{0,60}", fullmatch=True)


@given(st.builds(Button, action=st.sampled_from(Action), argument=ARGUMENTS))
def test_what_is_pressed_is_what_was_sent(button: Button) -> None:
    """Discord gives back the custom id alone, and takes only one that is short enough."""
    assert pressed(button.custom_id) == button
    assert len(button.custom_id) <= buttons.MAX_CUSTOM_ID
    assert 0 < len(button.label) <= buttons.MAX_LABEL
    assert button.style in Style


@pytest.mark.parametrize(
    "custom_id",
    [
        "",
        "sync:",
        "sync:pause",
        "sync:explode:1",
        "other:pause:1",
        "sync:pause:A b",
        "sync:pause:1\n",
    ],
)
def test_what_is_no_button_of_ours_means_nothing(custom_id: str) -> None:
    """One of another extension, or of a version that knows more."""
    assert pressed(custom_id) is None


@pytest.mark.parametrize(
    ("shown", "labels"),
    [
        (buttons.of_run("r1", paused=False), ["Pause", "Cancel", "Details"]),
        (buttons.of_run("r1", paused=True), ["Resume", "Cancel", "Details"]),
        (buttons.of_parked("r1"), ["Retry parked", "Show parked"]),
        (buttons.of_withheld("d1"), ["Approve", "Reject", "Show who"]),
        (buttons.OF_BREAKER, ["Probe now", "Reset"]),
        (buttons.OF_ORDER, ["Reset"]),
        (buttons.OF_PAUSE, ["Resume"]),
    ],
)
def test_which_buttons_a_message_has(shown: tuple[Button, ...], labels: list[str]) -> None:
    """Each kind of message has its own, and no two of them alike: Discord refuses those."""
    assert [button.label for button in shown] == labels
    assert len({button.custom_id for button in shown}) == len(shown)
