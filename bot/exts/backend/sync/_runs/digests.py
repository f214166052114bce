"""The site's digests held against the guild's: which rows have to be read, and which need not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sentry_sdk
import structlog

from .._core.model.members import UserId
from .._core.plan.digest import (
    WHOLE,
    Digest,
    Range,
    bounds_of,
    digest_of,
    finer,
    joined,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from collections.abc import Set as AbstractSet

    from .._core.model.members import Member
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

    @property
    def offered(self) -> bool:
        """Whether there are digests, and what they say is believed."""
        offers = self._reader.offers
        is_trusted = self._hashes is not None and self._hashes.are_trusted
        return is_trusted and offers.digests > 1 and offers.pages_by_id

    def members(self, ranges: Sequence[Range]) -> frozenset[UserId]:
        """Return whom the guild had in these ranges when it was compared."""
        assert self._hashes is not None  # noqa: S101 - or nothing was compared
        hashes = self._hashes.hashes
        return frozenset(UserId(id_) for range_ in ranges for id_ in hashes.within(range_))

    async def rows(self, ranges: Sequence[Range]) -> AsyncIterator[tuple[Member, ...]]:
        """Read the rows of these ranges."""
        for range_ in ranges:
            expected = len(self.members((range_,)))
            async for rows in self._reader.between(range_.low, range_.high, expected=expected):
                yield rows

    async def compare(self) -> Found | None:
        """Compare all rows of members with the guild of now.

        None if the site does not say, or if so much differs that all may as well be read.
        """
        if self._hashes is None:
            return None
        lacking = self._services.writes.lacking
        hashes = await self._hashes.renew(self._requests, lacking=lacking)
        most = self._reader.offers.digests
        ranges: tuple[Range, ...] = hashes.split(WHOLE, most)
        right = 0
        while True:
            ours = {range_: hashes.digest(range_) for range_ in ranges}
            theirs = await self._ask(ranges)
            if theirs is None:
                return None
            wrong = tuple(one for one in ranges if ours[one] != theirs[one])
            members = sum(ours[one].count for one in wrong)
            right += sum(digest.count for digest in ours.values()) - members
            cut = finer(wrong, hashes, most=most)
            if cut is None:
                break
            ranges = cut
        if not await self._is_honest(theirs, set(wrong)):
            return None
        log.info("sync.digests.compared", right=right, ranges=len(wrong), members=members)
        if members > right:
            return None
        return Found(ranges=tuple(joined(wrong)), right=right)

    async def _ask(self, ranges: Sequence[Range]) -> dict[Range, Digest] | None:
        bounds = bounds_of(ranges)
        said = await self._reader.digests(bounds)
        if said is None:
            log.warning("sync.digests.unread")
            return None
        by_low = {low: Digest(*one) for low, one in zip(bounds, said, strict=False)}
        return {range_: by_low[range_.low] for range_ in ranges}

    async def _is_honest(self, theirs: dict[Range, Digest], wrong: AbstractSet[Range]) -> bool:
        """Read the rows of a range now and then that is right, and see whether it is."""
        chance = self._services.chance
        right = [r for r, one in theirs.items() if r not in wrong and 0 < one.count <= _MOST_ROWS]
        if not right or chance.random() >= _LOOKED_AT:
            return True
        range_ = chance.choice(right)
        read = [row async for rows in self.rows((range_,)) for row in rows if row.in_guild]
        if digest_of(read) == theirs[range_] or any(row.id in self._queue.noted for row in read):
            return True
        log.error("sync.digests.wrong", low=range_.low, high=range_.high)
        sentry_sdk.capture_message("the site's digest is not that of its rows", level="error")
        if self._hashes is not None:
            self._hashes.are_trusted = False
        return False
