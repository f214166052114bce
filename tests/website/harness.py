"""The site as its own process, on both databases, and the rows behind it by plain SQL."""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import psycopg

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
KNOWN_ROLES = (11, 12, 13)

Vendor = Literal["sqlite", "postgresql"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database that a test may look into, and its URL for the site."""

    vendor: Vendor
    url: str

    def connect(self) -> Any:
        """Open a connection of the test's own, which commits each statement."""
        if self.vendor == "postgresql":
            return psycopg.connect(self.url, autocommit=True)
        path = self.url.removeprefix("sqlite:///")
        return sqlite3.connect(path, isolation_level=None, timeout=DEADLINE_S)

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement, each `%s` a value; return its rows, if it gives any."""
        with closing(self.connect()) as connection:
            cursor = connection.execute(self.in_dialect(sql), values)
            return list(cursor) if cursor.description else []

    def write(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row of values."""
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.executemany(self.in_dialect(sql), rows)

    def in_dialect(self, sql: str) -> str:
        return sql.replace("%s", "?") if self.vendor == "sqlite" else sql

    def stored(self) -> dict[int, list[Any]]:
        """Return every user's fields by id: name, display name, discriminator, roles, in guild."""
        rows = self.query(
            "SELECT id, name, display_name, discriminator, CAST(roles AS text), in_guild"
            " FROM api_user ORDER BY id"
        )
        return {row[0]: [*row[1:4], json.loads(row[4]), bool(row[5])] for row in rows}


@dataclass(slots=True, kw_only=True)
class Website:
    """A running `python -m website` and what it has logged so far."""

    process: subprocess.Popen[str]
    database: Database
    token: str = ""
    url: str = ""
    lines: list[dict[str, Any]] = field(default_factory=list, repr=False)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def read_log(self) -> None:
        """Collect log lines until the process ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(json.loads(line))
                self._news.notify_all()

    def wait_for(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first log line that fits, once there is one."""

        def found() -> dict[str, Any] | None:
            return next((line for line in self.lines if is_it(line)), None)

        with self._news:
            line = self._news.wait_for(found, timeout=DEADLINE_S)
        assert line is not None, f"never logged; the log has {self.lines}"
        return line

    def wait_for_request(self, request_id: str) -> dict[str, Any]:
        """Return the log line of the request with this id."""
        return self.wait_for(
            lambda line: (
                line["event"] == "website.request.finished" and line["request_id"] == request_id
            )
        )

    def client(self, *, timeout_s: float = DEADLINE_S, token: str = "") -> httpx.Client:
        """Make a client that carries the token: the bot's unless another one is given."""
        return httpx.Client(
            base_url=f"{self.url}/api/",
            headers={"Authorization": f"Token {token or self.token}"},
            timeout=timeout_s,
            trust_env=False,
        )

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that it listens on."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def end(self) -> None:
        """Kill the process: the database has no more than a hundred connections for all sites."""
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def memory_mb(self, kind: Literal["VmRSS", "VmHWM"]) -> float:
        """Return the process's resident memory now, or at its peak, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition(f"{kind}:")[2].split(maxsplit=1)[0]) / 1_024


def environment(database_url: str, **settings: str) -> dict[str, str]:
    """Return the environment of a site: nothing of this process's but what Python needs."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "DATABASE_URL": database_url,
        "PORT": "0",
        **settings,
    }


def run_site(
    directory: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the site's program in a directory of its own until it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "website", *arguments],
        cwd=directory,
        env=variables,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


StartWebsite = Callable[..., Website]
MakeDatabase = Callable[[Vendor], Database]


def add_roles(database: Database, ids: Sequence[int]) -> None:
    """Insert roles whose positions are their places in the sequence."""
    database.write(
        "INSERT INTO api_role (id, name, colour, permissions, position) VALUES (%s, %s, 0, 0, %s)",
        [(role, f"role {role}", place) for place, role in enumerate(ids)],
    )


_ADD_USERS = {
    "postgresql": (
        "INSERT INTO api_user (id, name, display_name, discriminator, roles, in_guild)"
        " SELECT 100000000000000000 + 7919 * i, 'user' || i, 'User ' || i, 0, %s::jsonb, true"
        " FROM generate_series(0, %s::bigint - 1) AS numbers(i)"
    ),
    "sqlite": (
        "INSERT INTO api_user (id, name, display_name, discriminator, roles, in_guild)"
        " WITH RECURSIVE numbers(roles, count, i) AS ("
        "   SELECT %s, %s, 0 UNION ALL SELECT roles, count, i + 1 FROM numbers WHERE i < count - 1)"
        " SELECT 100000000000000000 + 7919 * i, 'user' || i, 'User ' || i, 0, roles, true"
        " FROM numbers"
    ),
}


def add_users(database: Database, count: int, *, roles: Sequence[int] = (11,)) -> None:
    """Insert the users of the samples' state: id 10**17 + 7919*i, name user{i}, User {i}."""
    database.query(_ADD_USERS[database.vendor], json.dumps(roles), count)


def add_account(database: Database, name: str, *, is_superuser: bool = False) -> int:
    """Insert a Django account that may do nothing, or everything; return its id."""
    made = database.query(
        "INSERT INTO auth_user (username, password, first_name, last_name, email, is_superuser,"
        " is_staff, is_active, date_joined)"
        " VALUES (%s, '!', '', '', '', %s, %s, %s, CURRENT_TIMESTAMP) RETURNING id",
        *(name, is_superuser, is_superuser, True),
    )
    return int(made[0][0])


def bot_account(database: Database) -> int:
    """Return the id of the account that `python -m website token` would make, and make it."""
    found = database.query("SELECT id FROM auth_user WHERE username = 'bot'")
    account = int(found[0][0]) if found else add_account(database, "bot")
    database.query(
        "INSERT INTO auth_user_user_permissions (user_id, permission_id)"
        " SELECT CAST(%s AS integer), id FROM auth_permission WHERE codename = 'use_api'"
        " ON CONFLICT DO NOTHING",
        account,
    )
    return account


def add_key(database: Database, account: int) -> str:
    """Give the account a key to the API; return it."""
    key = os.urandom(20).hex()
    database.query(
        "INSERT INTO api_key (digest, account_id, made_at) VALUES (%s, %s, CURRENT_TIMESTAMP)",
        *(hashlib.sha256(key.encode()).hexdigest(), account),
    )
    return key


def user_id(index: int) -> int:
    """Return the id of the samples' user number `index`."""
    return 10**17 + 7919 * index
