"""Where a reading of the site's users stands: which page comes next, in which size, and how soon.

A site may go on for ever, by invented rows or by the same ones again. So a reading ends with an
error where it goes beyond what was announced at its beginning, with room for what has grown since.
Pages grow and shrink as what is written does (`policy.pace`), and leave the site as much time.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from . import requests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model.members import UserId
    from .requests import Request
    from .wire import Page

_MIN_ITEMS: Final = 50
_ROOM: Final = 1000  # rows that may have come since they were counted, or a tenth of all
_MOST: Final = 5_000_000  # whatever is announced, or if nothing is
_GROWS_FROM: Final = 200  # rows: smaller pages are as they are set


class EndlessError(ValueError):
    """A reading goes on where it must not."""


def first_size(most: int) -> int:
    """Return the size of the first page of a reading whose largest may have so many rows.

    By number only pages of half and twice the size fit together.
    """
    return most // 2 if most >= _GROWS_FROM and most % 2 == 0 else most


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The next page: after `after` where the site offers pages by id, else at row `offset`.

    `offset` is a multiple of `size`, and stays one when the size is halved, so that the same rows
    can be asked for in smaller pages. `announced` is how many rows the site has said that it has,
    and `rows` how many were read.
    """

    size: int
    by_id: bool
    offset: int = 0
    after: int = 0
    ended: bool = False
    announced: int | None = None
    rows: int = 0

    def request(self) -> Request:
        """Return the request for the next page."""
        if self.by_id:
            return requests.page_after(self.after, size=self.size)
        return requests.page(self.offset // self.size + 1, size=self.size)

    def wants_count(self, page: Page) -> bool:
        """Say whether it has to be asked how many rows there are, before `past` this page.

        Pages by id need not say so, and a few rows need no bound.
        """
        unknown = self.announced is None and page.count is None
        return self.by_id and unknown and self.rows + len(page.rows) > _ROOM

    def past(self, page: Page, *, created: int = 0) -> Cursor:
        """Return the cursor after a page; so many rows were `created` since the reading began.

        Raise `EndlessError` if the site's own "next" contradicts it, or if that is too many rows.
        """
        announced = page.count if self.announced is None else self.announced
        read = replace(self, announced=announced, rows=self.rows + len(page.rows))
        expected = _MOST if announced is None else announced + max(_ROOM, announced // 10)
        if read.rows > min(expected, _MOST) + created:
            said = "it never said how many" if announced is None else f"it announced {announced:,}"
            raise EndlessError(f"the site has given {read.rows:,} users, and {said}")
        if page.next is None:
            return replace(read, ended=True)
        due = page.next > self.after if self.by_id else page.next == self.offset // self.size + 2
        if not due:
            raise EndlessError(f"the site says that page {page.next} comes next")
        if self.by_id:
            return replace(read, after=page.next)
        return replace(read, offset=self.offset + self.size)

    def again_after(self, id_: UserId) -> Cursor:
        """Return the cursor from which the rows above `id_` are read again.

        They may have been read ahead of what was compared: by id that is of no matter. By number
        they are on the latest page at most, and what is wrong with that guess `Rereading` sees.
        Past the end of the reading there may be rows by now.
        """
        again = replace(self, ended=False, rows=0)
        if self.by_id:
            return replace(again, after=id_)
        return replace(again, offset=max(0, self.offset - self.size))

    def passing_to(self, id_: int) -> Cursor:
        """Return the cursor that passes over rows below `id_`, where the site offers that."""
        if not self.by_id or id_ <= self.after:
            return self
        return replace(self, after=id_ - 1)

    def towards(self, size: int) -> Cursor:
        """Return the cursor for the same place, in pages as near to that size as fit here."""
        if self.by_id:
            return replace(self, size=max(1, size))
        if size < self.size:
            return self.smaller()
        fits = self.size * 2 <= size and self.offset % (self.size * 2) == 0
        return replace(self, size=self.size * 2) if fits else self

    def smaller(self) -> Cursor:
        """Return the cursor for the same place in pages of half the size."""
        halvable = self.size % 2 == 0 and self.size // 2 >= _MIN_ITEMS
        return replace(self, size=self.size // 2) if halvable else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Rereading:
    """Rows that were read before, on their way to be read once more: `rest` are their ids.

    Pages by number have no fixed place. Where rows were deleted, or the pages have become smaller,
    the first page may begin behind the row that is looked for: then it goes back, further each
    time, until a page begins at that row or before it. From there on it only goes forward.
    """

    cursor: Cursor
    rest: tuple[UserId, ...]
    back: int = 1  # pages to go back if this one begins too late; 0 once none has

    @classmethod
    def of(cls, ids: Iterable[UserId], *, cursor: Cursor) -> Rereading:
        """Return the reading of the rows of these ids, from a cursor or before it."""
        rest = tuple(sorted(ids))
        cursor = cursor.passing_to(rest[0]) if rest else cursor
        return cls(cursor=cursor, rest=rest, back=0 if cursor.by_id else 1)

    @property
    def ended(self) -> bool:
        return not self.rest or self.cursor.ended

    def begins_late(self, page: Page) -> bool:
        """Say whether the row looked for may stand before the cursor's page."""
        is_behind = not page.rows or page.rows[0].id > self.rest[0]
        return self.back > 0 and self.cursor.offset > 0 and is_behind

    def from_before(self) -> Rereading:
        """Return the reading that goes back, twice as far as the time before."""
        offset = max(0, self.cursor.offset - self.back * self.cursor.size)
        return replace(self, cursor=replace(self.cursor, offset=offset), back=self.back * 2)

    def past(self, page: Page, following: Cursor) -> Rereading:
        """Return the reading after the cursor's page, which the cursor `following` comes after."""
        rest = self.rest[bisect_right(self.rest, page.rows[-1].id) :] if page.rows else self.rest
        following = following.passing_to(rest[0]) if rest else following
        return replace(self, cursor=following, rest=rest, back=0)
