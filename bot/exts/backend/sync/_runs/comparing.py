"""Rows of the site held against the guild, a slice at a time, so that nobody waits for it."""

from __future__ import annotations

from array import array
from itertools import islice
from typing import TYPE_CHECKING, Final

from .._clock import give_way
from .._core.model.changes import Kind
from .._core.model.ids import in_order
from .._core.plan.planner import Planner

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from .._core.model.members import Member, RoleId, UserId
    from .._core.plan.diff import RoleDiff
    from .._core.plan.merging import Window
    from .._core.plan.planner import Plan
    from .digests import Digests
    from .plan_file import PlanFile
    from .requester import Requester, Services
    from .withholding import Withholding

_SLICE: Final = 250  # rows compared before other tasks get their turn


class Comparing:
    """The comparisons of one run; what a dry one finds goes to its `file`.

    Where the site's `digests` are believed, rows differ by the order of their roles, too.
    """

    def __init__(
        self,
        services: Services,
        requests: Requester,
        withholding: Withholding,
        *,
        digests: Digests,
        file: PlanFile | None,
    ) -> None:
        self._services = services
        self._requests = requests
        self._withholding = withholding
        self._digests = digests
        self.file = file

    def planner(self) -> Planner:
        """Return a new plan's planner, for which roles that the site is lacking don't differ."""
        return Planner(lacking=self._services.writes.lacking, as_stored=self._digests.offered)

    async def compare(self, planner: Planner, rows: Iterable[Member]) -> int:
        """Add rows to a plan; return how many of them it had not seen."""
        new = 0
        rows = tuple(rows)
        for start in range(0, len(rows), _SLICE):
            part = rows[start : start + _SLICE]
            await self._requests.prove()
            members = await self._services.guild.members(row.id for row in part)
            self._withholding.note(part, members)
            if self.file is not None:
                self.file.compared(
                    part, members, lacking=planner.lacking, as_stored=planner.as_stored
                )
            if self._services.hashes is not None:
                self._services.hashes.read(part, members)
            new += planner.add_rows(part, members)
            await give_way()
        return new

    async def add_missing(
        self,
        planner: Planner,
        ids: Iterable[int],
        *,
        among: Collection[UserId] | None = None,
    ) -> None:
        """Plan the creation of those of these ids who are members, and of whom no row was read.

        They ascend. Of all of them, or only `among` these.
        """
        coming = iter(ids)
        while part := tuple(islice(coming, _SLICE)):
            rest = planner.seen.lacks(part)
            if among is not None:
                rest = [id_ for id_ in rest if id_ in among]
            if rest:
                await self._requests.prove()
                members = await self._services.guild.members(rest)
                planner.add_missing(members)
                if self._services.hashes is not None:
                    self._services.hashes.missed(members)
            await give_way()

    def note(self, window: Window) -> None:
        """Keep what people may want to see of a window that was compared elsewhere."""
        present = {member.id: member for member in window.members}
        self._withholding.note(window.rows, present)
        if self.file is not None:
            self.file.compared(window.rows, present, lacking=self._services.writes.lacking)
            known = {row.id for row in window.rows}
            self.file.created(m for id_, m in present.items() if id_ not in known)

    async def complete(
        self, file: PlanFile, plan: Plan | None, roles: RoleDiff, names: Mapping[RoleId, str]
    ) -> None:
        """Add to the file what no comparison of two rows has found."""
        file.roles(roles, names)
        for group in () if plan is None else plan.groups:
            if group.kind is Kind.DEPARTURE:
                file.departed(group.ids)
            for start in range(0, len(group.ids) if group.kind is Kind.CREATE else 0, _SLICE):
                await self._requests.prove()
                members = await self._services.guild.members(group.ids[start : start + _SLICE])
                file.created(members.values())
                await give_way()


async def put_in_order(ids: Sequence[int]) -> array[int]:
    """Return ids ascending."""
    ordered = array("Q")
    await give_way()  # to list a million was a step of its own
    for part in in_order(ids):
        ordered.extend(part)
        await give_way()
    return ordered
