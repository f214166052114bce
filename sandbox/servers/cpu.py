"""The processor time of a program and of the processes that it has started."""

import psutil

from sandbox.servers.memory import tree


def used_s(pid: int) -> float:
    """Return the seconds, user's and system's, of each process of the tree, summed.

    Those that have ended count where their parent has waited for them.
    """
    return sum(_used_s(process) for process in tree(pid))


def _used_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
