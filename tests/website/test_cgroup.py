"""What a container may have, read from files as the kernel writes them."""

from pathlib import Path

import pytest

from website.cgroup import Cpu, Memory, cpu, memory

MEMORY = Memory(used_bytes=300_000_000, limit_bytes=536_870_912, oom_kills=2)
CPU = Cpu(used_s=12.5, throttled_s=0.25, limit_cores=1.5)

V2 = {
    "memory.max": "536870912\n",
    "memory.current": "310000000\n",
    "memory.stat": "anon 290000000\ninactive_file 10000000\n",
    "memory.events": "low 0\noom 3\noom_kill 2\n",
    "cpu.max": "150000 100000\n",
    "cpu.stat": "usage_usec 12500000\nnr_throttled 3\nthrottled_usec 250000\n",
}
V1_MEMORY = {
    "memory.limit_in_bytes": "536870912\n",
    "memory.usage_in_bytes": "310000000\n",
    "memory.stat": "inactive_file 1\ntotal_inactive_file 10000000\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
}
V1_CPU = {
    "cpu.cfs_quota_us": "150000\n",
    "cpu.cfs_period_us": "100000\n",
    "cpu.stat": "nr_throttled 3\nthrottled_time 250000000\n",
    "cpuacct.usage": "12500000000\n",
}
V1_OWN = "5:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n0::/\n"


def write(directory: Path, files: dict[str, str]) -> None:
    """Write the files of a group."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)


def read(root: Path, own: str) -> tuple[Memory | None, Cpu | None]:
    """Read both kinds for a process whose groups are these."""
    (root / "own").write_text(own)
    return memory(root, root / "own"), cpu(root, root / "own")


@pytest.mark.parametrize(("own", "path"), [("0::/\n", "."), ("0::/pod/site\n", "pod/site")])
def test_one_tree(tmp_path: Path, own: str, path: str) -> None:
    """With v2 the group is the root of what a container sees, or where the kernel says it is."""
    write(tmp_path / path, V2)

    assert read(tmp_path, own) == (MEMORY, CPU)


def test_a_limit_of_the_group_around_it_counts(tmp_path: Path) -> None:
    """A group without a limit shares that of the one it is in, with all that are in it."""
    write(tmp_path / "pod", V2)
    write(tmp_path / "pod" / "site", {**V2, "memory.max": "max\n", "cpu.max": "max 100000\n"})

    assert read(tmp_path, "0::/pod/site\n") == (MEMORY, CPU)


@pytest.mark.parametrize("path", [".", "docker/abc"])
def test_a_tree_for_each_kind(tmp_path: Path, path: str) -> None:
    """With v1 too, whether a container sees its own group as the root or all of the host's."""
    write(tmp_path / "memory" / path, V1_MEMORY)
    write(tmp_path / "cpu,cpuacct" / path, V1_CPU)

    assert read(tmp_path, V1_OWN) == (MEMORY, CPU)


def test_nothing_is_told_where_nothing_is_limited(tmp_path: Path) -> None:
    """On a bare machine there are no such files, or words for "no limit"."""
    none = (None, None)
    assert read(tmp_path, "") == none
    write(tmp_path / "memory", {**V1_MEMORY, "memory.limit_in_bytes": "9223372036854771712\n"})
    write(tmp_path / "cpu", {**V1_CPU, "cpu.cfs_quota_us": "-1\n"})
    assert read(tmp_path, "5:memory:/\n2:cpu:/\n1:cpuacct:/\n0::/\n") == none
    write(tmp_path, {**V2, "memory.max": "max\n", "cpu.max": "max 100000\n"})
    assert read(tmp_path, "0::/\n") == none
