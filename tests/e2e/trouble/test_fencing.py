"""An older value never wins: not over an event in the middle of a run, not by committing late."""

from typing import Any

import pytest

from tests.e2e.trouble.faulty_site import Answer, Call, Forward, first, lose
from tests.e2e.trouble.harness import GUILD, Stage


@pytest.mark.parametrize("before", [True, False], ids=["before it commits", "after it committed"])
async def test_an_event_in_the_middle_of_a_run_has_the_last_word(
    stage: Stage, *, before: bool
) -> None:
    """A chunk is under way with the value of then; the newer one follows it, never precedes it."""
    ids = await stage.guild(60)

    async def with_event(call: Call, forward: Forward) -> Answer:
        if before:
            await stage.control.nick(GUILD, ids[3], "newer")
            return await forward(call)
        answer = await forward(call)
        await stage.control.nick(GUILD, ids[3], "newer")
        return answer

    stage.site.fault = first(1, with_event, when=lambda call: call.writes_users)
    async with stage.bot():
        await stage.run_end()
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)

    assert due[ids[3]][1] == "newer"
    # The run verified the others, and left the one that was changing under its eyes alone.
    assert [call.ids for call in stage.site.writes()[1:]] == [frozenset({ids[3]})]


async def test_who_leaves_and_returns_in_the_middle_of_a_run_ends_as_a_member(
    stage: Stage,
) -> None:
    """Both happen while a chunk with them is under way."""
    ids = await stage.guild(60)

    async def with_events(call: Call, forward: Forward) -> Answer:
        member = {"id": ids[3], "name": "back again"}
        there_and_back: list[dict[str, Any]] = [
            {"op": "leave", "id": ids[3]},
            {"op": "put", "member": member},
        ]
        await stage.control.operations(GUILD, there_and_back)
        return await forward(call)

    stage.site.fault = first(1, with_events, when=lambda call: call.writes_users)
    async with stage.bot():
        await stage.run_end()
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)

    assert due[ids[3]][0] == "back again"


@pytest.mark.slow
async def test_a_lost_request_that_commits_late_is_written_over(stage: Stage) -> None:
    """The site goes on with what the bot has given up; the newer value is written once more."""
    ids = await stage.guild(20)
    lost: list[tuple[Call, Forward]] = []

    async def lose_unapplied(call: Call, forward: Forward) -> Answer:
        lost.append((call, forward))
        return lose(call)

    def name_on_site() -> object:
        return stage.database.stored()[ids[3]][1]

    async with stage.bot(SYNC_DEADLINE_S=0.3, SYNC_DOUBTFUL_RECHECK_S=3):
        await stage.run_end()
        stage.site.fault = first(1, lose_unapplied, when=lambda call: call.writes_users)
        await stage.control.nick(GUILD, ids[3], "older")
        await stage.until(lambda: name_on_site() == "older")
        await stage.control.nick(GUILD, ids[3], "newer")
        await stage.until(lambda: name_on_site() == "newer")
        ((call, forward),) = lost
        assert (await forward(call)).status == 200
        assert name_on_site() == "older"
        await stage.until(lambda: name_on_site() == "newer")

    assert stage.database.stored() == await stage.rows_due()
