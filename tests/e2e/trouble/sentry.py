"""A Sentry on this machine: it takes envelopes and keeps the events in them."""

from __future__ import annotations

import gzip
import json
from typing import Any, Self

from aiohttp import web


class Sentry:
    """Listens while entered; `dsn` is what SENTRY_DSN is set to."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
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
        lines = body.splitlines()[1:]
        for header, item in zip(lines[::2], lines[1::2], strict=False):
            if json.loads(header)["type"] == "event":
                self.events.append(json.loads(item))
        return web.json_response({})
