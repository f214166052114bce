"""Who may do what: three rights, which roles can have apart from each other.

To look changes nothing. To operate starts, stops and holds syncs. To approve is to let something be
written that was withheld, which not everybody who operates should be able to do alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Right(StrEnum):
    """What somebody may do; the value is how people are told of it."""

    LOOK = "look"
    OPERATE = "operate"
    APPROVE = "approve"


_LOOKS: Final = frozenset({"", "audit", "breaker", "help", "history", "parked", "status"})
_APPROVES: Final = frozenset({"approve", "reject"})


def right_for(command: str) -> Right:
    """Return which right a command of `sync` takes, named as it is typed behind that word.

    What is not known to change nothing takes the right to operate.
    """
    if command in _LOOKS:
        return Right.LOOK
    return Right.APPROVE if command in _APPROVES else Right.OPERATE
