"""What was promised of a sync: figures with their goals, from what was measured; pure.

The goals are those of 80,000 members and more. A quick run takes its own size in their place, and
what only larger guilds show is left unmeasured there.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sandbox.bench.results import Results

_MAIN: Final = 80_000
_LARGE: Final = 400_000
_LARGEST: Final = 1_000_000
_KB: Final = 1_000.0
_MANY: Final = 1_000


class Sign(StrEnum):
    """How a figure has to stand to its goal."""

    MOST = "≤"
    LESS = "<"
    LEAST = "≥"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A promise: a figure (None: not measured), its goal, and whether it was kept."""

    name: str
    figure: float | None
    goal: float
    sign: Sign = Sign.MOST
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the figure keeps the goal; one that was not measured does not."""
        if self.figure is None:
            return False
        match self.sign:
            case Sign.MOST:
                return self.figure <= self.goal
            case Sign.LESS:
                return self.figure < self.goal
            case Sign.LEAST:
                return self.figure >= self.goal

    @property
    def aim(self) -> str:
        """The goal in words."""
        return f"{self.sign} {self.goal:g}{self._unit}"

    @property
    def shown(self) -> str:
        """The figure in words."""
        if self.figure is None:
            return "not measured"
        digits = ",.0f" if self.figure >= _MANY else ".3g"
        return f"{self.figure:{digits}}{self._unit}"

    def __str__(self) -> str:
        line = f"target: {self.name}: {self.shown} (goal {self.aim})"
        if self.figure is None:
            return line
        return f"{line}: {'met' if self.is_met else 'missed'}"

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""


def targets(results: Results, *, main: int = _MAIN) -> list[Target]:
    """Return every target; `main` members stand for the 80,000 of the goals."""
    return [
        *_writing(results, main),
        *_plain(results, main),
        *_busy(results, main),
        *_foreground(results, main),
        *_nothing(results, main),
        *_resources(results, main),
        *_growth(results, main),
        *_rest(results, main),
    ]


def failures(found: Iterable[Target], *, whole: bool) -> list[Target]:
    """Return what a strict run fails for: of a `whole` one also what was not measured."""
    return [one for one in found if not one.is_met and (whole or one.figure is not None)]


def _writing(results: Results, main: int) -> Iterator[Target]:
    ours, thousand = (
        results.figure("website", "removed", main, *rest)
        for rest in (("ours", "writing_s"), ("sql-1000", "wall_s"))
    )
    yield Target(
        name=f"our website, {main:,} changes, writing to plain SQL of 1,000 a statement",
        figure=_ratio(ours, thousand),
        goal=2.5,
        unit="times",
    )
    yield Target(
        name=f"our website, {main:,} changes, verified run, faster than the old way on v0.1.0",
        figure=_ratio(
            results.figure("website", "removed", main, "old", "wall_s"),
            results.figure("website", "removed", main, "ours", "wall_s"),
        ),
        goal=1.5,
        sign=Sign.LEAST,
        unit="times",
    )


def _plain(results: Results, main: int) -> Iterator[Target]:
    few = f"{main // 20:,}"
    names = {"few": f"{few} changed", "all": f"all {main:,} changed", "nothing": "nothing changed"}
    for case, name in names.items():
        yield Target(
            name=f"plain site, {name}, to the old syncer",
            figure=_to_old(results, main, case, "ours"),
            goal=1.1,
            unit="times",
        )
    for case, goal in (("few", 1.4), ("all", 1.1)):
        yield Target(
            name=f"plain site, {names[case]}, every row read again, to the old syncer",
            figure=_to_old(results, main, case, "ours-rows"),
            goal=goal,
            unit="times",
        )
    yield Target(
        name="plain site, longest request",
        figure=_largest(
            results.highest("plain", case, main, way, "largest_s")
            for case in names
            for way in ("ours", "ours-rows")
        ),
        goal=1.0,
        unit="s",
    )


def _to_old(results: Results, main: int, case: str, way: str) -> float | None:
    return _ratio(
        results.figure("plain", case, main, way, "wall_s"),
        results.figure("plain", case, main, "old", "wall_s"),
    )


def _busy(results: Results, main: int) -> Iterator[Target]:
    yield Target(
        name="plain site, 60 % busy, rows a second to idle",
        figure=_ratio(
            results.figure("plain", "busy", main, "ours", "rows_per_s"),
            results.figure("plain", "few", main, "ours", "rows_per_s"),
        ),
        goal=0.32,
        sign=Sign.LEAST,
        unit="times",
    )
    yield Target(
        name="plain site, 60 % busy, others' p99 to that of the old syncer's run",
        figure=_ratio(
            *(
                results.figure("plain", "busy", main, way, "foreground_p99_s")
                for way in ("ours", "old")
            )
        ),
        goal=0.4,
        unit="times",
    )


def _foreground(results: Results, main: int) -> Iterator[Target]:
    yield Target(
        name=f"our website, {main:,} changes, foreground p99 to idle",
        figure=_ratio(
            results.figure("website", "removed", main, "ours", "foreground_p99_s"),
            results.figure("website", "idle", main, "nobody", "foreground_p99_s"),
        ),
        goal=1.5,
        unit="times",
    )


def _nothing(results: Results, main: int) -> Iterator[Target]:
    name = f"our website, nothing changed, {main:,} members"
    figures = {
        figure: results.figure("website", "nothing", main, "ours", figure)
        for figure in ("wall_s", "requests", "sent_bytes", "received_bytes")
    }
    yield Target(name=f"{name}, wall", figure=figures["wall_s"], goal=0.5, unit="s")
    yield Target(name=f"{name}, asked", figure=figures["requests"], goal=5, unit="requests")
    sent, received = figures["sent_bytes"], figures["received_bytes"]
    kilobytes = None if sent is None or received is None else (sent + received) / _KB
    yield Target(name=f"{name}, carried", figure=kilobytes, goal=100, unit="KB")
    yield Target(
        name=f"our website, nothing changed, {_LARGEST:,} members, wall",
        figure=results.figure("website", "nothing", _LARGEST, "ours", "wall_s"),
        goal=5,
        unit="s",
    )


def _resources(results: Results, main: int) -> Iterator[Target]:
    cases = {"nothing": "nothing changed", "removed": "role removed"}
    for members in _sizes_of_stalls(main):
        for case, what in cases.items():
            stall_s = results.highest("website", case, members, "ours", "stall_s")
            yield Target(
                name=f"our website, {what}, {members:,} members, longest stall of the bot's loop",
                figure=None if stall_s is None else stall_s * 1_000,
                goal=50,
                unit="ms",
            )
    members = _largest_of(main)
    cache = results.figure("website", "cache", members, "members-only", "bot_mb")
    bot = _largest(results.highest("website", case, members, "ours", "bot_mb") for case in cases)
    yield Target(
        name=f"our website, {members:,} members, bot's memory over discord.py's own cache",
        figure=None if bot is None or cache is None else bot - cache,
        goal=64,
        unit="MB",
    )
    # In the restart loop, which the probe follows, a site takes memory until it is killed.
    over = [
        peak - idle
        for one in results
        if one.key.site == "website" and one.key.way == "ours" and one.key.case != "probe"
        for peak, idle in zip(
            one.figures.get("site_mb", ()), one.figures.get("site_idle_mb", ()), strict=True
        )
    ]
    yield Target(
        name="our website's memory over idle, any size",
        figure=max(over, default=None),
        goal=5,
        unit="MB",
    )


def _growth(results: Results, main: int) -> Iterator[Target]:
    if main == _largest_of(main):
        return

    def a_member(way: str, members: int) -> float | None:
        wall_s = results.figure("website", "removed", members, way, "wall_s")
        return None if wall_s is None else wall_s / members

    ours, sql = (
        _ratio(a_member(way, _LARGEST), a_member(way, main)) for way in ("ours", "sql-1000")
    )
    yield Target(
        name=f"our website, cost a member, {_LARGEST:,} against {main:,}, to plain SQL's growth",
        figure=_ratio(ours, sql),
        goal=1.2,
        unit="times",
    )


def _rest(results: Results, main: int) -> Iterator[Target]:
    live = [one for one in results if one.key.case == "live"]
    yield Target(
        name="our website, one changed member, event to row, p99 at 50 a second",
        figure=_largest(
            None if (span := one.span("event_p99_s")) is None else span.median for one in live
        ),
        goal=0.5,
        sign=Sign.LESS,
        unit="s",
    )
    yield Target(
        name=f"our website, probe of {main:,} changes after a restart loop",
        figure=results.figure("website", "probe", main, "ours", "wall_s"),
        goal=60,
        unit="s",
    )
    yield Target(
        name=f"plain site, {main:,} changes under a limit of memory, the site's deaths of our run",
        figure=results.figure("plain", "all", main, "ours", "kills"),
        goal=0,
        unit="kills",
    )


def _sizes_of_stalls(main: int) -> Sequence[int]:
    return (_LARGE, _LARGEST) if main == _MAIN else (main,)


def _largest_of(main: int) -> int:
    return _LARGEST if main == _MAIN else main


def _ratio(figure: float | None, to: float | None) -> float | None:
    if figure is None or not to:
        return None
    return figure / to


def _largest(figures: Iterable[float | None]) -> float | None:
    return max((one for one in figures if one is not None), default=None)
