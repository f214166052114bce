"""A replay's figures: how they are counted, and how people see them."""

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console

from sandbox.replay.checks import SiteRequest
from sandbox.replay.outcome import ChunkSizes, Figures, Outcome, chunk_sizes, rows_applied, summary

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BULK = "/api/bot/users/bulk_patch"
FIGURES = Figures(
    members=80_000,
    changes=80_000,
    applied=80_000,
    converged=True,
    seconds=11.3,
    requests=249,
    chunk_items_min=100,
    chunk_items_median=1_000,
    chunk_items_max=1_000,
    largest_request_s=0.07,
    site_rss_idle_mb=66.6,
    site_rss_peak_mb=68.7,
    bot_rss_peak_mb=162.1,
    loop_stall_max_ms=33.9,
    mod_log=["Sync finished"],
)

SUMMARY = (
    "80,000 found, 80,000 rows written",
    "yes: 80,022 rows compared",
    "11.3 s from the bot's start",
    "249, the longest 0.07 s",
    "100 to 1,000, median 1,000",
    "67 MB idle, 69 MB at most",
    "162 MB at most",
    "34 ms",
    "Events              │ 10,000",
    "Event to site p99   │ 0.93",
    "First               │ -",
    "Told                │ yes",
)


def request(
    rows: int | None, *, method: str = "PATCH", path: str = BULK, status: int = 200
) -> SiteRequest:
    """Make a request that the site answered."""
    return SiteRequest(
        method=method,
        path=path,
        status=status,
        rows=rows,
        started_at=NOON,
        duration=timedelta(seconds=1),
        request_id="abc-1",
    )


def test_only_bulk_writes_count_as_chunks() -> None:
    """Reads, roles and what was refused unread are no chunks; refused chunks are not applied."""
    requests = [
        request(100, method="GET", path="/api/bot/users"),
        request(1, method="POST", path="/api/bot/roles"),
        request(1, method="PUT", path="/api/bot/users/5"),
        request(300),
        request(20, method="POST", path="/api/bot/users", status=201),
        request(900, status=400),
        request(None, status=413),
    ]

    assert (chunk_sizes(requests), rows_applied(requests)) == (
        ChunkSizes(least=20, median=300, most=900),
        320,
    )


def test_no_writes_have_no_sizes() -> None:
    """A run that had nothing to do is no division by zero."""
    assert chunk_sizes([]) == ChunkSizes(least=0, median=0, most=0)


def test_the_summary_tells_every_figure() -> None:
    """People see what the JSON holds, with units."""
    text = io.StringIO()
    outcome = Outcome(
        figures=FIGURES,
        rows_checked=80_022,
        faults=[],
        further={"events": 10_000, "event_to_site_p99_s": 0.934, "first_s": None, "told": True},
    )
    Console(file=text, width=80, color_system=None).print(summary(outcome))

    assert [words for words in SUMMARY if words not in text.getvalue()] == []
