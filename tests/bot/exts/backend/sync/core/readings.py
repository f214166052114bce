"""The two sides of a merge as they are read, and what comparing them whole finds."""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from bot.exts.backend.sync._core.model.members import Member, UserId
from bot.exts.backend.sync._core.plan.merging import Merge, Window
from bot.exts.backend.sync._core.plan.planner import Plan, Planner


@dataclass(kw_only=True)
class Reading:
    """A side of which pages can be asked for: after an id, or by their number."""

    rows: dict[UserId, Member]
    size: int
    by_number: bool = False
    pages: int = 0
    at_most: int = field(default=0)

    def page(self, after: UserId) -> tuple[tuple[Member, ...], bool]:
        """Return the next page, and whether it is the last."""
        ordered = sorted(self.rows.values(), key=lambda row: row.id)
        start = self.pages * self.size
        if not self.by_number:
            start = bisect_right(ordered, after, key=lambda row: row.id)
        self.pages += 1
        return tuple(ordered[start : start + self.size]), start + self.size >= len(ordered)


def windows(merge: Merge, guild: Reading, site: Reading) -> Iterator[tuple[Window, Merge]]:
    """Go through a merge, reading each side only when it is wanted."""
    while not merge.ended:
        while merge.wants_members:
            page, ended = guild.page(merge.guild.through)
            merge = merge.with_members(page, ended=ended)
        while merge.wants_rows:
            page, ended = site.page(merge.site.through)
            merge = merge.with_rows(page, ended=ended)
        window, merge = merge.window()
        yield window, merge


def by_id(rows: Collection[Member]) -> dict[UserId, Member]:
    """Return rows by id."""
    return {row.id: row for row in rows}


def plain(plan: Plan) -> tuple[object, ...]:
    """Return what a plan says, whatever the order in which it was found."""
    return (
        {(group.kind, group.fields): frozenset(group.ids) for group in plan.groups},
        frozenset(plan.causes),
        plan.total,
        plan.rows,
        plan.in_guild_rows,
    )


def whole(guild: Mapping[UserId, Member], site: Mapping[UserId, Member]) -> Planner:
    """Compare both sides as a cache allows it: all at once."""
    planner = Planner()
    planner.add_rows(site.values(), guild)
    planner.add_missing(guild)
    return planner
