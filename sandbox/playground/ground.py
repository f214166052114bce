"""The servers that a playground is made of, and the people and channels of its guild."""

import asyncio
import contextlib
import random
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from sandbox.discord.client import DiscordControl
from sandbox.playground.site_faults import SITE_TOKEN, SiteFaults
from sandbox.playground.truth import Truth
from sandbox.replay import checks
from sandbox.replay.site_tables import PlainSiteTables, SiteTables
from sandbox.servers import BOT_TOKEN, Bot, Discord, PlainSite, Postgres, Website

Json = dict[str, Any]

SHARED_ROLE: Final = "Developers"
ROLES: Final = 12
OWNER, MODERATOR, STRANGER = "owner", "moderator", "stranger"
_NAMES: Final = {OWNER: "Olivia", MODERATOR: "Milo", STRANGER: "Sam"}
# Minutes that one would wait for become seconds; the page says so.
SHORTER: Final = {
    "SYNC_BACKOFF_S": "0.5",
    "SYNC_FIRST_RETRY_S": "8",
    "SYNC_SECOND_RETRY_S": "15",
    "SYNC_BREAKER_OPEN_S": "60",
    "SYNC_DEADLINE_S": "6",
    "SYNC_LEASE_S": "12",
    "SYNC_DOUBTFUL_RECHECK_S": "10",
    "SYNC_EDIT_INTERVAL_S": "1.5",
    "SYNC_MEMBER_TIMEOUT_S": "5",
    "SYNC_DRIFT_BY_DIGESTS_EVERY_S": "60",
}
_MEMBER_INTERVAL_S: Final = 3.0  # Discord gives a whole member list only once in 30 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The ids of the guild; `people` by who they are, `channels` by their names."""

    guild: int
    shared_role: int
    moderators: int
    people: dict[str, int]
    channels: dict[str, int]


class Ground:
    """PostgreSQL, a website, the local Discord and the bot, faults on the bot's way to the site.

    As an async context manager everything but the bot runs, guild and site in step.
    """

    def __init__(self, directory: Path, *, members: int, seed: int, plain: bool) -> None:
        self.directory = directory
        self.members = members
        self.seed = seed
        self.plain = plain
        self.postgres = Postgres(directory / "postgres", durable=False)
        self.discord = Discord(directory / "discord", seed=seed)
        self.faults = SiteFaults()
        self.control: DiscordControl
        self.website: Website
        self.tables: SiteTables
        self.truth: Truth
        self.place: Place
        self.bot: Bot
        self.second_bot: Bot | None = None
        self.limit_means = ""  # how the site's memory is limited, for people; empty: it is not
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            self._open.push_async_callback(self.postgres.close)
            self._open.push_async_callback(self.discord.close)
            await asyncio.gather(self.postgres.start(), self.discord.start())
            self.control = DiscordControl(self.discord.url)
            self._open.push_async_callback(self.control.close)
            await self._open.enter_async_context(self.faults)
            self.place = await self._make_guild()
            await self.start_site(plain=self.plain)
            self.bot = self._make_bot("bot")
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._open.aclose()

    async def start_site(self, *, plain: bool, **settings: str) -> None:
        """Start a website on a database of its own, in step, and let the bot's way lead to it.

        One that ran before is stopped.
        """
        if hasattr(self, "website"):
            await self.website.stop()
        url = await self.postgres.create_database(f"site_{uuid.uuid4().hex[:12]}")
        name = "plain-site" if plain else "website"
        if plain:
            self.tables = PlainSiteTables(database_url=url)
            self.website = PlainSite(self.directory / name, database_url=url)
            self.website.settings |= settings
        else:
            self.tables = SiteTables(database_url=url)
            self.website = Website(self.directory / name, database_url=url, **settings)
        self.plain = plain
        self._open.push_async_callback(self.website.close)
        await self.website.start()
        self.faults.lead_to(self.website.api_url, self.website.token)
        self.truth = Truth(database_url=url, guild=self.place.guild, plain=plain)
        await self.fill_site()

    async def fill_site(self) -> None:
        """Give the site exactly what the guild has, past its API."""
        guild = self.place.guild
        await self.control.record(guild)
        members = [checks.expected_user(m, guild) async for m in self.control.members(guild)]
        roles = [checks.expected_role(role) for role in await self.control.roles(guild)]
        await self.tables.replace(roles=roles, users=members)
        await self.truth.begin(roles=roles, members=members)

    def second(self) -> Bot:
        """Return another bot on the same guild and the same state, made once."""
        if self.second_bot is None:
            self.second_bot = self._make_bot("second-bot")
        return self.second_bot

    @property
    def store(self) -> Path:
        """Return where the bot keeps its state."""
        return self.directory.resolve() / "bot" / "sync.db"

    def _make_bot(self, name: str) -> Bot:
        place = self.place
        bot = Bot(
            self.directory / name,
            {
                "BOT_TOKEN": BOT_TOKEN,
                "GUILD_ID": str(place.guild),
                "MOD_LOG_CHANNEL_ID": str(place.channels["mod-log"]),
                "ALERT_ROLE_ID": str(place.moderators),
                "SYNC_COMMAND_ROLE_IDS": str(place.moderators),
                "SITE_API_URL": self.faults.api_url,
                "SITE_API_TOKEN": SITE_TOKEN,
                "DISCORD_API_URL": self.discord.api_url,
                "DISCORD_GATEWAY_URL": self.discord.gateway_url,
                "SYNC_STATE_URL": "sqlite:///sync.db"
                if name == "bot"
                else "sqlite:///../bot/sync.db",
                **SHORTER,
            },
        )
        self._open.push_async_callback(bot.close)
        return bot

    async def _make_guild(self) -> Place:
        """Make the guild, its three people with names of their own, and its channels."""
        control = self.control
        id_ = (random.SystemRandom().getrandbits(40) + 1) << 22
        made = await control.create_guild(
            id_, members=self.members, roles=ROLES, everyone_holds=SHARED_ROLE, seed=self.seed
        )
        await control.fault("member_interval_s", _MEMBER_INTERVAL_S)
        first = [member async for member in control.members(id_)][: len(_NAMES)]
        people = dict(zip(_NAMES, (member["id"] for member in first), strict=True))
        moderators = await control.create_role(id_, "Moderators", silent=True, colour=0xE67E22)
        for who, member in zip(_NAMES, first, strict=True):
            roles = [*member["roles"], *([moderators] if who == MODERATOR else [])]
            name = _NAMES[who]
            fields = {"name": name.lower(), "global_name": name, "nick": None, "roles": roles}
            await control.change(id_, member["id"], silent=True, **fields)
        channels = {"mod-log": made["mod_log_channel_id"]}
        for name in ("staff", "general"):
            channels[name] = await control.create_channel(id_, name)
        for name in ("mod-log", "staff"):
            await control.hide_channel(channels[name], [moderators])
        return Place(
            guild=id_,
            shared_role=made["everyone_holds_role_id"],
            moderators=moderators,
            people=people,
            channels=channels,
        )
