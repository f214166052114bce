"""Ids by the hundred thousand, in 8 bytes each.

As numbers in sets and lists a million ids take 40 to 100 MB, and the garbage collector walks all of
them again and again, which keeps everything else waiting for a tenth of a second each time. In
arrays they cost neither. Rows come in the order of their ids, so an array of them is sorted as it
grows, and what it holds is found by bisection.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Sequence
from itertools import chain, filterfalse
from typing import TYPE_CHECKING, Final, cast, overload

from .members import UserId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

_FEW: Final = 1024  # ids: a tuple of so many is as good
_OFTEN: Final = 32  # if more than one of so many ids is left out, all are looked at instead
_SORTED: Final = 8_192  # ids: to sort so many takes a few milliseconds
_SAMPLED: Final = 512  # of so many sorted ids one is looked at, to cut all of them into parts


class Ids(Sequence[UserId]):
    """Many ids, ascending, that are cut without being copied."""

    def __init__(self, ids: array[int], start: int = 0, stop: int | None = None) -> None:
        self._ids = ids
        self._start = start
        self._stop = len(ids) if stop is None else stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[UserId]:
        return _iterate(self._ids[self._start : self._stop])

    def __contains__(self, id_: object) -> bool:
        if not isinstance(id_, int):
            return False
        place = bisect_left(self._ids, id_, self._start, self._stop)
        return place < self._stop and self._ids[place] == id_

    @overload
    def __getitem__(self, place: int) -> UserId: ...
    @overload
    def __getitem__(self, place: slice) -> Ids: ...
    def __getitem__(self, place: int | slice) -> UserId | Ids:
        """Return an id, or those of a slice, whose step is one."""
        if isinstance(place, int):
            return UserId(self._ids[range(self._start, self._stop)[place]])
        start, stop, _ = place.indices(len(self))
        return Ids(self._ids, self._start + start, self._start + max(start, stop))


class IdSet(Collection[UserId]):
    """A growing set of ids; those that ascend as they come cost 8 bytes each."""

    def __init__(self, ids: Iterable[UserId] = ()) -> None:
        self._ids = array("Q")
        self._others = array("Q")  # those that came late, ascending, too
        for id_ in ids:
            self.add(id_)

    def __len__(self) -> int:
        return len(self._ids) + len(self._others)

    def __iter__(self) -> Iterator[UserId]:
        return chain(_iterate(self._ids), _iterate(self._others))

    def __contains__(self, id_: object) -> bool:
        return isinstance(id_, int) and (_holds(self._ids, id_) or _holds(self._others, id_))

    def add(self, id_: UserId) -> bool:
        """Take an id, and return whether it is new."""
        if not self._ids or id_ > self._ids[-1]:
            self._ids.append(id_)
        elif id_ in self:
            return False
        else:
            insort(self._others, id_)
        return True

    def lacks(self, ids: Sequence[int]) -> list[UserId]:
        """Return those of these ids, which ascend, that are not in it."""
        if not ids:
            return []
        held = (
            known[bisect_left(known, ids[0]) : bisect_right(known, ids[-1])] for known in self._both
        )
        return cast("list[UserId]", sorted({*ids}.difference(*held)))

    def but(self, without: AbstractSet[UserId]) -> Sequence[UserId]:
        """Return all of them, ascending, but for these."""
        kept = self._ids[:]
        for id_ in self._others:
            insort(kept, id_)
        if len(without) * _OFTEN > len(kept):
            kept = array("Q", filterfalse(without.__contains__, kept))
        elif without:
            parts, kept, start = kept, array("Q"), 0
            for place in sorted(bisect_left(parts, id_) for id_ in without if _holds(parts, id_)):
                kept.extend(parts[start:place])
                start = place + 1
            kept.extend(parts[start:])
        return Ids(kept) if len(kept) > _FEW else tuple(_iterate(kept))

    def count_of(self, ids: AbstractSet[UserId]) -> int:
        """Return how many of these are in it."""
        if len(ids) < len(self):
            return sum(id_ in self for id_ in ids)
        return sum(id_ in ids for id_ in self)

    @property
    def _both(self) -> tuple[array[int], array[int]]:
        return self._ids, self._others


class Remaining(Collection[UserId]):
    """The ids of some groups, but for those that were taken out."""

    def __init__(self, groups: Iterable[Sequence[UserId]]) -> None:
        """No id may stand in two groups."""
        self._groups = tuple(ids if isinstance(ids, Ids) else frozenset(ids) for ids in groups)
        self._out: set[UserId] = set()

    def __len__(self) -> int:
        return sum(map(len, self._groups)) - len(self._out)

    def __iter__(self) -> Iterator[UserId]:
        return filterfalse(self._out.__contains__, chain.from_iterable(self._groups))

    def __contains__(self, id_: object) -> bool:
        return id_ not in self._out and any(id_ in ids for ids in self._groups)

    def discard(self, ids: Iterable[UserId]) -> None:
        """Take ids out."""
        self._out.update(id_ for id_ in ids if id_ in self)


def in_order(ids: Sequence[int]) -> Iterator[array[int]]:
    """Yield ids ascending, in parts that each take a moment; the first of these are empty.

    To sort a million at once would take half a second, in which nothing else could be done.
    """
    runs = []
    for start in range(0, len(ids), _SORTED):
        runs.append(array("Q", sorted(ids[start : start + _SORTED])))
        yield array("Q")
    sample = sorted(chain.from_iterable(run[::_SAMPLED] for run in runs))
    places = [0] * len(runs)
    for bound in (*sample[:: _SORTED // _SAMPLED], 2**64):
        ends = [bisect_left(run, bound, place) for run, place in zip(runs, places, strict=True)]
        spans = zip(runs, places, ends, strict=True)
        yield array("Q", sorted(chain.from_iterable(run[low:high] for run, low, high in spans)))
        places = ends


def _holds(ids: array[int], id_: int) -> bool:
    """Say whether an id stands among these, which ascend."""
    place = bisect_left(ids, id_)
    return place < len(ids) and ids[place] == id_


def _iterate(ids: array[int]) -> Iterator[UserId]:
    return cast("Iterator[UserId]", iter(ids))
