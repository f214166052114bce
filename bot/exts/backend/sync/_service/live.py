"""Live changes: events only mark who changed; one worker brings their state of now to the site.

The worker sends one request at a time, of one kind, with a pause behind each that follows from how
quickly the site answers (`policy.turns`): so a steady stream costs the site a few writes a second
however dense it is, and no id waits for more than a turn of each kind. What is too much for that
goes as a run.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import structlog

from .._core.delivery import chunks
from .._core.model.changes import Kind
from .._core.policy.pace import Pace
from .._core.policy.request_backoff import Failure, FailureKind
from .._core.policy.turns import pause_s
from .._errors import RunStoppedError
from .._runs.runner import Runner
from .._runs.work_queue import WorkQueue, group_of, look_after

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from collections.abc import Set as AbstractSet

    from .._core.model.members import RoleId
    from .._core.plan.waiting import Claim
    from .._core.policy.pace import PaceLimits
    from .._runs.requester import Services
    from .._state.parking import Parking

log = structlog.get_logger(__name__)

RUN_ABOVE: Final = 1000  # ids in one drain: more are a run, with an attempt and a live message
_BUSY_IDS: Final = 250  # sent within `_BUSY_S`: more of them make it busy
_BUSY_S: Final = 2.0
_BACKOFFS: Final = 5  # of a run's first one, behind each failure in a row
_TRIES: Final = 3
_KEEPS_FAILING: Final = "because live changes kept failing"


class LiveUpdates:
    """The worker that drains the work queue, for as long as the extension is loaded.

    `begin_run` starts a run that takes all that waits, once one may start; it is called when more
    than `run_above` ids of a kind wait. `want` asks for a full sync, with its reason, and
    `until_verified` waits for one.
    """

    def __init__(
        self,
        services: Services,
        queue: WorkQueue,
        *,
        pace: PaceLimits,
        run_above: int,
        new_run_id: Callable[[], str],
        parking: Parking,
        begin_run: Callable[[], Awaitable[None]],
        until_verified: Callable[[], Awaitable[None]],
        want: Callable[[str], None],
    ) -> None:
        self._services = services
        self._clock = services.clock
        self._queue = queue
        self._pace = Pace.start(pace)
        self._run_above = run_above
        self._new_run_id = new_run_id
        self._parking = parking
        self._begin_run = begin_run
        self._until_verified = until_verified
        self._want = want
        self._wrote = (float("-inf"), 0.0)  # when the latest write began, and how long it took
        self._sent: deque[tuple[float, int]] = deque()
        self._behind = False

    async def run_forever(self) -> None:
        """Drain whenever something is marked; after three failures in a row, ask for a run."""
        failures = 0
        while True:
            await self._queue.wait()
            await self._clock.sleep(self._pause_left_s())
            lacking = self._services.writes.lacking
            try:
                await self._drain()
            except RunStoppedError as exc:
                if exc.failure.kind is FailureKind.REFUSED:
                    await self._services.repository.refuse(exc.failure.reason)
                failures += 1
                log.warning("sync.drain.failed", error=str(exc), failures=failures)
                if failures == _TRIES:
                    # Full syncs take the place of drains that keep failing.
                    self._want(_KEEPS_FAILING)
                    await self._until_verified()
                    failures = 0
                backoff_s = self._services.patience.backoff.total_seconds()
                await self._clock.sleep(_BACKOFFS * backoff_s * failures)
            else:
                failures = 0
            self._tell_of_roles(lacking, self._services.writes.lacking)

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
        is_busy = sum(ids for _, ids in self._sent) > _BUSY_IDS and not self._behind
        began, took = self._wrote
        return max(0.0, began + pause_s(took, is_busy=is_busy) - now)

    async def _drain(self) -> None:
        """Bring some of what waits to the site: roles first, then what has waited longest."""
        proof = await self._services.guild.prove()
        if not proof.members:
            raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=proof.reason))
        await self._services.gate.admitted(None)
        waiting = self._queue.waiting
        if self._queue.roles:
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
            self._queue.put_back(taken)
            raise
        waiting.done(taken)

    async def _bring_roles(self) -> None:
        """Write each marked role that there still is."""
        run_id = self._new_run_id()
        runner = Runner(self._services, run_id, attempt=False)
        try:
            with self._queue.taking_roles() as ids:
                refused = await runner.roles.write(ids, known=True)
        finally:
            self._note_write(runner)
        log.info("sync.drain.finished", run_id=run_id, kind="roles", ids=len(ids), refused=refused)

    async def _bring(self, taken: Claim) -> None:
        """Bring ids of one kind to the site in one request, if nothing is wrong with them."""
        run_id = self._new_run_id()
        runner = Runner(self._services, run_id, attempt=False)
        await runner.requests.prove()
        held = await self._parking.held()
        ids = tuple(id_ for id_ in taken.ids if id_ not in held)
        began = self._clock.monotonic()
        try:
            delivery = await runner.deliver(
                chunks.start(
                    (group_of(taken.kind, ids),),
                    pace=self._pace,
                    patience=runner.requests.patience,
                    witness=None,
                    known_parked=self._parking.known,
                )
            )
        finally:
            self._note_write(runner)
            self._sent.append((began, len(ids)))
        unwritten = {row.id for row in delivery.parked}.union(delivery.left_out)
        written = [id_ for id_ in ids if id_ not in unwritten]
        now = self._clock.monotonic()
        waited_s = [now - taken.since[id_] for id_ in written]
        self._services.telemetry.brought(delivery.tally, waited_s)
        await self._parking.settle(delivery.parked, taken=written, run_id=run_id)
        self._learn(delivery.pace, rows=len(ids))
        if taken.kind is Kind.CREATE:
            # Those that were rows already have not been written by it.
            self._queue.mark_created(taken, written)
        if delivery.left_out:
            await runner.requests.prove()
            await look_after(
                delivery.left_out,
                kind=taken.kind,
                guild=self._services.guild,
                queue=self._queue,
                limits=self._services.departures,
            )
        log.info(
            "sync.drain.finished",
            run_id=run_id,
            kind=taken.kind.value,
            ids=len(taken.ids),
            written=len(written),
            left_out=len(delivery.left_out),
            parked=[{"id": row.id, "reason": row.reason} for row in delivery.parked],
        )

    def _note_write(self, runner: Runner) -> None:
        """Note when the latest write began: without what it waited for, a breaker or its turn."""
        took = runner.requests.latest_s
        self._wrote = (self._clock.monotonic() - took, took)

    def _learn(self, pace: Pace, *, rows: int) -> None:
        """Keep what the request taught: a small one that went well says nothing of large ones."""
        if pace.ceiling < self._pace.ceiling or rows * 2 > self._pace.items:
            self._pace = pace
