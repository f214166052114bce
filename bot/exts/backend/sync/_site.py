"""The site over HTTP: one request, one answer, within a deadline and a size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import httpx

from ._clock import deadline
from ._core.outcome import Answer, Lost, NoAnswer

if TYPE_CHECKING:
    from types import TracebackType

    from ._core.requests import Request
    from ._ports import Clock

_CONNECT_S = 5.0


class HttpSite:
    """The site's API at `base_url` (which ends in a slash).

    `deadline_s` bounds a whole request: httpx's own timeouts bound only silence, and a site that
    answers one byte a second would keep them quiet for ever.
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: str,
        deadline_s: float,
        max_answer_bytes: int,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._deadline_s = deadline_s
        self._max_answer_bytes = max_answer_bytes
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers={
                "Authorization": f"Token {token}",
                "Accept": "application/json",
                "User-Agent": "guild-sync",
            },
            timeout=httpx.Timeout(deadline_s, connect=min(_CONNECT_S, deadline_s)),
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=2),
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
                body = bytearray()
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > self._max_answer_bytes:
                        return lost(Lost.TOO_LONG)
                return Answer(
                    status=response.status_code,
                    body=bytes(body),
                    retry_after=response.headers.get("Retry-After"),
                    seconds=self._clock.monotonic() - started,
                )
        except TimeoutError:
            return lost(Lost.DEADLINE)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as exc:
            return lost(Lost.UNREACHABLE, exc)
        except httpx.TimeoutException as exc:
            return lost(Lost.DEADLINE, exc)
        except httpx.HTTPError as exc:
            return lost(Lost.CONNECTION, exc)
