"""Models of sites with other traffic, to try the pace on; printed as the table in `docs/pace.md`.

A model says when a request of so many rows is answered that leaves at a moment. Others come by
chance (Poisson) and hold the site for 25 to 75 ms each; `busy` is the part of the site's time that
they take. Times are in seconds.

    python -m tests.bot.exts.backend.sync.core.site_models > docs/pace.md
"""

from __future__ import annotations

import random
import statistics
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from bot.exts.backend.sync._core.policy.pace import Pace, PaceLimits

if TYPE_CHECKING:
    from collections.abc import Callable

OTHERS_S: Final = 0.05
_NOISE: Final = 0.05


@dataclass(slots=True, kw_only=True)
class Site:
    """What a request costs here, and how much others want of it."""

    fixed_s: float
    row_s: float
    busy: float
    chance: random.Random
    slowness: float = 1.0
    waits: list[float] = field(default_factory=list)  # of others, from coming to their answer

    def work_s(self, rows: int) -> float:
        """Return how long a request is at work here, if nothing else is."""
        exact = (self.fixed_s + self.row_s * rows) * self.slowness
        return exact * (1 + _NOISE * self.chance.uniform(-1, 1))

    def next_other(self, now: float) -> float:
        """Return when the next one of others comes."""
        return now + self.chance.expovariate(self.busy / OTHERS_S) if self.busy else float("inf")

    def other_s(self) -> float:
        """Return how long one of others is at work."""
        return OTHERS_S * self.chance.uniform(0.5, 1.5)


class Model(Protocol):
    """A way in which a site shares itself among requests."""

    site: Site

    def ask(self, now: float, rows: int) -> float:
        """Return how long a request takes that leaves now; times never go back."""


class OneLock:
    """One request at a time, in the order in which they came."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._free = 0.0
        self._next = site.next_other(0.0)

    def ask(self, now: float, rows: int) -> float:
        """Wait for whatever came before."""
        while self._next <= now:
            self._free = max(self._next, self._free) + self.site.other_s()
            self.site.waits.append(self._free - self._next)
            self._next = self.site.next_other(self._next)
        self._free = max(now, self._free) + self.site.work_s(rows)
        return self._free - now


@dataclass(slots=True, eq=False)
class _Job:
    at: float
    left_s: float


class Threads:
    """So many at a time, which share one processor evenly; the rest queue."""

    def __init__(self, site: Site, *, threads: int = 4, processors: int = 1) -> None:
        self.site = site
        self._threads = threads
        self._processors = processors
        self._running: list[_Job] = []
        self._queue: deque[_Job] = deque()
        self._now = 0.0
        self._next = site.next_other(0.0)

    def ask(self, now: float, rows: int) -> float:
        """Share with whatever else is there until it is done."""
        self._go_on(now, None)
        mine = _Job(now, self.site.work_s(rows))
        self._add(mine)
        self._go_on(float("inf"), mine)
        return self._now - now

    def _add(self, job: _Job) -> None:
        if len(self._running) < self._threads:
            self._running.append(job)
        else:
            self._queue.append(job)

    def _go_on(self, until: float, mine: _Job | None) -> None:
        while self._now < until:
            speed = min(1.0, self._processors / max(1, len(self._running)))
            first = min(self._running, key=lambda job: job.left_s, default=None)
            ends = float("inf") if first is None else self._now + first.left_s / speed
            moment = min(ends, self._next, until)
            for job in self._running:
                job.left_s -= (moment - self._now) * speed
            self._now = moment
            if first is not None and moment == ends:
                self._running.remove(first)
                if self._queue:
                    self._running.append(self._queue.popleft())
                if first is mine:
                    return
                self.site.waits.append(self._now - first.at)
            elif moment == self._next:
                self._add(_Job(self._now, self.site.other_s()))
                self._next = self.site.next_other(self._now)


def pool(site: Site) -> Threads:
    """Return a pool of connections to a database of two processors."""
    return Threads(site, threads=8, processors=2)


MODELS: Final[dict[str, Callable[[Site], Model]]] = {
    "one lock": OneLock,
    "four threads": Threads,
    "pool and database": pool,
}


@dataclass(slots=True, kw_only=True)
class Run:
    """What came of writing to a model: sizes and ends of the requests, and what was learnt."""

    rows: int
    seconds: float
    sizes: list[int]
    ends: list[float]
    after_ten: Pace
    pace: Pace

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.seconds


def write(
    model: Model,
    *,
    seconds: float = 60.0,
    rows: float = float("inf"),
    limits: PaceLimits | None = None,
    told: bool = False,
    before: Callable[[float, int], None] = lambda _now, _number: None,
    outliers: dict[int, float] | None = None,
) -> Run:
    """Write for so long, or so many rows; `told` has the site say how long it was at work.

    `before` is called before each request, with the moment and its number; `outliers` are requests
    that take so many seconds more.
    """
    site, pace, now = model.site, Pace.start(limits or PaceLimits()), 1.0
    sizes: list[int] = []
    ends: list[float] = []
    sent, after_ten = 0, pace
    while now < 1.0 + seconds and sent < rows:
        before(now, len(sizes))
        size = pace.items
        took = model.ask(now, size) + (outliers or {}).get(len(sizes), 0.0)
        now += took
        at_work = (site.fixed_s + site.row_s * size) * site.slowness if told else None
        pace = pace.applied(rows=size, seconds=took, site_s=at_work)
        sent += size
        sizes.append(size)
        ends.append(now)
        if len(sizes) == 11:  # the canary says nothing
            after_ten = pace
        now += pace.rest_s
    return Run(rows=sent, seconds=now - 1.0, sizes=sizes, ends=ends, after_ten=after_ten, pace=pace)


def p99(waits: list[float]) -> float:
    """Return the time that one of a hundred takes longer than."""
    return sorted(waits)[int(len(waits) * 0.99)] if waits else 0.0


_HEAD: Final = """# What the pace makes of sites

Printed by `python -m tests.bot.exts.backend.sync.core.site_models`: models of sites, ten runs of a
minute each, medians. Others hold the site for 50 ms each. *Right* is in how many of ten runs the
cost of a row was within a fifth of the truth after ten requests, and *told* is the same where the
site sends `Server-Timing`. *Rows* are rows a second as a part of what the idle site takes, *p99* is
that of others during the run.

| site | a request + a row | others | right | told | rows | p99 | rows a request |
|---|---|---|---|---|---|---|---|
"""
COSTS: Final = ((0.005, 0.0001), (0.025, 0.002), (0.1, 0.002), (0.1, 0.0005))
_RUNS: Final = 10


def _line(name: str, fixed_s: float, row_s: float, busy: float, idle: float | None) -> float:
    """Print a line of the table, and return the rows a second."""

    def model(seed: int) -> Model:
        chance = random.Random(seed)
        return MODELS[name](Site(fixed_s=fixed_s, row_s=row_s, busy=busy, chance=chance))

    def right(runs: list[Run]) -> int:
        return sum(abs(run.after_ten.cost.row_s / row_s - 1) <= 0.2 for run in runs)

    models = [model(seed) for seed in range(_RUNS)]
    runs = [write(one) for one in models]
    told = [write(model(seed), seconds=120.0, told=True) for seed in range(_RUNS)]
    rate = statistics.median(run.rows_per_s for run in runs)
    slowest = statistics.median(p99(one.site.waits) for one in models)
    size = statistics.median(statistics.median(run.sizes[10:]) for run in runs)
    sys.stdout.write(
        f"| {name} | {fixed_s * 1000:g} ms + {row_s * 1000:g} ms | {busy:.0%} | {right(runs)} | "
        f"{right(told)} | {rate / (idle or rate):.0%} | {slowest:.2f} s | {size:.0f} |\n"
    )
    return rate


def main() -> None:
    """Print the table."""
    sys.stdout.write(_HEAD)
    for name in MODELS:
        for fixed_s, row_s in COSTS:
            idle = _line(name, fixed_s, row_s, 0.0, None)
            for busy in (0.3, 0.6, 0.8, 0.95):
                _line(name, fixed_s, row_s, busy, idle)


if __name__ == "__main__":
    main()
