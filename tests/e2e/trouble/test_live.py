"""What happens in the guild while the bot is there reaches the site by itself."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.trouble.faulty_site import Answer, Call, Forward, first
from tests.e2e.trouble.harness import GUILD, Stage

pytestmark = pytest.mark.cached_or_not


async def test_live_changes_reach_the_site(stage: Stage) -> None:
    """Joining, leaving, new names, nicks and roles of members, new and changed roles."""
    ids = await stage.guild(30)
    before = await stage.rows_due()
    async with stage.bot():
        await stage.run_end()
        await stage.control.join(GUILD, {"id": 11, "name": "newcomer", "roles": [GUILD + 1]})
        await stage.control.leave(GUILD, ids[2])
        await stage.control.rename(GUILD, ids[3], "renamed")
        await stage.control.change(GUILD, ids[4], global_name="Display")
        await stage.control.nick(GUILD, ids[5], "nick")
        role = await stage.control.create_role(GUILD, "novel")
        await stage.control.update_role(GUILD, GUILD + 1, name="changed", colour=255)
        await stage.control.set_roles(GUILD, ids[6], [GUILD + 2, role])
        due = await stage.rows_due()
        due[ids[2]] = [*before[ids[2]][:4], False]
        await stage.until(lambda: stage.database.stored() == due)

    roles = stage.site_roles()
    assert [roles[role], roles[GUILD + 1]] == ["novel", "changed"]


async def test_somebody_who_leaves_and_returns_is_in_the_guild(stage: Stage) -> None:
    """Whatever the order in which events are taken in, the row ends as the guild is."""
    ids = await stage.guild(10)
    async with stage.bot():
        await stage.run_end()
        for _ in range(3):
            await stage.control.leave(GUILD, ids[2])
            await stage.control.join(GUILD, {"id": ids[2], "name": "back again"})
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)


async def test_a_deleted_role_starts_a_run(stage: Stage) -> None:
    """Its holders get no events: a sync takes it from their rows, and then from the site."""
    ids = await stage.guild(30)
    role = GUILD + 1
    for id_ in ids[:20]:
        await stage.control.set_roles(GUILD, id_, [role])
    async with stage.bot():
        await stage.run_end()
        await stage.control.delete_role(GUILD, role)
        end = await stage.run_end(2)

    assert "role *role1* removed" in end["description"]
    assert stage.database.stored() == await stage.rows_due()
    assert role not in stage.site_roles()


@pytest.mark.slow
async def test_a_role_deleted_while_its_write_waits_is_not_brought_back(stage: Stage) -> None:
    """What waits for a site that fails is written as it is when its turn comes, or not at all."""
    ids = await stage.guild(10)
    async with stage.bot(SYNC_BACKOFF_S=2):
        await stage.run_end()
        stage.site.fault = fail_writes
        role = await stage.control.create_role(GUILD, "short-lived")
        await stage.until(lambda: stage.site.calls[-1].writes)
        stage.site.fault = first(0, fail_writes)
        await stage.control.delete_role(GUILD, role)
        await stage.run_end(2)
        # Drains go one after the other: with this one the one that waits has ended.
        await stage.control.rename(GUILD, ids[1], "renamed")
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)

    assert role not in stage.site_roles()


async def fail_writes(call: Call, forward: Forward) -> Answer:
    """Answer writes as a site that is overloaded."""
    return web.Response(status=503) if call.writes else await forward(call)


async def test_who_returns_at_once_has_the_names_of_now(stage: Stage) -> None:
    """discord.py gives who joins the names that it still holds of them; the site gets the new."""
    ids = await stage.guild(10)
    async with stage.bot():
        await stage.run_end()
        member = {"id": ids[2], "name": "another", "global_name": "Another"}
        leave_and_return: list[dict[str, Any]] = [
            {"op": "leave", "id": ids[2]},
            {"op": "put", "member": member},
        ]
        await stage.control.operations(GUILD, leave_and_return)
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)


@pytest.mark.slow
async def test_who_came_and_left_unseen_by_the_site_is_not_told_of(
    stage: Stage, member_cache: str
) -> None:
    """The site has no row for them to mark, and is not asked about one again and again.

    Without a member cache a sync may have written one before their joining was heard of: once.
    """
    ids = await stage.guild(10)
    async with stage.bot():
        await stage.run_end()
        before = len(stage.site.writes())
        come_and_go: list[dict[str, Any]] = [
            {"op": "put", "member": {"id": 11, "name": "guest"}},
            {"op": "leave", "id": 11},
        ]
        await stage.control.operations(GUILD, come_and_go)
        for number in range(5):
            await stage.control.nick(GUILD, ids[3], f"nick {number}")
            due = await stage.rows_due()
            await stage.until(lambda due=due: stage.database.stored() == due)  # type: ignore[misc]
        writes = stage.site.writes()[before:]

    about = [call for call in writes if 11 in call.ids]
    assert len(about) == (0 if member_cache == "on" else 1)
    assert {frozenset(call.ids) - {11} for call in writes} - {frozenset()} == {frozenset({ids[3]})}


@pytest.mark.slow
async def test_more_than_a_thousand_changes_go_as_a_run(stage: Stage) -> None:
    """They are recorded as an attempt, shown in mod-log, and looked at again."""
    ids = await stage.guild(2000)
    async with stage.bot():
        await stage.run_end()
        before = len(stage.site.writes())
        changes = [{"op": "change", "id": id_, "nick": "another"} for id_ in ids[:1900]]
        await stage.control.operations(GUILD, changes)
        end = await stage.run_end(2)
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)
        writes = stage.site.writes()[before:]

    assert end["title"] == "Sync of live changes finished"
    assert "seen live" in end["description"]
    assert len(writes) < 20


@pytest.mark.slow
async def test_more_changes_than_can_wait_are_left_to_a_full_sync(stage: Stage) -> None:
    """While the site does not answer, ids wait up to a bound; beyond it a sync looks for all."""
    ids = await stage.guild(30)
    answers = asyncio.Event()

    async def slow(call: Call, forward: Forward) -> Answer:
        if call.writes_users:
            await answers.wait()
        return await forward(call)

    async with stage.bot(SYNC_MAX_WAITING=10):
        await stage.run_end()
        stage.site.fault = slow
        before = len(stage.site.calls)
        await stage.control.nick(GUILD, ids[0], "first")
        await stage.until(lambda: len(stage.site.calls) > before)
        changes = [{"op": "change", "id": id_, "nick": "another"} for id_ in ids[1:20]]
        await stage.control.operations(GUILD, changes)
        await stage.until(
            lambda: any(embed["title"].startswith("Syncing") for embed in stage.embeds())
        )
        answers.set()
        end = await stage.run_end(2)
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)

    assert "display name changed" in end["description"]
