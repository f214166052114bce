"""Whoever else asks the site: a process that does nothing but ask, and what it has seen."""

import signal
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final

import psutil

from sandbox.bench.inside import FOREGROUND_ANSWERED, FOREGROUND_STARTED
from sandbox.replay.chronicle import percentile
from sandbox.servers import Website
from sandbox.servers.process import PythonProgram

PER_S: Final = 20.0
_CONTRACT: Final = {200, 404}  # a user, or nobody of that id


class Foreground(PythonProgram):
    """Asks a site for these users, so many times a second, for as long as somebody measures."""

    name: ClassVar[str] = "foreground"
    module: ClassVar[str] = "sandbox.bench.inside.foreground"

    def __init__(
        self,
        directory: Path,
        site: Website,
        ids: Sequence[int],
        *,
        per_s: float = PER_S,
        by_chance: bool = False,
    ) -> None:
        super().__init__(directory)
        self._variables = {
            "API_URL": site.api_url,
            "API_TOKEN": site.token,
            "USER_IDS": ",".join(map(str, ids)),
            "PER_S": f"{per_s:g}",
            "BY_CHANCE": "1" if by_chance else "0",
        }

    def variables(self) -> Mapping[str, str]:
        """Return whom to ask, and how often."""
        return self._variables

    def is_ready(self) -> bool:
        """Tell whether it waits to be told to ask."""
        return bool(self.events(FOREGROUND_STARTED, latest_start=True))

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Let it ask for as long as this is entered."""
        psutil.Process(self.pid).send_signal(signal.SIGUSR1)
        try:
            yield
        finally:
            if self.running:
                psutil.Process(self.pid).send_signal(signal.SIGUSR2)

    def heard(self, *, since: datetime, until: datetime) -> "Heard":
        """Return what came of what was asked in that time."""
        return heard(
            self.events(FOREGROUND_ANSWERED), since_s=since.timestamp(), until_s=until.timestamp()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """How long each answer took, ascending, and how many were none of the contract's."""

    seconds: tuple[float, ...] = ()
    failed: int = 0

    def __add__(self, other: "Heard") -> "Heard":
        return Heard(
            seconds=tuple(sorted(self.seconds + other.seconds)), failed=self.failed + other.failed
        )

    def figures(self) -> dict[str, tuple[float, ...]]:
        """Return what is kept of it; nothing if nobody asked."""
        if not self.seconds:
            return {}
        shares = {"foreground_p50_s": 0.5, "foreground_p99_s": 0.99}
        found = {name: percentile(self.seconds, share) for name, share in shares.items()}
        return {
            **{name: (took_s,) for name, took_s in found.items() if took_s is not None},
            "foreground_requests": (len(self.seconds),),
            "foreground_failed": (self.failed,),
        }


def heard(events: Iterable[Mapping[str, Any]], *, since_s: float, until_s: float) -> Heard:
    """Return what came of what was asked in that time."""
    found = [event for event in events if since_s <= event["at_s"] <= until_s]
    return Heard(
        seconds=tuple(sorted(event["seconds"] for event in found)),
        failed=sum(event["status"] not in _CONTRACT for event in found),
    )
