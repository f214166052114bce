"""The real bot between a local Discord and a real site, as the tests see the three of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bot.bot import Bot
from bot.settings import load_settings
from sandbox.discord.client import DiscordControl
from sandbox.discord.server import DiscordServer
from sandbox.servers import Bot as BotProgram
from sandbox.servers import until
from tests.e2e.trouble.faulty_site import FaultySite
from tests.website.harness import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from pathlib import Path

    import pytest

    from sandbox.servers import Website
    from tests.fakes.local_site import LocalSite

GUILD: Final = 270_988_689_419_665_408
TOKEN: Final = "sandbox-token"
PATIENCE_S: Final = 20.0
BOT: Final = 900_000_000_000_000_001
ENDED: Final = ("finished", "failed", "cancelled")

Json = dict[str, Any]


def variables(
    discord: DiscordServer, site: Website | LocalSite, *, site_url: str, **settings: object
) -> dict[str, str]:
    """Return the environment of a bot that waits for nothing longer than it must in a test."""
    return {
        "BOT_TOKEN": TOKEN,
        "GUILD_ID": str(GUILD),
        "SITE_API_URL": site_url,
        "SITE_API_TOKEN": site.token,
        "MOD_LOG_CHANNEL_ID": str(GUILD + 900),
        "DISCORD_API_URL": discord.api_url,
        "DISCORD_GATEWAY_URL": discord.gateway_url,
        "SYNC_BACKOFF_S": "0.02",
        "SYNC_DEADLINE_S": "5",  # a lost write is waited out for as long
        **{name: str(value) for name, value in settings.items()},
    }


class QuickBot(Bot):
    """The bot without discord.py's pauses: before a second IDENTIFY, and for further guilds."""

    def __init__(self) -> None:
        super().__init__(load_settings())
        self._connection.guild_ready_timeout = 0.02

    async def load_extension(self, name: str, *, package: str | None = None) -> None:
        """Load it without making its modules anew, which takes longer than most tests."""
        await importlib.import_module(name, package).setup(self)

    async def before_identify_hook(self, _shard: int | None, *, initial: bool = False) -> None:
        """Go ahead at once."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """Discord, the site and the way between the bot and it; `environment` is the next bot's."""

    discord: DiscordServer
    control: DiscordControl
    website: Website | LocalSite
    database: Database
    site: FaultySite
    monkeypatch: pytest.MonkeyPatch
    mod_log: int = GUILD + 900
    lives: list[asyncio.Task[None]] = field(default_factory=list)

    # -- the bot ----------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def bot(self, **settings: object) -> AsyncIterator[QuickBot]:
        """Run the bot in this process for as long as this is entered."""
        for name, value in variables(
            self.discord, self.website, site_url=self.site.api_url, **settings
        ).items():
            self.monkeypatch.setenv(name, value)
        async with QuickBot() as bot:
            life = asyncio.create_task(bot.live(load_settings().bot_extensions))
            self.lives.append(life)
            try:
                yield bot
            finally:
                await bot.close()
                life.cancel()
                await asyncio.gather(life, return_exceptions=True)
                self.lives.remove(life)
                gc.unfreeze()  # the bot freezes the heap, which is the other tests' too

    def program(self, directory: Path, **settings: object) -> BotProgram:
        """Return the bot's program, which keeps its state in `directory`."""
        given = variables(self.discord, self.website, site_url=self.site.api_url, **settings)
        return BotProgram(directory, given)

    async def commands_known(self) -> None:
        """Wait until Discord knows the slash commands."""
        await self.until(lambda: any(self.discord.state.commands.values()))

    async def ready(self) -> None:
        """Wait until Discord knows the slash commands and the first run has ended."""
        await self.run_end()
        await self.commands_known()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, and fail with the mod-log if it never holds."""
        holds = await until(lambda: condition() or self._died(), timeout_s=PATIENCE_S)
        for life in self.lives:
            if life.done():
                life.result()
        assert holds, f"never came; mod-log: {self.embeds()}; the site was asked: {self.site.calls}"

    def _died(self) -> bool:
        return any(life.done() for life in self.lives)

    # -- mod-log ----------------------------------------------------------------------------------

    def bodies(self, channel_id: int | None = None) -> list[Json]:
        """Return what a channel's messages of the bot show now, oldest first."""
        channel = self.discord.state.channel(self.mod_log if channel_id is None else channel_id)
        assert channel is not None
        return [
            message.body
            for message in channel.messages.values()
            if int(message.author["id"]) == BOT and not message.deleted
        ]

    def embeds(self) -> list[Json]:
        """Return every embed that mod-log shows, oldest first."""
        return [embed for body in self.bodies() for embed in body.get("embeds") or ()]

    def ended(self) -> list[Json]:
        """Return the embeds of the runs that have ended, alerts left out, oldest first."""
        return [
            embed
            for embed in self.embeds()
            if embed["title"].endswith(ENDED) and "alert" not in footer(embed)
        ]

    def alerts(self) -> list[Json]:
        """Return the embeds of the alerts, oldest first, but that about the new state store."""
        return [
            embed
            for embed in self.embeds()
            if "alert" in footer(embed) and embed["title"] != "New state store"
        ]

    def alert_titles(self) -> list[str]:
        """Return the titles of those alerts."""
        return [alert["title"] for alert in self.alerts()]

    async def run_end(self, count: int = 1) -> Json:
        """Wait until so many runs have ended, and return the embed of the last of them."""
        await self.until(lambda: len(self.ended()) >= count)
        return self.ended()[count - 1]

    # -- both sides -------------------------------------------------------------------------------

    async def guild(self, members: int = 20, *, roles: int = 3) -> list[int]:
        """Make the guild; return its members' ids but the bot's, ascending: first the owner's."""
        await self.control.create_guild(GUILD, members=members, roles=roles, seed=1)
        return sorted([m["id"] async for m in self.control.members(GUILD) if m["id"] != BOT])

    async def leave(self, ids: Iterable[int]) -> None:
        """Let members leave without an event that tells of it."""
        operations = ({"op": "leave", "id": id_} for id_ in ids)
        await self.control.operations(GUILD, operations, silent=True)

    async def rows_due(self) -> dict[int, list[Any]]:
        """Return the rows that the site must have for the present members, by id."""
        return {m["id"]: row_of(m) async for m in self.control.members(GUILD)}

    async def fill_site(self) -> None:
        """Give the site the guild as it is, as a correct older syncer would have."""
        self._insert(
            "INSERT INTO api_role (id, name, colour, permissions, position) VALUES (?, ?, ?, ?, ?)",
            [
                (r["id"], r["name"], r["colour"], r["permissions"], r["position"])
                for r in await self.control.roles(GUILD)
            ],
        )
        self.add_rows(await self.rows_due())

    def add_rows(self, rows: dict[int, list[Any]]) -> None:
        """Insert users into the site's database."""
        self._insert(
            "INSERT INTO api_user (id, name, display_name, discriminator, roles, in_guild)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [(id_, *row[:3], json.dumps(row[3]), row[4]) for id_, row in rows.items()],
        )

    def add_old_role(self, id_: int, number: int) -> None:
        """Insert a role into the site's database that the guild no longer has."""
        self.database.query(
            "INSERT INTO api_role (id, name, colour, permissions, position) VALUES"
            " (%s, %s, 0, 0, 0)",
            id_,
            f"old {number}",
        )

    def _insert(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        with contextlib.closing(self.database.connect()) as connection:
            connection.execute("BEGIN")  # one write to the disk instead of one a row
            connection.executemany(sql, rows)
            connection.execute("COMMIT")

    def site_roles(self) -> dict[int, str]:
        """Return the names of the site's roles by id."""
        return dict(self.database.query("SELECT id, name FROM api_role ORDER BY id"))


@contextlib.asynccontextmanager
async def staged(
    website: Website | LocalSite, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """Set the stage: an empty Discord, an empty site, and the way to it."""
    database = Database(vendor="sqlite", url=website.settings["DATABASE_URL"])
    database.query("DELETE FROM api_user")
    database.query("DELETE FROM api_role")
    async with (
        DiscordServer(token=TOKEN) as discord,
        DiscordControl(discord.url) as control,
        FaultySite(website.api_url) as site,
    ):
        yield Stage(
            discord=discord,
            control=control,
            website=website,
            database=database,
            site=site,
            monkeypatch=monkeypatch,
        )


def row_of(member: Json) -> list[Any]:
    """Return the row due to a member: name, display name, discriminator, roles, in guild."""
    display_name = member["nick"] or member["global_name"] or member["name"]
    return [
        member["name"].strip(),
        display_name.strip(),
        int(member["discriminator"]),
        sorted({GUILD, *member["roles"]}),
        True,
    ]


def footer(embed: Json) -> str:
    """Return an embed's footer, empty if it has none."""
    return str((embed.get("footer") or {}).get("text", ""))


def fields(embed: Json) -> dict[str, str]:
    """Return an embed's fields by name."""
    return {part["name"]: part["value"] for part in embed.get("fields", ())}
