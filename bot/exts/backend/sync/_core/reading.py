"""Where a reading of the site's users stands: which page comes next, in which size, and how soon.

A site may go on for ever, by invented rows or by the same ones again. So a reading ends with an
error where it goes beyond what was announced at its beginning, with room for what has grown since.
And it leaves the site time for others, as writing does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from . import requests

if TYPE_CHECKING:
    from .requests import Request
    from .wire import Page

_MIN_ITEMS: Final = 50
_ROOM: Final = 1000  # rows that may have come since they were counted, or a tenth of all
_MOST: Final = 5_000_000  # whatever is announced, or if nothing is
_REST: Final = 0.5  # of the time that a page took: two thirds of a busy site's time are ours
_MIN_REST_S: Final = 0.02
_MAX_REST_S: Final = 1.0


class EndlessError(ValueError):
    """A reading goes on where it must not."""


def rest_s(took_s: float) -> float:
    """Return how long to leave the site alone behind a page that took so long."""
    return min(max(took_s * _REST, _MIN_REST_S), _MAX_REST_S)


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

    def from_a_page_before(self) -> Cursor:
        """Return the cursor from which rows are read again that were read from here on.

        By number they may have moved a little towards the first page, where rows were deleted. Past
        the end of the reading there may be rows by now.
        """
        offset = self.offset if self.by_id else max(0, self.offset - self.size)
        return replace(self, offset=offset, ended=False, rows=0)

    def passing_to(self, id_: int) -> Cursor:
        """Return the cursor that passes over rows below `id_`, where the site offers that."""
        if not self.by_id or id_ <= self.after:
            return self
        return replace(self, after=id_ - 1)

    def smaller(self) -> Cursor:
        """Return the cursor for the same place in pages of half the size."""
        halvable = self.size % 2 == 0 and self.size // 2 >= _MIN_ITEMS
        return replace(self, size=self.size // 2) if halvable else self
