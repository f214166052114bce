"""The site's digests held against the guild's: which rows have to be read, and which need not."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import sentry_sdk
import structlog

from .._clock import give_way
from .._core.plan.digest import (
    WHOLE,
    Digest,
    Range,
    bounds_of,
    digest_of,
    finer,
    joined,
    split,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from collections.abc import Set as AbstractSet

    from .._core.model.members import Member, UserId
    from .._core.plan.digest import Hashes
    from .member_hashes import MemberHashes
    from .requester import Requester, Services
    from .site_reader import SiteReader
    from .work_queue import WorkQueue

log = structlog.get_logger(__name__)

_LOOKED_AT: Final = 0.1  # of all comparisons: the rows of one range are read though it is right
_MOST_ROWS: Final = 2500  # in that range


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What digests say: the ranges whose rows differ, ascending, and how many rows are right."""

    ranges: tuple[Range, ...]
    right: int


class Digests:
    """Comparisons by digest, where the site offers them and the guild's members are cached."""

    def __init__(
        self,
        services: Services,
        requests_: Requester,
        reader: SiteReader,
        hashes: MemberHashes | None,
        *,
        queue: WorkQueue,
    ) -> None:
        """Without a member cache there are no `hashes`."""
        self._services = services
        self._queue = queue
        self._requests = requests_
        self._reader = reader
        self._hashes = hashes
        self._differing: tuple[Range, ...] = ()  # by the latest comparison
        self._unsettled: AbstractSet[UserId] = frozenset()  # when it began

    @property
    def offered(self) -> bool:
        """Whether there are digests, and what they say is believed."""
        offers = self._reader.offers
        is_trusted = self._hashes is not None and self._hashes.are_trusted
        return is_trusted and offers.digests > 1 and offers.pages_by_id

    def unused(self) -> None:
        """Note that this site is compared without them."""
        if self._hashes is not None:
            self._hashes.are_compared = False

    def ids(self, range_: Range) -> Sequence[int]:
        """Return whom the guild had in a range when it was compared, and maybe others."""
        assert self._hashes is not None  # noqa: S101 - or nothing was compared
        return self._hashes.hashes.within(range_)

    async def rows(self, ranges: Sequence[Range]) -> AsyncIterator[tuple[Member, ...]]:
        """Read the rows of these ranges."""
        for range_ in ranges:
            expected = len(self.ids(range_))
            async for rows in self._reader.between(range_.low, range_.high, expected=expected):
                yield rows

    async def compare(self) -> Found | None:
        """Compare all rows of members with the guild of now.

        None if the site does not say, or if so much differs that all may as well be read.
        """
        self._differing, self._unsettled = (), self._queue.users
        if self._hashes is None:
            return None
        most = self._reader.offers.digests
        asked: list[tuple[tuple[Range, ...], asyncio.Task[dict[Range, Digest] | None]]] = []

        def ask(ids: Sequence[int]) -> None:
            if not asked:
                ranges = split(WHOLE, ids, most)
                asked.append((ranges, asyncio.ensure_future(self._ask(ranges))))

        lacking = self._services.writes.lacking
        try:
            # The site sums while members are hashed. What changes in between is marked, and to be
            # seen again: if the two agree, what the site had then is what the guild has now.
            hashes = await self._hashes.renew(self._requests, lacking=lacking, listed=ask)
            if not asked:
                ask(hashes.ids)
            ranges, asking = asked[0]
            return await self._compare(hashes, ranges, await asking)
        finally:
            for _, task in asked:
                task.cancel()
            await asyncio.gather(*(task for _, task in asked), return_exceptions=True)

    async def _compare(
        self, hashes: Hashes, ranges: tuple[Range, ...], theirs: dict[Range, Digest] | None
    ) -> Found | None:
        assert self._hashes is not None  # noqa: S101 - or nothing was compared
        most, right = self._reader.offers.digests, 0
        while True:
            if theirs is None:
                return None
            ours = await _digests(hashes, ranges)
            wrong = tuple(one for one in ranges if ours[one] != theirs[one])
            members = sum(ours[one].count for one in wrong)
            right += sum(digest.count for digest in ours.values()) - members
            cut = finer(wrong, hashes, most=most)
            if cut is None:
                break
            ranges, theirs = cut, await self._ask(cut)
        self._differing = tuple(joined(wrong))
        self._hashes.are_compared = True
        log.info("sync.digests.compared", right=right, ranges=len(wrong), members=members)
        if not await self._is_honest(ranges, {r for r in ranges if ours[r] == theirs[r]}):
            self._distrust()
            return None
        if members > right:
            return None
        return Found(ranges=self._differing, right=right)

    async def found_nothing(self) -> None:
        """Find out who errs, where ranges were said to differ, and no row of them does.

        Once all hashes are made anew, it is the site if they differ still.
        """
        if self._hashes is None or not self._differing or self._is_changing(self._differing):
            return
        log.info("sync.digests.doubted", ranges=len(self._differing))
        self._hashes.forget()
        if await self.compare() is None and not self._differing:
            return  # it did not say
        if not self._differing:
            self._hashes.tell_of_wrong()
        elif not self._is_changing(self._differing):
            self._distrust()

    async def _ask(self, ranges: Sequence[Range]) -> dict[Range, Digest] | None:
        bounds = bounds_of(ranges)
        said = await self._reader.digests(bounds)
        if said is None:
            log.warning("sync.digests.unread")
            self.unused()
            return None
        by_low = {low: Digest(*one) for low, one in zip(bounds, said, strict=False)}
        return {range_: by_low[range_.low] for range_ in ranges}

    async def _is_honest(self, asked: Sequence[Range], right: AbstractSet[Range]) -> bool:
        """Read some rows of a range now and then that is said to be right, and see whether it is.

        A large range is not read whole.
        """
        assert self._hashes is not None  # noqa: S101 - or nothing was compared
        hashes, chance = self._hashes.hashes, self._services.chance
        held = [range_ for range_ in asked if range_ in right and hashes.count(range_)]
        if not held or chance.random() >= _LOOKED_AT:
            return True
        range_ = chance.choice(held)
        part = chance.choice(hashes.split(range_, -(-hashes.count(range_) // _MOST_ROWS)))
        read = [row async for rows in self.rows((part,)) for row in rows if row.in_guild]
        if digest_of(read) == hashes.digest(part) or self._is_changing((part,)):
            return True
        # Somebody else may have written since the site was asked: then it says so now.
        again = await self._ask(asked)
        return again is None or again[range_] != hashes.digest(range_)

    def _is_changing(self, ranges: Sequence[Range]) -> bool:
        """Say whether somebody in these ranges, which ascend, may be written, or has been."""
        lows = [range_.low for range_ in ranges]
        for id_ in chain(self._queue.noted, self._unsettled):
            place = bisect_right(lows, id_) - 1
            if place >= 0 and id_ < ranges[place].high:
                return True
        return False

    def _distrust(self) -> None:
        """Read rows from now on, and say so."""
        log.error("sync.digests.wrong")
        sentry_sdk.capture_message("the site's digest is not that of its rows", level="error")
        if self._hashes is not None:
            self._hashes.are_trusted = self._hashes.are_compared = False


async def _digests(hashes: Hashes, ranges: Sequence[Range]) -> dict[Range, Digest]:
    """Return the digests of these ranges; those of a million members take a while."""
    digests = {}
    for range_ in ranges:
        digests[range_] = hashes.digest(range_)
        await give_way()
    return digests
