"""The hash of each cached member, kept in step with what is heard of them."""

from __future__ import annotations

from array import array
from bisect import insort
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import sentry_sdk
import structlog

from .._clock import give_way
from .._core.model.members import RoleId, UserId, without_roles
from .._core.plan.digest import Hashes, row_hash
from .comparing import put_in_order

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from .._core.model.members import Member
    from .._ports import Clock, Guild
    from .._state.parking import Parking
    from .requester import Requester
    from .work_queue import WorkQueue

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 250  # members who are hashed without a break
_FEW: Final = 50  # of all members, one in so many may be renewed by themselves
_KEPT_S: Final = 3600.0
_CHECKED: Final = 100  # one of so many is hashed anew each time, to see whether it was right


@dataclass(frozen=True, slots=True, kw_only=True)
class _Basis:
    """What the guild was when all were hashed: of each other one they are made anew."""

    epoch: int
    made_s: float
    roles: frozenset[RoleId]
    lacking: frozenset[RoleId]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parked:
    """The hash of a member whose row is parked, and that of the row when it was last read.

    None of who is no member, and of a row that is not there or not in the guild.
    """

    ours: int | None
    theirs: int | None


class MemberHashes:
    """Hashes that are renewed when they are asked for: of whoever was marked since, or of all.

    All are made anew in a new epoch, after a role was deleted, of whose loss no member's event
    tells, where the site takes other roles than before, after too many changes to remember, and
    when they are an hour old: a bot's own code may ask Discord for members, which corrects the
    cache and tells nobody.

    Of a parked row the hash is that of what the site has, as long as the member stays the same and
    it is not to be tried again: it is known to differ, and would be found by each comparison.
    """

    def __init__(
        self,
        guild: Guild,
        queue: WorkQueue,
        parking: Parking,
        *,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._guild = guild
        self._queue = queue
        self._parking = parking
        self._clock = clock
        self._chance = chance
        self._basis: _Basis | None = None
        self._lacking: AbstractSet[RoleId] = frozenset()
        self._parked: dict[UserId, _Parked] = {}
        self._unparked: set[UserId] = set()  # whose hashes are their members' again
        self.hashes = Hashes()
        self.are_trusted = True  # what the site says of its own rows
        self.are_compared = False  # with the site's, in the latest full sync

    async def renew(
        self,
        requests: Requester,
        *,
        lacking: AbstractSet[RoleId],
        listed: Callable[[Sequence[int]], None] = lambda _: None,
    ) -> Hashes:
        """Return the hashes as the guild is now; they stay so until they are renewed again.

        Where all are made anew, which takes a while, `listed` is called before with all ids.
        """
        await requests.prove()
        if self._parked:
            self._unpark(self._parked.keys() - await self._parking.held(self._parked))
        if not self._are_all_stale(lacking):
            await self._check(requests)
        while True:
            stale = self._queue.take_stale()
            most = max(_AT_ONCE, len(self.hashes) // _FEW)
            basis = self._basis
            if stale is None or len(stale) > most or basis is None or self._are_all_stale(lacking):
                await self._hash_all(requests, lacking, listed)
                continue
            ids = sorted(stale | self._unparked)
            # Whatever ends this before its end leaves some of them old.
            self._basis = None
            for start in range(0, len(ids), _AT_ONCE):
                await self._hash(ids[start : start + _AT_ONCE])
                if len(ids) > _AT_ONCE:
                    await give_way()
                    await requests.prove()
            # What is hashed by now may hold any role that there is.
            self._basis = replace(basis, roles=frozenset(self._guild.roles()))
            self._unparked.clear()
            if len(ids) <= _AT_ONCE:
                return self.hashes

    def forget(self) -> None:
        """Let all be made anew."""
        self._basis = None

    def read(self, rows: Iterable[Member], members: Mapping[UserId, Member]) -> None:
        """Note what the site has of parked rows; `members` are those of the rows' ids."""
        parked = self._parking.records
        for row in rows if parked else ():
            if row.id in parked:
                self._park(row.id, members.get(row.id), row_hash(row) if row.in_guild else None)

    def missed(self, members: Mapping[UserId, Member]) -> None:
        """Note that the site has no row of those of these members who are parked."""
        for id_ in members.keys() & self._parking.records.keys():
            self._park(id_, members[id_], None)

    def _park(self, id_: UserId, member: Member | None, theirs: int | None) -> None:
        parked = _Parked(ours=self._hash_of(member), theirs=theirs)
        if self._parked.get(id_) != parked:
            self._parked[id_] = parked
            self._unparked.add(id_)

    def _unpark(self, ids: AbstractSet[UserId]) -> None:
        for id_ in ids:
            del self._parked[id_]
        self._unparked |= ids

    async def _check(self, requests: Requester) -> None:
        """Hash some members anew; where one hash was wrong, tell of it, and make all anew."""
        ids = self.hashes.ids
        left = -(-len(ids) // _CHECKED)
        while left > 0:
            some = {UserId(self._chance.choice(ids)) for _ in range(min(left, _AT_ONCE))}
            left -= _AT_ONCE
            due = await self._due(some)
            for id_ in sorted(some):
                is_right = self.hashes.get(id_) == due.get(id_)
                if not is_right and not self._queue.is_stale(id_) and id_ not in self._unparked:
                    self.tell_of_wrong(id_)
                    return
            await give_way()
            await requests.prove()

    def tell_of_wrong(self, id_: UserId | None = None) -> None:
        """Tell that kept hashes were wrong, that of `id_` among them, and make all anew."""
        log.error("sync.hashes.wrong", user_id=id_)
        sentry_sdk.capture_message("the kept hash of a member was wrong", level="error")
        self.forget()

    def _are_all_stale(self, lacking: AbstractSet[RoleId]) -> bool:
        basis = self._basis
        if basis is None or basis.epoch != self._guild.epoch or basis.lacking != lacking:
            return True
        is_less = bool(basis.roles - self._guild.roles().keys())
        return is_less or self._clock.monotonic() - basis.made_s > _KEPT_S

    async def _hash(self, ids: Sequence[UserId]) -> None:
        due = await self._due(ids)
        for id_ in ids:
            self.hashes.put(id_, due.get(id_))

    async def _hash_all(
        self,
        requests: Requester,
        lacking: AbstractSet[RoleId],
        listed: Callable[[Sequence[int]], None],
    ) -> None:
        await requests.prove()
        self._queue.take_stale()
        self._basis, self._lacking = None, frozenset(lacking)
        # As they are before the first is hashed: one that is deleted meanwhile has all made anew.
        basis = _Basis(
            epoch=self._guild.epoch,
            made_s=self._clock.monotonic(),
            roles=frozenset(self._guild.roles()),
            lacking=self._lacking,
        )
        known = await self._guild.members(self._parked)
        everybody = await put_in_order(self._guild.member_ids())
        for id_ in self._parked:
            if id_ not in known:
                insort(everybody, id_)
        listed(everybody)
        ids, hashes = array("Q"), array("Q")
        for start in range(0, len(everybody), _AT_ONCE):
            await requests.prove()
            due = await self._due(map(UserId, everybody[start : start + _AT_ONCE]))
            ids.extend(due.keys())
            hashes.extend(due.values())
            await give_way()
        self.hashes.fill(ids, hashes)
        self._unparked.clear()
        self._basis = basis
        await requests.prove()

    async def _due(self, ids: Iterable[UserId]) -> dict[UserId, int]:
        """Return the hashes of those of these ids that have one, in the same order."""
        ids = tuple(ids)
        members = await self._guild.members(ids)
        due = {}
        for id_ in ids:
            hash_ = self._hash_of(members.get(id_))
            parked = self._parked.get(id_)
            if parked is not None and parked.ours == hash_:
                hash_ = parked.theirs
            if hash_ is not None:
                due[id_] = hash_
        return due

    def _hash_of(self, member: Member | None) -> int | None:
        return None if member is None else row_hash(without_roles(member, self._lacking))
