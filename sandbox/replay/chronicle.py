"""What both sides did, in the order of time, and what follows from it; pure.

The guild's side is the history that the local Discord keeps, the site's what a trigger noted of
each row as it was written. From the two follows whether they agree now, how long each change took
to reach the site, and what was written there against the guild.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, TypeAlias

from sandbox.replay.checks import RoleRow, UserRow

# How old news must be before a write against it is a fault: younger, it crossed the write on its
# way. In a burst of thousands of events whoever listens is behind by about as much.
CROSSING: Final = timedelta(seconds=2)

Row: TypeAlias = UserRow | RoleRow
What: TypeAlias = Literal["user", "role"]


class Key(NamedTuple):
    """A user or a role."""

    what: What
    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuildChange:
    """What a member or a role of the guild is since then: the row due to it, None if it is gone.

    `told` says whether the gateway told of it, or was to.
    """

    at: datetime
    key: Key
    row: Row | None
    told: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteWrite:
    """A row of the site as it was left by a write, None if it was deleted."""

    at: datetime
    key: Key
    row: Row | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What follows from both sides' doings, once all of them are known.

    `latencies_s` holds, for each row that a change made wrong on the site, how long it took until
    the site showed that change or a later one; only of changes that the gateway told. `unreached`
    counts those that it never showed. `crossed` counts departures of members who were back, but
    for less than `CROSSING`. `agreed_at` is when the last row that differed was right again.
    """

    latencies_s: tuple[float, ...] = ()
    unreached: int = 0
    departures_written_wrongly: tuple[int, ...] = ()
    crossed: int = 0
    roles_deleted_wrongly: tuple[int, ...] = ()
    agreed_at: datetime | None = None


@dataclass(slots=True)
class _Line:
    """All that happened to one user or role: first what both sides had, then each change."""

    guild: Row | None
    site: Row | None
    changes: list[GuildChange] = field(default_factory=list)
    writes: list[SiteWrite] = field(default_factory=list)


class Chronicle:
    """Both sides, from a moment at which each was known in full.

    Changes and writes are added in their own order, each side's as often as there is news of it.
    """

    def __init__(self, *, guild: Iterable[Row], site: Iterable[Row]) -> None:
        self._guild = {key_of(row): row for row in guild}
        self._site = {key_of(row): row for row in site}
        keys = self._guild.keys() | self._site.keys()
        self._differing = {key for key in keys if not self._agree(key)}
        self._lines: dict[Key, _Line] = {}
        self.changed: set[Key] = set(self._differing)
        self.events = 0

    @property
    def differing(self) -> int:
        """Return in how many rows the two sides differ as far as is known."""
        return len(self._differing)

    @property
    def users_changed(self) -> int:
        """Return how many users differed at first or were changed since."""
        return sum(key.what == "user" for key in self.changed)

    def add_changes(self, changes: Iterable[GuildChange]) -> None:
        """Take in what was done to the guild; whoever held a deleted role loses it."""
        for change in changes:
            self.events += change.told
            self._change(change)
            if change.key.what == "role" and change.row is None:
                for key, row in [*self._guild.items()]:
                    if isinstance(row, UserRow) and change.key.id in row.roles:
                        rest = tuple(role for role in row.roles if role != change.key.id)
                        self._change(replace(change, key=key, row=replace(row, roles=rest)))

    def add_writes(self, writes: Iterable[SiteWrite]) -> None:
        """Take in what was written on the site."""
        for write in writes:
            self._line(write.key).writes.append(write)
            _put(self._site, write.key, write.row)
            self._judge(write.key)

    def findings(self) -> Findings:
        """Go through all that happened, user by user and role by role."""
        found = _Found()
        for key, line in self._lines.items():
            found.add(key, line)
        return Findings(
            latencies_s=tuple(sorted(found.latencies_s)),
            unreached=found.unreached,
            departures_written_wrongly=tuple(found.departures),
            crossed=found.crossed,
            roles_deleted_wrongly=tuple(found.roles),
            agreed_at=max(found.agreed, default=None),
        )

    def _change(self, change: GuildChange) -> None:
        self._line(change.key).changes.append(change)
        self.changed.add(change.key)
        _put(self._guild, change.key, change.row)
        self._judge(change.key)

    def _line(self, key: Key) -> _Line:
        line = self._lines.get(key)
        if line is None:
            line = _Line(guild=self._guild.get(key), site=self._site.get(key))
            self._lines[key] = line
        return line

    def _judge(self, key: Key) -> None:
        if self._agree(key):
            self._differing.discard(key)
        else:
            self._differing.add(key)

    def _agree(self, key: Key) -> bool:
        return agree(site=self._site.get(key), guild=self._guild.get(key))


def agree(*, site: Row | None, guild: Row | None) -> bool:
    """Tell whether the site's row is the one due; of who is gone it only has to say so.

    Roles are compared as sets.
    """
    if guild is None:
        return site is None or (isinstance(site, UserRow) and not site.in_guild)
    if isinstance(site, UserRow) and isinstance(guild, UserRow) and site != guild:
        return set(site.roles) == set(guild.roles) and replace(site, roles=guild.roles) == guild
    return site == guild


def key_of(row: Row) -> Key:
    """Return whose row it is."""
    return Key("user" if isinstance(row, UserRow) else "role", row.id)


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """Return the least value that so large a share of all does not exceed; None of nothing."""
    return ascending[math.ceil(share * len(ascending)) - 1] if ascending else None


def most_in(moments: Iterable[datetime], span: timedelta) -> int:
    """Return how many of these moments at most lie within one span."""
    ordered = sorted(moments)
    most = first = 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] >= span:
            first += 1
        most = max(most, last - first + 1)
    return most


@dataclass(slots=True)
class _Found:
    """The findings while they are being made."""

    latencies_s: list[float] = field(default_factory=list)
    unreached: int = 0
    departures: list[int] = field(default_factory=list)
    crossed: int = 0
    roles: list[int] = field(default_factory=list)
    agreed: list[datetime] = field(default_factory=list)

    def add(self, key: Key, line: _Line) -> None:
        """Go through one line in the order of time, a change before a write of the same moment."""
        guild, site = line.guild, line.site
        back_since: datetime | None = None
        waiting: list[GuildChange] = []
        for step in _in_order(line):
            agreed = agree(site=site, guild=guild)
            if isinstance(step, GuildChange):
                back_since = step.at if guild is None else back_since
                guild = step.row
                if not agree(site=site, guild=guild):
                    waiting.append(step)
                    continue
                shown = len(waiting)
            else:
                self._against(key, site, step, guild, back_since)
                site = step.row
                matching = [n for n, w in enumerate(waiting) if agree(site=site, guild=w.row)]
                shown = matching[-1] + 1 if matching else 0
            self.latencies_s += [
                (step.at - w.at).total_seconds() for w in waiting[:shown] if w.told
            ]
            del waiting[:shown]
            if not agreed and agree(site=site, guild=guild):
                self.agreed.append(step.at)
        self.unreached += sum(w.told for w in waiting)

    def _against(
        self,
        key: Key,
        site: Row | None,
        write: SiteWrite,
        guild: Row | None,
        back_since: datetime | None,
    ) -> None:
        if guild is None:
            return
        if isinstance(write.row, UserRow):
            was_in = site is None or (isinstance(site, UserRow) and site.in_guild)
            if write.row.in_guild or not was_in:
                return
            if back_since is not None and write.at - back_since < CROSSING:
                self.crossed += 1
            else:
                self.departures.append(key.id)
        elif write.row is None and key.what == "role":
            self.roles.append(key.id)


def _in_order(line: _Line) -> Iterator[GuildChange | SiteWrite]:
    changes = [((change.at, 0), change) for change in line.changes]
    writes = [((write.at, 1), write) for write in line.writes]
    steps: list[tuple[tuple[datetime, int], GuildChange | SiteWrite]] = [*changes, *writes]
    steps.sort(key=lambda step: step[0])
    return iter([step for _, step in steps])


def _put(rows: dict[Key, Row], key: Key, row: Row | None) -> None:
    if row is None:
        rows.pop(key, None)
    else:
        rows[key] = row
