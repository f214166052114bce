"""What goes wrong between the bot and the site, each by a switch; and a record of every request."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from aiohttp import web

from sandbox.site_proxy import Answer, Call, Forward, SiteProxy, lose

SITE_TOKEN: Final = "playground"  # noqa: S105  the bot's way in as far as this proxy
SLOW_S: Final = 2.0
RETRY_AFTER_S: Final = 5
_HANG_S: Final = 60.0
_KEPT: Final = 20_000
_BLOCKED: Final = "<html><title>Request blocked</title><h1>Your request was blocked</h1></html>"
_ERROR: Final = "<!doctype html><title>Server Error (500)</title><h1>Server Error (500)</h1>"

SLOW, ERRORS, OVERLOADED, HANGS, REFUSES, FIREWALL, REJECTS = (
    "slow", "errors", "overloaded", "hangs", "refuses", "firewall", "rejects",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of the bot, once it is over; `status` 0: it was never answered."""

    at: datetime
    seconds: float
    method: str
    path: str
    rows: int
    status: int

    @property
    def writes_users(self) -> bool:
        return self.method != "GET" and self.path.startswith("bot/users")

    @property
    def written(self) -> int:
        """How many users it wrote."""
        taken = self.writes_users and 200 <= self.status < 300  # noqa: PLR2004  success
        return self.rows if taken else 0


class SiteFaults:
    """The bot's way to whatever site there is; `active` are the faults that it meets on it.

    Of a row whose name holds `disliked` the firewall lets nothing through; rows of the ids in
    `rejected` are refused by name. `requests` are the latest, oldest first, and `count` all so far.
    """

    def __init__(self) -> None:
        self._proxy = SiteProxy("")
        self._token = ""
        self.active: set[str] = set()
        self.disliked = "DROP TABLE"
        self.rejected: set[int] = set()
        self.requests: deque[Request] = deque(maxlen=_KEPT)
        self.count = 0
        self.writing = asyncio.Event()  # set by every write of users that arrives

    async def __aenter__(self) -> Self:
        self._proxy.fault = self._answer
        await self._proxy.__aenter__()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._proxy.__aexit__()

    @property
    def api_url(self) -> str:
        """Where the bot finds the site."""
        return self._proxy.api_url

    def lead_to(self, api_url: str, token: str) -> None:
        """Forward to this site from now on, with its own token in place of ours."""
        self._proxy.lead_to(api_url)
        self._token = token

    def since(self, count: int) -> Sequence[Request]:
        """Return the requests that are over since there were `count` of them."""
        news = min(self.count - count, len(self.requests))
        return list(self.requests)[len(self.requests) - news :]

    async def _answer(self, call: Call, forward: Forward) -> Answer:
        self._proxy.calls.clear()  # they hold their bodies
        if call.writes_users:
            self.writing.set()
        started_s, status = time.monotonic(), 0
        try:
            answer = await self._met(call, forward)
            status = 0 if call.request.transport is None else answer.status
        finally:
            self.requests.append(
                Request(
                    at=datetime.now(UTC),
                    seconds=time.monotonic() - started_s,
                    method=call.method,
                    path=call.path,
                    rows=len(call.rows) or int(call.writes),
                    status=status,
                )
            )
            self.count += 1
        return answer

    async def _met(self, call: Call, forward: Forward) -> Answer:
        if SLOW in self.active:
            await asyncio.sleep(SLOW_S)
        if HANGS in self.active:
            await asyncio.sleep(_HANG_S)
            return lose(call)
        if ERRORS in self.active:
            return web.Response(status=500, text=_ERROR, content_type="text/html")
        if OVERLOADED in self.active:
            return web.Response(status=503, headers={"Retry-After": str(RETRY_AFTER_S)})
        if REFUSES in self.active:
            return web.json_response({"detail": "Invalid token."}, status=401)
        if FIREWALL in self.active and any(map(self._is_disliked, call.rows)):
            return web.Response(status=403, text=_BLOCKED, content_type="text/html")
        if REJECTS in self.active and call.writes_users and not self.rejected.isdisjoint(call.ids):
            return self._refusal(call)
        return await forward(call.with_header("Authorization", f"Token {self._token}"))

    def _is_disliked(self, row: dict[str, Any]) -> bool:
        return any(self.disliked in str(row.get(field, "")) for field in ("name", "display_name"))

    def _refusal(self, call: Call) -> web.Response:
        fault = {"display_name": ["This name is not allowed here."]}
        rows = [fault if row["id"] in self.rejected else {} for row in call.rows]
        return web.json_response(rows or fault, status=400)
