"""Where a reading of the site's users stands: which page comes next, in which size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from . import requests

if TYPE_CHECKING:
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

    def from_a_page_before(self) -> Cursor:
        """Return the cursor from which rows are read again that were read from here on.

        By number they may have moved a little towards the first page, where rows were deleted. Past
        the end of the reading there may be rows by now.
        """
        offset = self.offset if self.by_id else max(0, self.offset - self.size)
        return replace(self, offset=offset, ended=False)

    def passing_to(self, id_: int) -> Cursor:
        """Return the cursor that passes over rows below `id_`, where the site offers that."""
        if not self.by_id or id_ <= self.after:
            return self
        return replace(self, after=id_ - 1)

    def smaller(self) -> Cursor:
        """Return the cursor for the same place in pages of half the size."""
        halvable = self.size % 2 == 0 and self.size // 2 >= _MIN_ITEMS
        return replace(self, size=self.size // 2) if halvable else self
