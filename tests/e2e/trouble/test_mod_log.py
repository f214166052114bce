"""What Discord can do to mod-log: it tells each thing once all the same."""

import pytest

from tests.e2e.trouble.harness import GUILD, Stage


@pytest.mark.slow
async def test_a_run_has_one_message_though_an_answer_is_lost(stage: Stage) -> None:
    """A message whose answer Discord did not give is not posted again, but edited."""
    await stage.guild()
    async with stage.bot():
        await stage.run_end()
        await stage.until(lambda: len(stage.embeds()) == 2)  # the run, and where its state is
        await stage.control.rest_fault(
            f"POST /channels/{GUILD + 900}/messages", status=503, after=True
        )
        await stage.control.delete_role(GUILD, GUILD + 1)
        await stage.run_end(2)

    footers = [embed["footer"]["text"] for embed in stage.embeds()]
    assert len(footers) == len(set(footers)) == 3


@pytest.mark.slow
async def test_how_a_run_ended_is_told_though_the_next_has_begun(stage: Stage) -> None:
    """While Discord takes nothing runs come and go: each has its message, which says its end."""
    await stage.guild()
    async with stage.bot():
        await stage.run_end()
        await stage.until(lambda: len(stage.embeds()) == 2)  # the run, and where its state is
        await stage.control.rest_fault("* /channels/*/messages*", count=4, status=503)
        await stage.control.delete_role(GUILD, GUILD + 1)
        await stage.until(lambda: GUILD + 1 not in stage.site_roles())
        await stage.control.delete_role(GUILD, GUILD + 2)
        await stage.run_end(3)

    titles = [embed["title"] for embed in stage.embeds() if embed["title"] != "New state store"]
    assert titles == ["Sync of roles and users finished"] * 3
