"""One sync at a time: who starts one, who stops it, what it leaves behind."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import structlog

from ._core.report import Ending, failure_alert
from ._live import Dirty, LiveUpdates
from ._runner import Parts
from ._sync import FullSync, Scope

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ._core.report import RunView
    from ._ports import Guild, ModLog, Site
    from ._settings import SyncSettings
    from ._telemetry import Telemetry

log = structlog.get_logger(__name__)


def new_run_id() -> str:
    """Return an id that stands in every trace of a run: short enough to be read out."""
    return secrets.token_hex(4)


class Control:
    """The syncs of one process."""

    def __init__(
        self,
        *,
        site: Site,
        guild: Guild,
        mod_log: ModLog,
        telemetry: Telemetry,
        settings: SyncSettings,
    ) -> None:
        self.dirty = Dirty()
        self.last: RunView | None = None
        self._mod_log = mod_log
        self._settings = settings
        self._parts = Parts(
            site=site,
            guild=guild,
            telemetry=telemetry,
            gate=asyncio.Lock(),
            patience=settings.patience,
            target_s=settings.sync_target_s,
        )
        self._live = LiveUpdates(
            self._parts,
            self.dirty,
            pace=settings.pace,
            new_run_id=new_run_id,
            give_up=lambda: self.start_soon("because live updates kept failing"),
        )
        self._sync: FullSync | None = None
        self._task: asyncio.Task[RunView] | None = None
        self._again: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> RunView | None:
        """The sync that is on, as it stands now."""
        return None if self._sync is None else self._sync.view

    def begin(self) -> None:
        """Start what works for as long as the extension is loaded; returns at once."""
        self._spawn(self._live_updates())
        if self._settings.sync_at_start:
            self.start(Scope.ALL, "at start-up")

    def start(self, scope: Scope, trigger: str) -> RunView | None:
        """Start a sync and return its first view, or None when one is on already."""
        if self._sync is not None:
            return None
        sync = self._new(scope, trigger, dry=False)
        self._sync = sync
        self._task = asyncio.create_task(self._run(sync), name=f"sync {sync.view.run_id}")
        return sync.view

    def start_soon(self, trigger: str) -> None:
        """Start a full sync now, or as soon as the one that is on has ended."""
        if self.start(Scope.ALL, trigger) is None:
            self._again = trigger

    async def plan(self, trigger: str) -> RunView | None:
        """Compare without writing; None when a sync is on."""
        if self._sync is not None:
            return None
        self._sync = sync = self._new(Scope.ALL, trigger, dry=True)
        try:
            return await sync.run()
        finally:
            self._sync = None

    def cancel(self, reason: str) -> RunView | None:
        """Stop the sync that is on before its next request; None when none is on."""
        if self._sync is None:
            return None
        self._sync.cancel(reason)
        return self._sync.view

    async def stop(self, *, within_s: float) -> None:
        """Stop everything: the chunk in flight may end, within the time given."""
        self._again = None
        self.cancel("The bot was stopped; the next start goes on from here.")
        if self._task is not None:
            _, pending = await asyncio.wait({self._task}, timeout=within_s)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        for background in self._tasks:
            background.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _new(self, scope: Scope, trigger: str, *, dry: bool) -> FullSync:
        return FullSync(
            self._parts,
            run_id=new_run_id(),
            scope=scope,
            trigger=trigger,
            dirty=self.dirty,
            mod_log=self._mod_log,
            pace=self._settings.pace,
            page_items=self._settings.sync_page_items,
            dry=dry,
        )

    async def _run(self, sync: FullSync) -> RunView:
        try:
            view = await sync.run()
        finally:
            self.last = sync.view
            self._sync = None
            await self._mod_log.finish(sync.view)
        if view.ending is Ending.FAILED:
            await self._mod_log.alert(failure_alert(view))
        if self._again is not None:
            trigger, self._again = self._again, None
            self.start(Scope.ALL, trigger)
        return view

    async def _live_updates(self) -> None:
        await self._live.run_forever()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("sync.worker.broke", exc_info=task.exception())
