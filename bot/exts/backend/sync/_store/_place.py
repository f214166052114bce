"""Where a process runs, as far as the next one there can tell that it is gone.

A lease on a server outlives a process that was killed, and the next one would wait for it to
expire. On the same machine, or in the same container, that can be known better: each process holds
a lock on a file of its own, which the kernel gives up with it. The directory of these files has a
random id, and counts together with that of the machine's present boot, so that equal host names,
copied volumes and network file systems mean nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import stat
import tempfile
from pathlib import Path
from typing import Final
from uuid import uuid4

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_ID: Final = "id"
_OLD_S: Final = 7 * 86400.0


class Place:
    """A process in its place; `token` names both, for a lease to hold.

    Where nothing can be known of others, the token names the process alone.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._process = uuid4().hex
        self._lock: int | None = None
        self._directory: Path | None = None
        self._id = ""
        for base in (
            [Path("var"), Path(tempfile.gettempdir())] if directory is None else [directory]
        ):
            with contextlib.suppress(OSError):
                self._settle(base)
                atexit.register(self.close)
                break

    @property
    def token(self) -> str:
        return f"{self._process}@{self._id}" if self._id else self._process

    def is_gone(self, token: str) -> bool:
        """Say whether the process of a token was in this place and is surely gone."""
        process, _, place = token.partition("@")
        if self._directory is None or place != self._id or not process.isalnum():
            return False
        path = self._directory / f"{process}.lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return False  # nothing there says that it is
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        except OSError:
            return False
        else:
            return True
        finally:
            os.close(fd)

    def close(self) -> None:
        """Leave the place."""
        if self._lock is not None and self._directory is not None:
            with contextlib.suppress(OSError):
                (self._directory / f"{self._process}.lock").unlink()
            os.close(self._lock)
        self._lock, self._id = None, ""

    def _settle(self, base: Path) -> None:
        """Be there from now on; raise `OSError` where that would mean nothing."""
        boot = _BOOT_ID.read_text(encoding="ascii").strip().replace("-", "")
        directory = base.absolute() / f"guild-sync-{os.getuid()}"
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        if (
            not stat.S_ISDIR(found.st_mode)
            or found.st_uid != os.getuid()
            or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        ):
            raise PermissionError(f"{directory} is not ours alone")
        place = f"{_id_of(directory)}{boot}"
        lock = os.open(directory / f"{self._process}.lock", _CREATE, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise
        self._lock, self._directory, self._id = lock, directory, place
        self._tidy()

    def _tidy(self) -> None:
        """Remove what processes left that were killed long ago: no lease lasts as long."""
        if self._directory is None or self._lock is None:
            return
        now_s = os.fstat(self._lock).st_mtime  # by the clock of the files
        for path in self._directory.glob("*.lock"):
            with contextlib.suppress(OSError):
                if path.lstat().st_mtime < now_s - _OLD_S:
                    self.is_gone(f"{path.stem}@{self._id}")


def _id_of(directory: Path) -> str:
    """Return the directory's random id, which the first process there writes."""
    fd = os.open(directory / _ID, _CREATE, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        known = os.read(fd, 64).decode("ascii", "replace").strip()
        if known.isalnum():
            return known
        new = uuid4().hex
        os.ftruncate(fd, 0)
        os.pwrite(fd, new.encode(), 0)
        return new
    finally:
        os.close(fd)
