"""The bot, `python -m bot`, told what to do by environment variables alone."""

import asyncio
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from sandbox.servers.ports import PortReservation
from sandbox.servers.process import PythonProgram

_METRICS_TIMEOUT_S = 5.0


class Bot(PythonProgram):
    """The bot with a given environment; its state (`var/`) stays in `directory` over restarts.

    `environment` may be changed between two starts. It counts as started once it has accepted its
    own settings; `wait_for_event("bot.ready")` waits for Discord too.
    """

    name: ClassVar[str] = "bot"
    module: ClassVar[str] = "bot"

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        super().__init__(directory)
        self._metrics_port = PortReservation()
        self.environment: dict[str, str] = {
            "LOG_FORMAT": "json",
            "METRICS_PORT": str(self._metrics_port.number),
            **environment,
        }

    def variables(self) -> Mapping[str, str]:
        """Return the environment as it is now."""
        return self.environment

    def is_ready(self) -> bool:
        """Tell whether it accepted its settings; Discord and the site may still be unreachable."""
        return bool(self.events("bot.starting", latest_start=True))

    async def metric(self, name: str) -> float:
        """Return a gauge or counter of the running bot that has no labels; KeyError if unknown."""
        for line in (await asyncio.to_thread(self._metrics)).splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return float(value)
        raise KeyError(name)

    async def close(self) -> None:
        """Stop the bot and give back its port."""
        await self.stop()
        self._metrics_port.release()

    def _metrics(self) -> str:
        address = f"http://127.0.0.1:{self.environment['METRICS_PORT']}/metrics"
        # The environment may name a proxy, which has no business between two local processes.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=_METRICS_TIMEOUT_S) as answer:
            return str(answer.read().decode())
