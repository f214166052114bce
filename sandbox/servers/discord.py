"""The local Discord, `python -m sandbox.discord`."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sandbox.servers.ports import PortReservation
from sandbox.servers.process import PythonProgram

BOT_TOKEN = "sandbox.bot.token"  # noqa: S105  known to the local Discord alone


class Discord(PythonProgram):
    """The local Discord; what it knows lives in its memory and ends with it."""

    name: ClassVar[str] = "discord"
    module: ClassVar[str] = "sandbox.discord"

    def __init__(self, directory: Path, *, seed: int = 0) -> None:
        super().__init__(directory)
        self._port = PortReservation()
        self._seed = seed
        self.url = f"http://127.0.0.1:{self._port.number}"
        self.api_url = f"{self.url}/api/v10"
        self.gateway_url = f"ws://127.0.0.1:{self._port.number}/gateway"

    def command(self) -> Sequence[str]:
        """Return the program with its port, the bot's token and what decides its members."""
        port, seed = str(self._port.number), str(self._seed)
        return [*super().command(), "--port", port, "--token", BOT_TOKEN, "--seed", seed]

    def is_ready(self) -> bool:
        """Tell whether it has said that it listens."""
        return bool(self.events("sandbox.discord.started", latest_start=True))

    async def close(self) -> None:
        """Stop it and give back its port."""
        await self.stop()
        self._port.release()
