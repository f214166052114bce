"""How many rows the next request may hold, and for how long the site is left alone before it.

Theory: one request should hold the site for about `target_s`, whatever queues there besides. What a
request costs is learnt (`cost`) as `a` seconds and `b` more a row, so the size is
`(target - a) / b`, within these rules:

- the first request is a canary of `first` rows, and its time is not learnt from: it pays for
  connections and cold caches;
- grow at most twofold a step, never above the ceiling;
- every third request has half the size, or `a` and `b` could not be told apart; not at a bound
  that is far quicker than the target, where nothing depends on it;
- a third of a request's time, at most, is overhead: a busy site is given room by fewer requests,
  not by smaller ones;
- a request of over twice what was expected, and over the target, has the next one look closer, at
  half its size: if that was as slow for its size, the site has become slower, and what was learnt
  before is forgotten; if not, it was a queue, and the size stays;
- a site at which requests queue is left alone after each, longer and longer, until what had queued
  behind one is gone before the next comes. On a site that others keep busy for the part p of its
  time that leaves us about 1 - p of it, and each of them waits for one request of ours at most;
- overload falls to the floor, a failure or a lost answer halves;
- an answer "too large" halves and lowers the ceiling for good;
- interrupted attempts lower what is trusted (`memory`), and so does a page that failed. More is
  tried by and by: what is trusted doubles after so many requests of that size, and each doubling
  needs twice as many.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from .cost import Cost, Sample

_MAX_GROWTH: Final = 2
_SLOW: Final = 2
_TURNS: Final = 3  # the last of so many requests is a smaller one
_OVERHEAD: Final = 1 / 3
_ALIKE: Final = 1.25  # two that were slow by nearly the same factor: the site itself has changed
_QUEUED: Final = 0.3  # of what a request costs: that it took so much longer is no queue yet
_QUEUED_S: Final = 0.1  # and this much: a busy loop of our own delays answers, too
_WAYS: Final = 16  # requests by which the way to the site and back is known
_EASED: Final = 0.7  # what a request that did not queue leaves of the rest before it
_MAX_REST: Final = 4  # times what a request costs: a fifth of the site's time is asked for always
_MAX_REST_S: Final = 10.0
_LEAST_REST_S: Final = 0.005
_LEAST_TOLD: Final = 0.05  # whatever a site says: so much of a request's time it was at work on it
_DOUBT: Final = 4  # requests of a trusted size before twice that is tried


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceLimits:
    """Bounds of a pace: rows, bytes of a body, seconds.

    `trusted_items` is what attempts that were interrupted have left of the trust in large requests.
    """

    target_s: float = 0.5
    first_items: int = 100
    floor_items: int = 10
    max_items: int = 1000
    max_bytes: int = 256 * 1024
    trusted_items: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What somebody has set for a run that is on; None where nothing is."""

    target_s: float | None = None
    max_items: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How many rows a request may have after some that failed; None for any number.

    It doubles after `needed` requests of that size in a row, of which there were `applied`.
    """

    items: int | None
    applied: int = 0
    needed: int = _DOUBT

    def after(self, rows: int, *, ceiling: int) -> Trust:
        """Return what is trusted after a request of so many rows went well."""
        if self.items is None or rows < self.items:
            return self
        if self.applied + 1 < self.needed:
            return replace(self, applied=self.applied + 1)
        doubled = self.items * 2
        return Trust(items=None if doubled >= ceiling else doubled, needed=self.needed * 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The size of the next request (`items`), what it was learnt from, and the rest before it.

    `ways_s` is how long the latest requests took beside what the site says that it was at work.
    `size` is what `items` is where no request is smaller on purpose. `slow` is the latest request,
    if it took longer than it should.
    """

    limits: PaceLimits
    items: int
    size: int
    ceiling: int
    trust: Trust
    cost: Cost
    learnt: int = 0
    rest_s: float = 0.0
    ways_s: tuple[float, ...] = ()
    slow: Sample | None = None

    @classmethod
    def start(cls, limits: PaceLimits) -> Pace:
        """Return the pace before the first request: the canary's size."""
        ceiling, trust = max(1, limits.max_items), Trust(items=limits.trusted_items)
        items = min(limits.first_items, ceiling, trust.items or ceiling)
        return cls(
            limits=limits, items=items, size=items, ceiling=ceiling, trust=trust, cost=Cost()
        )

    @property
    def floor(self) -> int:
        return min(self.limits.floor_items, self.most)

    @property
    def most(self) -> int:
        """The most rows that the next request may have."""
        return min(self.ceiling, self.trust.items or self.ceiling)

    def applied(self, *, rows: int, seconds: float, site_s: float | None = None) -> Pace:
        """Learn from a request that was applied.

        `seconds` is what it took, and `site_s` what the site itself says that it was at work on it.
        """
        trust = self.trust.after(rows, ceiling=self.ceiling)
        after = replace(self, learnt=self.learnt + 1, trust=trust, slow=None)
        if self.learnt == 0:
            return after.sized(self.items // 2 if self._is_slow(seconds) else self.items)
        told_s = seconds if site_s is None else max(site_s, seconds * _LEAST_TOLD)
        sample = Sample(rows, min(told_s, seconds))
        cost = self.cost.learnt(sample)
        is_slow = self._is_unexpected(sample)
        if is_slow and self.slow is not None and self._are_alike(self.slow, sample):
            cost = Cost().learnt(self.slow, sample)
        # What a request takes beside the site's own time is a queue as far as it is not the way.
        ways_s = (*self.ways_s, seconds - sample.seconds)[-_WAYS:]
        queued_s = seconds - min(cost.of(rows), sample.seconds) - min(ways_s)
        after = replace(after, cost=cost, ways_s=ways_s)
        after = replace(after, rest_s=self._rest_s(cost.of(rows), queued_s))
        if is_slow and self.slow is None:
            return replace(after, slow=sample, items=max(self.floor, self.items // 2))
        return after.sized(after.wanted)

    def _is_slow(self, seconds: float) -> bool:
        return seconds > self.limits.target_s * _SLOW

    def _is_unexpected(self, sample: Sample) -> bool:
        """Say whether a request took so long that either the site or its other traffic changed."""
        if not self.cost.samples:
            return self._is_slow(sample.seconds)
        is_long = sample.seconds > self.limits.target_s
        return is_long and sample.seconds > _SLOW * self.cost.of(sample.rows)

    def _are_alike(self, first: Sample, second: Sample) -> bool:
        """Say whether two requests of different sizes were slow for their rows, by one factor."""
        if first.rows == second.rows:
            return False
        by = sorted(one.seconds / self.cost.of(one.rows) for one in (first, second))
        return by[1] <= by[0] * _ALIKE

    def _rest_s(self, cost_s: float, queued_s: float) -> float:
        """Return the rest behind a request that cost so much and queued for so long."""
        if queued_s > _QUEUED * cost_s + _QUEUED_S:
            return min(self.rest_s + queued_s, _MAX_REST * cost_s, _MAX_REST_S)
        rest_s = self.rest_s * _EASED
        return rest_s if rest_s > _LEAST_REST_S else 0.0

    @property
    def wanted(self) -> int:
        """The size at which a request would hold the site for the target."""
        cost, target_s = self.cost, self.limits.target_s
        rows_s = max(target_s - cost.fixed_s, (1 / _OVERHEAD - 1) * cost.fixed_s)
        wanted = min(rows_s, target_s) / cost.row_s
        return int(min(wanted, max(self.size, self.items) * _MAX_GROWTH))

    def sized(self, size: int) -> Pace:
        """Return it with the next request of this size, or smaller if it is that one's turn."""
        size = max(self.floor, min(size, self.most))
        matters = size < self.most or self.cost.of(size) > self.limits.target_s / 2
        is_smaller = matters and self.learnt > _TURNS and self.learnt % _TURNS == _TURNS - 1
        return replace(self, items=max(self.floor, size // 2) if is_smaller else size, size=size)

    def overloaded(self) -> Pace:
        """Fall to the floor: the site asked for less."""
        return self.sized(self.floor)

    def failed(self) -> Pace:
        """Halve: the site failed, or its answer was lost."""
        return self.sized(self.items // 2)

    def distrusted(self, *, rows: int) -> Pace:
        """Try half of what failed, and so many rows again only after enough that went well."""
        trust = Trust(items=max(1, rows // 2), needed=self.trust.needed)
        return replace(self, trust=trust).sized(self.size)

    def too_large(self, *, rows: int) -> Pace:
        """Never again send as many rows as this request had."""
        ceiling = max(1, min(self.ceiling, rows // 2))
        return replace(self, ceiling=ceiling, items=min(self.items, ceiling))

    def tuned(self, tuning: Tuning) -> Pace:
        """Return the pace with these bounds; what the site said is too large stays so.

        Whoever sets how many rows there may be knows more than a crash has taught.
        """
        limits, trust = self.limits, self.trust
        if tuning.target_s is not None:
            limits = replace(limits, target_s=tuning.target_s)
        if tuning.max_items is not None:
            limits = replace(limits, max_items=tuning.max_items)
            trust = Trust(items=None)
        was_lowered = self.ceiling < max(1, self.limits.max_items)
        ceiling = min(self.ceiling, limits.max_items) if was_lowered else limits.max_items
        ceiling = max(1, ceiling)
        items = min(self.items, ceiling)
        return replace(self, limits=limits, ceiling=ceiling, items=items, trust=trust)
