"""The memory of a program and of the processes that it has started."""

import sys
from pathlib import Path

import psutil


def peak_rss_mb(pid: int) -> float:
    """Return the largest resident set of each process of the tree, summed, in MiB.

    Children that have ended already don't count. Only Linux keeps the peak (`VmHWM`); elsewhere
    this is what is resident now.
    """
    return sum(_peak_bytes(process) for process in tree(pid)) / 2**20


def tree(pid: int) -> list[psutil.Process]:
    """Return the process and all its descendants, or none if it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _peak_bytes(process: psutil.Process) -> int:
    try:
        if sys.platform != "linux":
            return int(process.memory_info().rss)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8", errors="replace")
    except (OSError, psutil.NoSuchProcess):
        return 0
    kibibytes = status.partition("VmHWM:")[2].split(maxsplit=1)  # a zombie has none
    return int(kibibytes[0]) * 1024 if kibibytes else 0
