"""The crowd: whatever it lets happen can happen, and changes what the site has to show."""

from typing import Any

import pytest

from sandbox.discord.client import DiscordControl
from sandbox.replay.crowd import Crowd
from tests.sandbox.conftest import GUILD

OWNER = 1


def people(count: int) -> list[dict[str, Any]]:
    """Return a guild's owner, its bot and so many others."""
    owner = {"id": OWNER, "name": "owner", "roles": [], "bot": False}
    bot = {"id": 2, "name": "bot", "roles": [], "bot": True}
    others = [{"id": 10 + n, "name": f"n{n}", "roles": [100], "bot": False} for n in range(count)]
    return [owner, bot, *others]


def crowd(count: int = 5, *, seed: int = 0) -> Crowd:
    """Return a crowd of so many who may hold the roles 100 and 101."""
    return Crowd(people(count), [100, 101], owner=OWNER, seed=seed)


def test_the_owner_and_bots_are_no_part_of_it() -> None:
    """They have to stay."""
    assert sorted(crowd(3).ids) == [10, 11, 12]


def test_a_seed_decides_all() -> None:
    """A replay that failed can be made to fail again."""
    assert crowd(seed=7).bustle(200) == crowd(seed=7).bustle(200)
    assert crowd(seed=7).bustle(200) != crowd(seed=8).bustle(200)


def test_who_leaves_is_gone_until_they_come_back() -> None:
    """Nobody leaves twice, and whoever returns was there before."""
    gathered = crowd(3)
    gone = [gathered.leave()["id"] for _ in range(3)]
    back = [gathered.come_back()["member"]["id"] for _ in range(3)]
    newcomer = gathered.come_back()["member"]["id"]

    assert (sorted(gone), sorted(back), len(gathered)) == ([10, 11, 12], [10, 11, 12], 4)
    assert newcomer not in gone


def test_a_role_that_is_gone_is_given_to_nobody() -> None:
    """A change of roles names those that the guild still has."""
    gathered = crowd(3)
    gathered.forget_role(100)
    named = {role for _ in range(200) for role in gathered.change().get("roles", ())}

    assert named == {101}


@pytest.mark.parametrize("seed", [0, 1])
async def test_a_guild_takes_every_operation_and_each_changes_it(
    control: DiscordControl, seed: int
) -> None:
    """What is done is never refused, and never leaves the row as it was."""
    await control.create_guild(GUILD, members=30, roles=2, seed=seed)
    members = [row async for row in control.members(GUILD)]
    roles = [role["id"] for role in await control.roles(GUILD) if role["id"] != GUILD]
    gathered = Crowd(members, roles, owner=members[0]["id"], seed=seed)
    rows: dict[int, Any] = {row["id"]: row for row in members}
    await control.record(GUILD)
    assert await control.operations(GUILD, gathered.bustle(500)) == 500

    for change in await control.history(GUILD):
        assert rows.get(change["id"]) != change["row"]
        rows[change["id"]] = change["row"]
    here = {id_ for id_, row in rows.items() if row is not None}
    assert here - {members[0]["id"], 900_000_000_000_000_001} == set(gathered.ids)
