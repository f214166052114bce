"""What the programs take: processor time from one moment to another, and memory at its most."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox.servers import Postgres, Server, memory

_LOOK_S: Final = 0.25


@dataclass(slots=True)
class DatabaseMemory:
    """The database's memory in MiB, at its most of all looks: what is shared counts once."""

    peak_mb: float = 0.0

    def look(self, postgres: Postgres) -> None:
        """Look once."""
        if postgres.running:
            self.peak_mb = max(self.peak_mb, database_mb(postgres.pid))


@contextlib.asynccontextmanager
async def database_memory(postgres: Postgres) -> AsyncIterator[DatabaseMemory]:
    """Look again and again for as long as this is entered."""
    seen = DatabaseMemory()

    async def look_on() -> None:
        while True:
            seen.look(postgres)
            await asyncio.sleep(_LOOK_S)

    looking = asyncio.create_task(look_on())
    try:
        yield seen
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        seen.look(postgres)


def database_mb(pid: int) -> float:
    """Return the memory of a PostgreSQL now: each process's own, and the largest shared part.

    Where there is no `/proc` all is counted as each process's own.
    """
    statuses = [_status(process.pid) for process in memory.tree(pid)]
    own = sum(status.get("RssAnon", 0) for status in statuses)
    shared = max((status.get("RssShmem", 0) for status in statuses), default=0)
    if own == 0:
        return memory.peak_rss_mb(pid)
    return (own + shared) / 1024


def _status(pid: int) -> dict[str, int]:
    """Return the fields of a process's status that are in kB."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended, or there is no /proc
        return {}
    lines = (line.split() for line in text.splitlines())
    return {line[0].rstrip(":"): int(line[1]) for line in lines if line[-1:] == ["kB"]}


class Processors:
    """The processor time of servers since this was made."""

    def __init__(self, **servers: Server) -> None:
        self._servers = servers
        self._before = {name: server.cpu_s() for name, server in servers.items()}

    def figures(self) -> dict[str, float]:
        """Return the seconds of each that still runs, as `<name>_cpu_s`."""
        return {
            f"{name}_cpu_s": server.cpu_s() - self._before[name]
            for name, server in self._servers.items()
            if server.running
        }
