"""The site over HTTP: one request, one answer, within a deadline and a size."""

from __future__ import annotations

import zlib
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Final, Self

import httpx

from .._clock import deadline
from .._core.site.outcome import Answer, Lost, NoAnswer

if TYPE_CHECKING:
    from .._core.model.redaction import Redaction
    from .._core.site.requests import Request
    from .._environment import Way
    from .._ports import Clock

_CONNECT_S: Final = 5.0
_GZIP: Final = 16 + zlib.MAX_WBITS  # the only encoding that is asked for, and inflated
_WHATEVER_ELSE: Final = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, ValueError)


class HttpSite:
    """The site's API at `base_url` (which ends in a slash).

    `deadline_s` bounds a whole request: httpx's own timeouts bound only silence, and a site that
    answers one byte a second would keep them quiet for ever.

    Each request has a connection of its own: on one that is kept, a surplus answer would be taken
    for the next request's. No cookie is kept and no redirect is looked at.
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: str,
        deadline_s: float,
        max_answer_bytes: int,
        redaction: Redaction,
        clock: Clock,
        way: Way,
    ) -> None:
        self._clock = clock
        self._through = way.through
        self._deadline_s = deadline_s
        self._max_answer_bytes = max_answer_bytes
        self._redaction = redaction
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers={
                "Authorization": f"Token {token}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
                "Connection": "close",
                "User-Agent": "guild-sync",
            },
            timeout=httpx.Timeout(deadline_s, connect=min(_CONNECT_S, deadline_s)),
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=0),
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
            follow_redirects=False,
            trust_env=False,
            proxy=way.proxy,
            verify=way.certificates,
            event_hooks={"response": [_forget_location]},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, request: Request, *, request_id: str) -> Answer | NoAnswer:
        """Send a request once; whatever happens on the wire is the return value."""
        headers = {"X-Request-ID": request_id}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        if request.minimal:
            headers["Prefer"] = "return=minimal"
        started = self._clock.monotonic()

        def lost(cause: Lost, exc: BaseException | None = None) -> NoAnswer:
            detail = "" if exc is None else type(exc).__name__
            if cause is Lost.UNREACHABLE and self._through:
                detail = f"{detail}, through {self._through}"
            return NoAnswer(cause=cause, detail=detail, seconds=self._clock.monotonic() - started)

        try:
            async with (
                deadline(self._clock, self._deadline_s),
                self._client.stream(
                    request.method,
                    request.path,
                    params=request.params,
                    content=request.body,
                    headers=headers,
                ) as response,
            ):
                body = await _read(response, max_bytes=self._max_answer_bytes)
                if isinstance(body, Lost):
                    return lost(body)
                return Answer(
                    status=response.status_code,
                    body=self._redaction.body(body),
                    retry_after=self._header(response, "Retry-After"),
                    date=self._header(response, "Date"),
                    server_timing=self._header(response, "Server-Timing"),
                    seconds=self._clock.monotonic() - started,
                )
        except TimeoutError:
            return lost(Lost.DEADLINE)
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.ProxyError,
        ) as exc:
            return lost(Lost.UNREACHABLE, exc)
        except httpx.TimeoutException as exc:
            return lost(Lost.DEADLINE, exc)
        except _WHATEVER_ELSE as exc:
            return lost(Lost.CONNECTION, exc)

    def _header(self, response: httpx.Response, name: str) -> str | None:
        value: str | None = response.headers.get(name)
        return value and self._redaction.body(value.encode()).decode()


async def _forget_location(response: httpx.Response) -> None:
    """Keep httpx from making a request of a redirect, which some locations make it fail at."""
    response.headers.pop("Location", None)


async def _read(response: httpx.Response, *, max_bytes: int) -> bytes | Lost:
    """Read a body as it comes, and inflate no more of it than the limit allows.

    httpx would inflate each part as a whole, and one encoding inside another: kilobytes on the wire
    can be gigabytes then.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        return Lost.ENCODED
    inflating = zlib.decompressobj(wbits=_GZIP) if encoding.endswith("gzip") else None
    body, received = bytearray(), 0
    try:
        async for part in response.aiter_raw():
            received += len(part)
            if inflating is None:
                body += part
            elif inflating.eof:
                return Lost.ENCODED
            else:
                body += inflating.decompress(part, max_bytes + 1 - len(body))
            if max(received, len(body)) > max_bytes:
                return Lost.TOO_LONG
    except zlib.error:
        return Lost.ENCODED
    if inflating is not None and received and (not inflating.eof or inflating.unused_data):
        return Lost.ENCODED
    return bytes(body)
