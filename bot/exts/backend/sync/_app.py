"""Every part of the extension, built from the settings; started and stopped in this order.

The one module that knows both the service and all edges that it goes through.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING, Final

import structlog

from ._clock import SystemClock
from ._discord.mod_log import DiscordModLog
from ._discord.stream import open_guild
from ._environment import Trust, way_to
from ._http.client import HttpSite
from ._http.ping import Ping
from ._service.answers import Answers
from ._service.commands import Commands
from ._service.questions import Questions
from ._service.service import SyncService
from ._service.standings import Standings
from ._store import open_store
from ._supervision import keep_going
from ._telemetry.sentry import SentryReports
from ._telemetry.system import SystemTelemetry

if TYPE_CHECKING:
    from discord.ext import commands

    from ._settings import SyncSettings

log = structlog.get_logger(__name__)

_STOP_S: Final = 8.0  # leaves the rest of the ten seconds to the final message


class App:
    """The extension in a bot, but for what discord.py calls."""

    def __init__(self, bot: commands.Bot, settings: SyncSettings) -> None:
        self.settings = settings
        clock, chance = SystemClock(), random.SystemRandom()
        reports = SentryReports(
            clock=clock,
            guild_id=settings.guild_id,
            site=settings.site_api_url.host or "",
            every_s=settings.sync_drift_every_s,
        )
        self._telemetry = SystemTelemetry(reports, bot.dispatch)
        self.guild = open_guild(
            bot,
            settings.guild_id,
            cached=settings.sync_member_cache,
            clock=clock,
            idle_s=settings.sync_member_timeout_s,
            renewed=lambda: self.service.scheduler.want("because Discord began a new session"),
        )
        self._site = HttpSite(
            base_url=settings.api_url,
            token=settings.site_api_token.get_secret_value(),
            deadline_s=settings.sync_deadline_s,
            max_answer_bytes=settings.sync_max_answer_bytes,
            redaction=settings.redaction(bot.http.token or ""),
            clock=clock,
            way=way_to(
                settings.api_url,
                os.environ,
                trust=Trust(
                    authorities=settings.site_ca_bundle,
                    certificate=settings.site_client_cert,
                    key=settings.site_client_key,
                ),
            ),
        )
        url = settings.sync_ping_url
        self._ping = None if url is None else self._open_ping(url.get_secret_value(), clock)
        self.mod_log = DiscordModLog(
            bot,
            guild_id=settings.guild_id,
            channel_id=settings.mod_log_channel_id,
            alert_role_id=settings.alert_role_id,
            interval_s=settings.sync_edit_interval_s,
            clock=clock,
        )
        self.service = SyncService(
            clock=clock,
            chance=chance,
            store=open_store(
                settings.sync_state_url.get_secret_value(),
                guild_id=settings.guild_id,
                lease_s=settings.sync_lease_s,
                clock=clock,
            ),
            site=self._site,
            guild=self.guild,
            mod_log=self.mod_log,
            telemetry=self._telemetry,
            settings=settings,
        )
        self.mod_log.keeper = self.service.repository
        # Not a listener: discord.py tells of no update of somebody whom it has not cached.
        self.guild.changed = lambda id_: self.service.queue.mark((id_,))
        self.guild.passed_over = lambda _event: self.service.passed_over()
        self.standings = Standings(self.service, guild=self.guild, telemetry=self._telemetry)
        self.questions = Questions(self.service, settings)
        self.commands = Commands(self.service, self.questions, settings)
        self.answers = Answers(
            mod_log=self.service.mod_log,
            mod_log_id=settings.mod_log_channel_id,
            clock=clock,
            chance=chance,
            whose=lambda: self.service.whose,
        )
        self._reporting: tuple[asyncio.Task[None], ...] = ()

    def _open_ping(self, url: str, clock: SystemClock) -> Ping:
        way = way_to(url, os.environ)
        ping = Ping(url, way=way, clock=clock, told=self._telemetry.pinged)
        self._telemetry.verified = ping.verified
        return ping

    def start(self) -> None:
        """Start the work in tasks of their own: waiting for Discord in here would deadlock."""
        if self.settings.shows_token:
            log.warning("sync.site.token_in_the_clear", url=self.settings.api_url)
        self._telemetry.register()
        self.guild.attach()
        work = [("mod-log", self.mod_log.run_forever), ("standing", self.standings.run_forever)]
        if self._ping is not None:
            work.append(("ping", self._ping.run_forever))
        self._reporting = tuple(
            asyncio.create_task(keep_going(task, one, clock=self.service.clock, but=()))
            for task, one in work
        )
        self.service.begin()

    async def stop(self) -> None:
        """Stop within ten seconds, and leave a truthful last message."""
        await self.service.stop(within_s=_STOP_S)
        for task in self._reporting:
            task.cancel()
        await asyncio.gather(*self._reporting, return_exceptions=True)
        self.guild.detach()
        await self._site.close()
        if self._ping is not None:
            await self._ping.close()
        self._telemetry.unregister()
