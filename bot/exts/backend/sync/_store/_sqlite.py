"""The store in an SQLite file, on a file system of this machine.

Every change is one transaction, flushed to the disk before it returns. The lease is a lock of
the operating system on a file beside it, so it ends with its holder, however that dies. It can't
be lost while held, and thus needs no token.

A file that can't be read, or that a newer version wrote, is renamed and never touched again;
not, however, while a process holds a lease on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import math
import os
import socket
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self, TypeVar

from .._errors import LeaseLostError, StoreError, StoreUnreachableError
from . import _values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from .._ports import Clock, Json, Unreadable

    _T = TypeVar("_T")

FORMAT: Final = 1
_APPLICATION_ID: Final = 0x67737973  # "gsys": the file is this extension's
_BUSY_S: Final = 2.0
_BUSY_AGAIN_S: Final = 0.01
# The file itself comes last: whatever a kill leaves here is still found wrong by the next start.
_SUFFIXES: Final = ("-wal", "-shm", "-journal", "")
# SQLite's extended codes keep the primary code in their low byte (sqlite.org/rescode.html).
_CORRUPT: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE entries (
    guild_id INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (guild_id, key)
) WITHOUT ROWID, STRICT;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {FORMAT};
COMMIT;
"""


class SqliteStore:
    """A `Store` in a file; all its calls run on one thread of its own.

    Each call of the port has a method for that thread beside it.
    """

    def __init__(self, path: Path, *, guild_id: int, clock: Clock) -> None:
        self._clock = clock
        self.where = str(path)
        self.is_new = False
        self.kept_aside: str | None = None
        self.warnings: tuple[str, ...] = ()
        self._path = path
        self._guild_id = guild_id
        self._lease_path = path.with_name(f"{path.name}.lease-{guild_id}")
        self._lease_fd: int | None = None
        self._holder: str | None = None
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the file, creating it and its directories; see the module for what is renamed."""
        await self.close()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sync-store")
        try:
            give_up = self._clock.monotonic() + _BUSY_S
            while not await self._run(self._open):
                if self._clock.monotonic() > give_up:
                    raise self._unreachable("another process is opening it")  # noqa: TRY301 - closed below, as after any fault
                await self._clock.sleep(_BUSY_AGAIN_S)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Release the lease and close the file."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        # The thread is shut down even if the caller is cancelled; it ends after its last call.
        closing = thread.submit(self._close)
        thread.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(closing))

    async def get(self, key: str) -> Json | Unreadable | None:
        """Return what is kept under a key, or None."""
        return await self._run(lambda: self._select("key = ?", key).get(key))

    async def scan(self, prefix: str) -> dict[str, Json | Unreadable]:
        """Return all whose key begins so, ascending by key."""
        return await self._run(
            lambda: self._select("key >= ? AND substr(key, 1, length(?)) = ?", *[prefix] * 3)
        )

    async def put(self, changes: Mapping[str, Json | None], *, fenced: bool = True) -> None:
        """Keep all the changes or none, in one flushed transaction."""
        texts = {
            key: None if value is None else json.dumps(value, allow_nan=False)
            for key, value in changes.items()
        }
        await self._run(lambda: self._put(texts, fenced=fenced))

    async def acquire(self) -> bool:
        """Take the lock unless another has it."""
        return await self._run(self._acquire)

    async def renew(self) -> bool:
        """Return whether the lock is ours; it needs no renewing."""
        return await self._run(self._holds_lease)

    async def release(self) -> None:
        """Unlock."""
        await self._run(self._release)

    def lease_left_s(self) -> float:
        """Return inf while the lock is ours, else 0."""
        return math.inf if self._lease_fd is not None else 0.0

    def holder(self) -> str | None:
        """Return who had the lock when it was last refused."""
        return self._holder

    async def _run(self, call: Callable[[], _T]) -> _T:
        if self._thread is None:
            raise StoreUnreachableError(f"the state store {self.where} is not open")
        try:
            return await asyncio.wrap_future(self._thread.submit(call))
        except sqlite3.Error as exc:
            if _is_corrupt(exc):
                raise StoreError(f"the state store {self.where} is damaged: {exc}") from exc
            raise self._unreachable(str(exc)) from exc
        except OSError as exc:
            raise self._unreachable(exc.strerror or type(exc).__name__) from exc

    def _unreachable(self, reason: str) -> StoreUnreachableError:
        return StoreUnreachableError(f"the state store {self.where} can't be used: {reason}")

    # What follows runs on the store's own thread.

    def _open(self) -> bool:
        """Open the file, unless another process is at it; return whether it is open."""
        self.is_new, self.kept_aside = False, None
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (fault := what_is_wrong(self._path)) is not None:
            raise StoreError(f"the state store {self.where} can't be used: {fault}")
        with _locked_directory(self._path.parent) as directory:
            if directory is None:
                return False
            if self._path.exists() and (fault := self._fault()) is not None:
                self._keep_aside(fault)
            # Made here for our own user alone; what SQLite makes beside it has the same mode.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            self._connect()
            os.fsync(directory)
        self._inode = _inode(self._path)
        self.is_new = not self._select("TRUE")
        return True

    def _fault(self) -> str | None:
        try:
            # A reader leaves the file as it is; a writer's last act is to empty its -wal into it.
            return self._look("ro")
        except sqlite3.OperationalError:
            # A transaction that a kill left half done, which only a writer may take back.
            return self._look("rw")

    def _look(self, mode: str) -> str | None:
        """Return what is wrong with the file, or None; raises if it is no file of ours at all."""
        with contextlib.closing(
            sqlite3.connect(f"{self._path.as_uri()}?mode={mode}", uri=True, timeout=_BUSY_S)
        ) as db:
            try:
                (checked,) = db.execute("PRAGMA quick_check(1)").fetchone()
                (version,) = db.execute("PRAGMA user_version").fetchone()
                (owner,) = db.execute("PRAGMA application_id").fetchone()
                (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            except sqlite3.Error as exc:
                if _is_corrupt(exc):
                    return "corrupt"
                raise
        if checked != "ok":
            return "corrupt"
        if tables and owner != _APPLICATION_ID:
            raise StoreError(f"{self.where} is another program's database")
        return "newer" if version > FORMAT else None

    def _connect(self) -> None:
        self._db = db = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
        db.text_factory = lambda raw: raw.decode("utf-8", _values.ENCODING_ERRORS)
        db.execute("PRAGMA journal_mode = WAL")
        # Where WAL can't be had, EXTRA still flushes all that a commit needs to last.
        db.execute("PRAGMA synchronous = EXTRA")
        (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not tables:
            db.executescript(_SCHEMA)

    def _keep_aside(self, fault: str) -> None:
        for lease in self._path.parent.glob(f"{self._path.name}.lease-*"):
            fd = _try_lock(lease)
            if fd is None:
                raise self._unreachable(f"it is {fault}, and in use by {_text(lease)}")
            os.close(fd)
        stem = f"{self._path.name}.{fault}-{self._clock.now():%Y%m%dT%H%M%S.%fZ}"
        for suffix in _SUFFIXES:
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).rename(
                    self._path.with_name(stem + suffix)
                )
        self.kept_aside = str(self._path.with_name(stem))

    def _close(self) -> None:
        self._release()
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _connected(self) -> sqlite3.Connection:
        """Return the connection, if its file still is the one that everybody else opens."""
        if self._db is None or _inode(self._path) != self._inode:
            raise self._unreachable("the file was moved or deleted")
        return self._db

    def _select(self, condition: str, *arguments: str) -> dict[str, Json | Unreadable]:
        rows = self._connected().execute(
            f"SELECT key, value FROM entries WHERE guild_id = ? AND {condition} ORDER BY key",  # noqa: S608 - the conditions are literals above
            (self._guild_id, *arguments),
        )
        return {key: _values.read(value) for key, value in rows if _values.is_utf8(key)}

    def _put(self, texts: Mapping[str, str | None], *, fenced: bool) -> None:
        if fenced and not self._holds_lease():
            raise LeaseLostError(f"the lease in {self.where} is not held: nothing was written")
        kept = [(self._guild_id, key, text) for key, text in texts.items() if text is not None]
        gone = [(self._guild_id, key) for key, text in texts.items() if text is None]
        db = self._connected()
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", kept)
            db.executemany("DELETE FROM entries WHERE guild_id = ? AND key = ?", gone)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # SQLite ends it by itself after some errors
                db.execute("ROLLBACK")
            raise

    def _acquire(self) -> bool:
        if self._holds_lease():
            return True
        fd = _try_lock(self._lease_path)
        if fd is None:
            self._holder = _text(self._lease_path)
            return False
        os.ftruncate(fd, 0)
        os.write(fd, f"{socket.gethostname()}, process {os.getpid()}".encode())
        self._lease_fd, self._holder = fd, None
        return True

    def _holds_lease(self) -> bool:
        """Return whether the locked file still is the one that others would lock."""
        if self._lease_fd is None:
            return False
        status = os.fstat(self._lease_fd)
        if _inode(self._lease_path) == (status.st_dev, status.st_ino):
            return True
        self._release()
        return False

    def _release(self) -> None:
        if self._lease_fd is not None:
            os.close(self._lease_fd)
            self._lease_fd = None


def _is_corrupt(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _text(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return path.read_text("utf-8", "replace").strip() or None
    return None


def what_is_wrong(path: Path) -> str | None:
    """Say why a path can't be a store's file; None if it can, or nothing is there yet.

    A FIFO would block whoever opens it, for ever; a link may lead to anything.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode):
        return None
    kinds = (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISLNK, "a symbolic link, which is not followed"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
    )
    kind = next((name for is_kind, name in kinds if is_kind(mode)), "a device")
    return f"it is {kind}, and no file"


def _try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock on the file of this name, or None."""
    fd = os.open(
        path,
        os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK,
        0o600,
    )
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(fd)
        if _inode(path) == (status.st_dev, status.st_ino):
            return fd
    except BlockingIOError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


@contextlib.contextmanager
def _locked_directory(path: Path) -> Iterator[int | None]:
    """Let one process at a time open, rename or create files here.

    Otherwise two that meet a corrupt file together would rename each other's new one. It gives None
    where another process is at it.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield fd
    finally:
        os.close(fd)
