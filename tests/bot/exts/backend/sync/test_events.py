"""Whatever names a member of the guild marks them, also where discord.py tells nobody of it."""

import asyncio
from typing import Any

import discord
import pytest
import structlog
from discord.ext import commands

from bot.exts.backend.sync._discord.guild import DiscordGuild
from bot.exts.backend.sync._discord.stream import StreamedGuild, open_guild
from bot.exts.backend.sync._ports import Proof
from tests.bot.exts.backend.sync.gateway import (
    CACHING,
    GUILD,
    NOBODY,
    build,
    member,
    role,
    send,
    with_guild,
)
from tests.fakes.clock import HandClock

ELSEWHERE = str(GUILD + 1)


class Told:
    """A guild of a bot, and what is heard of it."""

    def __init__(self, bot: commands.Bot, make: type[DiscordGuild] = DiscordGuild) -> None:
        self.bot = bot
        self.marked: list[int] = []
        self.epochs: list[int] = []
        self.created: list[int] = []
        self.guild = make(
            bot,
            GUILD,
            clock=HandClock(),
            idle_s=1,
            renewed=lambda: self.epochs.append(self.guild.epoch),
        )
        self.guild.changed = self.marked.append
        self.guild.attach()

    def prove(self) -> None:
        """Let what is cached be proven."""
        self.guild._proof = Proof(complete=True, reason="", members=0)
        self.guild._proven = self.bot.get_guild(GUILD)

    def send(self, event: str, payload: dict[str, Any]) -> None:
        send(self.bot, event, payload)


@pytest.fixture
async def cached() -> Told:
    """Give a guild whose members are cached; there is 5, whose join was heard."""
    told = Told(await with_guild(build(CACHING)))
    told.send("GUILD_MEMBER_ADD", member(5))
    told.prove()
    return told


@pytest.fixture
async def streamed() -> Told:
    """Give a guild whose members are not cached."""
    return Told(await with_guild(build(NOBODY)), StreamedGuild)


async def test_an_update_of_somebody_whose_join_was_lost_is_the_first_word_of_them(
    cached: Told,
) -> None:
    """It is not thrown away until the second one; from then on they are cached as they are."""
    cached.send("GUILD_MEMBER_UPDATE", member(6, nick="six"))
    cached.send("GUILD_MEMBER_UPDATE", member(5, nick="five"))
    cached.send("GUILD_MEMBER_UPDATE", member(7, guild_id=ELSEWHERE))

    assert cached.marked == [6, 5]
    known = await cached.guild.members(cached.guild.member_ids())
    assert {id_: one.display_name for id_, one in known.items()} == {5: "five", 6: "six"}


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("MESSAGE_CREATE", {"author": {"id": "6"}, "member": {"roles": []}}),
        ("TYPING_START", {"user_id": "6", "member": {"user": {"id": "6"}}}),
        ("VOICE_STATE_UPDATE", {"user_id": "6", "member": {"user": {"id": "6"}}}),
        ("MESSAGE_REACTION_ADD", {"user_id": "6", "member": {"user": {"id": "6"}}}),
        ("INTERACTION_CREATE", {"member": {"user": {"id": "6"}}}),
        ("PRESENCE_UPDATE", {"user": {"id": "6"}, "status": "online"}),
    ],
)
async def test_who_acts_as_a_member_and_is_not_cached_is_marked(
    cached: Told, event: str, payload: dict[str, Any]
) -> None:
    """Whatever they do; who is cached is not, nor a stranger, a webhook or somebody elsewhere."""
    guild, hear = {"guild_id": str(GUILD)}, cached.guild._on_sign
    known = {
        name: {"id": "5"} if name in {"author", "user"} else "5" if name == "user_id" else value
        for name, value in payload.items()
    }
    if "user" in payload.get("member", {}):
        known["member"] = {"user": {"id": "5"}}
    assert cached.bot._connection.parsers[event].__qualname__.endswith("guarded")
    for one in (
        known | guild,
        payload | {"guild_id": ELSEWHERE},
        payload,
        {"author": {"id": "6"}, "webhook_id": "6"} | guild,
        {"user": {"id": "6"}, "status": "offline"} | guild,
        {"user": {"id": None}, "status": "online"} | guild,
    ):
        hear(one)
    assert cached.marked == []
    hear(payload | guild)

    assert cached.marked == [6]


async def test_nobody_is_new_before_the_cache_is_whole(cached: Told) -> None:
    """After a READY nearly everybody is unknown, and will be read with all the others."""
    cached.send("GUILD_DELETE", {"id": str(GUILD), "unavailable": True})
    cached.guild._on_sign({"guild_id": str(GUILD), "member": {"user": {"id": "6"}}})

    assert cached.marked == []


async def test_the_bot_itself_has_another_name(cached: Told, streamed: Told) -> None:
    """Its own user has an event of its own."""
    for told in (cached, streamed):
        told.send("USER_UPDATE", {"id": "9", "username": "new"})

    assert (cached.marked, streamed.marked) == ([9], [9])


@pytest.mark.parametrize("is_cached", [True, False])
async def test_the_update_of_a_role_whose_creation_was_lost_creates_it(*, is_cached: bool) -> None:
    """Who was read without it, for it was unknown, is marked; a known role is updated."""
    bot = await with_guild(build(CACHING if is_cached else NOBODY))
    told = Told(bot, DiscordGuild if is_cached else StreamedGuild)
    told.prove()
    made: list[int] = []

    async def on_create(one: discord.Role) -> None:
        made.append(one.id)

    told.bot.add_listener(on_create, "on_guild_role_create")
    told.send("GUILD_MEMBER_UPDATE", member(6, roles=["50"]))
    told.marked.clear()
    for name in ("first", "second"):
        told.send("GUILD_ROLE_UPDATE", {"guild_id": str(GUILD), "role": role(50, name=name)})
    await HandClock().settle()

    assert (made, told.guild.roles()[50].name) == ([50], "second")  # type: ignore[index]
    # In the cache the holders are found; elsewhere what was known of them is old.
    assert told.marked == ([] if is_cached else [6])
    assert (6 in told.guild.member_ids()) is is_cached


SHARDS = 4
OURS = (GUILD >> 22) % SHARDS


@pytest.mark.parametrize("shard", range(SHARDS))
async def test_only_the_guilds_own_shard_begins_an_epoch(shard: int) -> None:
    """Another's READY says nothing of the guild's events, nor does its silence."""
    bot: Any = commands.AutoShardedBot("?", intents=discord.Intents.all(), shard_count=SHARDS)
    told = Told(await with_guild(bot))
    told.prove()
    told.guild._on_ready({"shard": [OURS, SHARDS]})
    told.prove()
    before = told.guild.epoch
    bot.dispatch("shard_disconnect", shard)
    bot.dispatch("disconnect")
    await HandClock().settle()
    linked = [told.guild._requests.linked.is_set()]
    told.guild._on_resumed({"__shard_id__": (OURS + 1) % SHARDS})
    linked.append(told.guild._requests.linked.is_set())
    told.guild._on_resumed({"__shard_id__": OURS})
    linked.append(told.guild._requests.linked.is_set())
    told.guild._on_ready({"shard": [shard, SHARDS]})

    own = shard == OURS
    assert linked == [not own, not own, True]
    assert told.guild.epoch - before == own
    assert (told.guild.proof is None) == own


async def test_without_shards_every_session_is_the_guilds(cached: Told) -> None:
    """As Discord sends it to a bot that says nothing of shards."""
    before = cached.guild.epoch
    cached.guild._on_ready({})
    await cached.guild._on_disconnect()
    cached.guild._on_resumed({"__shard_id__": None})

    assert (cached.guild.epoch - before, cached.guild._requests.linked.is_set()) == (1, True)


class Socket:
    """The way to the gateway; its answers come as the test says."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def request_chunks(self, guild_id: int, **asked: Any) -> None:
        self.asked.append({"guild_id": guild_id, **asked})

    async def poll_event(self) -> None: ...


async def test_all_members_are_read_anew_though_they_are_proven(cached: Told) -> None:
    """Who was missed is corrected and marked; whom events spoke of meanwhile is left as they are.

    What is proven stays proven, and no epoch ends.
    """
    socket = Socket()
    connection: Any = cached.bot._connection
    connection._get_websocket = lambda _id: socket
    cached.guild._requests.linked.set()
    for id_ in (6, 7, 8):
        cached.send("GUILD_MEMBER_ADD", member(id_))
    reading = asyncio.ensure_future(cached.guild.read_anew())
    await HandClock().settle()
    proven = [cached.guild.proof is not None]
    cached.send("GUILD_MEMBER_ADD", member(10))  # after Discord has made its answer
    rows = [member(5), member(6, nick="six"), member(9)]
    (asked,) = socket.asked
    chunk = {"guild_id": str(GUILD), "nonce": asked["nonce"], "chunk_count": 2}
    cached.send("GUILD_MEMBERS_CHUNK", {**chunk, "chunk_index": 0, "members": rows})
    cached.send("GUILD_MEMBERS_CHUNK", {**chunk, "chunk_index": 1, "members": [member(8)]})
    wrong = await reading
    proven.append(cached.guild.proof is not None)

    assert (asked["query"], asked["limit"], asked["user_ids"]) == ("", 0, None)
    assert (wrong, cached.marked, proven, cached.epochs) == (3, [6, 9, 7], [True, True], [])
    assert sorted(cached.guild.member_ids()) == [5, 6, 8, 9, 10]


async def test_an_answer_of_a_session_that_ended_corrects_nobody(cached: Told) -> None:
    """It may be a part of them; all are read after a READY anyway."""
    socket = Socket()
    connection: Any = cached.bot._connection
    connection._get_websocket = lambda _id: socket
    cached.guild._requests.linked.set()
    reading = asyncio.ensure_future(cached.guild.read_anew())
    await HandClock().settle()
    cached.guild._on_ready({})

    assert await reading is None
    assert (await cached.guild.read_anew(), cached.marked) == (None, [])


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("event", ["MESSAGE_UPDATE", "CHANNEL_UPDATE", "GUILD_MEMBER_UPDATE"])
async def test_what_discord_py_can_not_parse_is_passed_over(event: str, *, is_cached: bool) -> None:
    """It would end the connection and the bot; it is told of, and the next event is heard."""
    heard: list[str] = []
    bot = await with_guild(build(CACHING if is_cached else NOBODY))
    guild = open_guild(
        bot, GUILD, cached=is_cached, clock=HandClock(), idle_s=1.0, renewed=lambda: None
    )
    guild.passed_over = heard.append
    before = dict(bot._connection.parsers)
    guild.attach()
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            send(bot, event, {"guild_id": str(GUILD), "id": {}, "channel_id": "x", "user": []})
    send(bot, "GUILD_MEMBER_ADD", member(7))
    guild.detach()

    assert heard == [event, event]
    told = [(log["event"], log["task"], log["log_level"]) for log in logs]
    assert told == [
        ("sync.event.passed_over", f"event {event}", "error"),
        ("sync.event.passed_over", f"event {event}", "warning"),
    ]
    assert bot._connection.parsers == before
