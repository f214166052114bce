"""A bot without a member cache: built as its setting says, and what it takes from an event."""

import asyncio
import gc
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import discord
import pytest

from bot.bot import Bot
from bot.exts.backend.sync._clock import SystemClock
from bot.exts.backend.sync._core.plan.merging import NONE
from bot.exts.backend.sync._discord.stream import StreamedGuild, open_guild
from bot.exts.backend.sync._errors import RunStoppedError, SettingsError
from bot.settings import load_settings
from tests.bot.exts.backend.sync.gateway import CACHING, GUILD, NOBODY, build, with_guild
from tests.fakes.clock import HandClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.exts.backend.sync._core.model.members import UserId

VOICE = discord.MemberCacheFlags.none()
VOICE.voice = True


def nothing() -> None:
    """Be told of a new epoch."""


def streamed() -> StreamedGuild:
    """Return the guild of a bot that has just been built."""
    bot = build(NOBODY, chunks=False)
    return StreamedGuild(bot, GUILD, clock=SystemClock(), idle_s=1, renewed=nothing)


@pytest.mark.parametrize(
    ("flags", "chunks", "cached", "line"),
    [
        (NOBODY, False, True, "SYNC_MEMBER_CACHE is on, but this bot caches no members: "),
        (VOICE, False, True, "SYNC_MEMBER_CACHE is on, but this bot caches no members: "),
        (CACHING, False, False, "SYNC_MEMBER_CACHE is off, but this bot caches members: "),
        (NOBODY, True, False, "SYNC_MEMBER_CACHE is off, but this bot caches members: "),
    ],
)
def test_a_bot_that_was_built_the_other_way_is_refused(
    flags: discord.MemberCacheFlags, line: str, *, chunks: bool, cached: bool
) -> None:
    """One line names the setting, and what either of the two has to become."""
    bot = build(flags, chunks=chunks)

    with pytest.raises(SettingsError, match=f"^{line}.+$"):
        open_guild(bot, GUILD, cached=cached, clock=SystemClock(), idle_s=1, renewed=nothing)


@pytest.mark.parametrize(("setting", "kind"), [("on", False), ("off", True), (None, False)])
async def test_the_bot_is_built_as_the_setting_says(
    setting: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, kind: bool
) -> None:
    """Then the extension accepts it; members are cached unless that is switched off."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOT_TOKEN", "token")
    monkeypatch.delenv("SYNC_MEMBER_CACHE", raising=False)
    if setting is not None:
        monkeypatch.setenv("SYNC_MEMBER_CACHE", setting)
    settings = load_settings()
    async with Bot(settings) as bot:
        guild = open_guild(
            bot,
            GUILD,
            cached=settings.sync_member_cache,
            clock=SystemClock(),
            idle_s=1,
            renewed=nothing,
        )

    assert isinstance(guild, StreamedGuild) is kind


@pytest.mark.parametrize("setting", ["on", "off"])
async def test_answers_about_few_are_not_frozen_where_nobody_is_cached(
    setting: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Chunks are for the cache there; here they are read and forgotten, and must be collected."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOT_TOKEN", "token")
    monkeypatch.setenv("SYNC_MEMBER_CACHE", setting)
    async with Bot(load_settings()) as bot:
        gc.unfreeze()
        await bot.on_socket_event_type("GUILD_MEMBERS_CHUNK")
        await bot.on_socket_event_type("GUILD_MEMBERS_CHUNK")
        frozen = gc.get_freeze_count()
        gc.unfreeze()

    assert (frozen > 0) is (setting == "on")


def event(id_: int, **more: Any) -> dict[str, Any]:
    """Return what an event tells of a member."""
    user = {
        "id": str(id_),
        "username": "name",
        "global_name": None,
        "discriminator": "0",
        "avatar": None,
    }
    return {"guild_id": str(GUILD), "user": user, "roles": [], "nick": None, **more}


def less(payload: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return an event without some of its fields, or of its user's."""
    payload["user"] = {k: v for k, v in payload["user"].items() if k not in names}
    return {k: v for k, v in payload.items() if k not in names}


@pytest.mark.parametrize(
    ("payload", "known"),
    [
        (event(5), [5]),
        (less(event(5), "nick"), []),
        (less(event(5), "roles"), []),
        (less(event(5), "global_name"), []),
        (less(event(5), "discriminator"), []),
    ],
)
async def test_an_event_is_believed_if_it_tells_everything(
    payload: dict[str, Any], known: list[int]
) -> None:
    """Else what was known before is old, and nothing is known until Discord is asked."""
    guild = streamed()
    marked: list[UserId] = []
    guild.changed = marked.append
    guild.attach()
    hear: Callable[[Any], None] = guild._bot._connection.parsers["GUILD_MEMBER_UPDATE"]
    hear(event(5, nick="older"))
    heard = guild.watch()
    hear(payload)
    hear(event(6, guild_id="7"))

    assert [*guild.member_ids()] == known
    assert (marked, heard) == ([5, 5], {5})


async def test_what_is_known_is_bounded() -> None:
    """However many join, the values of the latest 10,000 are kept; who left is known as gone."""
    guild = streamed()
    guild.attach()
    parsers = guild._bot._connection.parsers
    for id_ in range(1, 10_003):
        parsers["GUILD_MEMBER_ADD"](event(id_))
    parsers["GUILD_MEMBER_REMOVE"](event(10_000))

    ids = guild.member_ids()
    assert (len(ids), ids[0], ids[-2:]) == (9_999, 3, (10_001, 10_002))
    assert guild._gone == {10_000: None}


async def test_discord_py_gets_its_parsers_back() -> None:
    """Unloaded, the extension hears nothing more."""
    guild = streamed()
    before = dict(guild._bot._connection.parsers)
    guild.attach()
    guild.detach()

    assert guild._bot._connection.parsers == before


async def test_who_waits_for_the_list_of_members_is_told_why() -> None:
    """While Discord has not answered, and while it fails; the failure has its status."""
    clock = HandClock()
    bot = await with_guild(build(NOBODY, chunks=False))
    bot._ready.set()
    guild = StreamedGuild(bot, GUILD, clock=clock, idle_s=1, renewed=nothing)
    guild.attach()
    failing: Any = SimpleNamespace(status=500, reason="Internal Server Error")

    async def get_members(*_args: object) -> list[Any]:
        await clock.sleep(30)
        raise discord.DiscordServerError(failing, "")

    bot.http.get_members = get_members  # type: ignore[assignment] # Discord's end of it
    await guild.prove()
    reading = asyncio.ensure_future(guild.page(NONE))
    await clock.advance(5)
    told = [guild.trouble]
    await clock.advance(26)
    told.append(guild.trouble)
    await clock.advance(300)

    failure = reading.exception()
    assert told == [
        "Discord has yet to answer with its list of members",
        "Discord does not give its list of members: HTTP 500; tried again",
    ]
    assert isinstance(failure, RunStoppedError)
    assert (failure.failure.status, guild.trouble) == (500, None)
