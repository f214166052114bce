"""As much of a Valkey server as the store asks of one, in the test's own loop, behind its protocol.

For tests that have no time to start the real one. It knows the store's four scripts by their text,
and does in Python what they do in Lua; the promises in `test_store` hold it to what the real server
does with them.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from bot.exts.backend.sync._store import _redis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Reply: TypeAlias = "str | int | list[str] | dict[str, str | int] | Exception | None"

DURABLE: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
}
_OK: Final = "OK"


@dataclass(slots=True, kw_only=True)
class LocalValkey:
    """A server on loopback; `url` is where. `config` is what it says of its settings.

    `hangs` lets it take requests and answer none, `refuses` is what each command but a connection's
    first ones is answered with.
    """

    config: dict[str, str] | None = field(default_factory=lambda: dict(DURABLE))
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    leases: dict[str, tuple[str, float]] = field(default_factory=dict)
    hangs: bool = False
    refuses: str | None = None
    _scripts: dict[str, str] = field(default_factory=dict)
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the server and every connection, as a killed one would."""
        if self._server is None:
            return
        self._server.close()
        for writer in [*self._writers]:
            writer.close()
        await self._server.wait_closed()
        self._server = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    # -- the protocol -----------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (words := await _read(reader)) is not None:
                if self.hangs:
                    continue
                writer.write(_encode(self._do(words)))
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _do(self, words: Sequence[str]) -> Reply:
        match [words[0].upper(), *words[1:]]:
            case ["HELLO", "3", *_]:
                return {"server": "valkey", "proto": 3}
            case ["CLIENT" | "SELECT", *_]:
                return _OK
            case _ if self.refuses is not None:
                return ValueError(self.refuses)
            case ["HGET", key, name]:
                return self.hashes.get(key, {}).get(name)
            case ["HGETALL", key]:
                return dict(self.hashes.get(key, {}))
            case ["CONFIG", "GET", pattern]:
                return self._config(pattern)
            case ["SCRIPT", "LOAD", script]:
                sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
                self._scripts[sha] = script
                return sha
            case ["EVALSHA", sha, "2", key, lease, *arguments]:
                if sha not in self._scripts:
                    return ValueError("NOSCRIPT No matching script. Please use EVAL.")
                return [*SCRIPTS[self._scripts[sha]](self, key, lease, arguments)]
            case _:
                return ValueError(f"ERR unknown command '{words[0]}'")

    def _config(self, pattern: str) -> Reply:
        if self.config is None:
            return ValueError("ERR unknown command 'CONFIG'")
        wanted = pattern.rstrip("*")
        return {name: value for name, value in self.config.items() if name.startswith(wanted)}

    # -- the scripts ------------------------------------------------------------------------------

    def _holder(self, lease: str) -> str | None:
        holder, until = self.leases.get(lease, ("", 0.0))
        return holder if until > asyncio.get_running_loop().time() else None

    def _lend(self, lease: str, me: str, ms: str) -> None:
        self.leases[lease] = (me, asyncio.get_running_loop().time() + int(ms) / 1000)

    def _is_newer(self, key: str, ours: str) -> str | None:
        kept = self.hashes.get(key, {}).get("format", "0")
        return kept if int(kept) > int(ours) else None

    def acquire(self, key: str, lease: str, arguments: Sequence[str]) -> tuple[str, str]:
        ours, me, ms, gone = arguments
        if (newer := self._is_newer(key, ours)) is not None:
            return "newer", newer
        holder = self._holder(lease)
        if holder not in {None, me, gone}:
            return "refused", str(holder)
        self._lend(lease, me, ms)
        kept = self.hashes.setdefault(key, {})
        if kept.get("holder") != me:
            fence = str(int(kept.get("fence", "0")) + 1)
            kept |= {"fence": fence, "format": ours, "holder": me, "write": "0"}
        return "done", kept["fence"]

    def renew(self, _key: str, lease: str, arguments: Sequence[str]) -> tuple[str, str]:
        _, me, ms = arguments
        if self._holder(lease) != me:
            return "refused", ""
        self._lend(lease, me, ms)
        return "done", ""

    def release(self, _key: str, lease: str, arguments: Sequence[str]) -> tuple[str, str]:
        if self._holder(lease) == arguments[1]:
            del self.leases[lease]
        return "done", ""

    def put(self, key: str, _lease: str, arguments: Sequence[str]) -> tuple[str, str]:
        ours, me, fence, write, count, *rest = arguments
        if (newer := self._is_newer(key, ours)) is not None:
            return "newer", newer
        kept = self.hashes.setdefault(key, {})
        if fence:
            late = int(kept.get("write", "0")) > int(write)
            if (kept.get("fence"), kept.get("holder")) != (fence, me) or late:
                return "refused", ""
            kept["write"] = write
        kept["format"] = ours
        pairs, gone = rest[: 2 * int(count)], rest[2 * int(count) :]
        kept |= dict(zip(pairs[::2], pairs[1::2], strict=True))
        for name in gone:
            kept.pop(name, None)
        return "done", ""


SCRIPTS: Final[dict[str, Callable[[LocalValkey, str, str, Sequence[str]], tuple[str, str]]]] = {
    _redis._ACQUIRE: LocalValkey.acquire,
    _redis._RENEW: LocalValkey.renew,
    _redis._RELEASE: LocalValkey.release,
    _redis._PUT: LocalValkey.put,
}


async def _read(reader: asyncio.StreamReader) -> list[str] | None:
    head = await reader.readline()
    if not head:
        return None
    words = []
    for _ in range(int(head[1:])):
        size = int((await reader.readline())[1:])
        words.append((await reader.readexactly(size + 2))[:-2].decode())
    return words


def _encode(reply: Any) -> bytes:
    match reply:
        case None:
            return b"_\r\n"
        case int():
            return b":%d\r\n" % reply
        case str():
            text = reply.encode()
            return b"$%d\r\n%s\r\n" % (len(text), text)
        case list():
            return b"*%d\r\n" % len(reply) + b"".join(map(_encode, reply))
        case dict():
            parts = (part for pair in reply.items() for part in pair)
            return b"%%%d\r\n" % len(reply) + b"".join(map(_encode, parts))
        case _:
            return f"-{reply}\r\n".encode()
