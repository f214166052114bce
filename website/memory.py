"""How much memory the process has needed at most, and how it gives back what it no longer needs."""

import ctypes
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
# From malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def peak_memory_mb() -> float:
    """Return the process's largest resident set so far, in MiB.

    Linux's `VmHWM` is preferred: `ru_maxrss` begins with what the parent had when it forked.
    """
    try:
        status = _STATUS.read_text()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return round(peak / (1_048_576 if sys.platform == "darwin" else 1_024), 1)
    kibibytes = int(status.partition("VmHWM:")[2].split(maxsplit=1)[0])
    return round(kibibytes / 1_024, 1)


def give_back_large_blocks() -> None:
    """Make the C library return large blocks to the system as soon as they are free.

    glibc learns from each large block that is freed to keep the next one, up to 32 MiB, in heaps
    of its own, of which there may be one a thread: after a page was read in each of eight threads
    50 MB stay resident. Elsewhere there is nothing to do.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for parameter, value in (
            (_M_MMAP_THRESHOLD, 128 * 1_024),
            (_M_TRIM_THRESHOLD, 128 * 1_024),
            (_M_ARENA_MAX, 2),
        ):
            library.mallopt(parameter, value)
