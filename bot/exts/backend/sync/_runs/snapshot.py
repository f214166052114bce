"""The guild as its pages showed it, for as long as that is current."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.model.members import Member, Role, RoleId, UserId, holding_only

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from .._ports import PagedGuild, Proof


class PageSnapshot:
    """The guild as its pages showed the members of a stretch, for as long as that is current.

    It is empty of whoever something was heard of since the first of those pages was asked for, and
    of everybody once a new epoch began. `values` of None: the guild itself is asked.
    """

    def __init__(self, guild: PagedGuild) -> None:
        self._guild = guild
        self._epoch = guild.epoch
        # Since the first page of the stretch, and since the last page, which may be left over.
        self._heard: set[UserId] | None = None
        self._heard_last: set[UserId] | None = None
        self.values: Mapping[UserId, Member] | None = None

    @property
    def epoch(self) -> int:
        return self._guild.epoch

    @property
    def proof(self) -> Proof | None:
        return self._guild.proof

    @property
    def trouble(self) -> str | None:
        """What Discord has yet to do before members can be read."""
        return self._guild.trouble

    async def prove(self) -> Proof:
        """Wait for the guild."""
        return await self._guild.prove()

    @property
    def heard(self) -> AbstractSet[UserId]:
        """Those of whom something was heard since the first page of the stretch was asked for."""
        return self._heard or frozenset()

    def member_ids(self) -> Sequence[UserId]:
        """Return the ids of those whose values are shown."""
        return tuple(self.values or ())

    def roles(self) -> Mapping[RoleId, Role]:
        """Return all roles, @everyone included."""
        return self._guild.roles()

    async def departed(self, ids: Sequence[UserId]) -> frozenset[UserId] | None:
        """Ask Discord which of these ids are not members; None if it doesn't say."""
        return await self._guild.departed(ids)

    async def read_anew(self) -> int | None:
        """Request all members once more."""
        return await self._guild.read_anew()

    async def look_up(self, ids: Iterable[UserId]) -> None:
        """Ask Discord about those of these ids of whom nothing is known, unless they are shown."""
        if self.values is None:
            await self._guild.look_up(ids)

    async def members(self, ids: Iterable[UserId]) -> Mapping[UserId, Member]:
        """Return those of these ids whose values are shown and current."""
        if self.values is None:
            return await self._guild.members(ids)
        if self._guild.epoch != self._epoch:
            return {}
        present, heard = self.roles().keys(), self.heard
        return {
            id_: holding_only(self.values[id_], present)
            for id_ in ids
            if id_ in self.values and id_ not in heard
        }

    def begin_stretch(self) -> None:
        """Show nobody yet; what is left over of the last page may belong to this stretch."""
        if self._heard is not None and self._heard is not self._heard_last:
            self._guild.unwatch(self._heard)
        self._heard = self._heard_last
        self._epoch = self._guild.epoch
        self.values = {}

    async def page(self, after: UserId) -> tuple[Member, ...]:
        """Read the guild's members after an id, as the guild does."""
        if self._heard_last is not None and self._heard_last is not self._heard:
            self._guild.unwatch(self._heard_last)
        self._heard_last = self._guild.watch()
        self._heard = self._heard if self._heard is not None else self._heard_last
        return await self._guild.page(after)

    def close(self) -> None:
        """Show nobody any more; from here on the guild itself is asked."""
        for heard in (self._heard, self._heard_last):
            if heard is not None:
                self._guild.unwatch(heard)
        self._heard = self._heard_last = self.values = None
