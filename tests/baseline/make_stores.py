"""Make the stores of the version before anew: `python -m tests.baseline.make_stores`.

The SQLite files are kept as that version left them. Of a Valkey server its hashes are kept as JSON,
field by field: that is all that the store has there, and a dump of the server's own reads only into
servers that are not older.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from redis import Redis

from sandbox.baseline import take_out
from sandbox.servers import Valkey

HERE: Final = Path(__file__).parent
STORES: Final = HERE / "stores"
VALKEY: Final = STORES / "valkey.json"


def main() -> None:
    """Take the version before out, let it write, and keep what it wrote."""
    with tempfile.TemporaryDirectory() as made:
        version = take_out(Path(made, "version"))
        files = write_files(version, Path(made, "files"))
        hashes = asyncio.run(write_hashes(version, Path(made, "valkey")))
        for old in STORES.iterdir():
            old.unlink()
        for file in files:
            shutil.copy(file, STORES)
        VALKEY.write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")


def write_files(version: Path, place: Path) -> list[Path]:
    """Let a checkout write to files; return all that it leaves, which is one for each state."""
    _write(version, f"sqlite:///{place}/{{name}}.db")
    return sorted(file for file in place.iterdir() if ".lease-" not in file.name)


async def write_hashes(version: Path, place: Path) -> dict[str, dict[str, str]]:
    """Let a checkout write to a server; return the hashes that it leaves there."""
    async with Valkey(place) as server:
        await asyncio.to_thread(_write, version, server.url)
        with Redis.from_url(server.url, decode_responses=True) as client:
            return {str(key): dict(client.hgetall(str(key))) for key in client.scan_iter()}


def _write(version: Path, pattern: str) -> None:
    program = shutil.copy(HERE / "write_stores.py", version)
    subprocess.run(
        [sys.executable, program, pattern], cwd=version, check=True, stdout=subprocess.DEVNULL
    )


if __name__ == "__main__":
    main()
