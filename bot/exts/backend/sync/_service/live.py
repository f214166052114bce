"""Live changes: events only mark who changed; one worker brings their state of now to the site.

The worker sends one request at a time, of one kind, with a pause behind each: so a steady stream
costs the site a few writes a second however dense it is, and no id waits for more than a turn of
each kind. What is too much for that goes as a run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from .._core.delivery import chunks
from .._core.model.members import ALL_FIELDS, Field
from .._core.plan.planner import Group, Kind
from .._core.plan.waiting import Waiting
from .._core.policy.pace import Pace
from .._core.policy.patience import Failure, FailureKind
from .._errors import RunStoppedError
from .._runs.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from .._core.model.members import RoleId, UserId
    from .._core.plan.planner import DepartureLimits
    from .._core.plan.waiting import Taken
    from .._core.policy.pace import PaceLimits
    from .._ports import Clock, Guild
    from .._runs.runner import Parts
    from .._state.parking import Parking

log = structlog.get_logger(__name__)

RUN_ABOVE: Final = 1000  # ids in one drain: more are a run, with an attempt and a live message
_PAUSE_S: Final = 0.27  # from one write to the next: fewer than four a second
_BUSY_PAUSE_S: Final = 0.6
_BUSY_IDS: Final = 250  # sent within `_BUSY_S`: more of them make it busy
_BUSY_S: Final = 2.0
_BACKOFFS: Final = 5  # of a run's first one, behind each failure in a row
_TRIES: Final = 3


class Dirty:
    """What events have marked and the site may not know yet.

    `noted` collects every id marked since a run began, so that the run does not judge what is
    changing under its eyes. `overflow` is called for what only a full sync can bring to the site,
    as when more than `limit` ids would have waited.
    """

    def __init__(
        self, *, clock: Clock, limit: int, overflow: Callable[[], None], in_order: bool
    ) -> None:
        self._clock = clock
        self.waiting = Waiting(limit=limit, in_order=in_order)
        self.roles: set[RoleId] = set()
        self._roles_on_their_way: frozenset[RoleId] = frozenset()
        self.noted: set[UserId] = set()
        self.overflow = overflow
        self._marked = asyncio.Event()

    def __len__(self) -> int:
        return len(self.waiting) + len(self.roles | self._roles_on_their_way)

    @property
    def users(self) -> AbstractSet[UserId]:
        """The members who wait or are on their way."""
        return self.waiting.unsettled

    def mark(self, ids: Iterable[UserId]) -> None:
        """Mark members whose values changed, or whose state is not known."""
        ids = tuple(ids)
        self.noted.update(ids)
        self._note(all_wait=self.waiting.changed(ids, now=self._clock.monotonic()))

    def mark_joined(self, id_: UserId) -> None:
        """Mark a member whom the site may not know yet."""
        self.noted.add(id_)
        self._note(all_wait=self.waiting.joined(id_, now=self._clock.monotonic()))

    def mark_left(self, id_: UserId) -> None:
        """Mark a member who was seen leaving."""
        self.noted.add(id_)
        self._note(all_wait=self.waiting.left(id_, now=self._clock.monotonic()))

    def mark_role(self, id_: RoleId) -> None:
        """Mark a role that was created or changed."""
        self.roles.add(id_)
        self._marked.set()

    @contextmanager
    def taking_roles(self) -> Iterator[frozenset[RoleId]]:
        """Take all roles that wait, to be written in here; they wait again if that fails."""
        taken = self._roles_on_their_way = frozenset(self.roles)
        self.roles.clear()
        try:
            yield taken
        except BaseException:
            self.roles |= taken
            raise
        finally:
            self._roles_on_their_way = frozenset()

    def put_back(self, taken: Taken) -> None:
        """Let ids wait again that were taken and could not be sent."""
        self._note(all_wait=self.waiting.put_back(taken))

    def _note(self, *, all_wait: bool) -> None:
        self._marked.set()
        if not all_wait:
            log.warning("sync.dirty.overflowed", limit=self.waiting.limit)
            self.overflow()

    async def wait(self) -> None:
        """Wait until something is marked."""
        while not len(self):
            self._marked.clear()
            await self._marked.wait()


class LiveUpdates:
    """The worker that drains the dirty ids, for as long as the extension is loaded.

    `begin_run` starts a run that takes all that waits, once one may start; it is called when more
    than `run_above` ids of a kind wait. `want` asks for a full sync, with its reason.
    """

    def __init__(
        self,
        parts: Parts,
        dirty: Dirty,
        *,
        pace: PaceLimits,
        run_above: int,
        new_run_id: Callable[[], str],
        parking: Parking,
        begin_run: Callable[[], Awaitable[None]],
        give_up: Callable[[], Awaitable[None]],
        want: Callable[[str], None],
    ) -> None:
        self._parts = parts
        self._clock = parts.clock
        self._dirty = dirty
        self._pace = Pace.start(pace)
        self._run_above = run_above
        self._new_run_id = new_run_id
        self._parking = parking
        self._begin_run = begin_run
        self._give_up = give_up
        self._want = want
        self._wrote = (float("-inf"), 0.0)  # when the latest write began, and how long it took
        self._sent: deque[tuple[float, int]] = deque()
        self._behind = False

    async def run_forever(self) -> None:
        """Drain whenever something is marked; after three failures in a row, ask for a run."""
        failures = 0
        while True:
            await self._dirty.wait()
            await self._clock.sleep(self._pause_left_s())
            lacking = self._parts.writes.lacking
            try:
                await self._drain()
            except RunStoppedError as exc:
                if exc.failure.kind is FailureKind.REFUSED:
                    await self._parts.ledger.refuse(exc.failure.reason)
                failures += 1
                log.warning("sync.drain.failed", error=str(exc), failures=failures)
                if failures == _TRIES:
                    await self._give_up()
                    failures = 0
                backoff_s = self._parts.patience.backoff.total_seconds()
                await self._clock.sleep(_BACKOFFS * backoff_s * failures)
            else:
                failures = 0
            self._tell_of_roles(lacking, self._parts.writes.lacking)
            self._parts.telemetry.waiting(len(self._dirty))

    def _tell_of_roles(self, before: AbstractSet[RoleId], now: AbstractSet[RoleId]) -> None:
        """Ask for a full sync if the site takes a role now that it did not, or the other way.

        That writes the rows of its holders, or says in mod-log why they are written without it.
        """
        if before - now:
            self._want("because the site takes a role that it did not take before")
        elif now - before:
            self._want("because the site does not take a role")

    def _pause_left_s(self) -> float:
        """Return for how long no live change may be written yet."""
        now = self._clock.monotonic()
        while self._sent and self._sent[0][0] < now - _BUSY_S:
            self._sent.popleft()
        # While it is behind, larger requests have yet to be learnt; till then more of them go.
        busy = sum(ids for _, ids in self._sent) > _BUSY_IDS and not self._behind
        pause_s = _BUSY_PAUSE_S if busy else _PAUSE_S
        began, took = self._wrote
        # From one beginning to the next; a slow site has as long to itself as a write took.
        return max(0.0, began + max(pause_s, 2 * took) - now)

    async def _drain(self) -> None:
        """Bring some of what waits to the site: roles first, then what has waited longest."""
        proof = await self._parts.guild.prove()
        if not proof.members:
            raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=proof.reason))
        await self._parts.gate.admitted(None)
        waiting = self._dirty.waiting
        if self._dirty.roles:
            await self._bring_roles()
            return
        if waiting.most > self._run_above:
            await self._begin_run()
            return
        kind = waiting.next()
        if kind is None:
            return
        taken = waiting.take(kind, self._pace.items)
        self._behind = waiting.count(kind) > 0
        try:
            await self._bring(taken)
        except BaseException:
            self._dirty.put_back(taken)
            raise
        waiting.done(taken)

    async def _bring_roles(self) -> None:
        """Write each marked role that there still is."""
        runner = Runner(self._parts, self._new_run_id(), attempt=False)
        with self._dirty.taking_roles() as ids:
            refused = await runner.write_roles(ids, known=True)
        log.info("sync.drain.finished", kind="roles", ids=len(ids), refused=refused)

    async def _bring(self, taken: Taken) -> None:
        """Bring ids of one kind to the site in one request, if nothing is wrong with them."""
        run_id = self._new_run_id()
        runner = Runner(self._parts, run_id, attempt=False)
        await runner.prove()
        held = await self._parking.held()
        ids = tuple(id_ for id_ in taken.ids if id_ not in held)
        began = self._clock.monotonic()
        try:
            delivery = await runner.deliver(
                chunks.start(
                    (group_of(taken.kind, ids),),
                    pace=self._pace,
                    patience=runner.patience,
                    witness=None,
                    known_parked=self._parking.known,
                )
            )
        finally:
            # What it took the site, and not how long it waited for a breaker or for its turn.
            self._wrote = (self._clock.monotonic() - runner.latest_s, runner.latest_s)
            self._sent.append((began, len(ids)))
        refused = {row.id for row in delivery.parked}
        written = [id_ for id_ in ids if id_ not in refused and id_ not in {*delivery.left_out}]
        await self._parking.settle(delivery.parked, taken=written, run_id=run_id)
        self._learn(delivery.pace, rows=len(ids))
        if taken.kind is Kind.CREATE:
            self._dirty.mark(written)  # those that were rows already have not been written by it
        if delivery.left_out:
            await runner.prove()
            await look_after(
                delivery.left_out,
                kind=taken.kind,
                guild=self._parts.guild,
                dirty=self._dirty,
                limits=self._parts.departures,
            )
        log.info(
            "sync.drain.finished",
            kind=taken.kind.value,
            ids=len(taken.ids),
            written=len(written),
            left_out=len(delivery.left_out),
            parked=[{"id": row.id, "reason": row.reason} for row in delivery.parked],
        )

    def _learn(self, pace: Pace, *, rows: int) -> None:
        """Keep what the request taught: a small one that went well says nothing of large ones."""
        if pace.ceiling < self._pace.ceiling or rows * 2 > self._pace.items:
            self._pace = pace


async def look_after(
    ids: Collection[UserId], *, kind: Kind, guild: Guild, dirty: Dirty, limits: DepartureLimits
) -> None:
    """Mark anew whoever was left out of a request, for the guild said otherwise by then.

    Raises `RunStoppedError` if Discord does not say who of them has left. Too many are not asked
    about: it takes a sync that compares all rows, and a moderator, to believe in their departure.
    """
    present = await guild.members(ids)
    dirty.mark(present)
    unknown = dirty.waiting.unknown(ids, kind=kind, present=present)
    if not unknown:
        return
    if len(unknown) > limits.minimum:
        log.warning("sync.members.unknown", ids=len(unknown))
        dirty.overflow()
        return
    gone = await guild.departed(unknown)
    if gone is None:
        reason = "Discord did not answer who has left"
        raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=reason))
    for id_ in gone:
        dirty.mark_left(id_)
    dirty.mark(set(unknown) - gone)


def group_of(kind: Kind, ids: tuple[UserId, ...]) -> Group:
    """Return ids as a delivery takes them: whatever changed, all that is known goes with it."""
    fields = (Field.IN_GUILD,) if kind is Kind.DEPARTURE else ALL_FIELDS
    return Group(kind=kind, fields=fields, ids=ids)
