"""A process that syncs: the extension's orchestration between fakes of all its ports."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from typing import TYPE_CHECKING, Any

from bot.exts.backend.sync._core.messages.marks import run_shown
from bot.exts.backend.sync._service.commands import Commands
from bot.exts.backend.sync._service.questions import Questions
from bot.exts.backend.sync._service.service import SyncService
from bot.exts.backend.sync._settings import SyncSettings
from tests.fakes.guild import FakeGuild, Listener, PagedFake
from tests.fakes.mod_log import FakeModLog
from tests.fakes.site import FakeSite
from tests.fakes.store import FakeStore
from tests.fakes.telemetry import FakeTelemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from bot.exts.backend.sync._core.model.members import RoleId, UserId
    from bot.exts.backend.sync._ports import Clock
    from tests.fakes.guild import Discord
    from tests.fakes.mod_log import Channel, Shown
    from tests.fakes.site import Rows
    from tests.fakes.store import Kept


@functools.cache  # reading them costs more than a process does in most tests
def settings(**changes: Any) -> SyncSettings:
    """Return the settings of a small guild: chunks of a few rows, no check for drift."""
    values: dict[str, Any] = {
        "guild_id": 1,
        "site_api_url": "http://site.invalid/api/",
        "site_api_token": "key",
        "mod_log_channel_id": 900,
        "sync_first_items": 2,
        "sync_floor_items": 1,
        "sync_max_items": 4,
        "sync_page_items": 3,
        "sync_drift_every_s": 0,
    }
    return SyncSettings(_env_file=None, **{**values, **changes})


class Marking(Listener):
    """Mark what events name, as the cog's listeners do."""

    def __init__(self, service: SyncService) -> None:
        self._service = service

    def joined(self, id_: UserId) -> None:
        self._service.queue.mark_joined(id_)

    def left(self, id_: UserId) -> None:
        self._service.queue.mark_left(id_)

    def updated(self, id_: UserId) -> None:
        self._service.queue.mark((id_,))

    def role_created(self, id_: RoleId, holders: Sequence[UserId]) -> None:
        self._service.queue.mark_role(id_)
        self._service.queue.mark(holders)

    def role_updated(self, id_: RoleId) -> None:
        self._service.queue.mark_role(id_)

    def role_deleted(self, _id: RoleId) -> None:
        self._service.scheduler.want("because a role was deleted")


class Process:
    """One process; `start` loads it, `stop` unloads it, and `die` cuts it off as a kill does."""

    def __init__(
        self,
        *,
        discord: Discord,
        rows: Rows,
        kept: Kept,
        channel: Channel,
        clock: Clock,
        name: str = "one",
        seed: int = 1,
        cached: bool = True,
        delay_s: Callable[[str], float] = lambda _: 0.0,
        later: Callable[[float, Callable[[], None]], None] | None = None,
        run_above: int = 1000,
        **changes: Any,
    ) -> None:
        self.settings = settings(**changes)
        self.clock = clock
        self.telemetry = FakeTelemetry()
        self.store = FakeStore(kept, clock=clock, name=name)
        self.site = FakeSite(
            rows, clock=clock, later=later, deadline_s=self.settings.sync_deadline_s
        )
        self.mod_log = FakeModLog(
            channel, clock=clock, interval_s=self.settings.sync_edit_interval_s
        )
        make = FakeGuild if cached else PagedFake
        self.guild = make(
            discord,
            clock=clock,
            renewed=lambda: self.service.scheduler.want("because Discord began a new session"),
            delay_s=delay_s,
        )
        self.service = SyncService(
            clock=clock,
            chance=random.Random(seed),
            store=self.store,
            site=self.site,
            guild=self.guild,
            mod_log=self.mod_log,
            telemetry=self.telemetry,
            settings=self.settings,
            run_above=run_above,
        )
        self.mod_log.keeper = self.service.repository
        self.guild.listener = Marking(self.service)
        channel.listeners.append(self._hear)
        self.questions = Questions(self.service, self.settings)
        self.commands = Commands(self.service, self.questions, self.settings)
        self._tasks: set[asyncio.Task[None]] = set()

    def _hear(self, shown: Shown) -> None:
        """Hear of a message in mod-log, as the cog's listener does."""
        run_id = run_shown(shown.notice.footer)
        if run_id and not self.mod_log.is_dead:
            self.service.heard_of(run_id)

    def start(self) -> None:
        """Load the extension, and connect to Discord."""
        self._spawn(self.mod_log.run_forever())
        self._spawn(self.guild.run_forever())
        self.guild.connect()
        self.service.begin()

    async def stop(self, *, within_s: float = 8.0) -> None:
        """Unload the extension."""
        await self.service.stop(within_s=within_s)
        self.guild.lose_session()
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def die(self) -> None:
        """Let nothing that it still does reach anybody, as if the process had been killed."""
        for port in (self.store, self.site, self.mod_log, self.guild):
            port.is_dead = True
        self.store.die()
        self.guild.lose_session()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
