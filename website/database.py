"""Bring the database up to date, one process at a time."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management import call_command
from django.db import Error, connection

from website import privacy
from website.environment import SettingError

_ADVISORY_LOCK = 0x67756C64  # any number, as long as every process of this site uses the same


def migrate() -> None:
    """Apply what migrations are missing; raise SettingError if the database can't be used."""
    try:
        with _alone():
            _keep_to_ourselves()
            call_command("migrate", interactive=False, verbosity=0)
    except (OSError, Error) as exc:
        reason = privacy.reason(exc) or type(exc).__name__
        raise SettingError(f"DATABASE_URL: the database cannot be used ({reason})") from exc
    finally:
        connection.close()


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes waiting: two first starts at once would both make the tables."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # A migration may take longer than a request's statement ever should.
            cursor.execute("SET statement_timeout = 0; SET lock_timeout = 0")
            cursor.execute("SELECT pg_advisory_lock(%s)", [_ADVISORY_LOCK])
        yield  # closing the connection gives the lock back
        return
    path = Path(connection.settings_dict["NAME"])
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not through a symbolic link, which somebody else may have put there.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path.with_name(f"{path.name}.migrating"), flags, 0o600), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _keep_to_ourselves() -> None:
    """Close a database file of ours to other users: new ones are, those of older versions not."""
    if connection.vendor != "sqlite":
        return
    path = Path(connection.settings_dict["NAME"])
    # SQLite gives its journals the file's own mode.
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}.migrating"):
        file = path.with_name(name)
        if not file.exists():
            continue
        status = file.stat()
        if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & 0o077:
            file.chmod(0o600)
