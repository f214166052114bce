"""The stores that are kept are those of the version before, and of nothing else."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from sandbox.baseline import take_out
from tests.baseline.history import need_history
from tests.baseline.make_stores import STORES, VALKEY, write_files, write_hashes


def kept_in(file: Path) -> dict[str, list[object]]:
    """Return all that a file says, and leave it as it is."""
    uri = f"{file.as_uri()}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        return {
            asked: connection.execute(asked).fetchall()
            for asked in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "PRAGMA journal_mode",
                "SELECT sql FROM sqlite_schema",
                "SELECT * FROM entries ORDER BY guild_id, key",
            )
        }


@pytest.mark.slow
async def test_the_version_before_writes_them(tmp_path: Path) -> None:
    """Taken out and run again, it leaves the same, on a disk and on a server."""
    need_history()
    version = take_out(tmp_path / "version")

    written = write_files(version, tmp_path / "files")
    hashes = await write_hashes(version, tmp_path / "valkey")

    kept = sorted(STORES.glob("*.db"))
    assert [file.name for file in written] == [file.name for file in kept]
    assert [kept_in(file) for file in written] == [kept_in(file) for file in kept]
    assert hashes == json.loads(VALKEY.read_text())
