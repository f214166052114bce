"""What the kernel lets this process's control group have, and how much of it is used.

A container is such a group. All processes in it count together, as they do for the kernel when it
ends one for want of memory. Both of Linux's interfaces are read: v2, one tree, and v1, one for each
kind of resource. Where nothing is limited, as outside a container, there is nothing to tell.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")
# What v1 calls unlimited is the largest number of whole pages below this.
_UNLIMITED: Final = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory in bytes: what can't be reclaimed, the limit; and how many processes were killed."""

    used_bytes: int
    limit_bytes: int
    oom_kills: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """Seconds of processor time: used, and waited at the limit, which is in cores."""

    used_s: float
    throttled_s: float
    limit_cores: float


def memory(root: Path = ROOT, own: Path = OWN) -> Memory | None:
    """Return what memory is used and allowed; None where there is no limit."""
    for group in _groups("memory", root, own):
        if limit := _number(group / "memory.max"):
            return Memory(
                used_bytes=(_number(group / "memory.current") or 0)
                - _field(group / "memory.stat", "inactive_file"),
                limit_bytes=limit,
                oom_kills=_field(group / "memory.events", "oom_kill"),
            )
        limit = _number(group / "memory.limit_in_bytes")
        if limit and limit < _UNLIMITED:
            return Memory(
                used_bytes=(_number(group / "memory.usage_in_bytes") or 0)
                - _field(group / "memory.stat", "total_inactive_file"),
                limit_bytes=limit,
                oom_kills=_field(group / "memory.oom_control", "oom_kill"),
            )
    return None


def cpu(root: Path = ROOT, own: Path = OWN) -> Cpu | None:
    """Return what processor time is used and allowed; None where there is no limit."""
    for group in _groups("cpu", root, own):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        if quota.isdigit():
            return Cpu(
                used_s=_field(group / "cpu.stat", "usage_usec") / 1e6,
                throttled_s=_field(group / "cpu.stat", "throttled_usec") / 1e6,
                limit_cores=int(quota) / int(period),
            )
        v1_quota = _number(group / "cpu.cfs_quota_us")
        if v1_quota:
            return Cpu(
                used_s=_accounted_ns(root, own) / 1e9,
                throttled_s=_field(group / "cpu.stat", "throttled_time") / 1e9,
                limit_cores=v1_quota / (_number(group / "cpu.cfs_period_us") or 100_000),
            )
    return None


def _groups(controller: str, root: Path, own: Path) -> Iterator[Path]:
    """Yield the directories of our group and of those it is in, the innermost first.

    With v1 a container often sees its group's path on the host, and its group as the root.
    """
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base = root
        elif controller in controllers.split(","):
            base = next((b for b in (root / controllers, root / controller) if b.is_dir()), root)
        else:
            continue
        inner = base / path.lstrip("/")
        yield from (group for group in (inner, *inner.parents) if group.is_relative_to(base))


def _accounted_ns(root: Path, own: Path) -> int:
    used = (_number(group / "cpuacct.usage") for group in _groups("cpuacct", root, own))
    return next((ns for ns in used if ns is not None), 0)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _number(file: Path) -> int | None:
    """Return the file's number; None if it isn't there, or has a word for "no limit"."""
    text = _text(file)
    return int(text) if text.isdigit() else None


def _field(file: Path, name: str) -> int:
    """Return a field's number in a file of names and numbers; 0 if it isn't there."""
    fields = dict(line.split(" ", 1) for line in _text(file).splitlines() if " " in line)
    return int(fields.get(name, 0))
