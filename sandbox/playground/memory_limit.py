"""A limit on the memory of running programs: a control group where it holds, else an rlimit.

A control group ends the program by the kernel's own out-of-memory kill, as a container's does. With
`RLIMIT_DATA` the program's own allocations fail instead. Some containers let a group be made and
never keep its bound, so a program is tried in one first.
"""

import contextlib
import functools
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psutil

_GROUPS: Final = Path("/sys/fs/cgroup")
_TRIED_MB: Final = 64
# It waits until it is in the group, and then takes twice what it may.
_GLUTTON: Final = f"import sys; sys.stdin.read(); taken = b'x' * ({2 * _TRIED_MB} << 20)"
_TRY_TIMEOUT_S: Final = 10
Lift = Callable[[], None]


def limit(processes: list[psutil.Process], room_mb: int) -> tuple[str, Lift]:
    """Let these take so much more than they have (MiB); return by what means, and how to lift it.

    Raises OSError or psutil.Error where there is neither.
    """
    if groups_hold():
        # What they have stays charged to the group that they come from.
        return "a control group", _by_group(processes, room_mb)
    return "RLIMIT_DATA", _by_rlimit(processes, room_mb)


@functools.cache
def groups_hold() -> bool:
    """Tell whether a control group can be made here, and keeps its bound."""
    with subprocess.Popen(
        [sys.executable, "-c", _GLUTTON], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        try:
            lift = _by_group([psutil.Process(child.pid)], _TRIED_MB)
        except OSError:
            child.kill()
            return False
        try:
            child.communicate(timeout=_TRY_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
        finally:
            child.wait()
            lift()
        return child.returncode != 0


def _by_group(processes: list[psutil.Process], limit_mb: int) -> Lift:
    for home, bounds in _homes():
        with contextlib.suppress(OSError):
            return _grouped(home, processes, bounds, limit_mb)
    raise OSError("no control group can be made here")


def _homes() -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield where a group might be made, in either version of them, and the names of its bounds."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        below = path.lstrip("/")
        if not controllers:
            yield _GROUPS / below, ("memory.max", "memory.swap.max")
        elif "memory" in controllers.split(","):
            bounds = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
            yield _GROUPS / "memory" / below, bounds
            yield _GROUPS / "memory", bounds  # in a container that sees its own group as the root


def _grouped(
    home: Path, processes: list[psutil.Process], bounds: tuple[str, ...], limit_mb: int
) -> Lift:
    """Make a group below `home`; only the first of the bounds must be there."""
    group = home / f"playground-{uuid.uuid4().hex[:8]}"
    group.mkdir()

    def lift() -> None:
        for process in processes:
            with contextlib.suppress(OSError):  # one that has ended
                (home / "cgroup.procs").write_text(str(process.pid))
        with contextlib.suppress(OSError):
            group.rmdir()

    try:
        if not (group / bounds[0]).exists():
            raise FileNotFoundError(f"{home} is no place of groups that bound memory")
        (group / bounds[0]).write_text(str(limit_mb << 20))
        with contextlib.suppress(OSError):
            (group / bounds[1]).write_text(
                "0" if bounds[1].endswith(".max") else str(limit_mb << 20)
            )
        for process in processes:
            (group / "cgroup.procs").write_text(str(process.pid))
    except OSError:
        lift()
        raise
    return lift


def _by_rlimit(processes: list[psutil.Process], room_mb: int) -> Lift:
    if sys.platform != "linux":
        raise OSError("only Linux can limit the memory of a program that runs")
    before = [(process, process.rlimit(psutil.RLIMIT_DATA)) for process in processes]
    for process, (_, hard) in before:
        # Of what is reserved, not of what is resident: threads' stacks count.
        bound = process.memory_info().data + (room_mb << 20)
        process.rlimit(psutil.RLIMIT_DATA, (bound, hard))

    def lift() -> None:
        for process, bounds in before:
            with contextlib.suppress(psutil.Error, OSError):
                process.rlimit(psutil.RLIMIT_DATA, bounds)

    return lift
