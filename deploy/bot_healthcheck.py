# ruff: noqa: INP001 - a script that the image runs by its path
"""Exit 0 if the bot is alive, else 1; for the image's health check.

Alive is one whose event loop turns, also while it waits for Discord, a site or its store: whoever
would restart it for that asks more of them, and helps nobody.
"""

import os
import sys
import urllib.error
import urllib.request


def main() -> int:
    """Ask this container's own bot and return the exit code."""
    port = int(os.environ["METRICS_PORT"])
    # The environment may name a proxy, which has no business in here.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/live", timeout=4):
            return 0
    except (OSError, urllib.error.URLError) as exc:
        print(exc)  # noqa: T201 - `docker inspect` shows it
        return 1


if __name__ == "__main__":
    sys.exit(main())
