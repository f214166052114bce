"""Two readings in id order, the guild's members and the site's rows, joined page by page.

Theory. Where no members are cached, neither side is ever held whole. Both are read in pages,
ascending by id; the side of which nothing is left over is read further. What both have been read
through is a *window*: its members and its rows can be compared as if there were no others, and
forgotten. So a side never holds more than one page, whatever the sizes of guild, site and pages.

    guild  a b c d · e f    read through f
    site   a b   d          read through d
           window    left over

Many windows with a few changes each make one *stretch*: their changes are sent together, and only
the members who are to be written are kept until then.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from ..model.members import UserId
from .diff import differing_fields
from .planner import Planner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from ..model.members import Member

NONE: Final = UserId(0)  # below every id
LAST: Final = UserId(2**64 - 1)  # Discord's ids have 64 bits, of which the site takes 63


class DisorderError(ValueError):
    """A reading is not in the order of its ids, so nothing can be said of what it lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two readings: complete up to `through`; `left` was in no window yet.

    `barren` counts the latest pages in a row, none of them the last, that brought nothing new.
    """

    through: UserId
    left: tuple[Member, ...] = ()
    barren: int = 0

    def read(self, page: Sequence[Member], *, above: UserId, ended: bool) -> Side:
        """Take the next page, the last one if `ended`; what is not `above` is passed over.

        Pages by number shift when rows are inserted meanwhile, and then begin with rows that were
        read before, or hold nothing else.
        """
        if any(one.id >= other.id for one, other in pairwise(page)):
            raise DisorderError("a page is not in the order of its ids")
        has_news = bool(page) and page[-1].id > self.through
        new = page[bisect_right(page, above, key=_id) :]
        through = LAST if ended else page[-1].id if has_news else self.through
        return Side(
            through=through,
            left=(*self.left, *new),
            barren=0 if ended or has_news else self.barren + 1,
        )

    def cut(self, through: UserId) -> tuple[tuple[Member, ...], Side]:
        """Return what was read up to an id, and the side without it."""
        place = bisect_right(self.left, through, key=_id)
        return self.left[:place], replace(self, left=self.left[place:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """All members and all rows above the window before and up to `through`, ascending."""

    through: UserId
    members: tuple[Member, ...]
    rows: tuple[Member, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Both readings, from `after` to `until`; the windows up to `after` have been handed out."""

    after: UserId
    until: UserId
    guild: Side
    site: Side

    @classmethod
    def begin(cls, *, after: UserId, until: UserId = LAST, rows_from: UserId) -> Merge:
        """Return a merge of all ids above `after`; the site's pages begin above `rows_from`.

        A site whose pages go by number is read from its first row, and what is not above `after`
        is passed over.
        """
        return cls(
            after=after, until=until, guild=Side(through=after), site=Side(through=rows_from)
        )

    @property
    def ended(self) -> bool:
        return self.after >= self.until

    @property
    def wants_members(self) -> bool:
        """Whether no window can follow before the guild is read further, after `guild.through`."""
        return not self.ended and self.guild.through <= self.after

    @property
    def wants_rows(self) -> bool:
        """Whether no window can follow before the site is read further."""
        return not self.ended and self.site.through <= self.after

    def with_members(self, page: Sequence[Member], *, ended: bool) -> Merge:
        """Take the guild's next page, once it is wanted; raise `DisorderError` if disordered."""
        return replace(self, guild=self.guild.read(page, above=self.after, ended=ended))

    def with_rows(self, page: Sequence[Member], *, ended: bool) -> Merge:
        """Take the site's next page, once it is wanted; raise `DisorderError` if disordered."""
        return replace(self, site=self.site.read(page, above=self.after, ended=ended))

    def window(self) -> tuple[Window, Merge]:
        """Return what both sides have been read through, and the merge without it.

        Only while neither side is wanted.
        """
        through = min(self.guild.through, self.site.through, self.until)
        members, guild = self.guild.cut(through)
        rows, site = self.site.cut(through)
        window = Window(through=through, members=members, rows=rows)
        return window, replace(self, after=through, guild=guild, site=site)


@dataclass(slots=True, kw_only=True)
class Stretch:
    """What was found in consecutive windows, up to `through`.

    `members` holds the values of exactly those whose rows are to be written, and of the planner's
    witness. `read` counts the guild's members.
    """

    through: UserId
    planner: Planner = field(default_factory=Planner)
    members: dict[UserId, Member] = field(default_factory=dict)
    read: int = 0

    def add(self, window: Window, *, moving: AbstractSet[UserId] = frozenset()) -> None:
        """Compare a window, the one right behind those before.

        Those who are `moving` are left to whoever follows them: of them the page that was read
        says nothing any more.
        """
        present = {member.id: member for member in window.members if member.id not in moving}
        kept = {row.id: row for row in window.rows if row.id not in moving}
        self.planner.add_rows(kept.values(), present)
        self.planner.add_missing(present)
        for id_, member in present.items():
            row = kept.get(id_)
            if row is None or id_ == self.planner.witness or self._differs(member, row):
                self.members[id_] = member
        self.through = window.through
        self.read += len(window.members)

    def _differs(self, member: Member, row: Member) -> bool:
        return bool(differing_fields(member, row, lacking=self.planner.lacking))

    def is_long(self, *, members: int, rows: int) -> bool:
        """Say whether it holds so many members' values, or has compared so many rows."""
        return len(self.members) >= members or len(self.planner.seen) >= rows


def _id(member: Member) -> UserId:
    return member.id
