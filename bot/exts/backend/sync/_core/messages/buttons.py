"""Buttons below a message, as values: what pressing one means, and what it is about.

Nothing of a button lives in a process: all that it says stands in its `custom_id`, which Discord
keeps with the message and sends back when somebody presses it, before or after any restart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..policy.rights import Right

# Source: Discord's documentation of message components, limits.
MAX_BUTTONS: Final = 25
MAX_LABEL: Final = 80
MAX_CUSTOM_ID: Final = 100

TEMPLATE: Final = r"sync:(?P<action>[a-z-]{1,20}):(?P<argument>[0-9a-z-]{0,60})"


class Action(StrEnum):
    """What a button does; the value is what its `custom_id` says."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    DETAILS = "details"
    RETRY_PARKED = "retry"
    SHOW_PARKED = "parked"
    PROBE = "probe"
    RESET = "reset"
    APPROVE = "approve"
    REJECT = "reject"
    SHOW_WHO = "who"


class Style(StrEnum):
    """The look of a button; the value is Discord's word."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    SUCCESS = "success"
    DANGER = "danger"


_LOOKS: Final = {
    Action.PAUSE: ("Pause", Style.PRIMARY),
    Action.RESUME: ("Resume", Style.SUCCESS),
    Action.CANCEL: ("Cancel", Style.DANGER),
    Action.DETAILS: ("Details", Style.SECONDARY),
    Action.RETRY_PARKED: ("Retry parked", Style.PRIMARY),
    Action.SHOW_PARKED: ("Show parked", Style.SECONDARY),
    Action.PROBE: ("Probe now", Style.PRIMARY),
    Action.RESET: ("Reset", Style.DANGER),
    Action.APPROVE: ("Approve", Style.DANGER),
    Action.REJECT: ("Reject", Style.PRIMARY),
    Action.SHOW_WHO: ("Show who", Style.SECONDARY),
}


_SHOWS: Final = frozenset({Action.DETAILS, Action.SHOW_PARKED, Action.SHOW_WHO})
_DECIDES: Final = frozenset({Action.APPROVE, Action.REJECT})


def right_of(action: Action) -> Right:
    """Return which right pressing such a button takes."""
    if action in _SHOWS:
        return Right.LOOK
    return Right.APPROVE if action in _DECIDES else Right.OPERATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A button; `argument` is the run or the list that it is about, if it is about one."""

    action: Action
    argument: str = ""

    @property
    def label(self) -> str:
        return _LOOKS[self.action][0]

    @property
    def style(self) -> Style:
        return _LOOKS[self.action][1]

    @property
    def custom_id(self) -> str:
        return f"sync:{self.action.value}:{self.argument}"


def pressed(custom_id: str) -> Button | None:
    """Return the button of a `custom_id`, or None if no version of ours that we know wrote it."""
    match = re.fullmatch(TEMPLATE, custom_id)
    if match is None or match["action"] not in {action.value for action in Action}:
        return None
    return Button(action=Action(match["action"]), argument=match["argument"])


def of_run(run_id: str, *, paused: bool) -> tuple[Button, ...]:
    """Return the buttons of a run that is on."""
    hold = Action.RESUME if paused else Action.PAUSE
    actions = (hold, Action.CANCEL, Action.DETAILS)
    return tuple(Button(action=action, argument=run_id) for action in actions)


def of_parked(run_id: str) -> tuple[Button, ...]:
    """Return the buttons of a message about parked rows."""
    actions = (Action.RETRY_PARKED, Action.SHOW_PARKED)
    return tuple(Button(action=action, argument=run_id) for action in actions)


OF_BREAKER: Final = (Button(action=Action.PROBE), Button(action=Action.RESET))
OF_ORDER: Final = (Button(action=Action.RESET),)
OF_PAUSE: Final = (Button(action=Action.RESUME),)


def of_withheld(digest: str) -> tuple[Button, ...]:
    """Return the buttons of a list that waits for a moderator."""
    actions = (Action.APPROVE, Action.REJECT, Action.SHOW_WHO)
    return tuple(Button(action=action, argument=digest) for action in actions)
