"""The reference website, `python -m website`."""

import asyncio
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from sandbox.servers.ports import PortReservation
from sandbox.servers.process import PythonProgram, ServerError, base_environment

_TOKEN_TIMEOUT_S = 60.0


class Website(PythonProgram):
    """The website on a database; `settings` are further variables of its environment."""

    name: ClassVar[str] = "website"
    module: ClassVar[str] = "website"

    def __init__(self, directory: Path, *, database_url: str, **settings: str) -> None:
        super().__init__(directory)
        self._port = PortReservation()
        self.settings: dict[str, str] = {
            "DATABASE_URL": database_url,
            "PORT": str(self._port.number),
            "SECRET_KEY": secrets.token_hex(32),
            **settings,
        }
        self.url = f"http://127.0.0.1:{self._port.number}"
        self.api_url = f"{self.url}/api/"
        self.token = ""

    def variables(self) -> Mapping[str, str]:
        """Return the settings, as they are now: a test may change them between two starts."""
        return self.settings

    async def prepare(self) -> None:
        """Migrate the database and make the bot's token, once."""
        if not self.token:
            self.token = await asyncio.to_thread(self._make_token)

    def load(self, middleware: str) -> None:
        """Let this middleware, by its dotted name, be loaded beside others at the next start."""
        before = self.settings.get("EXTRA_MIDDLEWARE", "")
        self.settings["EXTRA_MIDDLEWARE"] = ",".join(filter(None, (before, middleware)))

    def is_ready(self) -> bool:
        """Tell whether it has said that it listens."""
        return bool(self.events("website.started", latest_start=True))

    async def close(self) -> None:
        """Stop the site and give back its port."""
        await self.stop()
        self._port.release()

    def _make_token(self) -> str:
        done = subprocess.run(
            [*self.command(), "token"],
            cwd=self.directory,
            env={**base_environment(), **self.variables()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TOKEN_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise ServerError(
                f"`python -m website token` ended with exit code {done.returncode}:\n{done.stderr}"
            )
        return done.stdout.strip()
