"""What a sync will change: ids grouped by what is sent about them, and the causes behind them.

A plan never holds values. The payload is built from the guild at the moment a chunk is sent, so a
change that lands meanwhile is not overwritten by an older value, and a plan of 80,000 changes
costs a few bytes each.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ..model.changes import Group, Kind
from ..model.ids import IdSet
from ..model.members import ALL_FIELDS, Field
from .diff import differing_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from ..model.members import Member, RoleId, UserId


class Reason(StrEnum):
    """The kind of a cause."""

    ROLE_REMOVED = "role removed"
    ROLE_ADDED = "role added"
    NAME = "renamed"
    DISPLAY_NAME = "display name changed"
    DISCRIMINATOR = "discriminator changed"
    ROLE_ORDER = "roles put in order"
    JOINED = "joined"
    RETURNED = "returned"
    LEFT = "left"
    SEEN = "seen live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why `count` members differ; one with two causes is counted under both."""

    reason: Reason
    role_id: RoleId | None
    count: int


@dataclass(slots=True)
class Causes:
    """The causes of several plans, counted together."""

    _counts: Counter[tuple[Reason, RoleId | None]] = field(default_factory=Counter)

    def add(self, causes: Iterable[Cause]) -> None:
        for cause in causes:
            self.count(cause.reason, cause.role_id, cause.count)

    def count(self, reason: Reason, role_id: RoleId | None, members: int = 1) -> None:
        """Note that so many members differ for this reason."""
        self._counts[reason, role_id] += members

    def largest_first(self) -> tuple[Cause, ...]:
        return tuple(
            Cause(reason=reason, role_id=role_id, count=count)
            for (reason, role_id), count in self._counts.most_common()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All changes of users, the largest group first within a kind: creates, updates, departures.

    `in_guild_rows` counts the site's rows that it says are in the guild (the base of the
    departure gate), `rows` all rows that were read.
    """

    groups: tuple[Group, ...]
    causes: tuple[Cause, ...]
    rows: int
    in_guild_rows: int

    def count(self, kind: Kind) -> int:
        return sum(len(group.ids) for group in self.groups if group.kind is kind)

    @property
    def total(self) -> int:
        return sum(len(group.ids) for group in self.groups)


_KIND_ORDER = {kind: place for place, kind in enumerate(Kind)}
_FIELD_REASONS = {
    Field.NAME: Reason.NAME,
    Field.DISPLAY_NAME: Reason.DISPLAY_NAME,
    Field.DISCRIMINATOR: Reason.DISCRIMINATOR,
    Field.IN_GUILD: Reason.RETURNED,
}


@dataclass(slots=True, kw_only=True)
class Planner:
    """Fold pages of site rows into a plan, in any page size, each row once.

    `seen` holds every row id that was read, `absent` those that the site has in the guild but the
    guild's cache does not know: unknown, not gone, until the guild is asked about them. `witness`
    is a member whose row is right, and so can be written again without harm. `lacking` are roles
    that the site does not have and does not take: they make no difference. The order of a row's
    roles makes one only `as_stored`.
    """

    seen: IdSet = field(default_factory=IdSet)
    absent: list[UserId] = field(default_factory=list)
    in_guild_rows: int = 0
    witness: UserId | None = None
    lacking: AbstractSet[RoleId] = frozenset()
    as_stored: bool = False
    _updates: defaultdict[tuple[Field, ...], IdSet] = field(
        default_factory=lambda: defaultdict(IdSet)
    )
    _creates: IdSet = field(default_factory=IdSet)
    _departures: IdSet = field(default_factory=IdSet)
    # By cause, so that those of ids that are left out are not counted.
    _caused: defaultdict[tuple[Reason, RoleId | None], IdSet] = field(
        default_factory=lambda: defaultdict(IdSet)
    )

    def add_rows(self, rows: Iterable[Member], guild: Mapping[UserId, Member]) -> int:
        """Compare rows with the members of the same ids, and return how many rows were new.

        `guild` need hold only the ids of these rows. A row read before (pages shift when rows are
        inserted meanwhile) is passed over.
        """
        new = 0
        for row in rows:
            if not self.seen.add(row.id):
                continue
            new += 1
            self.in_guild_rows += row.in_guild
            member = guild.get(row.id)
            if member is not None:
                self._add_member(member, row)
            elif row.in_guild:
                self.absent.append(row.id)
        return new

    def _add_member(self, member: Member, row: Member) -> None:
        fields = differing_fields(member, row, lacking=self.lacking, as_stored=self.as_stored)
        if not fields:
            self.witness = row.id if self.witness is None else self.witness
            return
        self._updates[fields].add(row.id)
        for changed in fields:
            if changed is not Field.ROLES:
                self._note(_FIELD_REASONS[changed], None, row.id)
                continue
            held = set(member.roles) - self.lacking
            kept = set(row.roles) - self.lacking
            for role_id in kept - held:
                self._note(Reason.ROLE_REMOVED, role_id, row.id)
            for role_id in held - kept:
                self._note(Reason.ROLE_ADDED, role_id, row.id)
            if held == kept:
                self._note(Reason.ROLE_ORDER, None, row.id)

    def _note(self, reason: Reason, role_id: RoleId | None, id_: UserId) -> None:
        self._caused[reason, role_id].add(id_)

    @property
    def differs(self) -> bool:
        """Whether any row, or the lack of one, differs from the guild."""
        return bool(self._updates or self._creates or self.absent)

    def add_missing(self, ids: Iterable[UserId]) -> None:
        """Plan the creation of those guild members whose row was not read."""
        for id_ in ids:
            if id_ not in self.seen and self._creates.add(id_):
                self._note(Reason.JOINED, None, id_)

    def add_departures(self, ids: Iterable[UserId]) -> None:
        """Plan the departure of ids that the guild was asked about and does not have."""
        for id_ in ids:
            self._departures.add(id_)
            self._note(Reason.LEFT, None, id_)

    def plan(self, *, without: AbstractSet[UserId] = frozenset()) -> Plan:
        """Return the plan of what was added so far, but for these ids."""
        groups = [
            Group(kind=Kind.CREATE, fields=ALL_FIELDS, ids=self._creates.but(without)),
            *(
                Group(kind=Kind.UPDATE, fields=fields, ids=ids.but(without))
                for fields, ids in self._updates.items()
            ),
            Group(kind=Kind.DEPARTURE, fields=(Field.IN_GUILD,), ids=self._departures.but(without)),
        ]
        groups.sort(key=lambda group: (_KIND_ORDER[group.kind], -len(group.ids)))
        return Plan(
            groups=tuple(group for group in groups if group.ids),
            causes=self._causes(without).largest_first(),
            rows=len(self.seen),
            in_guild_rows=self.in_guild_rows,
        )

    def _causes(self, without: AbstractSet[UserId]) -> Causes:
        causes = Causes()
        for (reason, role_id), ids in self._caused.items():
            left_out = ids.count_of(without)
            if len(ids) > left_out:
                causes.count(reason, role_id, len(ids) - left_out)
        return causes
