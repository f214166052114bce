"""How many sessions Discord still allows: a bot that begins too many has its token reset.

Discord allows some 1,000 IDENTIFYs a day. Whoever restarts in a loop, or loses one session after
the other, would use them up unnoticed; so the last ones are kept for people.
"""

import asyncio

import aiohttp
import discord
import sentry_sdk
import structlog
from discord.http import HTTPClient

from bot import metrics

_KEPT = 50
_MARGIN_S = 1.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
_remaining_gauge = metrics.made["bot_session_starts_remaining"]
_waiting_gauge = metrics.made["bot_session_wait_seconds"]


class SessionLimit:
    """What Discord says of sessions, asked before each one."""

    def __init__(self) -> None:
        self._told = False

    async def wait(self, http: HTTPClient) -> None:
        """Return once a session may begin: at once while more than a few are left."""
        while (wait_s := await self._due_s(http)) > 0:
            _waiting_gauge.set(wait_s)
            try:
                await asyncio.sleep(wait_s)
            finally:
                _waiting_gauge.set(0)
        self._told = False

    async def _due_s(self, http: HTTPClient) -> float:
        try:
            _, _, limit = await http.get_bot_gateway()
            remaining, reset_s = int(limit["remaining"]), float(limit["reset_after"]) / 1000
        except (
            discord.DiscordException,
            aiohttp.ClientError,
            OSError,
            TimeoutError,
            *(KeyError, TypeError, ValueError),
        ) as exc:
            # What keeps it from answering keeps a session from beginning, too.
            _log.warning("bot.sessions.unknown", error=repr(exc))
            return 0.0
        _remaining_gauge.set(remaining)
        if remaining >= _KEPT:
            return 0.0
        wait_s = max(reset_s, 0.0) + _MARGIN_S
        if not self._told:
            self._told = True
            text = (
                f"Discord allows only {remaining} more sessions of this bot: it connects again in "
                f"{wait_s:.0f} s. Find out what restarts it, or ends its sessions."
            )
            _log.error("bot.sessions.few", remaining=remaining, wait_s=wait_s, text=text)
            sentry_sdk.capture_message(text, level="error")
        return wait_s
