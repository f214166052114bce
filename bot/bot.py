"""The client: what it asks of Discord, how it connects, and how it stops."""

import asyncio
import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import discord
import sentry_sdk
import structlog
import yarl
from discord.backoff import ExponentialBackoff
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from discord.http import Route
from pydantic import ValidationError

from bot import metrics
from bot.heap import HeapKeeper
from bot.loop_watch import LoopWatch
from bot.session_limit import SessionLimit
from bot.settings import ConfigurationError, describe

if TYPE_CHECKING:
    from bot.settings import BotSettings

# Extensions get 10 s to end a request in flight; container runtimes kill after 30 s by our setting.
_CLOSE_LIMIT_S = 12.0
_DISCONNECT_LIMIT_S = 2.0
_RETRY_AT_MOST_S = 60.0
_AUTHENTICATION_FAILED = 4004

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
_connected_gauge = metrics.made["bot_gateway_connected"]


class Bot(commands.Bot):
    """A discord.py bot that measures its loop, freezes its heap and ends within a bound."""

    def __init__(self, settings: "BotSettings") -> None:
        # discord.VoiceClient warns at start-up about voice libraries that no text bot needs.
        discord.VoiceClient.warn_nacl = False
        discord.VoiceClient.warn_dave = False
        intents = discord.Intents.none()
        intents.guilds = intents.members = intents.messages = intents.message_content = True
        super().__init__(
            command_prefix=settings.bot_prefix,
            intents=intents,
            allowed_mentions=discord.AllowedMentions.none(),
            # Discord allows one request for all members per guild per 30 s. The sync extension
            # makes it itself, under its own deadline and compared with the cache; discord.py's
            # at start-up would use it up and cannot be told from one that was cut short.
            chunk_guilds_at_startup=False,
            # Without them a member costs nothing, and the sync reads them by pages.
            member_cache_flags=(
                discord.MemberCacheFlags.from_intents(intents)
                if settings.sync_member_cache
                else discord.MemberCacheFlags.none()
            ),
            case_insensitive=True,  # of commands: people type on phones
            max_messages=100,  # commands look at the message in hand only
        )
        self.loop_watch = LoopWatch()
        self._token = settings.bot_token.get_secret_value()
        self._api_url = settings.discord_api_url
        self._heap = HeapKeeper()
        self._session_limit = SessionLimit()
        self._caches_members = settings.sync_member_cache
        self._synced_commands: str | None = None
        self._sync_task: asyncio.Task[None] | None = None
        self._close_task: asyncio.Task[None] | None = None
        self.gateway_connected = False
        self.hangs = False  # its close did not come to an end
        if settings.discord_api_url is not None:
            Route.BASE = settings.discord_api_url
        if settings.discord_gateway_url is not None:
            DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.discord_gateway_url)

    async def live(self, extensions: Iterable[str]) -> None:
        """Load the extensions, connect, and stay connected until closed.

        Extensions come first: what they refuse to start with is known before anybody sees the bot
        online.

        Raises:
            ConfigurationError: for what only the operator can put right.

        """
        for name in extensions:
            await self._load(name)
        self._heap.freeze()
        try:
            await self._log_in()
            await self._stay_connected()
        except discord.LoginFailure as exc:
            raise _wrong_token() from exc
        except discord.PrivilegedIntentsRequired as exc:
            raise ConfigurationError(
                'Discord refuses the privileged intents: switch on "Server Members Intent" and '
                '"Message Content Intent" on the Bot page of this application at '
                "https://discord.com/developers/applications"
            ) from exc
        except discord.ConnectionClosed as exc:
            if exc.code == _AUTHENTICATION_FAILED:
                raise _wrong_token() from exc
            raise

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Tell listeners of an event, unless the bot has closed by then."""
        # discord.py 2.7 lets go of its loop when it closes; what was still being read of the
        # gateway would have nothing to run on.
        if self.loop is not discord.utils.MISSING:
            super().dispatch(event, *args, **kwargs)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Begin another session only where Discord allows some more."""
        await super().before_identify_hook(shard_id, initial=initial)
        if not initial:
            await self._session_limit.wait(self.http)

    async def close(self) -> None:
        """Unload the extensions and leave Discord, within 14 s; callers share one closing."""
        if self._close_task is None:
            self._close_task = asyncio.create_task(self._close(), name="bot: close")
        await asyncio.shield(self._close_task)

    async def on_socket_event_type(self, event_type: str) -> None:
        """Measure the loop from the first READY on, and keep the heap frozen."""
        if event_type == "READY":
            self.loop_watch.measure()
        if self._caches_members or event_type != "GUILD_MEMBERS_CHUNK":
            self._heap.on_gateway_event(event_type, asyncio.get_running_loop().time())

    async def on_connect(self) -> None:
        """Note that a session has begun."""
        self._note_gateway(connected=True)

    async def on_resumed(self) -> None:
        """Note that a session goes on."""
        self._note_gateway(connected=True)

    async def on_disconnect(self) -> None:
        """Note that Discord's gateway is not there; discord.py tries again by itself."""
        self._note_gateway(connected=False)

    def _note_gateway(self, *, connected: bool) -> None:
        self.gateway_connected = connected
        _connected_gauge.set(connected)

    async def on_ready(self) -> None:
        """Register the slash commands, beside whatever else begins at READY."""
        assert self.user is not None  # noqa: S101 - discord.py sets it before READY
        _log.info("bot.ready", user_id=self.user.id, guilds=len(self.guilds))
        if self._sync_task is None or self._sync_task.done():
            self._sync_task = asyncio.create_task(self._sync_commands(), name="bot: commands")

    async def on_error(self, event_method: str, /, *_args: Any, **_kwargs: Any) -> None:
        """Log and report an exception that an event listener let through."""
        _log.exception("bot.listener.failed", listener=event_method)
        sentry_sdk.capture_exception()

    async def _load(self, name: str) -> None:
        try:
            await self.load_extension(name)
        except (commands.ExtensionNotFound, commands.NoEntryPointError, ModuleNotFoundError) as exc:
            raise ConfigurationError(f"BOT_EXTENSIONS names {name}, which is no extension") from exc
        except commands.ExtensionFailed as exc:
            if isinstance(exc.original, ValidationError):
                raise ConfigurationError(describe(exc.original)) from None
            if isinstance(exc.original, ValueError):
                raise ConfigurationError(str(exc.original)) from exc
            raise

    async def _log_in(self) -> None:
        backoff = ExponentialBackoff(base=1)
        while True:
            try:
                await self.login(self._token)
            except discord.LoginFailure:
                raise
            except (discord.NotFound, TypeError) as exc:
                # TypeError: discord.py took a page of text for the bot's own user.
                if self._api_url is None or self.user is not None:
                    raise
                raise ConfigurationError(
                    f"DISCORD_API_URL is wrong: no Discord API answers at {self._api_url}"
                ) from exc
            except (OSError, TimeoutError, aiohttp.ClientError, discord.HTTPException) as exc:
                await self._wait_after(exc, backoff)
                # discord.py opens a session at each login, and does not renew a closed connector.
                await self.http.close()
                self.http.connector = discord.utils.MISSING
            else:
                return

    async def _stay_connected(self) -> None:
        backoff = ExponentialBackoff(base=1)
        while not self.is_closed():
            try:
                await self._session_limit.wait(self.http)
                await self.connect()
            except AttributeError as exc:
                # discord.py 2.7 reconnects by itself, except after a first connection that failed:
                # then it reads the sequence of a websocket that never was.
                if self.ws is not None:
                    raise
                await self._wait_after(exc.__context__ or exc, backoff)

    @staticmethod
    async def _wait_after(error: BaseException, backoff: "ExponentialBackoff[Any]") -> None:
        delay_s = min(backoff.delay(), _RETRY_AT_MOST_S)
        _log.warning("bot.discord.unreachable", error=repr(error), retry_in_s=round(delay_s, 1))
        await asyncio.sleep(delay_s)

    async def _sync_commands(self) -> None:
        """Tell Discord the commands, unless it knows them from an earlier READY."""
        scopes: list[discord.Guild | None] = [None, *self.guilds]
        tree = {
            scope: [command.to_dict(self.tree) for command in self.tree.get_commands(guild=scope)]
            for scope in scopes
        }
        text = json.dumps([[scope and scope.id, payload] for scope, payload in tree.items()])
        digest = hashlib.sha256(text.encode()).hexdigest()
        if digest == self._synced_commands:
            return
        try:
            for scope, payload in tree.items():
                if payload or scope is None:
                    await self.tree.sync(guild=scope)
        except Exception as exc:  # noqa: BLE001 - an odd answer makes discord.py raise anything
            # Text commands still work; the next READY tries again.
            _log.error("bot.commands.sync_failed", error=repr(exc))
            sentry_sdk.capture_exception(exc)
            self.dispatch("commands_sync_failed", exc)
            return
        self._synced_commands = digest
        _log.info("bot.commands.synced", count=sum(map(len, tree.values())))

    async def _close(self) -> None:
        if self._sync_task is not None:
            self._sync_task.cancel()
        # Not cancelled before it is told where it hangs, nor waited for after: what hangs may well
        # not end by being cancelled.
        closing = asyncio.create_task(super().close(), name="bot: closing")
        await asyncio.wait({closing}, timeout=_CLOSE_LIMIT_S)
        if closing.done():
            closing.result()
        else:
            self.hangs = True
            _log.error("bot.close.timed_out", limit_s=_CLOSE_LIMIT_S, tasks=_waiting())
            closing.cancel()
            try:
                async with asyncio.timeout(_DISCONNECT_LIMIT_S):
                    await discord.Client.close(self)
            except TimeoutError:
                pass
        self.loop_watch.stop()
        _log.info("bot.stopped", loop_stall_max_ms=round(self.loop_watch.longest_stall_s * 1000, 1))


def _waiting() -> list[str]:
    """Return where each task waits, the innermost coroutine last."""
    found = []
    for task in asyncio.all_tasks():
        places, coroutine = [task.get_name()], cast("Any", task.get_coro())
        while getattr(coroutine, "cr_frame", None) is not None:
            places.append(f"{coroutine.__qualname__}:{coroutine.cr_frame.f_lineno}")
            coroutine = coroutine.cr_await
        found.append(" > ".join(places))
    return found


def _wrong_token() -> ConfigurationError:
    return ConfigurationError(
        "BOT_TOKEN is wrong: Discord refuses it; copy the token from the Bot page of the "
        "application at https://discord.com/developers/applications"
    )
