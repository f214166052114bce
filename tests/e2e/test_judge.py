"""The judge of a replay, on a real site: what it must not let pass."""

from datetime import UTC, datetime

from sandbox.replay.checks import ModLogMessage
from sandbox.replay.first_run import EndedRun, judge
from sandbox.replay.world import World


def ended(ending: str) -> EndedRun:
    """Make a run that ended so, and of which mod-log shows nothing."""
    message = ModLogMessage(id=1, author_id=2, states=((datetime(2026, 1, 1, tzinfo=UTC), {}),))
    return EndedRun(line={"run_id": "abc", "ending": ending}, message=message, mod_log=(message,))


async def test_a_row_altered_behind_the_site_is_seen(world: World) -> None:
    """One wrong row and one wrong role among many are found, and so is a silent mod-log."""
    await world.make_guild(members=200)
    await world.fill_site()
    user = (await world.tables.users())[100]
    role = (await world.tables.roles())[0]
    await world.tables.execute("UPDATE api_user SET display_name = 'x' WHERE id = %s", user.id)
    await world.tables.execute("UPDATE api_role SET position = 77 WHERE id = %s", role.id)

    assert await judge(world, ended("verified")) == [
        f"role {role.id}: position is 77 on the site and {role.position} in the guild",
        f"user {user.id}: display_name is 'x' on the site and {user.display_name!r} in the guild",
        "mod-log has no message that says how run abc ended",
    ]


async def test_writes_that_belong_to_no_run_are_seen(world: World) -> None:
    """A run that failed, and a write that isn't the run's, are faults though every row is right."""
    await world.make_guild(members=20)
    await world.fill_site()
    row = (await world.tables.users())[0]
    async with world.site_session() as session:
        headers = {"X-Request-ID": "stranger-1"}
        patch = [{"id": row.id, "name": row.name}]
        async with session.patch("bot/users/bulk_patch", json=patch, headers=headers) as answer:
            answer.raise_for_status()

    assert await judge(world, ended("failed")) == [
        "the run ended failed, not verified",
        "PATCH /api/bot/users/bulk_patch was written as 'stranger-1', not as run abc",
    ]
