"""What the replay's figures are called, and how it is run as people run it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


KEYS = [
    "members",
    "changes",
    "applied",
    "converged",
    "seconds",
    "requests",
    "chunk_items_min",
    "chunk_items_median",
    "chunk_items_max",
    "largest_request_s",
    "site_rss_idle_mb",
    "site_rss_peak_mb",
    "bot_rss_peak_mb",
    "loop_stall_max_ms",
    "mod_log",
]


def figures_of(directory: Path, *arguments: str) -> dict[str, Any]:
    """Run `python -m sandbox replay` until it ends well; return the figures that it wrote."""
    path = directory / "figures" / "replay.json"
    replayed = subprocess.run(
        [sys.executable, "-m", "sandbox", "replay", *arguments, "--json", path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    figures: dict[str, Any] = json.loads(path.read_text())
    return figures
