"""What was written, looked at again: by digests, every row, or answers and a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._core.messages.progress import Phase
from .._core.policy.verification import Positions, Verification, look
from .comparing import put_in_order
from .progress import AT_WORK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection
    from collections.abc import Set as AbstractSet

    from .._core.model.members import UserId
    from .._core.plan.planner import Plan, Planner
    from .._core.policy.verification import Look
    from .._core.site.wire import Page
    from .comparing import Comparing
    from .digests import Digests
    from .progress import Progress
    from .requester import Services
    from .runner import Runner
    from .site_reader import SiteReader
    from .work_queue import WorkQueue

_READ_ONE_BY_ONE: Final = 20


class Verifier:
    """Compares what a run has written with the guild once more.

    `positions` is where rows stand, if that is known: pages by number can be read by themselves
    then. `pages_of` returns pages that hold the rows of all these ids, and maybe others. A `probe`
    of the breaker takes no site's word for anything.
    """

    def __init__(
        self,
        services: Services,
        runner: Runner,
        reader: SiteReader,
        comparing: Comparing,
        progress: Progress,
        *,
        digests: Digests,
        queue: WorkQueue,
        probe: bool,
    ) -> None:
        self._services = services
        self._runner = runner
        self._reader = reader
        self._comparing = comparing
        self._digests = digests
        self._progress = progress
        self._queue = queue
        self._probe = probe
        self.positions: Positions | None = None
        self.pages_of: Callable[[Collection[UserId]], AsyncIterator[Page]] = reader.pages_with

    async def still_differing(
        self, ids: Collection[UserId], *, departing: AbstractSet[UserId], again: bool
    ) -> Plan:
        """Read rows of these ids back and compare; ids that changed meanwhile are left out.

        Not before every write of them was answered, or has ended unanswered. What was sent `again`
        is read row by row.
        """
        self._progress.show(phase=Phase.VERIFYING)
        if self._services.writes.ends_in_s(ids):
            self._progress.show(slow=AT_WORK)
            await self._runner.requests.waited_out(ids)
            self._progress.show(slow=None)
        planner = await self._read(ids, again=again)
        await self._runner.requests.prove()
        # Others were not planned, and so neither confirmed nor counted by any gate.
        planner.add_departures(id_ for id_ in planner.absent if id_ in departing)
        return planner.plan(without=self._queue.noted)

    async def _read(self, ids: Collection[UserId], *, again: bool) -> Planner:
        if len(ids) > _READ_ONE_BY_ONE and (pages := self._look(ids, again=again)) is not None:
            planner = await self._read_pages(pages)
            is_right = not planner.plan().total and not planner.absent
            if is_right or not pages.is_sample:
                self._note(pages)
                return planner
        if len(ids) > _READ_ONE_BY_ONE and self._digests.offered:
            compared = await self._compare_digests(ids)
            if compared is not None:
                self._progress.show(verification=Verification.DIGESTS)
                return compared
        planner = self._comparing.planner()
        await self._add(planner, ids)
        self._progress.show(verification=Verification.ROWS)
        return planner

    async def _compare_digests(self, ids: Collection[UserId]) -> Planner | None:
        """Compare digests, and of these ids the rows in ranges that differ; None if most do."""
        found = await self._digests.compare()
        if found is None:
            return None
        planner = self._comparing.planner()
        async for rows in self._digests.rows(found.ranges):
            await self._comparing.compare(planner, (row for row in rows if row.id in ids))
        for range_ in found.ranges:
            await self._comparing.add_missing(planner, self._digests.ids(range_), among=ids)
        return planner

    def _look(self, ids: Collection[UserId], *, again: bool) -> Look | None:
        """Return which pages to read, where it need not be all that hold these ids."""
        if self.positions is None:
            return None
        is_sure = not (again or self._probe or self._runner.requests.doubts)
        return look(
            ids,
            self.positions,
            size=self._reader.page_items,
            answered=self._runner.answered if is_sure else frozenset(),
            chance=self._services.chance,
        )

    def _note(self, pages: Look) -> None:
        if pages.is_sample:
            self._progress.show(verification=Verification.SAMPLE, sampled=len(pages.expected))
        else:
            self._progress.show(verification=Verification.ROWS)

    async def _read_pages(self, pages: Look) -> Planner:
        """Compare these pages; what is not where it should be is looked for."""
        planner = self._comparing.planner()
        numbered = self._reader.numbered(pages.pages, size=self._reader.page_items)
        async for page in numbered:
            rows = (row for row in page.rows if row.id in pages.expected)
            await self._comparing.compare(planner, rows)
        await self._add(planner, frozenset(planner.seen.lacks(sorted(pages.expected))))
        return planner

    async def _add(self, planner: Planner, ids: Collection[UserId]) -> None:
        """Compare the rows of these ids, wherever they stand, and plan those that are not there."""
        if len(ids) <= _READ_ONE_BY_ONE:
            for id_ in sorted(ids):
                row = await self._reader.user(id_)
                if row is not None:
                    await self._comparing.compare(planner, (row,))
        else:
            async for page in self.pages_of(ids):
                await self._comparing.compare(planner, (row for row in page.rows if row.id in ids))
        await self._comparing.add_missing(planner, await put_in_order([*ids]))
