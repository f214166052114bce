"""The hash of each cached member, kept in step with what is heard of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sentry_sdk
import structlog

from .._clock import give_way
from .._core.model.members import RoleId, UserId, without_roles
from .._core.plan.digest import Hashes, row_hash

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from .._ports import Guild
    from .requester import Requester
    from .work_queue import WorkQueue

log = structlog.get_logger(__name__)

_SLICE: Final = 250
_AT_ONCE: Final = 200  # members who are hashed without a break
_CHECKED: Final = 100  # one of so many is hashed anew each time, to see whether it was right


class MemberHashes:
    """Hashes that are renewed when they are asked for: of whoever was marked since, or of all.

    All are made anew in a new epoch, after a role was deleted, of whose loss no member's event
    tells, where the site takes other roles than before, and after too many changes to remember.
    """

    def __init__(self, guild: Guild, queue: WorkQueue, chance: random.Random) -> None:
        self._guild = guild
        self._queue = queue
        self._chance = chance
        self._epoch: int | None = None
        self._roles: AbstractSet[RoleId] = frozenset()
        self._lacking: AbstractSet[RoleId] = frozenset()
        self.hashes = Hashes()
        self.are_trusted = True  # what the site says of its own rows

    async def renew(self, requests: Requester, *, lacking: AbstractSet[RoleId]) -> Hashes:
        """Return the hashes as the guild is now; they stay so until the next `await`."""
        await requests.prove()
        while True:
            stale = self._queue.take_stale()
            if stale is None or self._is_all_stale(lacking) or len(stale) > len(self.hashes) // 50:
                await self._hash_all(requests, lacking)
                continue
            ids = sorted(stale)
            for start in range(0, len(ids), _AT_ONCE):
                if start:
                    await give_way()
                await self._hash(ids[start : start + _AT_ONCE])
            if not ids or len(ids) <= _AT_ONCE:
                return self.hashes

    async def check(self, requests: Requester) -> None:
        """Hash some members anew; where one hash was wrong, tell of it, and make all anew."""
        ids = self.hashes.ids
        for _ in range(-(-len(ids) // _CHECKED)):
            id_ = UserId(self._chance.choice(ids))
            member = (await self._guild.members((id_,))).get(id_)
            right = None if member is None else row_hash(without_roles(member, self._lacking))
            if self.hashes.get(id_) != right and id_ not in self._queue.noted:
                log.error("sync.hashes.wrong", user_id=id_)
                sentry_sdk.capture_message("a member's kept hash was wrong", level="error")
                await self._hash_all(requests, self._lacking)
                return
            if _ % _SLICE == _SLICE - 1:
                await give_way()
                await requests.prove()

    def _is_all_stale(self, lacking: AbstractSet[RoleId]) -> bool:
        is_less = bool(self._roles - self._guild.roles().keys())
        return self._epoch != self._guild.epoch or is_less or lacking != self._lacking

    async def _hash(self, ids: Sequence[UserId]) -> None:
        members = await self._guild.members(ids)
        for id_ in ids:
            member = members.get(id_)
            hash_ = None if member is None else row_hash(without_roles(member, self._lacking))
            self.hashes.put(id_, hash_)

    async def _hash_all(self, requests: Requester, lacking: AbstractSet[RoleId]) -> None:
        await requests.prove()
        self._queue.take_stale()
        self._epoch, self._lacking = self._guild.epoch, frozenset(lacking)
        self._roles = frozenset(self._guild.roles())
        made: dict[int, int] = {}
        ids = self._guild.member_ids()
        for start in range(0, len(ids), _SLICE):
            made.update(await self._hashes_of(ids[start : start + _SLICE]))
            await give_way()
            await requests.prove()
        self.hashes.fill(made)

    async def _hashes_of(self, ids: Iterable[UserId]) -> dict[int, int]:
        members = await self._guild.members(ids)
        return {
            id_: row_hash(without_roles(member, self._lacking)) for id_, member in members.items()
        }
