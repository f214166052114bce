"""Once through all ids: where a round begins, how far it is, and what it may claim.

A round over a large guild takes long, and may be cut off more often than it can end. So the place
that it got to is kept, and the next one begins there; but it ends only where it began, having come
round by the end of the ids. What was compared by another round is not taken over: while nobody
listened, anything may have changed there, and neither the number of members nor the share of those
who are gone can be told from a part.

For the same reason a round belongs to one epoch of the gateway. Where a new one begins, events were
lost, and the round begins anew from where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ..model.members import MAX_ID, UserId
from ..model.stored import Stored
from .merging import LAST, NONE, Merge

if TYPE_CHECKING:
    from datetime import datetime

    from .merging import Stretch

# A departure beyond so many is only counted. The gate lets a twentieth of a guild go, so this is
# the gate's own bound in a guild of two million; as ids they cost 4 MB.
KEPT_ABSENT: Final = 100_000
_FRESH: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """How far a round got that has not ended: `through` was compared, written and looked at."""

    through: UserId
    at: datetime

    def is_fresh(self, now: datetime) -> bool:
        """Say whether it is recent enough for what follows it to be older than all else.

        It is a matter of fairness only: a round ends where it began, wherever that is.
        """
        return timedelta() <= now - self.at <= _FRESH


@dataclass(slots=True, kw_only=True)
class Round:
    """A round that began after an id, in one epoch, and has come to `after`.

    `absent` are the ids that the site has in the guild and the guild's pages lack; `beyond` counts
    those for which there was no room.
    """

    epoch: int
    began_after: UserId = NONE
    after: UserId = NONE
    has_wrapped: bool = False
    members: int = 0
    in_guild_rows: int = 0
    absent: list[UserId] = field(default_factory=list)
    beyond: int = 0

    @classmethod
    def begin(cls, after: UserId, *, epoch: int) -> Round:
        """Return a round that begins after an id; at the first one if no row can follow it."""
        place = after if after < MAX_ID else NONE
        return cls(epoch=epoch, began_after=place, after=place)

    @property
    def until(self) -> UserId:
        """Where the leg ends that it is on."""
        return self.began_after if self.has_wrapped else LAST

    @property
    def ended(self) -> bool:
        return self.after >= self.until and (self.has_wrapped or not self.began_after)

    def merge(self, *, by_id: bool) -> Merge:
        """Return the merge of the rest of its leg; `by_id` says how the site's pages go."""
        rows_from = self.after if by_id else NONE
        return Merge.begin(after=self.after, until=self.until, rows_from=rows_from)

    def passed(self, stretch: Stretch) -> None:
        """Note that a stretch was compared, written and looked at again."""
        self.after = stretch.through
        self.members += stretch.read
        self.in_guild_rows += stretch.planner.in_guild_rows
        room = KEPT_ABSENT - len(self.absent)
        self.absent += stretch.planner.absent[:room]
        self.beyond += len(stretch.planner.absent[room:])
        if self.after >= self.until and self.began_after and not self.has_wrapped:
            self.has_wrapped, self.after = True, NONE


def is_whole(read: int, told: int | None) -> bool:
    """Say whether so many members may be all of a guild that tells this count.

    Churn makes the two differ a little: somebody who leaves behind the reader was read, and counts
    no longer.
    """
    return told is not None and abs(read - told) <= max(10, told // 1000)


def to_json(bookmark: Bookmark) -> dict[str, object]:
    """Return the bookmark as `json.dumps` takes it."""
    return {"through": bookmark.through, "at": bookmark.at.isoformat()}


def from_json(value: object) -> Bookmark:
    """Return the bookmark that was written; raise `ValueError` naming the field at fault."""
    record = Stored.of(value, what="the bookmark")
    through = record.integer("through")
    if through > LAST:
        raise record.fault("through", f"{through}, above 2^64-1")
    return Bookmark(through=UserId(through), at=record.time("at"))
