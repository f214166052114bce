"""What a run reads of the site: what it offers, its roles, and its users page by page."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from .._core.model.members import Member
from .._core.policy.pace import Pace, PaceLimits
from .._core.policy.request_backoff import Failure, FailureKind
from .._core.site import requests
from .._core.site.outcome import Applied, NotFound
from .._core.site.reading import Cursor, EndlessError, Rereading, first_size
from .._core.site.wire import Capabilities, Page
from .._errors import RunStoppedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence

    from .._core.model.members import Role, UserId
    from .._core.site.requests import Request
    from .progress import Progress
    from .requester import Requester


_REST: Final = 0.05  # of what a page took: so long the site is left alone at the least
_MORE_ROWS: Final = 16  # than are expected: of those who have left
_FEWEST_ROWS: Final = 50
_DIGEST_TRIES: Final = 2
_APART_S: Final = 0.04  # from one page to the next, however quick the site is


class SiteReader:
    """The site's side of a run; `offers` is what it offers beyond the contract."""

    def __init__(
        self, requests_: Requester, progress: Progress, *, page_items: int, target_s: float
    ) -> None:
        """No page has more than `page_items` rows, or should take longer than `target_s`."""
        self._requests = requests_
        self._progress = progress
        first = first_size(page_items)
        limits = PaceLimits(
            target_s=target_s, first_items=first, floor_items=min(first, 50), max_items=page_items
        )
        self._pace = Pace.start(limits)
        self._took_s = 0.0
        self._announced: int | None = None
        self.offers = Capabilities()

    async def discover(self) -> None:
        """Ask the site what it offers; one that knows no such question offers the contract."""
        outcome = await self._requests.ask(lambda _: requests.capabilities())
        if isinstance(outcome, Applied) and isinstance(outcome.value, Capabilities):
            self.offers = outcome.value

    def within(self, limits: PaceLimits) -> PaceLimits:
        """Return these limits, and never more than the site takes."""
        return replace(
            limits,
            max_items=min(limits.max_items, self.offers.max_items or 10**9),
            max_bytes=min(limits.max_bytes, self.offers.max_bytes or 10**9),
        )

    async def roles(self) -> tuple[Role, ...]:
        """Read all roles."""
        outcome = await self._requests.ask(lambda _: requests.roles())
        if isinstance(outcome, Applied) and isinstance(outcome.value, tuple):
            return outcome.value
        raise _unexpected("GET bot/roles", outcome)

    async def digests(self, bounds: Sequence[int]) -> tuple[tuple[int, int], ...] | None:
        """Read the digests between these bounds, where they are offered; None if it gives none.

        They are no more than a way to read less: a site that can't sum may be able to answer pages.
        """
        request = requests.digests(bounds)
        outcome = await self._requests.ask(partial(_same, request), most=_DIGEST_TRIES)
        said = outcome.value if isinstance(outcome, Applied) else None
        return said if isinstance(said, tuple) and len(said) == len(bounds) - 1 else None

    async def user(self, id_: UserId) -> Member | None:
        """Read one row, if there is one."""
        outcome = await self._requests.ask(partial(_same, requests.user(id_)))
        if isinstance(outcome, Applied) and isinstance(outcome.value, Member):
            return outcome.value
        return None

    async def pages(self) -> AsyncGenerator[Page]:
        """Read all pages of users."""
        cursor = self.begin()
        while not cursor.ended:
            page, cursor = await self.page(cursor)
            yield page
            cursor = await self.past(cursor, page)

    async def pages_with(
        self, ids: Iterable[UserId], *, began: Cursor | None = None
    ) -> AsyncIterator[Page]:
        """Read the pages that hold these ids, and others only where they can't be passed over.

        `began` is a place before all of them.
        """
        reading = Rereading.of(ids, cursor=began or self.begin())
        while not reading.ended:
            page, cursor = await self.page(reading.cursor)
            yield page
            reading = replace(reading, cursor=cursor)
            if reading.begins_late(page):
                reading = reading.from_before()
            else:
                reading = reading.past(page, await self.past(cursor, page))

    async def numbered(self, numbers: Iterable[int], *, size: int) -> AsyncIterator[Page]:
        """Read these pages, by their number from 1."""
        for number in numbers:
            page, _ = await self.page(Cursor(size=size, by_id=False, offset=(number - 1) * size))
            yield page
            await self._rest()

    async def between(
        self, low: int, high: int, *, expected: int
    ) -> AsyncIterator[tuple[Member, ...]]:
        """Read the rows from id `low` up to `high`, where there are pages by id."""
        size = min(max(expected + _MORE_ROWS, _FEWEST_ROWS), self._pace.limits.max_items)
        cursor = Cursor(size=size, by_id=True, after=max(0, low - 1))
        while not cursor.ended:
            page, cursor = await self.page(cursor)
            yield tuple(row for row in page.rows if row.id < high)
            if page.rows and page.rows[-1].id >= high:
                return
            cursor = await self.past(cursor, page)

    @property
    def page_items(self) -> int:
        """How many rows a page would have now."""
        return self._pace.size

    def begin(self, *, after: int = 0) -> Cursor:
        """Return the cursor of a reading that begins after an id, where there are pages by id."""
        by_id = self.offers.pages_by_id
        announced = self._announced if by_id else None
        return Cursor(
            size=self._pace.limits.first_items, by_id=by_id, after=after, announced=announced
        )

    async def past(self, cursor: Cursor, page: Page) -> Cursor:
        """Return the cursor behind a page, after a rest; raise what stops the run otherwise."""
        if cursor.wants_count(page):
            outcome = await self._requests.ask(partial(_same, requests.page(1, size=1)))
            if isinstance(outcome, Applied) and isinstance(outcome.value, Page):
                self._announced = outcome.value.count
            cursor = replace(cursor, announced=self._announced)
        try:
            cursor = cursor.past(page, created=self._progress.view.tally.created)
        except EndlessError as exc:
            raise protocol_failure(f"GET bot/users: {exc}") from exc
        if cursor.ended:
            return cursor
        await self._rest()
        return cursor.towards(self._pace.size)

    async def _rest(self) -> None:
        """Leave the site alone behind a page."""
        least_s = max(self._took_s * _REST, _APART_S - self._took_s)
        await self._requests.sleep(max(self._pace.rest_s, least_s))

    async def page(self, cursor: Cursor) -> tuple[Page, Cursor]:
        """Read the page at a cursor, and return the cursor as it came to be asked for."""

        def make(tries: int) -> Request:
            nonlocal cursor
            if tries:
                self._pace = self._pace.distrusted(rows=cursor.size)
                cursor = cursor.towards(self._pace.size)
            return cursor.request()

        outcome = await self._requests.ask(make)
        if isinstance(outcome, NotFound):
            # Rows were deleted meanwhile, and with them the last page.
            return Page(rows=(), next=None), cursor
        if isinstance(outcome, Applied) and isinstance(outcome.value, Page):
            self._took_s = self._requests.latest_s
            self._pace = self._pace.applied(
                rows=max(1, len(outcome.value.rows)),
                seconds=self._took_s,
                site_s=self._requests.latest_site_s,
            )
            return outcome.value, cursor
        raise _unexpected("GET bot/users", outcome)


async def one_ahead(pages: AsyncGenerator[Page]) -> AsyncGenerator[Page]:
    """Return these pages, and read the next one while one is worked on.

    To be closed by whoever does not take them all, or the next one is still asked for.
    """

    async def following() -> Page | None:
        return await anext(pages, None)

    coming = asyncio.ensure_future(following())
    try:
        while (page := await coming) is not None:
            coming = asyncio.ensure_future(following())
            yield page
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await pages.aclose()


def protocol_failure(reason: str) -> RunStoppedError:
    """Return what stops a run because the site's answer is not its contract's."""
    return RunStoppedError(Failure(kind=FailureKind.PROTOCOL, reason=reason))


def _same(request: Request, _tries: int) -> Request:
    return request


def _unexpected(request: str, outcome: object) -> RunStoppedError:
    return protocol_failure(f"{request}: {type(outcome).__name__}")
