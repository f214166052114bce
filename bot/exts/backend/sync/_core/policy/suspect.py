"""Whether one thing that the site fails on is to blame for it, or the site.

Theory. Roles are written one by one, so there are no halves that could speak for each other. What
failed a few times is tried once more between two writes of another role, the *witnesses*: only if
both of them pass and it fails again is it to blame, and left out. If a witness fails, too, the site
is failing, and patience decides how long to go on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ..site.outcome import Blocked, Failing, Overloaded

if TYPE_CHECKING:
    from ..site.outcome import Trouble

_TRIES: Final = 3
_TRIES_BLOCKED: Final = 2  # a firewall's page speaks for itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """What is known of it: its failing answers, and whether a witness passed right before.

    `accused` since it failed then, `guilty` once a witness passed right after that.
    """

    tries: int = 0
    well: bool = False
    accused: bool = False
    guilty: bool = False
    _tries_due: int = _TRIES

    def failed(self, outcome: Trouble) -> Suspect:
        """Note a failing answer of its own."""
        if isinstance(outcome, Overloaded) or _never_arrived(outcome):
            return replace(self, well=False)
        due = _TRIES_BLOCKED if isinstance(outcome, Blocked) else _TRIES
        tries = self.tries + 1
        return replace(
            self, tries=tries, well=False, accused=self.well and tries >= due, _tries_due=due
        )

    @property
    def wants_witness(self) -> bool:
        """Whether its next failing answer would say nothing without one before, or this one after.

        To be asked right after a failing answer.
        """
        return not self.guilty and (self.accused or self.tries >= self._tries_due - 1)

    def witnessed(self, *, passed: bool) -> Suspect:
        """Note whether another write passed right now."""
        return replace(self, well=passed, accused=False, guilty=self.accused and passed)


def _never_arrived(outcome: Trouble) -> bool:
    return isinstance(outcome, Failing) and outcome.status is None and not outcome.lost
