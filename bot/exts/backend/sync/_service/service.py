"""The service of one process: its parts, over the ports, and what each of them is told.

It syncs one guild for as long as the extension is loaded. What leads, what starts a sync, what
carries it out and what it leaves behind are parts of their own, beside this module.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from .._clock import SteadyClock, deadline
from .._core.messages import alert
from .._errors import StoreError
from .._ports import PagedGuild
from .._runs.gate import Gate
from .._runs.member_hashes import MemberHashes
from .._runs.requester import Services
from .._runs.work_queue import WorkQueue
from .._runs.writes import Writes
from .._state.audit import Audit
from .._state.outbox import Outbox
from .._state.parking import Parking
from .._state.repository import StateRepository
from .._supervision import keep_going
from .closing import Closing
from .leadership import LeaderElector, Leadership
from .live import RUN_ABOVE, LiveUpdates
from .predecessor import Predecessor
from .recovery import Recovery
from .rivals import Rivals
from .scheduler import Scheduler
from .side_channel import SideChannel
from .supervisor import Supervisor
from .upkeep import Upkeep

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Collection, Coroutine

    from .._core.messages.notice import Notice
    from .._core.model.members import RoleId, UserId
    from .._ports import (
        Clock,
        Guild,
        ModLog,
        Site,
        Store,
        Telemetry,
    )
    from .._settings import SyncSettings

log = structlog.get_logger(__name__)

_HAND_OVER_S: Final = 1.0


class SyncService:
    """The syncs of one process; as a `Leader` it does what comes with the lease."""

    def __init__(
        self,
        *,
        clock: Clock,
        chance: random.Random,
        store: Store,
        site: Site,
        guild: Guild,
        mod_log: ModLog,
        telemetry: Telemetry,
        settings: SyncSettings,
        run_above: int = RUN_ABOVE,
    ) -> None:
        # All that is decided here, and all that waits, goes by what really passed.
        self.clock = clock = SteadyClock(clock)
        self._chance = chance
        self._store = store
        self._settings = settings
        self._telemetry = telemetry
        self._guild = guild
        self.mod_log = mod_log = SideChannel(mod_log)
        self.leadership = Leadership()
        self.repository = StateRepository(
            store,
            clock=clock,
            chance=chance,
            limits=settings.state,
            secret=f"{settings.api_url} {settings.site_api_token.get_secret_value()}",
        )
        self.repository.breaker_moved = lambda before, after, run_id: telemetry.breaker_moved(
            before, after, run_id=run_id
        )
        self._outbox = Outbox(self.repository, mod_log, clock)
        self.audit = Audit(self.repository, clock)
        self._rivals = Rivals(clock, lease_s=settings.sync_lease_s)
        self._predecessor = Predecessor(clock, deadline_s=settings.sync_deadline_s)
        self.hashes: MemberHashes | None = None
        self.scheduler = Scheduler(
            clock=clock,
            chance=chance,
            repository=self.repository,
            predecessor=self._predecessor,
            check_every_s=self._check_every_s,
            recheck_s=settings.sync_doubtful_recheck_s,
        )
        self.queue = WorkQueue(
            clock=clock,
            limit=settings.sync_max_waiting,
            overflow=lambda: self.scheduler.want("because live changes were too many to follow"),
            in_order=not isinstance(guild, PagedGuild),
        )
        self.writes = Writes(
            self.queue,
            clock=clock,
            deadline_s=settings.sync_deadline_s,
            recheck_s=settings.sync_doubtful_recheck_s,
            roles_due=self._roles_due,
        )
        self._gate = Gate(self.repository, store, deadline_s=settings.sync_deadline_s)
        parking = Parking(self.repository, guild, clock, telemetry=telemetry)
        if not isinstance(guild, PagedGuild):
            self.hashes = MemberHashes(guild, self.queue, parking, clock=clock, chance=chance)
        services = Services(
            clock=clock,
            chance=chance,
            site=site,
            guild=guild,
            telemetry=telemetry,
            repository=self.repository,
            gate=self._gate,
            writes=self.writes,
            queue=self.queue,
            hashes=self.hashes,
            patience=settings.patience,
            departures=settings.departures,
        )
        self.supervisor = Supervisor(
            services,
            queue=self.queue,
            mod_log=mod_log,
            parking=parking,
            settings=settings,
            leadership=self.leadership,
            scheduler=self.scheduler,
            closing=Closing(
                repository=self.repository,
                scheduler=self.scheduler,
                queue=self.queue,
                predecessor=self._predecessor,
            ),
            new_run_id=self._new_run_id,
            run_above=run_above,
            unkept=lambda: self._elector.out_of_touch(),  # noqa: PLW0108 - it is built below
        )
        self._live = LiveUpdates(
            services,
            self.queue,
            pace=settings.pace,
            run_above=run_above,
            new_run_id=self._new_run_id,
            parking=parking,
            begin_run=self.supervisor.start_changes,
            until_verified=self.supervisor.until_verified,
            want=self.scheduler.want,
        )
        self._upkeep = Upkeep(
            services, outbox=self._outbox, scheduler=self.scheduler, supervisor=self.supervisor
        )
        self._recovery = Recovery(
            store=store,
            repository=self.repository,
            mod_log=mod_log,
            predecessor=self._predecessor,
            supervisor=self.supervisor,
        )
        self._elector = LeaderElector(
            self.leadership,
            self,
            clock=clock,
            store=store,
            outbox=self._outbox,
            lease_s=settings.sync_lease_s,
        )
        self._is_stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    # -- lifetime ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start what works for as long as the extension is loaded; returns at once."""
        if self._settings.sync_at_start:
            self.scheduler.want("at start-up")
        self._spawn(self._kept_going("alerts", self._outbox.run_forever, but=()))
        self._spawn(self._kept_going("doubtful writes", self.writes.run_forever, but=()))
        self._spawn(self._kept_going("leadership", self._elector.run_forever, but=()))

    async def stop(self, *, within_s: float) -> None:
        """Stop everything: the chunk in flight may end, within the time given."""
        self._is_stopping = True
        self._elector.stop()
        self.scheduler.stop()
        self.supervisor.close()
        await self.supervisor.stop(
            "The bot was stopped; the next start continues from here.", within_s=within_s
        )
        background = tuple(self._tasks)
        for one in background:
            one.cancel()
        await asyncio.gather(*background, return_exceptions=True)

    # -- what it is told --------------------------------------------------------------------------

    def say(self, notice: Notice) -> None:
        """Let mod-log tell something that concerns no run."""
        self._outbox.say(notice)

    def passed_over(self) -> None:
        """Look at all members anew: an event was lost that may have been about one of them."""
        self._upkeep.read_members_anew()

    def heard_of(self, run_id: str) -> None:
        """Note that mod-log shows a run, whosever it is: of this process, or of one before it."""
        before = {run.run_id for run in self.repository.past_runs()}
        if run_id not in before and self._rivals.heard(run_id):
            log.warning("sync.rival.heard", run_id=run_id, where=self._store.where)
            self._outbox.say(alert.rival(run_id, where=self._store.where))

    async def has_member(self, id_: UserId) -> bool:
        """Say whether somebody is a member; who can't be looked up now counts as one."""
        return self._guild.proof is None or id_ in await self._guild.members((id_,))

    @property
    def untold(self) -> int:
        """How many alerts mod-log does not show yet."""
        return self._outbox.waiting

    @property
    def whose(self) -> str:
        """Which bot answers, where another one may answer the same differently; else nothing."""
        return alert.whose(self._store.where) if self._rivals.are_there else ""

    # -- what comes with the lease ----------------------------------------------------------------

    async def take_over(self) -> None:
        """Read what the store holds."""
        await self.repository.load()
        if self.repository.died is not None:
            self._telemetry.interrupted(self.repository.died)
        # Whoever led before may have died with a request on its way.
        self._predecessor.gone(may_write=not self.repository.was_handed_over)

    async def lead(self) -> None:
        """Make good what was left behind, and do from then on what a leading process does."""
        await self._recovery.recover_state()
        if self._settings.sync_at_start:
            await self.repository.withhold_start()
        self._lead_now(leading=True)
        async with asyncio.TaskGroup() as tasks:
            for task, work in (
                ("messages left open", self._recovery.end_orphans),
                ("schedule", partial(self.scheduler.run_forever, self.supervisor)),
                ("live changes", self._live.run_forever),
                ("reminders", self._upkeep.remind),
                ("orders", self.audit.run_forever),
                ("metrics", self._upkeep.show_metrics),
                ("members read anew", self._upkeep.read_members),
            ):
                tasks.create_task(self._kept_going(task, work))

    async def step_down(self) -> None:
        """End the run whose lease went: it could meet the writes of another process."""
        if self.leadership.is_leading:
            self.scheduler.want("after the lease was lost")
        self._lead_now(leading=False)
        await self.supervisor.stop("The lease on this server was lost.")
        await self._hand_over()
        self.repository.forget()

    async def _hand_over(self) -> None:
        """Note that whoever leads next need not wait for any request of this process."""
        settled = not self.writes and not self._gate.writing.locked()
        if self._is_stopping and settled and not self._predecessor.may_write:
            with contextlib.suppress(StoreError, TimeoutError):
                async with deadline(self.clock, _HAND_OVER_S):
                    await self.repository.hand_over()

    def _lead_now(self, *, leading: bool) -> None:
        self.leadership.is_leading = leading
        self._rivals.leads(leading=leading)
        self._telemetry.leads(leading=leading)

    # -- what its parts share ---------------------------------------------------------------------

    def _roles_due(self, ids: Collection[RoleId]) -> None:
        """Bring roles once more whose writes were given up; it takes a sync to delete one."""
        if self._guild.proof is not None and self._guild.roles().keys() >= set(ids):
            for id_ in ids:
                self.queue.mark_role(id_)
        else:
            self.scheduler.want("because the site's answers about roles were lost")

    def _check_every_s(self) -> float:
        """Return how often drift is looked for: often where the site's digests make that cheap."""
        every_s, by_digests_s = (
            self._settings.sync_drift_every_s,
            self._settings.sync_drift_by_digests_every_s,
        )
        is_cheap = self.hashes is not None and self.hashes.are_compared
        return min(every_s, by_digests_s) if is_cheap and by_digests_s else every_s

    def _new_run_id(self) -> str:
        """Return an id that stands in every trace of a run: short enough to be read out."""
        run_id = f"{self._chance.getrandbits(32):08x}"
        self._rivals.begun(run_id)
        return run_id

    def _kept_going(
        self,
        task: str,
        work: Callable[[], Awaitable[None]],
        *,
        but: type[Exception] | tuple[type[Exception], ...] = StoreError,
    ) -> Coroutine[Any, Any, None]:
        return keep_going(task, work, clock=self.clock, but=but)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("sync.worker.broke", exc_info=task.exception())
