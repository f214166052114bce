"""The part of docs/performance.md that is measured, from what is kept: no server is started."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox.bench.pictures import Curves, draw
from sandbox.bench.results import ROOT, Measurement, Results
from sandbox.bench.targets import targets

PAGE: Final = ROOT / "docs" / "performance.md"
_BEGIN: Final = "<!-- bench -->\n"
_END: Final = "<!-- end of bench -->\n"
_BLOCK: Final = re.compile(f"{_BEGIN}.*?{_END}", re.DOTALL)
_PICTURES: Final = "performance"  # the directory beside the page
_TITLES: Final = {
    ("website", "removed"): "A role removed from all",
    ("website", "nothing"): "Nothing changed",
    ("website", "one-percent"): "One in a hundred changed",
    ("website", "new"): "All new",
    ("plain", "nothing"): "Nothing changed",
    ("plain", "few"): "One in twenty changed",
    ("plain", "busy"): "One in twenty changed, 60 % of the site's time taken by others",
    ("plain", "all"): "All changed",
}
_WAYS: Final = {
    "ours": "**ours**",
    "ours-rows": "**ours**, every row read again",
    "old": "old way",
    "single": "one request",
    "sql": "SQL, one statement",
    "sql-1000": "SQL, 1,000 a statement",
}
_CURVES: Final = ("ours", "old", "single", "sql-1000")
_NONE: Final = "-"
_MB: Final = 1_000_000.0
_KB: Final = 1_000.0


class PageError(Exception):
    """The page is not what it should be; the message is one line."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the tables: its head, and what of a measurement is in it."""

    head: str
    cell: Callable[[Measurement], str]


def rewrite(path: Path, results: Results) -> None:
    """Put the part that is measured into the page, and its pictures beside it."""
    page = path.read_text("utf-8")
    if len(_BLOCK.findall(page)) != 1:
        raise PageError(f"{path} has no place for what is measured: {_BEGIN.strip()}")
    drawn = _pictures(results)
    for name, picture in drawn.items():
        file = path.parent / _PICTURES / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(picture)
    written = block(results, pictures=sorted(drawn))
    path.write_text(_BLOCK.sub(lambda _: written, page), "utf-8")


def block(results: Results, *, pictures: Iterable[str] = ()) -> str:
    """Return the part that is measured, its marks included."""
    parts = [
        _origin(results),
        _judged(results),
        *(f"![{name.partition('.')[0]}]({_PICTURES}/{name})" for name in pictures),
        *_cases(results),
        *_members(results),
        *_scenes(results),
        *_profiles(results),
    ]
    return _BEGIN + "\n\n".join(part for part in parts if part) + f"\n{_END}"


def _origin(results: Results) -> str:
    """Say when, of what and on what it was measured: of its parts each may be another."""
    made = sorted(
        {(one.at[:10], one.commit, one.cores) for one in results if one.commit}, reverse=True
    )
    if not made:
        return "Nothing has been measured yet: `make bench` does."
    said = [f"{at} of commit `{commit}` on {cores} cores" for at, commit, cores in made]
    load = max(one.load for one in results)
    return f"Measured {'; '.join(said)}. At most {load:.1f} processes contended for them."


def _judged(results: Results) -> str:
    lines = ["| target | figure | goal | |", "|---|---|---|---|"]
    for one in targets(results):
        met = "" if one.figure is None else "met" if one.is_met else "**missed**"
        lines.append(f"| {one.name} | {one.shown} | {one.aim} | {met} |")
    return "\n".join(lines)


# -- cases ----------------------------------------------------------------------------------------


def _cases(results: Results) -> Iterator[str]:
    sites = {"website": "### Our website", "plain": "### The stand-in for a plain site"}
    for site, title in sites.items():
        found = [
            (case_title, _of(results, site, case))
            for (on, case), case_title in _TITLES.items()
            if on == site
        ]
        if any(rows for _, rows in found):
            yield title
        for case_title, rows in found:
            if rows:
                yield f"**{case_title}.**"
                yield _table(rows)
    yield from _incident(results)


def _of(results: Results, site: str, case: str) -> list[Measurement]:
    order = [*_WAYS]
    return sorted(
        (
            one
            for one in results
            if (one.key.site, one.key.case) == (site, case) and one.key.way in _WAYS
        ),
        key=lambda one: (one.key.members, order.index(one.key.way)),
    )


def _table(rows: Sequence[Measurement]) -> str:
    columns = [one for one in _COLUMNS if any(one.cell(row) != _NONE for row in rows)]
    return _written(
        [one.head for one in columns], [[one.cell(row) for one in columns] for row in rows]
    )


def _written(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _seconds(name: str, *, with_range: bool = False) -> Callable[[Measurement], str]:
    def cell(one: Measurement) -> str:
        span = one.span(name)
        if span is None:
            return _NONE
        text = _s(span.median)
        if with_range and span.low < span.high:
            text += f" ({_s(span.low)} to {_s(span.high)})"
        return text

    return cell


def _s(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.3g} s"  # noqa: PLR2004  three digits


def _joined(*names: str, form: Callable[[float], str], unit: str) -> Callable[[Measurement], str]:
    """Return several figures in one cell, in this order, those that are unknown as a dash."""

    def cell(one: Measurement) -> str:
        spans = [one.span(name) for name in names]
        if not any(spans):
            return _NONE
        texts = [_NONE if span is None else form(span.median) for span in spans]
        return f"{' / '.join(texts)} {unit}"

    return cell


def _bytes(one: Measurement) -> str:
    sent, received = one.span("sent_bytes"), one.span("received_bytes")
    if sent is None or received is None:
        return _NONE
    whole = sent.median + received.median
    return f"{whole / _MB:,.1f} MB" if whole >= _MB else f"{whole / _KB:.1f} KB"


def _requests(one: Measurement) -> str:
    span = one.span("requests")
    return _NONE if span is None else f"{span.median:,.0f}"


def _others(one: Measurement) -> str:
    middle, late = one.span("foreground_p50_s"), one.span("foreground_p99_s")
    if middle is None or late is None:
        return _NONE
    failed = one.span("foreground_failed")
    text = f"{middle.median * 1_000:.1f} / {late.median * 1_000:.1f} ms"
    return text if failed is None or not failed.high else f"{text}, {failed.high:.0f} failed"


def _longest(one: Measurement) -> str:
    span = one.span("largest_s")
    return _NONE if span is None else _s(span.high)


def _stall(one: Measurement) -> str:
    span = one.span("stall_s")
    return _NONE if span is None else f"{span.high * 1_000:.0f} ms"


_COLUMNS: Final = (
    Column("members", lambda one: f"{one.key.members:,}"),
    Column("way", lambda one: _WAYS[one.key.way]),
    Column("wall", _seconds("wall_s", with_range=True)),
    Column("for Discord", _seconds("discord_s")),
    Column(
        "read / write / again",
        _joined("reading_s", "writing_s", "verifying_s", form="{:.2f}".format, unit="s"),
    ),
    Column("requests", _requests),
    Column("bytes", _bytes),
    Column("longest", _longest),
    Column("others p50 / p99", _others),
    Column("stall", _stall),
    Column(
        "CPU bot / site / database",
        _joined("bot_cpu_s", "site_cpu_s", "database_cpu_s", form="{:.1f}".format, unit="s"),
    ),
    Column(
        "peak bot / site / idle site / database",
        _joined(
            "bot_mb", "site_mb", "site_idle_mb", "database_mb", form="{:,.0f}".format, unit="MB"
        ),
    ),
    Column("", lambda one: one.said or _NONE),
)


# -- the rest -------------------------------------------------------------------------------------


def _incident(results: Results) -> Iterator[str]:
    rows = [
        [
            f"{one.key.members:,}",
            _WAYS[one.key.way],
            _seconds("wall_s")(one),
            _joined("site_mb", form="{:,.0f}".format, unit="MB")(one),
            said,
        ]
        for case, way in (("incident", "single"), ("all", "ours"))
        for one in results
        if (one.key.site, one.key.case, one.key.way) == ("plain", case, way)
        for said in [one.said if case == "incident" else "the site lived on"]
    ]
    if len(rows) > 1:
        yield "### The incident, the old way and ours"
        yield _written(["members", "way", "wall", "site's peak", ""], rows)


def _members(results: Results) -> Iterator[str]:
    found = [one for one in results if one.key.case == "member"]
    rows = [
        [
            f"{one.key.members:,}",
            _WAYS[one.key.way],
            _joined("event_p50_s", form=lambda s: f"{s * 1_000:.1f}", unit="ms")(one),
            _joined("event_p99_s", form=lambda s: f"{s * 1_000:.1f}", unit="ms")(one),
        ]
        for one in sorted(found, key=lambda one: one.key)
    ]
    if rows:
        yield "### One member changed"
        yield _written(["members", "way", "p50", "p99"], rows)


def _scenes(results: Results) -> Iterator[str]:
    titles = {"live": "50 changes a second", "probe": "probe after a restart loop"}
    rows = [
        [
            titles[one.key.case],
            f"{one.key.members:,}",
            _seconds("wall_s")(one),
            _requests(one),
            _seconds("event_p50_s")(one),
            _seconds("event_p99_s")(one),
            one.said,
        ]
        for one in results
        if one.key.case in titles
    ]
    if rows:
        yield "### Changes that come steadily, and a probe"
        yield _written(["", "members", "wall", "requests", "event to row p50", "p99", ""], rows)


def _profiles(results: Results) -> Iterator[str]:
    found = [one for one in results if one.key.way == "profile"]
    if found:
        yield "### Where the time goes"
        yield (
            "What the threads of each program are at that do not wait for work, by samples; a"
            " website that waits for its database is in `psycopg`."
        )
    for one in sorted(found, key=lambda one: one.key):
        wall, rows = one.span("wall_s"), []
        for name in one.figures:
            program, _, module = name.partition(" ")
            span = one.span(name)
            if module and span is not None and wall is not None:
                part = f"{span.median / wall.median:.0%}"
                rows.append([program, f"`{module}`", f"{span.median:.2f} s", part])
        yield (
            f"**{_TITLES[one.key.site, one.key.case]}, {one.key.members:,} members**, "
            f"{_seconds('wall_s')(one)} with the sampler on:"
        )
        yield _written(["program", "module", "at it for", "of the wall"], rows)


def _pictures(results: Results) -> dict[str, bytes]:
    """Return the pictures by the names of their files."""
    curves = {
        "role-removed.png": _over_sizes(results, "removed", "wall_s", "Role removed from all", "s"),
        "nothing-changed.png": _over_sizes(results, "nothing", "wall_s", "Nothing changed", "s"),
        "others.png": _over_sizes(
            results, "removed", "foreground_p99_s", "Others' p99 while a role is removed", "s"
        ),
        "site-memory.png": _over_sizes(
            results, "removed", "site_mb", "The site's memory, role removed", "MB"
        ),
    }
    drawn = {name: draw(one) for name, one in curves.items()}
    return {name: picture for name, picture in drawn.items() if picture is not None}


def _over_sizes(results: Results, case: str, figure: str, title: str, unit: str) -> Curves:
    by_name: dict[str, dict[int, float]] = {}
    for way in _CURVES:
        points = {
            one.key.members: span.median
            for one in results
            if (one.key.site, one.key.case, one.key.way) == ("website", case, way)
            and (span := one.span(figure)) is not None
        }
        by_name[_WAYS[way].strip("*")] = points
    return Curves(title=title, unit=unit, by_name=by_name)
