# ruff: noqa: INP001 - a script that the image runs by its path
"""Run the bot; where only an operator can help, wait to be stopped instead of ending.

A container that ends is started again, for ever, and each start counts at Discord. One that waits
is unhealthy, and its last line of log says what to change.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bot.__main__ import main


def run() -> int:
    """Return the bot's exit code, once there is nothing to wait for."""
    ended = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal ended
        ended = True

    code = main()
    if code == os.EX_CONFIG:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        print(  # noqa: T201 - the log of the container
            "bot: nothing is done until that is changed and the container is started again",
            file=sys.stderr,
            flush=True,
        )
        while not ended:
            signal.pause()
    return code


if __name__ == "__main__":
    sys.exit(run())
