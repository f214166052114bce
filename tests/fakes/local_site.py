"""The site in memory behind real HTTP: rows in an SQLite file, a server in a thread.

For tests that have no time to start the website, and look into its tables all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Final, Self

from aiohttp import web

from bot.exts.backend.sync._core.site import wire
from tests.fakes.site import Rows

if TYPE_CHECKING:
    from pathlib import Path

_USER: Final = ("id", "name", "display_name", "discriminator", "roles", "in_guild")
_ROLE: Final = ("id", "name", "colour", "permissions", "position")
_OFFERS: Final = {
    "max_items": 1000,
    "max_bytes": 256 * 1024,
    "minimal_responses": True,
    "pages_by_id": True,
}


class Table(MutableMapping[int, dict[str, Any]]):
    """A table of the website's as a mapping from ids to rows."""

    def __init__(self, connection: sqlite3.Connection, name: str, columns: tuple[str, ...]) -> None:
        self._connection = connection
        self._name = name
        self._columns = columns
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {name} (id INTEGER PRIMARY KEY, {', '.join(columns[1:])})"
        )

    def __getitem__(self, id_: int) -> dict[str, Any]:
        for row in self._connection.execute(
            f"SELECT {', '.join(self._columns)} FROM {self._name} WHERE id = ?",  # noqa: S608 - names of our own
            (id_,),
        ):
            return self._read(row)
        raise KeyError(id_)

    def __setitem__(self, id_: int, row: dict[str, Any]) -> None:
        values = [row[name] for name in self._columns]
        kept = [json.dumps(value) if isinstance(value, list) else value for value in values]
        self._connection.execute(
            f"INSERT OR REPLACE INTO {self._name} VALUES ({', '.join('?' for _ in kept)})",  # noqa: S608 - names of our own
            kept,
        )

    def __delitem__(self, id_: int) -> None:
        if id_ not in self:
            raise KeyError(id_)
        self._connection.execute(f"DELETE FROM {self._name} WHERE id = ?", (id_,))  # noqa: S608 - names of our own

    def __iter__(self) -> Iterator[int]:
        return iter(
            [id_ for (id_,) in self._connection.execute(f"SELECT id FROM {self._name}")]  # noqa: S608 - names of our own
        )

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _read(self, row: tuple[Any, ...]) -> dict[str, Any]:
        read = dict(zip(self._columns, row, strict=True))
        if "roles" in read:
            read["roles"] = json.loads(read["roles"])
            read["in_guild"] = bool(read["in_guild"])
        return read


class LocalSite:
    """A website's place in a test: `api_url`, `token` and `settings` are as a real one's."""

    token: Final = "local-site"

    def __init__(self, directory: Path) -> None:
        self._path = directory / "website.sqlite3"
        self.settings = {"DATABASE_URL": f"sqlite:///{self._path}"}
        self.api_url = ""
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=10)
        with contextlib.closing(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            self._connection = connection
            self._rows = Rows(
                users=Table(connection, "api_user", _USER),
                roles=Table(connection, "api_role", _ROLE),
                offers=_OFFERS,
            )
            self._loop.run_until_complete(self._start())
            self._started.set()
            self._loop.run_forever()
            self._loop.run_until_complete(self._runner.cleanup())

    async def _start(self) -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/api/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.api_url = f"http://{host}:{port}/api/"

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if path != "healthcheck" and request.headers.get("Authorization") != f"Token {self.token}":
            return web.json_response({"detail": "Invalid token."}, status=401)
        body = await request.read()
        params = {name: int(value) for name, value in request.query.items()}
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            status, value = self._rows.answer(request.method, path, params, body or None)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        if request.headers.get("Prefer") == "return=minimal" and status < 300:
            value = []
        text = b"" if value is None else wire.encode(value)
        return web.Response(status=status, body=text, content_type="application/json")
