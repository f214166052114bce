"""A way to the real site on which things go wrong.

What it forwards it forwards unchanged, headers included: the website's log stays the truth.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

import aiohttp
from aiohttp import web

_HOP_BY_HOP: Final = frozenset({"connection", "content-length", "transfer-encoding", "host"})
_BAD_GATEWAY: Final = "<html><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request of the bot's, come `at`; `path` is below /api/, `rows` what its list holds."""

    at: datetime
    method: str
    path: str
    rows: list[dict[str, Any]]
    query: dict[str, str]
    headers: dict[str, str]
    request: web.Request
    body: bytes

    def with_header(self, name: str, value: str) -> Call:
        """Return the same call with another value of a header."""
        return replace(self, headers=self.headers | {name: value})

    def with_query(self, **query: str) -> Call:
        """Return the same call with other values in its query."""
        return replace(self, query=self.query | query)

    def __repr__(self) -> str:
        return f"{self.method} {self.path} ({len(self.rows)})"

    @property
    def page(self) -> str | None:
        return self.query.get("page")

    @property
    def request_id(self) -> str:
        return self.request.headers.get("X-Request-ID", "")

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def writes_users(self) -> bool:
        return self.writes and self.path.startswith("bot/users")

    @property
    def ids(self) -> frozenset[int]:
        """The users that it speaks of, in its list or in its path."""
        last = self.path.rpartition("/")[2]
        if self.path.startswith("bot/users/") and last.isdigit():
            return frozenset({int(last)})
        return frozenset(row["id"] for row in self.rows)


Answer = web.StreamResponse
Forward = Callable[[Call], Awaitable[web.Response]]
Fault = Callable[[Call, Forward], Awaitable[Answer]]


async def _none(call: Call, forward: Forward) -> Answer:
    return await forward(call)


class SiteProxy:
    """A proxy to `api_url` of the real site; `fault` answers each call, or forwards it."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.fault: Fault = _none
        self.calls: list[Call] = []
        self.api_url = ""
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/api/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.api_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/api/"
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20))
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._http is not None:
            await self._http.close()
        await self.close()

    async def close(self) -> None:
        """Listen no more: from now on the connection is refused."""
        if self._runner is not None:
            await self._runner.cleanup()

    def lead_to(self, upstream: str) -> None:
        """Forward to another site from now on."""
        self._upstream = upstream

    def writes(self) -> list[Call]:
        """Return the writes of users so far, oldest first."""
        return [call for call in self.calls if call.writes_users]

    async def _answer(self, request: web.Request) -> Answer:
        at = datetime.now(UTC)
        try:
            body = await request.read()
        except ConnectionError:  # its sender was killed
            return web.Response()
        rows = json.loads(body) if body else []
        call = Call(
            at=at,
            method=request.method,
            path=request.match_info["path"],
            rows=rows if isinstance(rows, list) else [],
            query=dict(request.query),
            headers={k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP},
            request=request,
            body=body,
        )
        self.calls.append(call)
        try:
            return await self.fault(call, self._forward)
        except aiohttp.ClientConnectorError:  # as any proxy before a site that is down
            return web.Response(status=502, text=_BAD_GATEWAY, content_type="text/html")
        except (aiohttp.ClientError, TimeoutError):
            return lose(call)

    async def _forward(self, call: Call) -> web.Response:
        assert self._http is not None  # noqa: S101  it is there for as long as we listen
        url = f"{self._upstream}{call.path}"
        async with self._http.request(
            call.method, url, params=call.query, data=call.body, headers=call.headers
        ) as answer:
            kept = {
                k: v
                for k, v in answer.headers.items()
                if k.lower() not in {*_HOP_BY_HOP, "content-encoding"}
            }
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)


def lose(call: Call) -> Answer:
    """Close the connection instead of answering."""
    if call.request.transport is not None:  # the client may have closed it first
        call.request.transport.close()
    return web.Response()


def first(times: int, fault: Fault, *, when: Callable[[Call], bool] = lambda _: True) -> Fault:
    """Make the first `times` calls that fit go wrong, and forward all others."""
    left = times

    async def some(call: Call, forward: Forward) -> Answer:
        nonlocal left
        if left and when(call):
            left -= 1
            return await fault(call, forward)
        return await forward(call)

    return some
