"""A guild is gone through without a member cache, on real servers, while it lives on."""

import json
import subprocess
import sys
from pathlib import Path

from tests.sandbox.replaying import KEYS, ROOT

FURTHER = ["events", "discord_pages", "member_requests", "write_requests"]


def test_a_small_guild_is_streamed(tmp_path: Path) -> None:
    """Both sides agree in every row, within 150 MB; Discord's pages and questions are few."""
    figures_path = tmp_path / "streaming.json"
    streaming = ["--scenario", "streaming", "--members", "5000", "--events", "100"]
    replayed = subprocess.run(
        [sys.executable, "-m", "sandbox", "replay", *streaming, "--json", figures_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    figures = json.loads(figures_path.read_text())
    assert list(figures) == [*KEYS, *FURTHER]
    assert [figures[key] for key in ("members", "events", "converged")] == [5000, 100, True]
    assert figures["bot_rss_peak_mb"] < 150
    assert figures["discord_pages"] <= 8
    assert figures["member_requests"] <= 10
