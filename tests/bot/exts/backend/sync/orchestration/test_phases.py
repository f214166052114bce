"""What may happen to a sync in each of its phases, and what must hold all the same."""

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending, Phase
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from bot.exts.backend.sync._runs.run import Scope
from tests.bot.exts.backend.sync.orchestration.conftest import BY, Stage
from tests.fakes.guild import FakeGuild
from tests.fakes.process import Process
from tests.fakes.site import Fate

pytestmark = [pytest.mark.unmeasured, pytest.mark.either_mode]

CACHED = [Phase.GUILD, Phase.SITE, Phase.ROLES, Phase.USERS, Phase.VERIFYING]
PAGED = [*CACHED, Phase.COMPARING, Phase.ASKING]
in_each_phase = pytest.mark.parametrize(
    ("stage", "phase"),
    [
        pytest.param(cached, phase, id=f"{'cached' if cached else 'uncached'}-{phase.name.lower()}")
        for cached, phases in ((True, CACHED), (False, PAGED))
        for phase in phases
    ],
    indirect=["stage"],
)


async def in_phase(stage: Stage, phase: Phase) -> Process:
    """Start a process that has something to do in each phase, and come into the middle of one."""
    stage.guild(*range(10, 16), stored=False)
    stage.rows.fill(stage.discord.members, stage.discord.roles)
    for id_ in (10, 11, 12):
        stage.rows.users[id_]["name"] = "wrong"
    del stage.rows.users[15]
    stage.rows.users[9] = {**stage.rows.users[13], "id": 9}
    stage.rows.roles[8] = {**stage.rows.roles[5], "id": 8}
    stage.discord.create_role(6)
    stage.discord.available = phase is not Phase.GUILD
    process = await stage.start(
        0, delay_s=lambda what: 0.0 if what == "gateway" else 1.0, sync_page_items=4
    )
    process.site.fate = lambda _: Fate(commits_s=0.5, answers_s=1.0)
    for _ in range(400):
        await stage.clock.advance(0.25)
        view = process.service.supervisor.current
        if view is not None and view.phase is phase:
            break
    await stage.clock.advance(0.5)
    view = process.service.supervisor.current
    assert view is not None
    assert view.phase is phase
    return process


def let_it_be(stage: Stage, process: Process) -> None:
    """Let Discord be there for a process that waits for it."""
    if not stage.discord.available:
        stage.discord.available = True
        process.guild.receive(FakeGuild.hear_guild)


def count(process: Process) -> int:
    """Return how many requests a process has sent."""
    return len(process.site.calls)


@in_each_phase
async def test_a_sync_without_trouble_is_verified(stage: Stage, phase: Phase) -> None:
    """So that the others show what their trouble did, and not what the phases do."""
    process = await in_phase(stage, phase)
    let_it_be(stage, process)
    await stage.clock.advance(120)

    assert stage.endings() == [Ending.VERIFIED]
    assert stage.in_step()
    assert stage.rows.users[9]["in_guild"] is False
    assert process.site.most == 1


@in_each_phase
async def test_a_cancel_ends_it_before_its_next_request(stage: Stage, phase: Phase) -> None:
    """Whatever it waits for; it is over, and the next one makes all good."""
    process = await in_phase(stage, phase)
    sent = count(process)
    reply = process.commands.cancel(BY)
    await stage.clock.advance(20)
    assert (reply.done, stage.endings(), count(process)) == (True, [Ending.CANCELLED], sent)
    assert process.service.repository.state.attempt is None
    let_it_be(stage, process)
    process.commands.start(Scope.ALL, BY, forced=False)
    await stage.clock.advance(120)

    assert stage.endings()[1:] == [Ending.VERIFIED]
    assert stage.in_step()


@in_each_phase
async def test_a_pause_holds_its_writes_and_a_resume_lets_them_go_on(
    stage: Stage, phase: Phase
) -> None:
    """However long it lasts: waiting for people is no trouble of the site's."""
    process = await in_phase(stage, phase)
    await process.commands.pause(BY)
    let_it_be(stage, process)
    await stage.clock.advance(30)
    await stage.let_nothing_be_written(process)
    await process.commands.resume(BY)
    await stage.clock.advance(120)

    assert stage.endings() == [Ending.VERIFIED]
    assert stage.in_step()


@in_each_phase
async def test_a_lost_lease_ends_it(stage: Stage, phase: Phase) -> None:
    """At once, since another may write from now on; with the lease comes the next sync."""
    stage.kept.lease_s = 90
    process = await in_phase(stage, phase)
    stage.kept.holder = "somebody else"
    stage.kept.held_until = stage.clock.monotonic() + 60
    await stage.clock.advance(15)
    sent = count(process)
    let_it_be(stage, process)
    await stage.clock.advance(25)
    assert (process.service.leadership.is_leading, count(process)) == (False, sent)
    (ended,) = stage.endings()
    assert ended in {Ending.CANCELLED, Ending.FAILED}
    await stage.clock.advance(600)

    assert process.service.leadership.is_leading
    assert stage.endings()[-1] is Ending.VERIFIED
    assert stage.in_step()


@in_each_phase
async def test_a_kill_is_made_up_for_by_the_next_process(stage: Stage, phase: Phase) -> None:
    """An attempt that had begun counts; no message says for ever that something is on."""
    killed = await in_phase(stage, phase)
    had_begun = killed.service.repository.state.attempt is not None
    await stage.kill(killed)
    stage.discord.available = True
    process = await stage.start(0)
    await stage.clock.settle()
    failures = process.service.repository.state.breaker.failures
    await stage.clock.advance(300)

    assert had_begun is (phase is not Phase.GUILD)
    assert failures == had_begun
    assert stage.endings()[-1] is Ending.VERIFIED
    assert stage.in_step()
    assert process.service.repository.state.attempt is None
    assert process.service.repository.state.breaker.state is BreakerState.CLOSED
    assert [title for title in stage.channel.titles if title.startswith("Syncing")] == []


@in_each_phase
async def test_a_new_session_of_discord_costs_time_and_nothing_else(
    stage: Stage, phase: Phase
) -> None:
    """What was read before it is not believed: somebody has left that nobody told of."""
    process = await in_phase(stage, phase)
    process.guild.lose_session()
    stage.discord.leave(14)
    stage.discord.change(13, name="missed")
    stage.discord.available = True
    process.guild.connect()
    await stage.clock.advance(300)

    assert set(stage.endings()) == {Ending.VERIFIED}
    assert stage.in_step()
    assert stage.rows.users[14]["in_guild"] is False


@in_each_phase
async def test_an_opened_breaker_ends_it_and_a_reset_starts_the_next(
    stage: Stage, phase: Phase
) -> None:
    """Nothing is written meanwhile; by hand means until a hand closes it."""
    process = await in_phase(stage, phase)
    await process.commands.open_breaker(BY, "to look")
    let_it_be(stage, process)
    await stage.clock.advance(30)
    await stage.let_nothing_be_written(process)
    await process.commands.reset_breaker(BY)
    await stage.clock.advance(120)

    assert stage.endings()[-1] is Ending.VERIFIED
    assert stage.in_step()


@in_each_phase
async def test_a_stop_leaves_no_attempt_open(stage: Stage, phase: Phase) -> None:
    """It counts as a failure only where nothing was applied of what was due."""
    stopped = await in_phase(stage, phase)
    stopping = stage.make_task(stage.clock_loop(), stopped.stop())
    await stage.clock.advance(10)
    stage.discord.available = True
    assert stopping.done()
    assert "attempt" not in stage.kept.entries
    process = await stage.start(0)
    await stage.clock.settle()
    breaker = process.service.repository.state.breaker
    await stage.clock.advance(120)

    assert (breaker.state, breaker.failures) == (BreakerState.CLOSED, phase is Phase.SITE)
    assert stage.endings()[-1] is Ending.VERIFIED
    assert stage.in_step()


@in_each_phase
async def test_a_site_that_is_down_from_then_on_fails_it(stage: Stage, phase: Phase) -> None:
    """It is tried again by itself, and verified once the site is back."""
    process = await in_phase(stage, phase)
    process.site.fate = lambda _: Fate(commits_s=None, unreachable=True)
    let_it_be(stage, process)
    await stage.clock.advance(50)
    assert stage.endings() == [Ending.FAILED]
    assert process.service.repository.state.breaker.failures == 1
    process.site.fate = lambda _: Fate()
    await stage.clock.advance(600)

    assert stage.endings() == [Ending.FAILED, Ending.VERIFIED]
    assert stage.in_step()
