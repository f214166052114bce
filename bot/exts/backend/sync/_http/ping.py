"""A dead man's switch: a URL that is asked after each verified sync, and alarms when it isn't.

For whoever has neither Sentry nor Prometheus. The URL is a secret: whoever knows it could keep the
alarm silent, so nothing of it is logged.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import httpx
import structlog

from .._clock import deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._environment import Way
    from .._ports import Clock

log = structlog.get_logger(__name__)

_DEADLINE_S: Final = 10.0
_EVERY_S: Final = 60.0


class Ping:
    """Asks `url` after `verified`, at most once a minute; `told` hears whether it answered well.

    What it meets is a line in the log and a figure: no sync waits for it, and none fails by it.
    """

    def __init__(self, url: str, *, way: Way, clock: Clock, told: Callable[[bool], None]) -> None:
        self._url = url
        self._clock = clock
        self._told = told
        self._due = asyncio.Event()
        self._client = httpx.AsyncClient(
            headers={"User-Agent": "guild-sync"},
            timeout=_DEADLINE_S,
            follow_redirects=False,
            trust_env=False,
            proxy=way.proxy,
            verify=way.certificates,
        )

    def verified(self) -> None:
        """Note that a full sync, or a quiet check, was verified."""
        self._due.set()

    async def run_forever(self) -> None:
        """Ask, for as long as the extension is loaded."""
        while True:
            await self._due.wait()
            self._due.clear()
            fault = await self._ask()
            if fault:
                log.warning("sync.ping.failed", error=fault)
            self._told(not fault)
            await self._clock.sleep(_EVERY_S)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self) -> str:
        """Ask once; return what went wrong, in words without the URL, or nothing."""
        try:
            async with (
                deadline(self._clock, _DEADLINE_S),
                self._client.stream("GET", self._url) as response,
            ):
                return "" if response.is_success else f"HTTP {response.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as exc:
            return type(exc).__name__  # their texts may hold the address
