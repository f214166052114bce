"""Another bot that syncs the same guild: with the same store it waits, with another it does not."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .._ports import Clock

_KNOWN_RUNS: Final = 1000
_FORGOTTEN_AFTER_S: Final = 86400.0


class Rivals:
    """What mod-log shows of runs that no process with this store has begun.

    For `lease_s` after this process begins to lead, one that led before may still be heard.
    """

    def __init__(self, clock: Clock, *, lease_s: float) -> None:
        self._clock = clock
        self._lease_s = lease_s
        self._ours: deque[str] = deque(maxlen=_KNOWN_RUNS)
        self._leads_since_s: float | None = None
        self._heard_s: float | None = None

    def begun(self, run_id: str) -> None:
        """Note a run of this process."""
        self._ours.append(run_id)

    def leads(self, *, leading: bool) -> None:
        """Note whether this process leads."""
        if not leading:
            self._leads_since_s = None
        elif self._leads_since_s is None:
            self._leads_since_s = self._clock.monotonic()

    def heard(self, run_id: str) -> bool:
        """Note that mod-log shows a run; return whether that is news of a rival."""
        now = self._clock.monotonic()
        since = self._leads_since_s
        if run_id in self._ours or since is None or now - since < self._lease_s:
            return False
        is_news = not self.are_there
        self._heard_s = now
        return is_news

    @property
    def are_there(self) -> bool:
        """Whether one was heard of within a day."""
        return (
            self._heard_s is not None
            and self._clock.monotonic() - self._heard_s < _FORGOTTEN_AFTER_S
        )
