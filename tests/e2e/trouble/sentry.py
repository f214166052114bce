"""A Sentry on this machine: it takes envelopes and keeps what is in them."""

from __future__ import annotations

import gzip
import json
from typing import Any, Self

from aiohttp import web


class Sentry:
    """Listens while entered; `dsn` is what SENTRY_DSN is set to.

    `items` are all, as pairs of a type and its payload, `events` those of that type, and `bytes`
    all that was ever received, unpacked.
    """

    def __init__(self) -> None:
        self.items: list[tuple[str, dict[str, Any]]] = []
        self.bytes = b""
        self.dsn = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/api/1/envelope/", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.dsn = f"http://key@127.0.0.1:{self._runner.addresses[0][1]}/1"
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        """Read an envelope: a line of headers, then a line of headers and one of body an item."""
        body = await request.read()
        if body.startswith(b"\x1f\x8b"):  # aiohttp unpacks it only where the header says gzip
            body = gzip.decompress(body)
        self.bytes += str(dict(request.headers)).encode() + body
        lines = body.splitlines()[1:]
        self.items += [
            (json.loads(header)["type"], json.loads(item))
            for header, item in zip(lines[::2], lines[1::2], strict=True)
        ]
        return web.json_response({})

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events, oldest first."""
        return self.of("event")

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the items of a type, oldest first."""
        return [item for type_, item in self.items if type_ == kind]
