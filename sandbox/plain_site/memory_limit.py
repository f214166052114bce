"""A limit on the process's memory, kept as the kernel keeps a container's: by SIGKILL.

An rlimit would do something else: Python turns it into a MemoryError, which Django answers with
status 500 and lives on. And control groups need rights that a sandbox does not have.
"""

import os
import signal
import threading
import time
from typing import Final

import psutil

from sandbox.plain_site.log import say

EXCEEDED: Final = "sandbox.memory.exceeded"
_LOOK_S: Final = 0.01


def keep(limit_mb: int) -> None:
    """End the process as soon as more than this is resident (MiB), from now on."""
    threading.Thread(target=_watch, args=(limit_mb,), name="memory-limit", daemon=True).start()


def _watch(limit_mb: int) -> None:
    process = psutil.Process()
    while (rss_mb := process.memory_info().rss / 2**20) <= limit_mb:
        time.sleep(_LOOK_S)
    say(EXCEEDED, limit_mb=limit_mb, rss_mb=round(rss_mb, 1))
    os.kill(os.getpid(), signal.SIGKILL)
