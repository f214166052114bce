"""Wrong passwords: how many may be tried, and how long whoever tried too many must wait.

They are counted by name, by address and in all, over a quarter of an hour. So an administrator may
have to wait while somebody guesses at the name, or behind the same proxy; whoever is logged in
stays logged in. A process counts in memory: nobody who only guesses can make it start anew.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 900.0
MOST_A_NAME: Final = 10
MOST_AN_ADDRESS: Final = 10
MOST_IN_ALL: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guess:
    at_s: float
    name: str
    address: str


class Guesses:
    """The wrong passwords of the last quarter of an hour, at most MOST_IN_ALL of them."""

    def __init__(self) -> None:
        self._recent: deque[_Guess] = deque(maxlen=MOST_IN_ALL)

    def wait_s(self, *, name: str, address: str, now_s: float) -> float:
        """Return for how long this name may not be tried from this address; 0 if it may be now."""
        recent = [guess for guess in tuple(self._recent) if guess.at_s + WINDOW_S > now_s]
        limits = (
            ([guess for guess in recent if guess.name == _kept(name)], MOST_A_NAME),
            ([guess for guess in recent if guess.address == address], MOST_AN_ADDRESS),
            (recent, MOST_IN_ALL),
        )
        return max(
            guesses[-most].at_s + WINDOW_S - now_s if len(guesses) >= most else 0.0
            for guesses, most in limits
        )

    def note_wrong(self, *, name: str, address: str, now_s: float) -> None:
        """Count a password that was wrong."""
        self._recent.append(_Guess(at_s=now_s, name=_kept(name), address=address))


def _kept(name: str) -> str:
    return name[:150]  # as long as Django's names may be
