"""What the replay's figures are called, and where it is run."""

from pathlib import Path

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
