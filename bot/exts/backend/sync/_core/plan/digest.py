"""Digests of ranges of ids: whether the site's rows are the guild's, without reading them.

A row's text is hashed, and the hashes of a range are summed (`docs/site-contract.md` has it to the
byte). Where count and sum are the same on both sides, so are the rows; a range that differs is
split, or its rows are read, whichever pays.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise, starmap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..model.members import Member

END: Final = 2**63 - 1  # no bound is above it, and no id of Discord's comes near it
_MODULUS: Final = 2**64
_SMALL: Final = 64  # members: a smaller range is not worth a digest of its own
_CHEAP: Final = 2500  # rows: a page of them is read at once
_DEARER: Final = 12  # a row that is read, than one that is summed
_FEWEST_PARTS: Final = 4


@dataclass(frozen=True, slots=True)
class Digest:
    """How many rows of a range are in the guild, and the sum of their hashes modulo 2^64."""

    count: int
    sum: int


@dataclass(frozen=True, slots=True)
class Range:
    """The ids from `low` up to, and without, `high`."""

    low: int
    high: int


WHOLE: Final = Range(0, END)


def row_text(member: Member) -> bytes:
    """Return what of a row is hashed."""
    # Half of a surrogate pair, which no site takes, must not end the comparison of all others.
    name = member.name.encode(errors="replace")
    display_name = member.display_name.encode(errors="replace")
    roles = ",".join(map(str, member.roles)).encode()
    return b"%d,%d,%d:%b,%d:%b,%b" % (
        member.id,
        member.discriminator,
        len(name),
        name,
        len(display_name),
        display_name,
        roles,
    )


def row_hash(member: Member) -> int:
    """Return the first 60 bits of the MD5 of a row's text: it finds faults, and stops nobody."""
    digest = hashlib.md5(row_text(member), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8]) >> 4


def digest_of(rows: Iterable[Member]) -> Digest:
    """Return the digest of these rows."""
    hashes = [row_hash(row) for row in rows]
    return Digest(count=len(hashes), sum=sum(hashes) % _MODULUS)


class Hashes:
    """The hash of each member, in 16 bytes each: two arrays, ascending by id.

    A million members take 16 MB, and as much again for as long as all are made anew.
    """

    def __init__(self) -> None:
        self.ids = array("Q")
        self._hashes = array("Q")

    def __len__(self) -> int:
        return len(self.ids)

    def fill(self, ids: array[int], hashes: array[int]) -> None:
        """Take the hashes of these ids, which ascend, and of no others."""
        self.ids, self._hashes = ids, hashes

    def put(self, id_: int, hash_: int | None) -> None:
        """Take a member's hash; None takes the member out."""
        place, is_there = self._place(id_)
        if hash_ is None:
            if is_there:
                del self.ids[place], self._hashes[place]
        elif is_there:
            self._hashes[place] = hash_
        else:
            self.ids.insert(place, id_)
            self._hashes.insert(place, hash_)

    def get(self, id_: int) -> int | None:
        """Return a member's hash; None of whom there is none."""
        place, is_there = self._place(id_)
        return self._hashes[place] if is_there else None

    def within(self, range_: Range) -> array[int]:
        """Return the ids of a range, ascending."""
        return self.ids[self._span(range_)]

    def count(self, range_: Range) -> int:
        """Return how many ids there are in a range."""
        return bisect_left(self.ids, range_.high) - bisect_left(self.ids, range_.low)

    def digest(self, range_: Range) -> Digest:
        """Return the digest of a range."""
        hashes = self._hashes[self._span(range_)]
        return Digest(count=len(hashes), sum=sum(hashes) % _MODULUS)

    def split(self, range_: Range, parts: int) -> tuple[Range, ...]:
        """Cut a range into at most so many of about equally many members."""
        return split(range_, self.within(range_), parts)

    def _place(self, id_: int) -> tuple[int, bool]:
        """Return where an id stands, or would, and whether it does."""
        place = bisect_left(self.ids, id_)
        return place, place < len(self.ids) and self.ids[place] == id_

    def _span(self, range_: Range) -> slice:
        return slice(bisect_left(self.ids, range_.low), bisect_left(self.ids, range_.high))


def split(range_: Range, ids: Sequence[int], parts: int) -> tuple[Range, ...]:
    """Cut a range, which holds these ids, ascending, into at most so many of equally many."""
    parts = max(1, min(parts, len(ids) // _SMALL))
    inner = (ids[len(ids) * part // parts] for part in range(1, parts))
    return tuple(starmap(Range, pairwise((range_.low, *inner, range_.high))))


def bounds_of(ranges: Sequence[Range]) -> tuple[int, ...]:
    """Return the bounds by which these ranges, ascending, are asked for, and those between them."""
    bounds = [ranges[0].low]
    for range_ in ranges:
        if range_.low != bounds[-1]:
            bounds.append(range_.low)
        bounds.append(range_.high)
    return tuple(bounds)


def finer(ranges: Sequence[Range], hashes: Hashes, *, most: int) -> tuple[Range, ...] | None:
    """Cut differing ranges smaller, to be asked for in one request; None where reading is cheaper.

    A digest costs the site a look at every row, and a row that is read about twelve times as much.
    """
    # Between two ranges that do not touch there is one more, which nobody asks about.
    parts = (most - len(ranges)) // len(ranges) if ranges else 0
    rows = sum(map(hashes.count, ranges))
    if parts < _FEWEST_PARTS or rows <= max(_CHEAP, len(hashes) // _DEARER):
        return None
    return tuple(part for range_ in ranges for part in hashes.split(range_, parts))


def joined(ranges: Iterable[Range]) -> Iterator[Range]:
    """Return ranges, ascending, with those that touch as one."""
    before: Range | None = None
    for range_ in ranges:
        if before is not None and before.high == range_.low:
            before = Range(before.low, range_.high)
            continue
        if before is not None:
            yield before
        before = range_
    if before is not None:
        yield before
