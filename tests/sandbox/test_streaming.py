"""A guild is gone through without a member cache, on real servers, while it lives on."""

from pathlib import Path

from tests.sandbox.replaying import KEYS, figures_of

FURTHER = ["events", "discord_pages", "member_requests", "write_requests"]


def test_a_small_guild_is_streamed(tmp_path: Path) -> None:
    """Both sides agree in every row, within 150 MB; Discord's pages and questions are few."""
    streaming = ["--scenario", "streaming", "--members", "5000", "--events", "100"]
    figures = figures_of(tmp_path, *streaming)

    assert list(figures) == [*KEYS, *FURTHER]
    assert [figures[key] for key in ("members", "events", "converged")] == [5000, 100, True]
    assert figures["bot_rss_peak_mb"] < 150
    assert figures["discord_pages"] <= 8
    assert figures["member_requests"] <= 10
