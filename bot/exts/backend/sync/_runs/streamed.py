"""The pass over a guild whose members aren't cached: one round, read and written as it goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from .._clock import give_way
from .._core.messages.progress import Phase
from .._core.plan.merging import NONE, DisorderError, Stretch
from .._core.plan.planner import Causes, Planner
from .._core.plan.rounds import Bookmark, Round, is_whole
from .._core.policy.request_backoff import Failure, FailureKind
from .._errors import RunStoppedError
from .._ports import Proof
from .passes import role_names
from .site_reader import protocol_failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from .._core.model.members import Member, RoleId, UserId
    from .._core.plan.merging import Merge
    from .._core.plan.planner import Plan
    from .._core.site.reading import Cursor
    from .._core.site.wire import Page
    from .._ports import PagedGuild
    from .passes import Parts
    from .snapshot import PageSnapshot

log = structlog.get_logger(__name__)

_STRETCH_ROWS: Final = 20_000
_BEGINNINGS: Final = 5
_BARREN: Final = 3


class StreamedPass:
    """One round, stretch by stretch, in constant memory; `parts` read the guild by `snapshot`.

    Each stretch is compared, written and looked at again before the next one is read. A change
    that is heard of meanwhile is left to the live changes: it is newer than the page that was read.
    """

    def __init__(self, parts: Parts, guild: PagedGuild, snapshot: PageSnapshot) -> None:
        self._parts = parts
        self._clock = parts.services.clock
        self._progress = parts.progress
        self._reader = parts.reader
        self._guild = guild
        self._snapshot = snapshot
        parts.verifier.pages_of = self._pages_of
        self._names: Mapping[RoleId, str] = {}
        self._causes = Causes()
        self._drifted = Causes()
        self._drifted_rows = 0
        self._stretch_began: Cursor | None = None
        self._begun = 0

    async def tell_of_source(self, _proof: Proof) -> None:
        """Wait with it: how much of the guild can be read is seen at the end of the round."""

    async def bring_users(
        self, names: Mapping[RoleId, str], _proof: Proof, *, roles: int
    ) -> Plan | None:
        """Go round, then write the departures that it allows; return the plan of those."""
        self._names = names
        self._progress.due = roles > 0
        try:
            round_ = await self._go_round()
        finally:
            self._snapshot.close()
        return await self._end_round(round_)

    # -- one round --------------------------------------------------------------------------------

    async def _go_round(self) -> Round:
        round_ = self._begin_round(self._bookmarked())
        while not round_.ended:
            round_ = await self._go_on(round_)
        return round_

    def _bookmarked(self) -> UserId:
        bookmark = self._parts.services.repository.state.bookmark
        return bookmark.through if bookmark and bookmark.is_fresh(self._clock.now()) else NONE

    def _begin_round(self, after: UserId) -> Round:
        self._begun += 1
        if self._begun > _BEGINNINGS:
            raise _no_source(f"Discord began {_BEGINNINGS} sessions while they were read")
        round_ = Round.begin(after, epoch=self._snapshot.epoch)
        log.info("sync.round.begun", after=round_.began_after, epoch=round_.epoch)
        return round_

    async def _go_on(self, round_: Round) -> Round:
        """Go on to the end of the leg; return the round that then has to go on.

        It is another one if a new epoch began meanwhile.
        """
        await self._parts.requests.prove()
        merge = round_.merge(by_id=self._reader.offers.pages_by_id)
        cursor = self._reader.begin(after=merge.site.through)
        while not merge.ended and self._snapshot.epoch == round_.epoch:
            self._stretch_began = cursor.again_after(merge.after)
            merge, cursor, stretch = await self._read_stretch(round_, merge, cursor)
            if self._snapshot.epoch != round_.epoch:
                break
            await self._bring(stretch)
            round_.passed(stretch)
            if not self._parts.dry:
                place = Bookmark(through=round_.after, at=self._clock.now())
                await self._parts.services.repository.put_bookmark(place)
        if self._snapshot.epoch == round_.epoch:
            return round_
        await self._parts.requests.prove()
        return self._begin_round(round_.after)

    async def _read_stretch(
        self, round_: Round, merge: Merge, cursor: Cursor
    ) -> tuple[Merge, Cursor, Stretch]:
        """Read and compare until there is enough to write, or the leg ends."""
        self._snapshot.begin_stretch()
        self._progress.show(phase=Phase.COMPARING)
        planner = self._parts.comparing.planner()
        stretch = Stretch(through=merge.after, planner=planner)
        while not merge.ended and not stretch.is_long(
            members=self._parts.writer.limits.max_items, rows=_STRETCH_ROWS
        ):
            merge, cursor = await self._read_on(merge, cursor)
            window, merge = merge.window()
            stretch.add(window, moving=self._snapshot.heard)
            self._parts.comparing.note(window)
            self._progress.show(
                compared=round_.members + stretch.read,
                rows_read=self._progress.view.rows_read + len(window.rows),
            )
            await give_way()
        return merge, cursor, stretch

    async def _read_on(self, merge: Merge, cursor: Cursor) -> tuple[Merge, Cursor]:
        """Read whichever side a window has to wait for, both at once if it is both."""
        if not merge.wants_members:
            return await self._read_rows(merge, cursor)
        reading = asyncio.ensure_future(self._read_members(merge.guild.through))
        try:
            merge, cursor = await self._read_rows(merge, cursor)
            members = await reading
        except BaseException:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            raise
        try:
            merge = merge.with_members(members, ended=not members)
        except DisorderError as exc:
            raise _no_source(str(exc)) from exc
        if merge.guild.barren:
            raise _no_source(f"the page after id {merge.guild.through} repeats others")
        return merge, cursor

    async def _read_members(self, after: UserId) -> tuple[Member, ...]:
        return await self._parts.requests.wait(self._snapshot.page(after))

    async def _read_rows(self, merge: Merge, cursor: Cursor) -> tuple[Merge, Cursor]:
        while merge.wants_rows:
            page, cursor = await self._reader.page(cursor)
            try:
                merge = merge.with_rows(page.rows, ended=page.next is None)
            except DisorderError as exc:
                raise protocol_failure(f"GET bot/users: {exc}") from exc
            # Rows that were created here have pushed so many pages' rows onto others.
            if merge.site.barren > _BARREN + self._progress.view.tally.created // cursor.size:
                raise protocol_failure(
                    f"{merge.site.barren} pages of GET bot/users repeat rows already read"
                )
            cursor = await self._reader.past(cursor, page)
        return merge, cursor

    async def _bring(self, stretch: Stretch) -> None:
        """Write what differs in a stretch, and look at it again."""
        self._snapshot.values = stretch.members
        plan = await self._planned(stretch.planner)
        self._parts.services.writes.witnessed(stretch.planner.witness)
        if not self._parts.dry:
            await self._parts.writer.write(plan, stretch.planner.witness)

    async def _planned(self, planner: Planner) -> Plan:
        """Return the plan without what is parked, and count it among all that is planned."""
        whole = planner.plan()
        among = {id_ for group in whole.groups for id_ in group.ids}
        held = await self._parts.parking.held(among)
        plan = planner.plan(without=held)
        if self._parts.drift is not None:
            unexplained = self._parts.drift.unexplained(planner, held)
            self._drifted_rows += unexplained.total
            self._drifted.add(unexplained.causes)
        self._causes.add(plan.causes)
        causes = self._causes.largest_first()
        self._progress.due = self._progress.due or bool(plan.total)
        self._progress.show(
            planned=self._progress.view.planned + plan.total,
            still_parked=self._progress.view.still_parked + len(held),
            causes=causes,
            role_names=role_names(causes, self._names),
        )
        return plan

    def _pages_of(self, ids: Collection[UserId]) -> AsyncIterator[Page]:
        """Read the pages of these ids alone, from where the stretch began."""
        return self._reader.pages_with(ids, began=self._stretch_began)

    # -- after the round --------------------------------------------------------------------------

    async def _end_round(self, round_: Round) -> Plan | None:
        """Judge whether all members were read, and write the departures that this allows.

        Return the plan of them.
        """
        plan = None
        await self._parts.requests.prove()
        proof = _proof(round_, told=self._guild.count)
        log.info(
            "sync.round.ended",
            complete=proof.complete,
            reason=proof.reason,
            absent=len(round_.absent) + round_.beyond,
        )
        await self._parts.tell_of_source(proof)
        self._progress.show(members=round_.members, phase=Phase.ASKING)
        if round_.beyond:
            self._progress.show(
                withheld=len(round_.absent) + round_.beyond,
                withheld_reason="So many departures are not accepted without a moderator.",
            )
        else:
            planner = Planner(absent=round_.absent, in_guild_rows=round_.in_guild_rows)
            await self._parts.withholding.add(planner, proof)
            plan = await self._planned(planner)
            self._stretch_began = None
            if not self._parts.dry:
                await self._parts.writer.write(plan, None)
        if self._parts.drift is not None:
            self._parts.drift.note(self._drifted_rows, self._drifted.largest_first())
        if not self._parts.dry:
            await self._parts.services.repository.put_bookmark(None)
        return plan


def _proof(round_: Round, *, told: int | None) -> Proof:
    reason = f"{round_.members:,} members from REST"
    complete = is_whole(round_.members, told)
    if not complete:
        reason += (
            f", but Discord counts {told:,}" if told is not None else ", and Discord gives no count"
        )
    return Proof(complete=complete, reason=reason, members=round_.members)


def _no_source(reason: str) -> RunStoppedError:
    return RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=reason))
