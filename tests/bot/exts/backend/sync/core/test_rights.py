"""Who may do what, and how what was ordered is kept and told."""

import json
from datetime import timedelta
from typing import Any

import pytest

from bot.exts.backend.sync._core.messages.audit import audit
from bot.exts.backend.sync._core.messages.buttons import Action, right_of
from bot.exts.backend.sync._core.policy.orders import Order, Way, from_json, to_json
from bot.exts.backend.sync._core.policy.rights import Right, right_for

from .examples import NOW

ORDER = Order(at=NOW, by=7, what="all force", way=Way.SLASH.value)


@pytest.mark.parametrize(
    ("command", "right"),
    [
        ("", Right.LOOK),
        ("status", Right.LOOK),
        ("breaker", Right.LOOK),
        ("audit", Right.LOOK),
        ("breaker open", Right.OPERATE),
        ("all", Right.OPERATE),
        ("plan", Right.OPERATE),
        ("user", Right.OPERATE),
        ("approve", Right.APPROVE),
        ("reject", Right.APPROVE),
        ("whatever comes", Right.OPERATE),
    ],
)
def test_a_command_takes_a_right(command: str, right: Right) -> None:
    """One that nobody has thought of takes no less than to operate."""
    assert right_for(command) is right


def test_a_button_takes_the_right_of_its_command() -> None:
    """It does the same."""
    of_commands = {Action.PAUSE: "pause", Action.RESUME: "resume", Action.CANCEL: "cancel"}
    of_commands |= {Action.DETAILS: "history", Action.RETRY_PARKED: "retry", Action.PROBE: "all"}
    of_commands |= {Action.SHOW_PARKED: "parked", Action.RESET: "breaker reset"}
    of_commands |= {Action.APPROVE: "approve", Action.REJECT: "reject", Action.SHOW_WHO: "status"}

    assert {action: right_of(action) for action in Action} == {
        action: right_for(command) for action, command in of_commands.items()
    }


def test_an_order_is_read_as_it_was_written() -> None:
    """Over restarts."""
    assert from_json(json.loads(json.dumps(to_json(ORDER)))) == ORDER


@pytest.mark.parametrize("field", ["at", "by", "what", "way"])
def test_an_order_that_lacks_something_is_none(field: str) -> None:
    """It is named, and left out."""
    record: Any = to_json(ORDER) | {field: None}

    with pytest.raises(ValueError, match=f"{field} of the order is missing"):
        from_json(record)


def test_orders_are_told_latest_first() -> None:
    """Who, what, how and when, of the last twenty; a name would be nobody's who left."""
    orders = [
        Order(at=NOW + timedelta(hours=n), by=n, what=f"set target {n}", way=Way.TEXT.value)
        for n in range(1, 31)
    ]
    told = audit(orders).description.splitlines()

    assert told[0].endswith("<@30> `set target 30`, typed")
    assert len(told) == 21
    assert told[-1].startswith("The latest 500 are kept")
    assert audit(()).title == "Nobody has ordered anything yet"
