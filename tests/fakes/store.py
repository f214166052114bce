"""A state store in memory: what is kept, and each process' way to it."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from bot.exts.backend.sync._errors import LeaseLostError, StoreUnreachableError
from bot.exts.backend.sync._store import _values
from tests.fakes.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bot.exts.backend.sync._ports import Clock, Json, Unreadable

_BUSY_S: Final = 2.0


@dataclass(slots=True, kw_only=True)
class Kept:
    """What outlives processes: the entries as JSON, and the lease.

    `lease_s` is how long a lease lasts unless it is renewed; None: it is a lock that dies with its
    holder. `reachable` and `locked` are troubles of all who use it; `warnings` and `kept_aside` are
    what a store says of itself once it is open.
    """

    entries: dict[str, str] = field(default_factory=dict)
    lease_s: float | None = None
    fence: int = 0
    holder: str | None = None
    held_until: float = math.inf
    reachable: bool = True
    locked: bool = False
    warnings: tuple[str, ...] = ()
    kept_aside: str | None = None

    def lose(self) -> None:
        """Lose everything, as with a container that had no volume."""
        self.entries.clear()
        self.holder, self.fence = None, 0


class FakeStore:
    """A process' connection to what is kept."""

    def __init__(
        self, kept: Kept, *, clock: Clock, name: str = "one", faults: Faults | None = None
    ) -> None:
        self.kept = kept
        self.faults = faults or Faults()
        self.where = "memory"
        self.is_new = False
        self.kept_aside: str | None = None
        self.warnings: tuple[str, ...] = ()
        self.is_dead = False
        self._clock = clock
        self._name = name
        self._open = False
        self._fence: int | None = None
        self._until = 0.0
        self._refused_by: str | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Reach what is kept."""

        async def call() -> None:
            await self._reach()
            self._open = True
            self.is_new = not self.kept.entries
            self.warnings, self.kept_aside = self.kept.warnings, self.kept.kept_aside

        await self.faults.around("store.open", call)

    async def close(self) -> None:
        """Give the lease up; never raises."""
        if self._open and not self.is_dead:
            self._give_up()
        self._open = False

    async def get(self, key: str) -> Json | Unreadable | None:
        """Return what is kept under a key."""

        async def call() -> Json | Unreadable | None:
            await self._reach()
            text = self.kept.entries.get(key)
            return None if text is None else _values.read(text)

        return await self.faults.around("store.get", call)

    async def scan(self, prefix: str) -> dict[str, Json | Unreadable]:
        """Return all whose key begins so."""

        async def call() -> dict[str, Json | Unreadable]:
            await self._reach()
            entries = sorted(self.kept.entries.items())
            return {key: _values.read(text) for key, text in entries if key.startswith(prefix)}

        return await self.faults.around("store.scan", call)

    async def put(self, changes: Mapping[str, Json | None], *, fenced: bool = True) -> None:
        """Keep all the changes or none."""
        texts = {
            key: None if value is None else json.dumps(value, allow_nan=False)
            for key, value in changes.items()
        }

        async def call() -> None:
            if fenced and self._fence is None:
                raise LeaseLostError("the lease in memory is not held: nothing was written")
            await self._reach()
            if fenced and not self._is_holder():
                self._fence = None
                raise LeaseLostError("the lease in memory is not held: nothing was written")
            for key, text in texts.items():
                if text is None:
                    self.kept.entries.pop(key, None)
                else:
                    self.kept.entries[key] = text

        await self.faults.around("store.put", call)

    async def acquire(self) -> bool:
        """Take the lease unless another has it."""

        async def call() -> bool:
            await self._reach()
            kept = self.kept
            expired = kept.lease_s is not None and self._clock.monotonic() >= kept.held_until
            if kept.holder not in {None, self._name} and not expired:
                self._refused_by = kept.holder
                self._fence = None
                return False
            if kept.holder != self._name or self._fence is None:
                kept.fence += 1
            kept.holder, self._fence, self._refused_by = self._name, kept.fence, None
            self._prolong()
            return True

        return await self.faults.around("store.acquire", call)

    async def renew(self) -> bool:
        """Prolong the lease, and return whether it is still ours."""

        async def call() -> bool:
            await self._reach()
            if not self._is_holder():
                self._fence = None
                return False
            self._prolong()
            return True

        return await self.faults.around("store.renew", call)

    async def release(self) -> None:
        """Give the lease up, if it is ours."""

        async def call() -> None:
            await self._reach()
            self._give_up()

        await self.faults.around("store.release", call)

    def lease_left_s(self) -> float:
        """Return how long the lease is surely ours."""
        if self._fence is None or self.is_dead:
            return 0.0
        if self.kept.lease_s is None:
            return math.inf
        return max(0.0, self._until - self._clock.monotonic())

    def holder(self) -> str | None:
        """Return who had the lease when it was last refused."""
        return self._refused_by

    def die(self) -> None:
        """Let the process die: a lock dies with it, a lease runs out by itself."""
        if self.kept.lease_s is None and self._is_holder():
            self.kept.holder = None
        self.is_dead = True

    def _is_holder(self) -> bool:
        kept = self.kept
        expired = kept.lease_s is not None and self._clock.monotonic() >= kept.held_until
        return (
            self._fence is not None
            and kept.holder == self._name
            and kept.fence == self._fence
            and not expired
        )

    def _prolong(self) -> None:
        if self.kept.lease_s is not None:
            self._until = self.kept.held_until = self._clock.monotonic() + self.kept.lease_s

    def _give_up(self) -> None:
        if self._is_holder():
            self.kept.holder = None
        self._fence = None

    async def _reach(self) -> None:
        """Take a turn, as whatever leaves this process does, and meet the store's own troubles."""
        await asyncio.sleep(0)
        if self.is_dead:
            await asyncio.get_running_loop().create_future()
        if not self.kept.reachable:
            raise StoreUnreachableError("the state store memory can't be used: it is away")
        if self.kept.locked:
            await self._clock.sleep(_BUSY_S)
            if self.kept.locked:
                raise StoreUnreachableError("the state store memory can't be used: it is locked")
