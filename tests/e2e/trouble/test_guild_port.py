"""What the guild says of its members, whether discord.py caches them or not."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from bot.exts.backend.sync._core.models import Member, UserId
from tests.e2e.trouble.harness import BOT, GUILD, PATIENCE_S, QuickBot, Stage

if TYPE_CHECKING:
    from bot.exts.backend.sync._guild import DiscordGuild

pytestmark = pytest.mark.cached_or_not

_T = TypeVar("_T")


def guild_of(bot: QuickBot) -> "DiscordGuild":
    """Return the guild as the extension of a bot reads it."""
    cog: Any = bot.get_cog("Sync")  # of a class that each load of the extension makes anew
    guild: DiscordGuild = cog._guild
    return guild


def row(member: Member) -> list[Any]:
    """Return a member as the site's row is due."""
    return [member.name, member.display_name, member.discriminator, [*member.roles], True]


async def rows(guild: "DiscordGuild", ids: Iterable[int]) -> dict[int, list[Any]]:
    """Return what the guild says of these ids, as a drain or a run would ask it."""
    wanted = [UserId(id_) for id_ in ids]
    await guild.look_up(wanted)
    found = await guild.members(wanted)
    return {int(id_): row(member) for id_, member in found.items()}


async def until_it_says(ask: Callable[[], Awaitable[_T]], due: _T) -> None:
    """Wait until an event has come that makes the guild say something."""
    said = await ask()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while said != due:
                await asyncio.sleep(0.02)
                said = await ask()
    except TimeoutError:
        assert said == due


async def test_values_are_those_of_now(stage: Stage) -> None:
    """Names, nicks and roles as they are, after each event; nobody who is not a member."""
    ids = await stage.guild(120)
    await stage.control.nick(GUILD, ids[1], "  nick ")
    await stage.control.change(GUILD, ids[2], global_name=None, nick=None)
    await stage.control.change(GUILD, ids[3], discriminator="1234")
    async with stage.bot() as bot:
        await stage.run_end()
        guild, everybody = guild_of(bot), [*ids, 42]
        before = await stage.rows_due()
        said = await rows(guild, everybody)
        await stage.control.rename(GUILD, ids[4], "renamed")
        await stage.control.set_roles(GUILD, ids[5], [GUILD + 1, GUILD + 3])
        await stage.control.leave(GUILD, ids[6])
        await stage.control.leave(GUILD, ids[7])
        await stage.control.join(GUILD, {"id": ids[7], "name": "again"})
        await stage.control.join(GUILD, {"id": 42, "name": "novel", "roles": [GUILD + 2]})
        after = await stage.rows_due()
        del after[BOT]
        await until_it_says(lambda: rows(guild, everybody), after)

    assert said == {id_: before[id_] for id_ in ids}


async def test_a_role_that_is_gone_is_nobodys(stage: Stage) -> None:
    """Its holders get no event of their own; they lose it all the same."""
    ids = await stage.guild(20)
    for id_ in ids[:10]:
        await stage.control.set_roles(GUILD, id_, [GUILD + 1, GUILD + 2])
    async with stage.bot() as bot:
        await stage.run_end()
        guild = guild_of(bot)
        before = await rows(guild, ids)
        await stage.control.delete_role(GUILD, GUILD + 1)
        await until_it_says(
            lambda: rows(guild, ids[:1]), {ids[0]: [*before[ids[0]][:3], [GUILD, GUILD + 2], True]}
        )
        due = await stage.rows_due()
        said = await rows(guild, ids)
        roles = sorted(guild.roles())

    assert said == {id_: due[id_] for id_ in ids}
    assert roles == [GUILD, GUILD + 2, GUILD + 3]


async def test_who_is_not_a_member_is_told_by_discord(stage: Stage) -> None:
    """Of any number of ids, in requests of a hundred at most."""
    ids = await stage.guild(130)
    strangers = [UserId(id_) for id_ in range(1, 131)]
    async with stage.bot() as bot:
        await stage.run_end()
        asked = (await stage.control.counters())["member_requests"]
        gone = await guild_of(bot).departed([*map(UserId, ids), *strangers])
        requests = (await stage.control.counters())["member_requests"] - asked

    assert gone == frozenset(strangers)
    assert requests == 3


async def test_a_new_session_is_a_new_epoch(stage: Stage) -> None:
    """Nothing that was known of the old one is believed: what no event told of is seen."""
    ids = await stage.guild(20)
    await stage.control.fault("member_interval_s", 0)
    async with stage.bot() as bot:
        await stage.run_end()
        guild = guild_of(bot)
        epoch = guild.epoch
        await rows(guild, ids)
        await stage.control.rename(GUILD, ids[3], "renamed", silent=True)
        await stage.control.leave(GUILD, ids[4], silent=True)
        await stage.control.drop(resumable=False)
        await stage.until(lambda: guild.epoch != epoch)
        await guild.prove()
        due = await stage.rows_due()
        said = await rows(guild, ids)
        await stage.run_end(2)  # which the new session asks for

    assert said == {id_: due[id_] for id_ in ids if id_ in due}


async def test_an_unavailable_guild_is_waited_for(stage: Stage) -> None:
    """It can't be read while it is away, and is proven anew when it is back."""
    ids = await stage.guild(20)
    await stage.control.fault("member_interval_s", 0)
    async with stage.bot() as bot:
        await stage.run_end()
        guild = guild_of(bot)
        await stage.control.outage(GUILD, begin=True)
        await stage.until(lambda: guild.proof is None)
        proving = asyncio.create_task(guild.prove())
        await stage.control.rename(GUILD, ids[3], "renamed")
        before = proving.done()
        await stage.control.outage(GUILD, begin=False)
        proof = await proving
        due = await stage.rows_due()
        said = await rows(guild, ids)

    assert (before, proof.complete, proof.members) == (False, True, 21)
    assert said == {id_: due[id_] for id_ in ids}
