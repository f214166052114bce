"""A guild, a site and whoever keeps them in step: real servers in one directory."""

import contextlib
import copy
import random
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import aiohttp

from sandbox.discord.client import DiscordControl
from sandbox.replay import checks
from sandbox.replay.checks import Difference, ModLogMessage, RoleRow, SiteRequest, UserRow
from sandbox.replay.site_tables import PlainSiteTables, SiteTables
from sandbox.servers import BOT_TOKEN, Bot, Discord, PlainSite, Postgres, Website, no_digests

SHARED_ROLE: Final = "Developers"
_OWN_REQUESTS: Final = "sandbox-"  # how the requests begin that this side makes itself
_IDLE_ROWS: Final = 10
_ANSWERED: Final = "website.request.finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuildIds:
    """Where the bot works; `shared_role` is held by every member but the bot."""

    guild: int
    mod_log_channel: int
    shared_role: int


class World:
    """PostgreSQL, the website and the local Discord, each its own process, and the bots of a test.

    Used as an async context manager: entered, all three run; left, they and all bots are gone.
    `directory` receives a directory of logs for each. Before anything else, `make_guild`. Without
    `digests` the website hides that it has them. With `plain` it is the stand-in for a plain one,
    which offers nothing, and on which `site_settings` have no effect.

    >>> async with World(directory) as world:
    ...     await world.make_guild(members=200)
    ...     await world.fill_site()
    ...     bot = world.bot()
    ...     await bot.start()
    ...     await bot.wait_for_event("sync.run.finished")
    ...     assert await world.differences() == []
    """

    def __init__(
        self,
        directory: Path,
        *,
        seed: int = 0,
        durable: bool = True,
        site_settings: Mapping[str, str] | None = None,
        plain: bool = False,
        digests: bool = True,
    ) -> None:
        self.directory = directory
        self.seed = seed
        self._site_settings = dict(site_settings or {})
        self._plain = plain
        self._digests = digests
        self._ids: GuildIds | None = None
        self._requests_before = 0
        self._open = contextlib.AsyncExitStack()
        self.postgres = Postgres(directory / "postgres", durable=durable)
        self.discord = Discord(directory / "discord", seed=seed)
        self.website: Website
        self.control: DiscordControl
        self.tables: SiteTables

    async def __aenter__(self) -> Self:
        try:
            # Pushed before they are started: a start that fails must still give back its port.
            self._open.push_async_callback(self.postgres.close)
            self._open.push_async_callback(self.discord.close)
            await self.postgres.start()
            await self.discord.start()
            self.control = DiscordControl(self.discord.url)
            self._open.push_async_callback(self.control.close)
            await self.start_website()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._open.aclose()

    @contextlib.asynccontextmanager
    async def renewed(self, directory: Path) -> AsyncIterator[Self]:
        """Lend the running servers to a world without guild, rows and faults.

        Its bots live in `directory` and end with it; the servers go on.
        """
        await self.control.clear_faults()
        await self.control.allow_intents(allowed=True)
        await self.tables.replace(roles=[], users=[])
        lent = copy.copy(self)
        lent.directory = directory
        lent._ids = None  # noqa: SLF001  its own class
        lent._requests_before = len(self.website.events(_ANSWERED))  # noqa: SLF001  as above
        async with contextlib.AsyncExitStack() as lent._open:  # noqa: SLF001  as above
            yield lent

    async def start_website(self) -> None:
        """Start the website on a database of its own."""
        database_url = await self.postgres.create_database(f"site_{uuid.uuid4().hex[:12]}")
        directory = self.directory / "website"
        if self._plain:
            self.tables = PlainSiteTables(database_url=database_url)
            self.website = PlainSite(directory, database_url=database_url)
        else:
            self.tables = SiteTables(database_url=database_url)
            self.website = Website(directory, database_url=database_url, **self._site_settings)
            if not self._digests:
                self.website.load(no_digests.MIDDLEWARE)
        self._open.push_async_callback(self.website.close)
        await self.website.start()

    @property
    def ids(self) -> GuildIds:
        """Return the ids of the guild that was made last."""
        if self._ids is None:
            raise LookupError("this world has no guild yet: call make_guild first")
        return self._ids

    async def make_guild(self, *, members: int, roles: int = 20) -> GuildIds:
        """Make a guild of so many members beside the bot; it is the world's guild from now on."""
        # A new id each time: bots of two tests must not meet in one guild.
        guild_id = (random.SystemRandom().getrandbits(40) + 1) << 22
        made = await self.control.create_guild(
            guild_id, members=members, roles=roles, everyone_holds=SHARED_ROLE, seed=self.seed
        )
        self._ids = GuildIds(
            guild=made["guild_id"],
            mod_log_channel=made["mod_log_channel_id"],
            shared_role=made["everyone_holds_role_id"],
        )
        return self._ids

    async def fill_site(self) -> None:
        """Give the site exactly the guild's roles and members, past its API."""
        await self.tables.replace(
            roles=await self.expected_roles(), users=await self.expected_users()
        )

    async def expected_users(self) -> list[UserRow]:
        """Return the rows that the site should have, from the guild itself."""
        guild = self.ids.guild
        return [checks.expected_user(member, guild) async for member in self.control.members(guild)]

    async def expected_roles(self) -> list[RoleRow]:
        """Return the roles that the site should have, from the guild itself."""
        return [checks.expected_role(role) for role in await self.control.roles(self.ids.guild)]

    async def differences(self) -> list[Difference]:
        """Compare every row of the site with the guild: roles first, then users."""
        roles = checks.role_differences(await self.tables.roles(), await self.expected_roles())
        users = checks.user_differences(await self.tables.users(), await self.expected_users())
        return roles + users

    def bot(self, name: str = "bot", **settings: str) -> Bot:
        """Make a bot for this guild and site, not started yet.

        Bots of the same name share a directory, and with it their state. `settings` add to the
        environment variables or replace them.
        """
        directory = self.directory / name
        bot = Bot(directory, {**self.bot_variables(directory), **settings})
        self._open.push_async_callback(bot.close)
        return bot

    def bot_variables(self, directory: Path) -> dict[str, str]:
        """Return the environment variables that tell a bot where it works."""
        return {
            "BOT_TOKEN": BOT_TOKEN,
            "GUILD_ID": str(self.ids.guild),
            "MOD_LOG_CHANNEL_ID": str(self.ids.mod_log_channel),
            "SITE_API_URL": self.website.api_url,
            "SITE_API_TOKEN": self.website.token,
            "DISCORD_API_URL": self.discord.api_url,
            "DISCORD_GATEWAY_URL": self.discord.gateway_url,
            "SYNC_STATE_URL": f"sqlite:///{directory.resolve()}/sync.db",
        }

    async def mod_log(self) -> list[ModLogMessage]:
        """Return mod-log's messages, oldest first."""
        return [
            _mod_log_message(message)
            for message in await self.control.messages(self.ids.mod_log_channel)
        ]

    def site_requests(self) -> list[SiteRequest]:
        """Return every request of others than this side that the site has answered, in order."""
        return [
            _site_request(event)
            for event in self.website.events(_ANSWERED)[self._requests_before :]
            if not str(event["request_id"]).startswith(_OWN_REQUESTS) and "started_at" in event
        ]

    async def warm_site(self) -> None:
        """Read a page and patch ten rows to what they are: what an idle site has done before."""
        rows = sorted(await self.expected_users(), key=lambda row: row.id)[:_IDLE_ROWS]
        patch = [{"id": row.id, "name": row.name, "roles": list(row.roles)} for row in rows]
        async with self.site_session() as session:
            async with session.get("bot/users") as answer:
                answer.raise_for_status()
                await answer.read()
            async with session.patch("bot/users/bulk_patch", json=patch) as answer:
                answer.raise_for_status()
                await answer.read()

    def site_session(self) -> aiohttp.ClientSession:
        """Return a session with the site's API; its requests don't count among the bot's."""
        return aiohttp.ClientSession(
            base_url=self.website.api_url,
            headers={
                "Authorization": f"Token {self.website.token}",
                "X-Request-ID": f"{_OWN_REQUESTS}{uuid.uuid4().hex}",
            },
        )


def _mod_log_message(message: Mapping[str, Any]) -> ModLogMessage:
    return ModLogMessage(
        id=message["id"],
        author_id=message["author_id"],
        states=tuple(
            (datetime.fromisoformat(edit["at"]), edit["body"]) for edit in message["edits"]
        ),
        deleted=message["deleted"],
    )


def _site_request(event: Mapping[str, Any]) -> SiteRequest:
    return SiteRequest(
        method=event["method"],
        path=event["path"],
        status=event["status"],
        rows=event["rows"],
        started_at=datetime.fromisoformat(event["started_at"]),
        duration=timedelta(milliseconds=event["duration_ms"]),
        request_id=event["request_id"],
    )
