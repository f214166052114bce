"""Rate limits per route, in the shape of Discord's headers.

Source: Discord's documentation of rate limits; the sizes are this sandbox's own, since Discord's
may change and clients must read them from the headers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final


@dataclass(slots=True)
class _Bucket:
    name: str
    limit: int
    window_s: float
    started: float = 0.0
    used: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a request may pass, and the headers that say so."""

    allowed: bool
    retry_after_s: float
    headers: dict[str, str]


_LIMITS: Final = {"message create": (5, 5.0), "message edit": (5, 5.0)}  # how many in how many s
_DEFAULT: Final = (50, 1.0)


class RateLimiter:
    """A fixed window per bucket."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}
        self._limits = dict(_LIMITS)
        self.refused = 0

    def set(self, kind: str, limit: int, window_s: float) -> None:
        """Allow so many requests in so many seconds from now on, in each bucket of this kind."""
        self._limits[kind] = (limit, window_s)
        for name in [name for name in self._buckets if name.startswith(f"{kind}:")]:
            del self._buckets[name]

    def take(self, kind: str, key: str) -> Verdict:
        """Use up one of the requests of the bucket of this kind of route and major parameter."""
        limit, window_s = self._limits.get(kind, _DEFAULT)
        name = f"{kind}:{key}"
        now = time.monotonic()
        bucket = self._buckets.setdefault(name, _Bucket(name, limit, window_s))
        if now >= bucket.started + bucket.window_s:
            bucket.started, bucket.used = now, 0
        reset_after = bucket.started + bucket.window_s - now
        allowed = bucket.used < bucket.limit
        if allowed:
            bucket.used += 1
        else:
            self.refused += 1
        headers = {
            "X-RateLimit-Limit": str(bucket.limit),
            "X-RateLimit-Remaining": str(bucket.limit - bucket.used),
            "X-RateLimit-Reset": f"{time.time() + reset_after:.3f}",
            "X-RateLimit-Reset-After": f"{reset_after:.3f}",
            "X-RateLimit-Bucket": name.replace(" ", "-"),
        }
        if not allowed:
            headers |= {"Retry-After": f"{reset_after:.3f}", "X-RateLimit-Scope": "user"}
        return Verdict(allowed=allowed, retry_after_s=reset_after, headers=headers)
