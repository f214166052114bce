"""Live changes: what waits, what goes, and what takes their place when they keep failing."""

import pytest
import structlog

from bot.exts.backend.sync._core.messages.progress import Ending
from tests.bot.exts.backend.sync.orchestration.conftest import DOWN, Stage, failing_writes
from tests.fakes.site import Fate

pytestmark = pytest.mark.either_mode


async def test_changes_of_all_kinds_reach_the_site(stage: Stage) -> None:
    """Each as it is when its turn comes."""
    stage.guild(10, 11, 12)
    process = await stage.start()
    stage.discord.create_role(7)
    stage.discord.join(20, roles=[7])
    stage.discord.leave(11)
    stage.discord.change(12, name="first")
    stage.discord.change(12, name="last")
    stage.discord.rename_role(5, "renamed")
    await stage.clock.advance(10)

    assert stage.in_step()
    assert stage.rows.roles[5]["name"] == "renamed"
    assert stage.rows.users[11]["in_guild"] is False
    assert [12 in call.ids for call in process.site.writes].count(True) == 1
    assert len(stage.runs()) == 1


async def test_each_line_of_the_log_says_of_which_run_it_is(stage: Stage) -> None:
    """The site's log has the same id with each request, so that one leads to the other."""
    stage.guild(10)
    process = await stage.start(30)
    process.site.fate = failing_writes()
    with structlog.testing.capture_logs() as logs:
        stage.discord.change(10, name="renamed")
        await stage.clock.advance(300)
        process.site.fate = lambda _: Fate()
        await stage.clock.advance(600)
        stage.discord.change(10, name="renamed again")
        await stage.clock.advance(60)
    named = {
        log["event"]: log.get("run_id")
        for log in logs
        if log["event"] in {"sync.drain.finished", "sync.breaker.moved"}
    }

    assert named.keys() == {"sync.drain.finished", "sync.breaker.moved"}
    assert all(named.values()), named


async def test_many_at_once_are_a_run(stage: Stage) -> None:
    """With a message of its own, in which each counts once."""
    stage.guild(10)
    await stage.start(run_above=4)
    for id_ in range(20, 30):
        stage.discord.join(id_)
    await stage.clock.advance(60)

    run = stage.runs()[-1]
    assert (run.what, run.ending, run.planned) == ("live changes", Ending.VERIFIED, 10)
    assert run.tally.total == 10
    assert stage.in_step()


async def test_three_failures_in_a_row_ask_for_a_full_sync(stage: Stage) -> None:
    """It counts for the breaker, as no single drain does."""
    stage.guild(10, 11)
    process = await stage.start()
    process.site.fate = failing_writes(DOWN)
    stage.discord.change(10, name="renamed")
    await stage.clock.advance(600)

    assert "live changes kept failing" in stage.runs()[1].trigger


async def test_failures_with_a_success_between_them_ask_for_none(stage: Stage) -> None:
    """Three in all are no three in a row."""
    stage.guild(10, 11)
    process = await stage.start()
    for number in range(6):
        process.site.fate = failing_writes(DOWN)
        stage.discord.change(10, name=f"name{number}")
        before = len(process.site.writes)
        while len(process.site.writes) < before + 5:  # five failing answers end a drain
            await stage.clock.advance(1)
        await stage.clock.advance(0.01)
        process.site.fate = lambda _: Fate()
        await stage.clock.advance(60)
        assert stage.in_step()

    assert len(stage.runs()) == 1


async def test_a_row_that_the_site_does_not_take_stops_no_other(stage: Stage) -> None:
    """It is parked and told, and goes once its values are others."""
    stage.guild(10, 11)
    process = await stage.start()
    stage.rows.named = {10}
    stage.discord.change(10, name="bad")
    stage.discord.change(11, name="good")
    await stage.clock.advance(30)
    parked = dict(process.service.repository.parked)
    stage.rows.named = set()
    stage.discord.change(10, name="better")
    await stage.clock.advance(30)

    assert [*parked] == [10]
    assert stage.rows.users[11]["name"] == "good"
    assert "Rows parked" in stage.channel.titles
    assert process.service.repository.parked == {}
    assert stage.in_step()


async def test_what_waited_through_a_failure_goes_oldest_first(stage: Stage) -> None:
    """Nothing of it is lost, whatever was on its way when the site failed."""
    stage.guild(10, 11, 12)
    process = await stage.start()
    process.site.fate = failing_writes(DOWN)
    stage.discord.change(10, name="a")
    stage.discord.join(20)
    stage.discord.leave(11)
    await stage.clock.advance(20)
    process.site.fate = lambda _: Fate()
    await stage.clock.advance(600)

    assert len(process.service.queue) == 0
    assert stage.in_step()


async def test_what_changes_while_a_probe_is_on_waits_for_its_end(stage: Stage) -> None:
    """The probe has compared the old value: it settles what was marked before, and not this."""
    stage.guild(*range(10, 20))
    stage.rows.users[19]["name"] = "wrong"
    process = await stage.start(0)
    process.site.fate = failing_writes(DOWN)
    while process.service.repository.state.breaker.retry_at is None or len(stage.runs()) < 3:
        await stage.clock.advance(10)
    process.site.fate = lambda request: Fate(answers_s=5.0) if request.writes else Fate()
    sent = len(process.site.writes)
    while len(process.site.writes) == sent:
        await stage.clock.advance(1)
    stage.discord.change(10, name="renamed")
    await stage.clock.advance(120)

    assert stage.endings()[-1] is Ending.VERIFIED
    assert stage.in_step()
