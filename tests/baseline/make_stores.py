"""Make the stores of the version before anew: `python -m tests.baseline.make_stores`.

The SQLite files are kept as they are left. Of a Valkey server its hashes are kept as JSON, field by
field: that is all that the store has there, and a dump of the server's own reads only into servers
that are not older.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
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
    """Take the version before out, and let it write."""
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        program = take_out(place / "version") / "write_stores.py"
        shutil.copy(HERE / "write_stores.py", program)
        for file in STORES.iterdir():
            file.unlink()
        write(program, f"sqlite:///{place}/{{name}}.db")
        for file in sorted(place.glob("*.db")):
            with contextlib.closing(sqlite3.connect(file)) as connection:
                connection.execute("PRAGMA journal_mode = DELETE")  # one file, without a -wal
                connection.execute("VACUUM")
            shutil.copy(file, STORES / file.name)
        kept = asyncio.run(write_to_valkey(program, place / "valkey"))
        VALKEY.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


async def write_to_valkey(program: Path, place: Path) -> dict[str, dict[str, str]]:
    """Let the version before write to a server, and return the hashes that it leaves there."""
    async with Valkey(place) as server:
        await asyncio.to_thread(write, program, server.url)
        with Redis.from_url(server.url, decode_responses=True) as client:
            keys = [str(key) for key in client.scan_iter("guild-sync:*")]
            return {key: dict(client.hgetall(key)) for key in sorted(keys) if "lease" not in key}


def write(program: Path, pattern: str) -> None:
    """Let the version before write stores."""
    subprocess.run([sys.executable, program, pattern], cwd=program.parent, check=True)


if __name__ == "__main__":
    main()
