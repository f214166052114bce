"""How what was written is looked at again: by digests, all of it, or answers and a sample.

Where a site offers digests, those of all rows are compared, and only ranges that differ are read.

A plain site is read page by page, and where a change is spread over all pages that costs as much as
comparing them did. It answers an update with the rows as it understood them, and so a run there may
go by these answers and by some pages, drawn by chance until `SAMPLED_ROWS` written rows were seen:
a fault in one row of a hundred is missed with a probability of 0.99^300, or 5 %. One wrong row
there, and every row is read. A site answers from memory: it shows that it understood the request,
and not that it stored it, which is why there is a sample at all.

Nothing is taken from the answers in a probe of the breaker, after an answer that was lost, or of
rows that were created, of which a site says nothing.
"""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from ..model.members import UserId

SAMPLED_ROWS: Final = 300
_FEW: Final = 3  # pages that hold less than one in so many of all: they are read, and nothing drawn


class Verification(Enum):
    """What a run's "verified" rests on; the value is how it is logged."""

    DIGESTS = "digests"
    ROWS = "every written row"
    SAMPLE = "answers and a sample"


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the rows of these ids, ascending, stand among all rows of a site, read by number."""

    ids: array[int]

    @classmethod
    def of(cls, *ids: Iterable[int]) -> Positions:
        """Return the positions of all of these, none of which is given twice.

        Those that ascend already, as a site's pages do, are merged and not sorted.
        """
        return cls(array("Q", sorted(itertools.chain(*ids))))

    def pages(self, size: int) -> int:
        """Return how many pages of so many rows there are."""
        return -(-len(self.ids) // size)

    def by_page(self, ids: Iterable[UserId], *, size: int) -> dict[int, list[UserId]]:
        """Return the ids by the number, from 1, of the page on which each should stand."""
        pages: dict[int, list[UserId]] = {}
        for id_ in ids:
            pages.setdefault(bisect_left(self.ids, id_) // size + 1, []).append(id_)
        return pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Pages to read again, by number, ascending, and the ids that are expected there.

    A sample leaves some ids to the site's answers.
    """

    pages: tuple[int, ...]
    expected: frozenset[UserId]
    is_sample: bool


def look(
    ids: Collection[UserId],
    positions: Positions,
    *,
    size: int,
    answered: AbstractSet[UserId],
    chance: random.Random,
) -> Look | None:
    """Return which pages to read again for these ids; None where it has to be all of them.

    `answered` are those ids whose row the site has repeated rightly, if that may be relied on.
    """
    by_page = positions.by_page(ids, size=size)
    most = positions.pages(size) / _FEW
    if len(by_page) < most:
        return _looked(by_page, by_page, is_sample=False)
    unanswered = [id_ for id_ in ids if id_ not in answered]
    chosen = set(positions.by_page(unanswered, size=size))
    if not answered or len(chosen) >= most:
        return None
    others = [number for number in by_page if number not in chosen]
    chance.shuffle(others)
    seen = sum(len(by_page[number]) for number in chosen)
    while seen < SAMPLED_ROWS and others:
        number = others.pop()
        chosen.add(number)
        seen += len(by_page[number])
    return _looked(by_page, chosen, is_sample=True) if others else None


def _looked(by_page: Mapping[int, list[UserId]], chosen: Iterable[int], *, is_sample: bool) -> Look:
    pages = tuple(sorted(chosen))
    expected = frozenset(id_ for number in pages for id_ in by_page[number])
    return Look(pages=pages, expected=expected, is_sample=is_sample)
