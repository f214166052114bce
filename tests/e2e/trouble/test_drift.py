"""A quiet check finds what no event told of, repairs it, and counts it."""

import asyncio
from typing import Any

import prometheus_client
import pytest

from sandbox.servers import until
from tests.e2e.trouble.faulty_site import Answer, Call, Forward
from tests.e2e.trouble.harness import GUILD, Stage

pytestmark = pytest.mark.cached_or_not

EVERY = {"SYNC_DRIFT_EVERY_S": 0.5}


def drift(reason: str) -> float | None:
    """Return the exported count of rows that had drifted for this reason."""
    return prometheus_client.REGISTRY.get_sample_value("sync_drift_rows", {"reason": reason})


async def test_what_no_event_told_of_is_repaired_and_counted(stage: Stage) -> None:
    """The site's row was changed behind the bot's back: the next check says so in mod-log."""
    ids = await stage.guild()
    async with stage.bot(**EVERY):
        await stage.run_end()
        stage.database.query("UPDATE api_user SET name = 'old' WHERE id = %s", ids[3])
        second = await stage.run_end(2)
        counted = drift("renamed")

    assert second["description"].splitlines()[0] == "1 of 1 changes: renamed."
    assert counted == 1
    assert stage.database.stored() == await stage.rows_due()


async def test_a_check_that_finds_nothing_is_not_shown(stage: Stage) -> None:
    """Mod-log stays as it was, however often the site is looked at."""
    await stage.guild()
    async with stage.bot(**EVERY):
        await stage.run_end()
        first = len(stage.site.calls)
        await stage.until(lambda: len(stage.site.calls) > first + 6)
        counted = drift("renamed")

    assert [len(stage.ended()), stage.alerts(), counted] == [1, [], 0]
    assert all("Syncing" not in embed["title"] for embed in stage.embeds())


async def test_a_change_that_is_written_while_rows_are_read_is_no_drift(stage: Stage) -> None:
    """Its event came before the check began, its write after the check has read the old row."""
    ids = await stage.guild()
    reached, opened = asyncio.Event(), asyncio.Event()
    checked = asyncio.Event()
    async with stage.bot(**EVERY) as bot:
        await stage.run_end()
        cog: Any = bot.get_cog("Sync")

        async def cross(call: Call, forward: Forward) -> Answer:
            if call.writes_users and not reached.is_set():
                reached.set()
                await opened.wait()
            elif call.path == "bot/users" and not call.writes and reached.is_set():
                answer = await forward(call)
                opened.set()
                await until(lambda: not cog._control.dirty.users, timeout_s=10)
                checked.set()
                return answer
            return await forward(call)

        stage.site.fault = cross
        await stage.control.rename(GUILD, ids[3], "renamed")
        await stage.until(checked.is_set)
        asked = len(stage.site.calls)
        await stage.until(lambda: len(stage.site.calls) > asked + 3)
        counted = drift("renamed")

    assert counted == 0


async def test_a_live_change_is_no_drift(stage: Stage) -> None:
    """What an event told of is on its way: the figure stays 0."""
    ids = await stage.guild()
    async with stage.bot(**EVERY):
        await stage.run_end()
        for number in range(10):
            await stage.control.rename(GUILD, ids[3], f"name {number}")
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)
        asked = len(stage.site.calls)
        await stage.until(lambda: len(stage.site.calls) > asked + 3)
        counted = drift("renamed")

    assert counted == 0
