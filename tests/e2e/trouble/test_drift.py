"""A quiet check finds what no event told of, repairs it, and counts it."""

import asyncio
from typing import Any

import prometheus_client
import pytest

from sandbox.servers import until
from tests.e2e.trouble.faulty_site import Answer, Call, Forward
from tests.e2e.trouble.harness import GUILD, Stage

pytestmark = pytest.mark.cached_or_not

# Requests by which a check that had not begun is over: each is three, or four where it also looks
# at a page by chance.
TWO_CHECKS = 8
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

    assert second["description"].splitlines()[0] == "**1** change written. Cause: renamed."
    assert counted == 1
    assert stage.database.stored() == await stage.rows_due()


@pytest.mark.slow
async def test_a_check_that_finds_nothing_is_not_shown(stage: Stage) -> None:
    """Mod-log stays as it was, however often the site is looked at."""
    await stage.guild()
    async with stage.bot(**EVERY):
        await stage.run_end()
        first = len(stage.site.calls)
        await stage.until(lambda: len(stage.site.calls) > first + TWO_CHECKS)
        counted = drift("renamed")

    assert [len(stage.ended()), stage.alerts(), counted] == [1, [], 0]
    assert all("Syncing" not in embed["title"] for embed in stage.embeds())


@pytest.mark.slow
async def test_a_check_reads_nothing_while_a_write_is_on_its_way(stage: Stage) -> None:
    """The row it would read may be old by the time that the write is answered."""
    ids = await stage.guild()
    begun, answered = asyncio.Event(), asyncio.Event()
    early: list[Call] = []
    async with stage.bot(**EVERY) as bot:
        await stage.run_end()
        cog: Any = bot.get_cog("Sync")

        async def cross(call: Call, forward: Forward) -> Answer:
            if call.writes_users and not begun.is_set():
                begun.set()
                await until(lambda: cog._app.service.supervisor.current is not None, timeout_s=10)
                answer = await forward(call)
                answered.set()
                return answer
            if begun.is_set() and not answered.is_set():
                early.append(call)
            return await forward(call)

        stage.site.fault = cross
        await stage.control.rename(GUILD, ids[3], "renamed")
        await stage.until(answered.is_set)
        asked = len(stage.site.calls)
        await stage.until(lambda: len(stage.site.calls) > asked + TWO_CHECKS)
        counted = drift("renamed")

    assert (early, counted) == ([], 0)


@pytest.mark.slow
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
        await stage.until(lambda: len(stage.site.calls) > asked + TWO_CHECKS)
        counted = drift("renamed")

    assert counted == 0
