"""What the guild says of its members, whether discord.py caches them or not: the real promises."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from bot.exts.backend.sync._core.model.members import UserId
from tests.e2e.trouble.harness import BOT, GUILD, PATIENCE_S, QuickBot, Stage
from tests.fakes.guild_contract import GuildContract, PagedContract, Scene

if TYPE_CHECKING:
    from bot.exts.backend.sync._discord.guild import DiscordGuild

_T = TypeVar("_T")


def guild_of(bot: QuickBot) -> "DiscordGuild":
    """Return the guild as the extension of a bot reads it."""
    cog: Any = bot.get_cog("Sync")  # of a class that each load of the extension makes anew
    guild: DiscordGuild = cog._app.guild
    return guild


class OnDiscord:
    """A guild of twenty and the bot on the local Discord."""

    def __init__(self, stage: Stage, bot: QuickBot, ids: list[int]) -> None:
        self.stage = stage
        self.ids = ids
        self.roles = (GUILD, GUILD + 1, GUILD + 2, GUILD + 3)
        self.guild = guild_of(bot)

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return await work

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        held = await condition()
        async with asyncio.timeout(PATIENCE_S):
            while not held:
                await asyncio.sleep(0.02)
                held = await condition()

    async def join(self, id_: int, name: str, roles: Iterable[int] = ()) -> None:
        member = {"id": id_, "name": name, "roles": [*roles]}
        await self.stage.control.join(GUILD, member)

    async def leave(self, id_: int, *, silent: bool = False) -> None:
        await self.stage.control.leave(GUILD, id_, silent=silent)

    async def rename(self, id_: int, name: str, *, silent: bool = False) -> None:
        await self.stage.control.rename(GUILD, id_, name, silent=silent)

    async def set_roles(self, id_: int, roles: Iterable[int]) -> None:
        await self.stage.control.set_roles(GUILD, id_, [*roles])

    async def delete_role(self, id_: int) -> None:
        await self.stage.control.delete_role(GUILD, id_)

    async def lose_session(self) -> None:
        await self.stage.control.drop(resumable=False)

    async def outage(self, *, begin: bool) -> None:
        await self.stage.control.outage(GUILD, begin=begin)

    async def fall_silent(self) -> None:
        # The extension's modules are made anew by each load.
        module = type(self.guild._requests).query.__globals__
        self.stage.monkeypatch.setitem(module, "_QUERY_S", 0.1)
        for fault in ("ignore_user_requests", "ignore_member_requests"):
            await self.stage.control.fault(fault, 1000)
        await self.stage.control.rest_fault("GET /guilds/*/members*", count=1000, status=403)

    async def due(self) -> dict[int, tuple[str, tuple[int, ...]]]:
        rows = await self.stage.rows_due()
        return {id_: (row[0], tuple(row[3])) for id_, row in rows.items() if row[4]}


async def set_scene(stage: Stage) -> AsyncIterator[OnDiscord]:
    """Yield a guild of twenty and a bot that has synced it."""
    ids = await stage.guild(20)
    await stage.control.fault("member_interval_s", 0)
    async with stage.bot(SYNC_MEMBER_TIMEOUT_S=0.3) as bot:
        await stage.run_end()
        yield OnDiscord(stage, bot, sorted(set(ids) - {BOT}))


@pytest.mark.cached_or_not(fast="on")
class TestOnDiscord(GuildContract):
    """With the real client and its gateway, on the local Discord."""

    @pytest.fixture
    async def scene(self, stage: Stage) -> AsyncIterator[OnDiscord]:
        """Set the scene."""
        async for scene in set_scene(stage):
            yield scene


@pytest.mark.parametrize("member_cache", ["off"], indirect=True)
class TestPagesOnDiscord(PagedContract):
    """Without a cache of members."""

    @pytest.mark.slow
    async def test_what_discord_does_not_say_stops_who_asked(self, scene: Scene) -> None:
        """It takes as long as Discord is waited for."""
        await super().test_what_discord_does_not_say_stops_who_asked(scene)

    @pytest.fixture
    async def scene(self, stage: Stage) -> AsyncIterator[OnDiscord]:
        """Set the scene."""
        async for scene in set_scene(stage):
            yield scene


@pytest.mark.cached_or_not(fast="on")
async def test_a_member_is_looked_up_in_requests_of_a_hundred(stage: Stage) -> None:
    """As many as Discord takes."""
    ids = await stage.guild(130)
    strangers = [UserId(id_) for id_ in range(1, 131)]
    async with stage.bot() as bot:
        await stage.run_end()
        asked = (await stage.control.counters())["member_requests"]
        gone = await guild_of(bot).departed([*map(UserId, ids), *strangers])
        requests = (await stage.control.counters())["member_requests"] - asked

    assert gone == frozenset(strangers)
    assert requests == 3


@pytest.mark.cached_or_not(fast="on")
async def test_names_nicks_and_discriminators_are_those_of_now(stage: Stage) -> None:
    """As the site's rows are due to have them."""
    ids = await stage.guild(20)
    await stage.control.nick(GUILD, ids[1], "  nick ")
    await stage.control.change(GUILD, ids[2], global_name=None, nick=None)
    await stage.control.change(GUILD, ids[3], discriminator="1234")
    async with stage.bot() as bot:
        await stage.run_end()
        guild, due = guild_of(bot), await stage.rows_due()
        wanted = [*map(UserId, ids)]
        await guild.look_up(wanted)
        found = await guild.members(wanted)

    said = {
        int(id_): [m.name, m.display_name, m.discriminator, [*m.roles], True]
        for id_, m in found.items()
    }
    assert said == {id_: due[id_] for id_ in ids}
