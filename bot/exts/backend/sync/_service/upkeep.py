"""What is done now and then while this process leads: reminders, metrics, members read anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from .._clock import happens
from .._core.messages import alert

if TYPE_CHECKING:
    from .._runs.requester import Services
    from .._state.outbox import Outbox
    from .scheduler import Scheduler
    from .supervisor import Supervisor

_REMIND_S: Final = 600.0
# A request of all members is a few seconds of traffic, and an event is hardly ever lost: once a day
# costs nothing, and no row stays wrong for longer.
_ANEW_S: Final = 24 * 3600.0
_ANEW_AGAIN_S: Final = 3600.0
_ANEW_GAP_S: Final = 600.0


class Upkeep:
    """Background tasks of the process that leads; each goes on for ever."""

    def __init__(
        self, services: Services, *, outbox: Outbox, scheduler: Scheduler, supervisor: Supervisor
    ) -> None:
        self._services = services
        self._outbox = outbox
        self._scheduler = scheduler
        self._supervisor = supervisor
        self._anew = asyncio.Event()

    def read_members_anew(self) -> None:
        """Look at all members anew: an event was lost that may have been about one of them."""
        self._anew.set()

    async def show_metrics(self) -> None:
        """Keep the metrics of what the store holds."""
        repository = self._services.repository
        while True:
            self._services.telemetry.kept(
                repository.state,
                parked=len(repository.parked),
                untold=self._outbox.waiting,
                verified_at=repository.verified_at,
            )
            await repository.changed()

    async def remind(self) -> None:
        """Tell people once a day what still holds by somebody's order."""
        while True:
            await self._services.repository.remind()
            await self._services.clock.sleep(_REMIND_S)

    async def read_members(self) -> None:
        """Let all members be read anew once a day, while no sync is on.

        An event that is lost without a new session is lost to the cache, and to every check for
        drift that compares with it.
        """
        clock, wait_s = self._services.clock, _ANEW_S
        while True:
            was_due = await happens(self._anew, clock=clock, within_s=wait_s)
            self._anew.clear()
            await self._supervisor.until_free()
            wrong = await self._services.guild.read_anew()
            wait_s = _ANEW_S if wrong is not None else _ANEW_AGAIN_S
            if wrong:
                self._outbox.say(alert.cache_corrected(wrong))
            if was_due:
                self._scheduler.want("because Discord sent something that could not be read")
                # However many such events come, they are looked after together.
                await clock.sleep(_ANEW_GAP_S)
