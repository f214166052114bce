"""Where a reading of the site's users stands: which page comes next, in which size."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from . import requests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .models import UserId
    from .requests import Request
    from .wire import Page

_MIN_ITEMS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The next page: after `after` where the site offers pages by id, else at row `offset`.

    `offset` is a multiple of `size`, and stays one when the size is halved, so that the same rows
    can be asked for in smaller pages.
    """

    size: int
    by_id: bool
    offset: int = 0
    after: int = 0
    ended: bool = False

    def request(self) -> Request:
        """Return the request for the next page."""
        if self.by_id:
            return requests.page_after(self.after, size=self.size)
        return requests.page(self.offset // self.size + 1, size=self.size)

    def past(self, page: Page) -> Cursor | None:
        """Return the cursor after a page, or None if the site's own "next" contradicts it."""
        if page.next is None:
            return replace(self, ended=True)
        if self.by_id:
            return replace(self, after=page.next) if page.next > self.after else None
        expected = self.offset // self.size + 2
        return replace(self, offset=self.offset + self.size) if page.next == expected else None

    def again_after(self, id_: UserId) -> Cursor:
        """Return the cursor from which the rows above `id_` are read again.

        They may have been read ahead of what was compared: by id that is of no matter. By number
        they are on the latest page at most, and what is wrong with that guess `Rereading` sees.
        Past the end of the reading there may be rows by now.
        """
        if self.by_id:
            return replace(self, after=id_, ended=False)
        return replace(self, offset=max(0, self.offset - self.size), ended=False)

    def passing_to(self, id_: int) -> Cursor:
        """Return the cursor that passes over rows below `id_`, where the site offers that."""
        if not self.by_id or id_ <= self.after:
            return self
        return replace(self, after=id_ - 1)

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

    def past(self, page: Page) -> Rereading | None:
        """Return the reading after the cursor's page, or None if the site contradicts itself."""
        cursor, first = self.cursor, page.rows[0].id if page.rows else None
        if self.back and cursor.offset and (first is None or first > self.rest[0]):
            offset = max(0, cursor.offset - self.back * cursor.size)
            return replace(self, cursor=replace(cursor, offset=offset), back=self.back * 2)
        following = cursor.past(page)
        if following is None:
            return None
        rest = self.rest[bisect_right(self.rest, page.rows[-1].id) :] if page.rows else self.rest
        following = following.passing_to(rest[0]) if rest else following
        return replace(self, cursor=following, rest=rest, back=0)
