"""The control API of the local Discord: guilds of any size, and many changes to them."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from sandbox.discord.client import ControlError
from sandbox.discord.state import State
from tests.sandbox.conftest import GUILD

if TYPE_CHECKING:
    from sandbox.discord.client import DiscordControl
    from tests.sandbox.conftest import Client


async def test_a_guild_is_made_as_asked_and_the_same_again(control: DiscordControl) -> None:
    """The seed decides names and roles; the shared role is held by all but the bot."""
    made = await control.create_guild(
        GUILD, members=1_000, roles=5, everyone_holds="everybody", seed=7
    )
    rows = [row async for row in control.members(GUILD)]
    await control.create_guild(GUILD, members=1_000, roles=5, everyone_holds="everybody", seed=7)

    assert made == {
        "guild_id": GUILD,
        "mod_log_channel_id": GUILD + 900,
        "everyone_holds_role_id": GUILD + 6,
    }
    assert [GUILD + 6 in row["roles"] for row in rows] == [True] * 1_000 + [False]
    assert [row["bot"] for row in rows] == [False] * 1_000 + [True]
    assert [row async for row in control.members(GUILD)] == rows


def test_a_member_takes_less_than_a_kilobyte() -> None:
    """So that a million fit: the record, its texts and its place in the guild."""
    state = State(token="t")
    tracemalloc.start()
    try:
        state.create_guild(guild_id=GUILD, members=10_000, roles=250, everyone_holds="everybody")
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken_bytes / 10_000 < 1000


async def test_members_come_change_and_go(control: DiscordControl) -> None:
    """Every operation leaves exactly the record that it names."""
    await control.create_guild(GUILD, members=0, roles=2)
    role = await control.create_role(GUILD, "third", colour=255)
    await control.put_members(GUILD, [{"id": id_, "name": f"m{id_}"} for id_ in (1, 2, 3)])
    await control.leave(GUILD, 1)
    await control.rename(GUILD, 2, "two")
    await control.nick(GUILD, 2, "Zwei")
    await control.set_roles(GUILD, 2, [GUILD + 1, role])
    await control.set_roles(GUILD, 3, [role])
    await control.delete_role(GUILD, GUILD + 1)
    await control.update_role(GUILD, role, name="renamed")

    assert [row async for row in control.members(GUILD) if not row["bot"]] == [
        {
            "id": 2,
            "name": "two",
            "global_name": None,
            "nick": "Zwei",
            "roles": [role],
            "discriminator": "0",
            "bot": False,
        },
        {
            "id": 3,
            "name": "m3",
            "global_name": None,
            "nick": None,
            "roles": [role],
            "discriminator": "0",
            "bot": False,
        },
    ]
    assert (await control.roles(GUILD))[-1] == {
        "id": role,
        "name": "renamed",
        "position": 3,
        "permissions": 0,
        "colour": 255,
    }


async def test_operations_up_to_the_first_bad_one_are_made(control: DiscordControl) -> None:
    """The refusal names it; what stands before it happened, what stands after it did not."""
    await control.create_guild(GUILD, members=0, roles=0)
    await control.put_members(GUILD, [{"id": 1, "name": "one"}])
    operations = [
        {"op": "change", "id": 1, "nick": "before"},
        {"op": "leave", "id": 5},
        {"op": "change", "id": 1, "nick": "after"},
    ]

    with pytest.raises(ControlError, match=f"no member 5 in guild {GUILD}"):
        await control.operations(GUILD, operations)
    with pytest.raises(ControlError, match="not an operation"):
        await control.operations(GUILD, [{"op": "dance"}])

    nicks = [row["nick"] async for row in control.members(GUILD) if row["id"] == 1]
    assert nicks == ["before"]


async def test_the_history_tells_what_was_done_and_when(control: DiscordControl) -> None:
    """From `record` on each change stands there with what it left; `told` needs a listener."""
    await control.create_guild(GUILD, members=0, roles=1)
    await control.put_members(GUILD, [{"id": 1, "name": "one"}])
    with pytest.raises(ControlError, match="nobody asked"):
        await control.history(GUILD)
    before = datetime.now(UTC)
    await control.record(GUILD)
    await control.nick(GUILD, 1, "Eins")
    await control.leave(GUILD, 1)
    await control.update_role(GUILD, GUILD + 1, colour=9)
    await control.delete_role(GUILD, GUILD + 1)

    history = await control.history(GUILD)
    moments = [before, *(datetime.fromisoformat(change.pop("at")) for change in history)]
    member = {"id": 1, "name": "one", "global_name": None, "nick": "Eins", "roles": []}
    role = {"id": GUILD + 1, "name": "role1", "position": 1, "permissions": 0, "colour": 9}
    assert history == [
        {
            "op": "put",
            "id": 1,
            "row": member | {"discriminator": "0", "bot": False},
            "told": False,
        },
        {"op": "leave", "id": 1, "row": None, "told": False},
        {"op": "put_role", "id": GUILD + 1, "row": role, "told": False},
        {"op": "delete_role", "id": GUILD + 1, "row": None, "told": False},
    ]
    assert moments == sorted(moments)
    assert [change["op"] for change in await control.history(GUILD, after=3)] == ["delete_role"]
    await control.record(GUILD)
    assert await control.history(GUILD) == []


async def test_the_history_knows_who_was_told(client: Client, control: DiscordControl) -> None:
    """A change is told to whoever is connected, unless it is silent or the guild is away."""
    await control.record(GUILD)
    bot = client.home.me.id
    await control.nick(GUILD, bot, "told")
    await control.nick(GUILD, bot, "silent", silent=True)
    await control.outage(GUILD, begin=True)
    await control.nick(GUILD, bot, "away")

    history = await control.history(GUILD)
    assert [change["told"] for change in history] == [True, False, False]
