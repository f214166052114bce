"""Two bots on one guild, each with a state store of its own: both write, and both answer."""

import asyncio
from pathlib import Path

import pytest

from tests.e2e.trouble.harness import GUILD, Stage

TITLE = "Two bots sync this server"
QUICK = {"SYNC_DEADLINE_S": 0.2, "SYNC_LEASE_S": 0.4, "SYNC_EDIT_INTERVAL_S": 0.05}


@pytest.mark.slow
async def test_two_bots_with_a_store_each_say_which_answers(stage: Stage, tmp_path: Path) -> None:
    """Nothing but mod-log shows one that there is the other."""
    await stage.control.fault("member_interval_s", 0)
    await stage.guild()
    await stage.fill_site()
    owner = stage.discord.state.guilds[GUILD].owner_id
    async with stage.bot(**QUICK, SYNC_STATE_URL=f"sqlite:///{tmp_path}/one.db"):
        await stage.run_end()
        async with stage.program(tmp_path, **QUICK, SYNC_STATE_URL="sqlite:///other.db") as other:
            await other.wait_for_event("bot.ready")
            await stage.run_end(2)
            await asyncio.sleep(0.5)  # so long another may still speak that led before
            await stage.control.post(stage.mod_log, owner, "!sync all")
            await stage.until(lambda: [e["title"] for e in stage.embeds()].count(TITLE) == 2)
            before = len(answers(stage))
            await stage.control.post(stage.mod_log, owner, "!sync status")
            await stage.until(lambda: len(answers(stage)) == before + 2)

    names = [part for part in ("one.db", "other.db") if part in str(answers(stage)[before:])]
    assert names == ["one.db", "other.db"]


def answers(stage: Stage) -> list[str]:
    """Return what answers say of whose they are, oldest first."""
    return [
        field["value"]
        for embed in stage.embeds()
        for field in embed.get("fields") or ()
        if field["name"] == "This bot"
    ]
