"""The ids whose rows on the site may be old: which wait, how they are to be sent, which first.

Events only name ids; what a row becomes is read when it is sent. So an id waits once, however often
it changes, as one of three:

    create       it joined, and the site may not know it: sent as a create, then as an update
    update       something of it changed, or nobody knows what the site has
    departure    it was seen leaving, which is proof

Of each kind the ids keep the order in which they began to wait, and the kind whose oldest id has
waited longest goes first. Somebody who joins and leaves before either is sent needs nothing: the
site has no row of them, or one that says they are gone. That is not known of who joined before the
end of a full sync, which creates whoever it finds. Ids that are taken to be sent are remembered as
being on their way until that is over; what fails is put back as the oldest.

There is a bound. When more would wait, all are forgotten, for a full sync covers them better.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from ..model.changes import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from ..model.members import UserId


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Claim:
    """Ids of one kind on their way to the site, and since when each has waited, oldest first."""

    kind: Kind
    since: Mapping[UserId, float]

    @property
    def ids(self) -> tuple[UserId, ...]:
        return tuple(self.since)


@dataclass(slots=True)
class Waiting:
    """All ids that wait, at most `limit`; times are seconds on any clock that never goes back.

    `in_order`: nobody is read before the event of their joining was heard, so who joined and left
    again before anything was written about them is not on the site. Where members are read by REST
    that can't be known: the event may come after the row was written.
    """

    limit: int
    in_order: bool = True
    _since: dict[Kind, dict[UserId, float]] = field(
        default_factory=lambda: {kind: {} for kind in Kind}
    )
    _fresh: set[UserId] = field(default_factory=set)
    _on_their_way: list[Claim] = field(default_factory=list)
    _run_is_on: bool = False

    def __len__(self) -> int:
        return sum(map(len, self._since.values()))

    @property
    def unsettled(self) -> frozenset[UserId]:
        """The ids that wait or are on their way."""
        waiting = (id_ for ids in self._since.values() for id_ in ids)
        return frozenset(waiting).union(*(taken.since for taken in self._on_their_way))

    @property
    def oldest_since(self) -> float | None:
        """Since when the oldest of them has waited, those on their way included."""
        each = (*self._since.values(), *(taken.since for taken in self._on_their_way))
        return min((next(iter(since.values())) for since in each if since), default=None)

    @property
    def most(self) -> int:
        """How many there are of the kind of which most wait."""
        return max(map(len, self._since.values()))

    def count(self, kind: Kind) -> int:
        """Return how many wait as this."""
        return len(self._since[kind])

    def kind_of(self, id_: UserId) -> Kind | None:
        """Return as what an id waits."""
        return next((kind for kind, ids in self._since.items() if id_ in ids), None)

    def changed(self, ids: Iterable[UserId], *, now: float) -> bool:
        """Let ids wait, as what they do already or as updates; return whether all still do."""
        for id_ in ids:
            if self.kind_of(id_) is None:
                self._since[Kind.UPDATE][id_] = now
        return self._bounded()

    def created(self, taken: Claim, ids: Collection[UserId]) -> bool:
        """Let those of a claim's ids wait again whom a create has passed over if they had a row.

        They have waited since they joined. Return whether all still do.
        """
        again = {id_: taken.since[id_] for id_ in ids if self.kind_of(id_) is None}
        self._since[Kind.UPDATE] = again | self._since[Kind.UPDATE]
        return self._bounded()

    def joined(self, id_: UserId, *, now: float) -> bool:
        """Let somebody wait who joined; return whether all still wait."""
        before = self._forget(id_)
        # One on its way may be a row already, or be left out because somebody has come back.
        on_its_way = any(id_ in taken.since for taken in self._on_their_way)
        if self.in_order and before is None and not on_its_way and not self._run_is_on:
            self._fresh.add(id_)
        self._since[Kind.CREATE][id_] = now
        return self._bounded()

    def left(self, id_: UserId, *, now: float) -> bool:
        """Let somebody wait who was seen leaving; return whether all still wait."""
        fresh = id_ in self._fresh
        self._forget(id_)
        if not fresh:
            self._since[Kind.DEPARTURE][id_] = now
        return self._bounded()

    def next(self) -> Kind | None:
        """Return the kind of the id that has waited longest."""
        oldest = {kind: next(iter(ids.values())) for kind, ids in self._since.items() if ids}
        return min(oldest, key=oldest.__getitem__, default=None)

    def take(self, kind: Kind, count: int) -> Claim:
        """Take the oldest ids of a kind, to be sent; `done` or `put_back` ends that."""
        ids = self._since[kind]
        taken = Claim(kind=kind, since=dict(islice(ids.items(), count)))
        for id_ in taken.since:
            del ids[id_]
        self._fresh -= taken.since.keys()
        self._on_their_way.append(taken)
        return taken

    def take_all(self) -> tuple[Claim, ...]:
        """Take every id that waits."""
        return tuple(self.take(kind, len(ids)) for kind, ids in self._since.items() if ids)

    def done(self, taken: Claim) -> None:
        """Note that these have been sent, or need not be."""
        self._on_their_way.remove(taken)

    def put_back(self, taken: Claim) -> bool:
        """Let these wait again, before all others, unless they wait already as something else.

        Return whether all still wait.
        """
        self.done(taken)
        again = {
            id_: since for id_, since in taken.since.items() if self._may_return(id_, taken.kind)
        }
        self._since[taken.kind] = again | self._since[taken.kind]
        return self._bounded()

    def unknown(
        self, left_out: Iterable[UserId], *, kind: Kind, present: Collection[UserId]
    ) -> list[UserId]:
        """Return about whom of those left out of a request Discord has to be asked.

        Whoever is not in the cache, `present`, and was not seen leaving is unknown, not gone. A
        departure is left out of who has come back, and of whom the site has no row.
        """
        if kind is Kind.DEPARTURE:
            return []
        return sorted(id_ for id_ in left_out if id_ not in present and self.kind_of(id_) is None)

    def written(self, ids: Iterable[UserId]) -> None:
        """Note that these are being written: each may be a row when they leave."""
        self._fresh.difference_update(ids)

    def run_began(self) -> None:
        """Note that a full sync is on: whoever waits may have become a row when they leave."""
        self._run_is_on = True
        self._fresh.clear()

    def run_ended(self) -> None:
        """Note that it is over, however it ended."""
        self._run_is_on = False

    def settle(self, *, but: AbstractSet[UserId]) -> None:
        """Forget what a full sync has brought to the site: all but departures, and these ids."""
        for kind in (Kind.CREATE, Kind.UPDATE):
            self._since[kind] = {
                id_: since for id_, since in self._since[kind].items() if id_ in but
            }
        self._fresh &= self._since[Kind.CREATE].keys()

    def _may_return(self, id_: UserId, kind: Kind) -> bool:
        return self.kind_of(id_) in {None, kind}

    def _forget(self, id_: UserId) -> Kind | None:
        """Let an id wait no longer; return as what it did."""
        kind = self.kind_of(id_)
        if kind is not None:
            del self._since[kind][id_]
        self._fresh.discard(id_)
        return kind

    def _bounded(self) -> bool:
        if len(self) <= self.limit:
            return True
        for ids in self._since.values():
            ids.clear()
        self._fresh.clear()
        return False
