# ruff: noqa: INP001 - a script that the image runs by its path
"""Exit 0 if the bot has been READY and its event loop runs, else 1; for the image's health check.

A page of metrics alone proves little: another thread serves it while the loop hangs.
"""

import os
import re
import sys
import urllib.request

_TICK_AGE_LIMIT_S = 10.0


def main() -> int:
    """Ask this container's own bot and return the exit code."""
    port = int(os.environ["METRICS_PORT"])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=4) as answer:
        page = answer.read().decode()
    age = re.search(r"^bot_loop_tick_age_seconds (\S+)$", page, re.MULTILINE)
    # NaN, before READY, compares false.
    return 0 if age is not None and float(age[1]) < _TICK_AGE_LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
