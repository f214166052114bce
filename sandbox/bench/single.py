"""All changes in one single request, as in 2021, to a site whose limits let it in.

On the website of the version before, whose set-based SQL takes it; what it costs is the memory, so
that is limited: whoever needs more is killed, as a container's kernel does.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import httpx

from sandbox.bench.plain_sql import Work
from sandbox.servers import Website

MEMORY_LIMIT_MB: Final = 400.0
_LOOK_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came of the request; `said` tells of a failure, and is empty where it was taken."""

    seconds: float
    sent_bytes: int
    received_bytes: int
    peak_mb: float
    said: str = ""


async def send(site: Website, work: Work, *, timeout_s: float) -> Sent:
    """Send it; the site is not there any more if it took too much memory."""
    method, path = ("POST", "bot/users") if work.creates else ("PATCH", "bot/users/bulk_patch")
    content = json.dumps(list(work.rows())).encode()
    said, received = "", 0
    async with (
        _limited(site) as killed,
        httpx.AsyncClient(
            base_url=site.api_url,
            headers={"Authorization": f"Token {site.token}", "Content-Type": "application/json"},
            timeout=timeout_s,
            trust_env=False,
        ) as client,
    ):
        began_s = time.perf_counter()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await client.request(method, path, content=content)
            received = len(answer.content)
            said = "" if answer.is_success else f"answered {answer.status_code}"
        except (TimeoutError, httpx.TimeoutException):
            said = f"not answered within {timeout_s:g} s"
        except httpx.TransportError as exc:
            said = "killed" if killed.is_set() else f"lost: {exc!r}"
        seconds = time.perf_counter() - began_s
        peak_mb = MEMORY_LIMIT_MB if killed.is_set() else site.peak_rss_mb()
    if killed.is_set():
        said = f"the site was killed: it took more than {MEMORY_LIMIT_MB:.0f} MB"
    return Sent(
        seconds=seconds,
        sent_bytes=len(content),
        received_bytes=received,
        peak_mb=peak_mb,
        said=said,
    )


@contextlib.asynccontextmanager
async def _limited(site: Website) -> AsyncIterator[asyncio.Event]:
    """Kill the site as soon as it has taken more memory than the limit, and tell so."""
    killed = asyncio.Event()

    async def look() -> None:
        while site.running:
            if site.peak_rss_mb() > MEMORY_LIMIT_MB:
                killed.set()
                site.kill()
            await asyncio.sleep(_LOOK_S)

    looking = asyncio.create_task(look())
    try:
        yield killed
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
