"""How soon live changes follow each other: a site that answers at once gets them sooner.

A change waits for a turn of each kind at most, creates, updates and departures. Where each answer
takes `t` seconds, a write begins every `2.7 t`, but no sooner than `_LEAST_S` and no later than
`_MOST_S`: a quick site has fewer than eight writes a second, of which a change waits for three, and
one that takes a tenth of a second or longer has fewer than four. Beyond that a write begins every
`2 t`, so that a slow site has as long to itself as each write took. Where so much changes that each
write is large, they are fewer still, and larger for it.
"""

from __future__ import annotations

from typing import Final

_LEAST_S: Final = (
    0.135  # eight of these are longer than a second, and leave room for a busy machine
)
_MOST_S: Final = 0.27
_APART: Final = 2.7  # of what an answer took, up to `_MOST_S`
_ALONE: Final = 2  # of what an answer took, at the least
_BUSY_S: Final = 0.6


def pause_s(answer_s: float, *, is_busy: bool) -> float:
    """Return the time from the beginning of a write, which took `answer_s`, to that of the next.

    It `is_busy` while so many ids go that fewer and larger writes are better.
    """
    usual_s = _BUSY_S if is_busy else min(max(_LEAST_S, _APART * answer_s), _MOST_S)
    return max(usual_s, _ALONE * answer_s)
