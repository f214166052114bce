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

    from .._ports import Clock, Guild
    from .requester import Requester
    from .work_queue import WorkQueue

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 250  # members who are hashed without a break
_FEW: Final = 50  # of all members, one in so many may be renewed by themselves
_KEPT_S: Final = 3600.0
_CHECKED: Final = 100  # one of so many is hashed anew each time, to see whether it was right


class MemberHashes:
    """Hashes that are renewed when they are asked for: of whoever was marked since, or of all.

    All are made anew in a new epoch, after a role was deleted, of whose loss no member's event
    tells, where the site takes other roles than before, after too many changes to remember, and
    when they are an hour old: a bot's own code may ask Discord for members, which corrects the
    cache and tells nobody.
    """

    def __init__(
        self, guild: Guild, queue: WorkQueue, *, clock: Clock, chance: random.Random
    ) -> None:
        self._guild = guild
        self._queue = queue
        self._clock = clock
        self._chance = chance
        self._epoch: int | None = None
        self._made_s = float("-inf")
        self._roles: AbstractSet[RoleId] = frozenset()
        self._lacking: AbstractSet[RoleId] = frozenset()
        self.hashes = Hashes()
        self.are_trusted = True  # what the site says of its own rows

    async def renew(self, requests: Requester, *, lacking: AbstractSet[RoleId]) -> Hashes:
        """Return the hashes as the guild is now; they stay so until the next `await`."""
        await requests.prove()
        if not self._are_all_stale(lacking):
            await self._check(requests)
        while True:
            stale = self._queue.take_stale()
            most = max(_AT_ONCE, len(self.hashes) // _FEW)
            if stale is None or len(stale) > most or self._are_all_stale(lacking):
                await self._hash_all(requests, lacking)
                continue
            ids = sorted(stale)
            for start in range(0, len(ids), _AT_ONCE):
                await self._hash(ids[start : start + _AT_ONCE])
                if len(ids) > _AT_ONCE:
                    await give_way()
                    await requests.prove()
            if len(ids) <= _AT_ONCE:
                # What is hashed by now may hold any role that there is.
                self._roles = frozenset(self._guild.roles())
                return self.hashes

    async def _check(self, requests: Requester) -> None:
        """Hash some members anew; where one hash was wrong, tell of it, and make all anew."""
        ids = self.hashes.ids
        for number in range(-(-len(ids) // _CHECKED)):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await give_way()
                await requests.prove()
            id_ = UserId(self._chance.choice(ids))
            right = (await self._hashes_of((id_,))).get(id_)
            if self.hashes.get(id_) != right and not self._queue.is_stale(id_):
                log.error("sync.hashes.wrong", user_id=id_)
                sentry_sdk.capture_message("the kept hash of a member was wrong", level="error")
                self._epoch = None
                return

    def _are_all_stale(self, lacking: AbstractSet[RoleId]) -> bool:
        is_less = bool(self._roles - self._guild.roles().keys())
        is_old = self._clock.monotonic() - self._made_s > _KEPT_S
        return self._epoch != self._guild.epoch or is_less or is_old or lacking != self._lacking

    async def _hash(self, ids: Sequence[UserId]) -> None:
        hashes = await self._hashes_of(ids)
        for id_ in ids:
            self.hashes.put(id_, hashes.get(id_))

    async def _hash_all(self, requests: Requester, lacking: AbstractSet[RoleId]) -> None:
        await requests.prove()
        self._queue.take_stale()
        self._epoch, self._lacking = self._guild.epoch, frozenset(lacking)
        # As they are before the first is hashed: one that is deleted meanwhile has all made anew.
        self._roles, self._made_s = frozenset(self._guild.roles()), self._clock.monotonic()
        made: dict[int, int] = {}
        ids = self._guild.member_ids()
        for start in range(0, len(ids), _AT_ONCE):
            made.update(await self._hashes_of(ids[start : start + _AT_ONCE]))
            await give_way()
            await requests.prove()
        self.hashes.fill(made)

    async def _hashes_of(self, ids: Iterable[UserId]) -> dict[int, int]:
        members = await self._guild.members(ids)
        return {
            id_: row_hash(without_roles(member, self._lacking)) for id_, member in members.items()
        }
