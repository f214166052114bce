"""The store on a Redis or Valkey server, for containers without a disk and for several hosts.

Two keys a guild: the hash `guild-sync:<guild id>` with all that is kept, and its `:lease`, which
expires. Each change is one Lua script, so the server does it whole or not at all; that it is on
the server's disk when it answers is up to the server's settings, which `open` checks.

A lease that expires can be lost by a holder that is only slow. So each one given to a new holder
has a number, the fencing token, one above the last, and is noted in the hash with its holder:
the script that writes refuses any other. Being in the hash, the note is lost only with all that
it protects. Writes are numbered, too: one whose answer never came, and which the server
runs after all when a later one is done, must not undo that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from .._errors import LeaseLostError, StoreError, StoreUnreachableError
from . import _values

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from typing import Any

    from redis.commands.core import AsyncScript

    from .._ports import Clock, Json, Unreadable
    from ._place import Place

FORMAT: Final = 1
_TIMEOUT_S: Final = 2.0
_ENTRY: Final = "="  # begins the field of an entry, so that no key can be a field of ours
_DURABLE: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
}

# ARGV begins with our format and our holder's text; the answer is a pair of a word and a detail.
# ARGV[4] of an acquisition is the text of a holder that is known to be gone, or empty.
_CHECK_FORMAT: Final = """
local format = tonumber(redis.call('HGET', KEYS[1], 'format') or 0) or 0
if format > tonumber(ARGV[1]) then return {'newer', tostring(format)} end
"""
_ACQUIRE: Final = (
    _CHECK_FORMAT
    + """
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[2] and holder ~= ARGV[4] then return {'refused', holder} end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[2] then
    local fence = redis.call('HGET', KEYS[1], 'fence')
    if fence and not string.match(fence, '^%d+$') then redis.call('HDEL', KEYS[1], 'fence') end
    redis.call('HINCRBY', KEYS[1], 'fence', 1)
    redis.call('HSET', KEYS[1], 'format', ARGV[1], 'holder', ARGV[2], 'write', 0)
end
return {'done', redis.call('HGET', KEYS[1], 'fence')}
"""
)
_RENEW: Final = """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return {'refused', ''} end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {'done', ''}
"""
_RELEASE: Final = """
if redis.call('GET', KEYS[2]) == ARGV[2] then redis.call('DEL', KEYS[2]) end
return {'done', ''}
"""
# ARGV[3] is the fencing token and ARGV[4] the write's number, or both are empty; then come
# the number of entries to keep, these as pairs, and the keys to delete.
_PUT: Final = (
    _CHECK_FORMAT
    + """
if ARGV[3] ~= '' then
    local fence = redis.call('HMGET', KEYS[1], 'fence', 'holder', 'write')
    if fence[1] ~= ARGV[3] or fence[2] ~= ARGV[2] or tonumber(fence[3]) > tonumber(ARGV[4]) then
        return {'refused', ''}
    end
    redis.call('HSET', KEYS[1], 'write', ARGV[4])
end
redis.call('HSET', KEYS[1], 'format', ARGV[1])
local gone = 6 + 2 * ARGV[5]
for i = 6, gone - 1, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i = gone, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
return {'done', ''}
"""
)


class RedisStore:
    """A `Store` on a server, which every call asks for at most a few seconds."""

    def __init__(
        self, url: str, *, guild_id: int, lease_s: float, clock: Clock, place: Place
    ) -> None:
        """Read the URL; raises ValueError or TypeError if it is malformed."""
        parts = urlsplit(url)
        self.where = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        self.is_new = False
        self.kept_aside: str | None = None
        self.warnings: tuple[str, ...] = ()
        self._hash = f"guild-sync:{guild_id}"
        self._keys = (self._hash, f"{self._hash}:lease")
        self._lease_s = lease_s
        self._clock = clock
        self._place = place
        self._me = f"{place.token} {socket.gethostname()}, process {os.getpid()}"
        self._asked = False
        self._fence: str | None = None
        self._held_until_s = 0.0
        self._holder: str | None = None
        self._write = 0
        self._writing = asyncio.Lock()
        self._server: Redis = Redis.from_url(
            url,
            decode_responses=True,
            encoding_errors=_values.ENCODING_ERRORS,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            # Once more, at once, for a connection that a restarted server no longer knows.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        # An unknown option in the URL shows here, and not at the first call.
        self._server.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's
        self._acquire = self._server.register_script(_ACQUIRE)
        self._renew = self._server.register_script(_RENEW)
        self._release = self._server.register_script(_RELEASE)
        self._put = self._server.register_script(_PUT)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Reach the server, refuse a newer format, and see how durable its settings are."""
        try:
            version = await self._ask(self._server.hget(self._hash, "format"))
            self._check_format(version)
            self.warnings = await self._weaknesses()
            self.is_new = not await self.scan("")
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Release the lease and the connections."""
        try:
            with contextlib.suppress(StoreError):
                await self.release()
        finally:
            with contextlib.suppress(RedisError, OSError):
                await self._server.aclose()

    async def get(self, key: str) -> Json | Unreadable | None:
        """Return what is kept under a key, or None."""
        text = await self._ask(self._server.hget(self._hash, _ENTRY + key))
        return None if text is None else _values.read(text)

    async def scan(self, prefix: str) -> dict[str, Json | Unreadable]:
        """Return all whose key begins so, ascending by key."""
        fields: dict[str, str] = await self._ask(self._server.hgetall(self._hash))
        return {
            field.removeprefix(_ENTRY): _values.read(text)
            for field, text in sorted(fields.items())
            if field.startswith(_ENTRY + prefix) and _values.is_utf8(field)
        }

    async def put(self, changes: Mapping[str, Json | None], *, fenced: bool = True) -> None:
        """Keep all the changes or none, in one script."""
        kept: list[str] = []
        for key, value in changes.items():
            if value is not None:
                kept += (_ENTRY + key, json.dumps(value, allow_nan=False))
        gone = [_ENTRY + key for key, value in changes.items() if value is None]
        async with self._writing:  # so that they arrive in the order of their numbers
            token = ("", "")
            if fenced:
                if self._fence is None:
                    raise self._lost()
                self._write += 1
                token = (self._fence, str(self._write))
            word, _ = await self._do(self._put, *token, len(kept) // 2, *kept, *gone)
        if word == "refused":
            self._fence, self._held_until_s = None, 0.0
            raise self._lost()

    async def acquire(self) -> bool:
        """Take the lease for its full length unless another has it."""
        self._asked = True
        asked_s = self._clock.monotonic()
        lease_ms = int(self._lease_s * 1000)
        word, detail = await self._do(self._acquire, lease_ms, "")
        if word == "refused" and self._place.is_gone(detail.partition(" ")[0]):
            # It was killed in this very place: nobody else can be meant, and it won't come back.
            word, detail = await self._do(self._acquire, lease_ms, detail)
        if word == "refused":
            self._fence, self._held_until_s = None, 0.0
            self._holder = _values.printable(detail.partition(" ")[2])
            return False
        self._fence, self._held_until_s = detail, asked_s + self._lease_s
        self._holder = None
        return True

    async def renew(self) -> bool:
        """Prolong the lease; one that expired is not taken again."""
        asked_s = self._clock.monotonic()
        word, _ = await self._do(self._renew, int(self._lease_s * 1000))
        self._held_until_s = asked_s + self._lease_s if word == "done" else 0.0
        return word == "done"

    async def release(self) -> None:
        """Delete the lease if it is ours, which it may be even if no answer said so."""
        if self._asked:
            self._fence, self._held_until_s = None, 0.0
            await self._do(self._release)
            self._asked = False

    def lease_left_s(self) -> float:
        """Return the rest of the lease, counted from before it was last asked for."""
        return max(0.0, self._held_until_s - self._clock.monotonic())

    def holder(self) -> str | None:
        """Return who had the lease when it was last refused."""
        return self._holder

    async def _weaknesses(self) -> tuple[str, ...]:
        try:
            found = await self._server.config_get("append*")
            found |= await self._server.config_get("maxmemory-policy")
        except ResponseError:
            return (
                f"{self.where} does not say how durable it is (CONFIG GET is refused); it must "
                "run with " + ", ".join(f"{name} {value}" for name, value in _DURABLE.items()),
            )
        except (RedisError, OSError) as exc:
            raise self._unreachable(exc) from exc
        return tuple(
            f"{self.where} has {name} {found.get(name, 'unknown')}, not {value}: "
            "what is kept there can be lost"
            for name, value in _DURABLE.items()
            if found.get(name) != value
        )

    async def _do(self, script: AsyncScript, *arguments: str | int) -> tuple[str, str]:
        word, detail = await self._ask(script(self._keys, (FORMAT, self._me, *arguments)))
        if word == "newer":
            self._check_format(detail)
        return word, detail

    async def _ask(self, answer: Awaitable[Any]) -> Any:
        try:
            return await answer
        except (RedisError, OSError) as exc:
            raise self._unreachable(exc) from exc

    def _unreachable(self, exc: Exception) -> StoreUnreachableError:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        return StoreUnreachableError(f"the state store {self.where} can't be used: {reason}")

    def _check_format(self, version: str | None) -> None:
        # What is no number was written by no version of ours; the next write puts it right.
        if version is not None and version.isdecimal() and int(version) > FORMAT:
            raise StoreError(
                f"the state store {self.where} is of format {version}, newer than {FORMAT}"
            )

    def _lost(self) -> LeaseLostError:
        return LeaseLostError(f"the lease in {self.where} is not held: nothing was written")
