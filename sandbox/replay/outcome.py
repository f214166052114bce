"""What a scenario found: the figures that `--json` writes, and what was wrong."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table

from sandbox.replay.checks import ModLogMessage, SiteRequest

if TYPE_CHECKING:
    from sandbox.servers import Bot


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSizes:
    """Rows of each bulk write that the site's log tells of; all 0 if there was none."""

    least: int
    median: float
    most: int


@dataclass(slots=True, kw_only=True)
class Footprint:
    """What site and bot took at the most: memory in MiB, and the bot's longest stall."""

    site_rss_idle_mb: float
    site_rss_peak_mb: float = 0.0
    bot_rss_peak_mb: float = 0.0
    loop_stall_max_s: float = 0.0

    async def measure(self, bot: "Bot") -> None:
        """Take the bot's memory and its longest stall, which are gone once it has ended."""
        stall_s = await bot.metric("bot_loop_stall_max_seconds")
        self.loop_stall_max_s = max(self.loop_stall_max_s, stall_s)
        self.bot_rss_peak_mb = max(self.bot_rss_peak_mb, bot.peak_rss_mb())


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one run, in the order in which they are written.

    `members` leaves the bot out. `changes` are the users in which the site differed from the guild
    before; `applied` are the rows of all bulk writes that the site took, so a row sent twice counts
    twice. `seconds` run from the bot's process start to the final state of mod-log's last message;
    `requests` are all that the site answered to the bot, reads included; `largest_request_s` is
    what the bot saw. Memory is the peak in MiB, `site_rss_idle_mb` that after a page read and a
    patch of ten rows.

    In a scenario of a living guild all but memory counts from the first thing that happens:
    `changes` are the users whom that touched, `seconds` run until the last row was right, and
    `largest_request_s` is what the site's log tells.
    """

    members: int
    changes: int
    applied: int
    converged: bool
    seconds: float
    requests: int
    chunk_items_min: int
    chunk_items_median: float
    chunk_items_max: int
    largest_request_s: float
    site_rss_idle_mb: float
    site_rss_peak_mb: float
    bot_rss_peak_mb: float
    loop_stall_max_ms: float
    mod_log: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A scenario's figures, how many rows were compared, and each thing that was wrong.

    `span` says of what `seconds` is the time. `further` are figures that only this scenario has;
    they are written behind the others.
    """

    figures: Figures
    rows_checked: int
    faults: Sequence[str]
    span: str = "from the bot's start to mod-log's last word"
    further: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` writes."""
        return {**asdict(self.figures), **self.further}


def chunk_sizes(requests: Sequence[SiteRequest]) -> ChunkSizes:
    """Sum up how many rows the bulk writes had."""
    # A write that was refused unread has no rows in the log.
    items = [request.rows for request in requests if request.bulk and request.rows is not None]
    return ChunkSizes(
        least=min(items, default=0),
        median=statistics.median(items) if items else 0,
        most=max(items, default=0),
    )


def rows_applied(requests: Sequence[SiteRequest]) -> int:
    """Count the rows of the bulk writes that the site took."""
    return sum(request.rows or 0 for request in requests if request.bulk and request.applied)


def figures_of(
    answered: Sequence[SiteRequest],
    mod_log: Iterable[ModLogMessage],
    footprint: Footprint,
    *,
    members: int,
    changes: int,
    converged: bool,
    seconds: float,
    largest_request_s: float,
    requests: int | None = None,
) -> Figures:
    """Count and round; `requests` is given where the site saw more than it answered."""
    sizes = chunk_sizes(answered)
    return Figures(
        members=members,
        changes=changes,
        applied=rows_applied(answered),
        converged=converged,
        seconds=round(seconds, 2),
        requests=len(answered) if requests is None else requests,
        chunk_items_min=sizes.least,
        chunk_items_median=sizes.median,
        chunk_items_max=sizes.most,
        largest_request_s=largest_request_s,
        site_rss_idle_mb=round(footprint.site_rss_idle_mb, 1),
        site_rss_peak_mb=round(footprint.site_rss_peak_mb, 1),
        bot_rss_peak_mb=round(footprint.bot_rss_peak_mb, 1),
        loop_stall_max_ms=round(footprint.loop_stall_max_s * 1_000, 1),
        mod_log=[message.text for message in mod_log],
    )


def summary(outcome: Outcome) -> Table:
    """Lay the figures out for people."""
    figures = outcome.figures
    table = Table(show_header=False, title="Replay", title_justify="left", min_width=60)
    table.add_column(style="bold")
    table.add_column()
    for name, value in (
        ("Members", f"{figures.members:,}"),
        ("Changes", f"{figures.changes:,} found, {figures.applied:,} rows written"),
        (
            "Converged",
            f"{'yes' if figures.converged else 'NO'}: {outcome.rows_checked:,} rows compared",
        ),
        ("Time", f"{figures.seconds:.1f} s {outcome.span}"),
        ("Requests", f"{figures.requests:,}, the longest {figures.largest_request_s:.2f} s"),
        (
            "Rows a write",
            (
                f"{figures.chunk_items_min:,} to {figures.chunk_items_max:,},"
                f" median {figures.chunk_items_median:,.0f}"
            ),
        ),
        (
            "Website's memory",
            f"{figures.site_rss_idle_mb:.0f} MB idle, {figures.site_rss_peak_mb:.0f} MB at most",
        ),
        ("Bot's memory", f"{figures.bot_rss_peak_mb:.0f} MB at most"),
        ("Bot's longest stall", f"{figures.loop_stall_max_ms:.0f} ms"),
        *((_words(name), _shown(value)) for name, value in outcome.further.items()),
    ):
        table.add_row(name, value)
    return table


def _words(name: str) -> str:
    """Return a figure's name as people read it; its unit stands behind the value."""
    return name.removesuffix("_s").replace("_", " ").capitalize()


def _shown(value: object) -> str:
    match value:
        case bool() | None:
            return {True: "yes", False: "no", None: "-"}[value]
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.2f}"
        case _:
            return str(value)
