"""One process leads; what another finds that takes over from it."""

from typing import Any

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending, RunView
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from bot.exts.backend.sync._runs.run import Scope
from tests.bot.exts.backend.sync.orchestration.conftest import BY, NEVER, Stage
from tests.fakes.faults import When, hanging, raising
from tests.fakes.site import Fate

pytestmark = pytest.mark.either_mode


async def test_a_second_process_waits_and_says_so_once(stage: Stage) -> None:
    """It marks, answers and writes nothing; it takes over when the first one stops.

    It says so once a lease has passed: before that, it may be the lease of one that was killed.
    """
    stage.guild(10, 11)
    first = await stage.start()
    second = await stage.start(60)
    stage.discord.change(10, name="renamed")
    await stage.clock.advance(10)
    assert (second.service.leadership.is_standby, second.site.calls) == (True, [])
    told = [stage.channel.titles.count("Sync waits for its turn")]
    await stage.clock.advance(600)
    told.append(stage.channel.titles.count("Sync waits for its turn"))
    await first.stop(within_s=0)
    await stage.clock.advance(10)

    assert second.service.leadership.is_leading
    assert stage.in_step()
    assert told == [0, 1]


async def test_a_lost_lease_ends_the_run_that_is_on(stage: Stage) -> None:
    """Another may write from now on: nothing more is sent, and the run counts as interrupted."""
    stage.guild(10, 11, 12, stored=False)
    stage.kept.lease_s = 90
    process = await stage.start(0)
    process.site.fate = lambda request: Fate(answers_s=20.0) if request.writes else Fate()
    await stage.clock.advance(5)
    stage.kept.holder = "somebody else"
    await stage.clock.advance(60)
    sent = len(process.site.writes)
    await stage.clock.advance(20)

    assert not process.service.leadership.is_leading
    assert len(process.site.writes) == sent
    assert stage.endings() == [Ending.CANCELLED]


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.05, 0.1, 1.0])
async def test_a_kill_at_any_moment_is_followed_by_a_sync(stage: Stage, after_s: float) -> None:
    """What it had begun counts as interrupted; the site ends in step, no message stays open."""
    stage.guild(*range(10, 20), stored=False)
    first = await stage.start(0)
    first.site.fate = lambda _: Fate(commits_s=0.01, answers_s=0.05)
    await stage.clock.advance(after_s)
    await stage.kill(first)
    second = await stage.start(60)
    await stage.clock.advance(300)

    assert stage.in_step()
    assert second.service.repository.state.attempt is None
    assert not [title for title in stage.channel.titles if title.startswith("Syncing")]


async def test_a_killed_runs_message_says_how_far_it_was(stage: Stage) -> None:
    """And links to the run that follows it."""
    stage.guild(*range(10, 20), stored=False)
    first = await stage.start(0)
    first.site.fate = lambda request: Fate(answers_s=6.0) if request.writes else Fate()
    await stage.clock.advance(20)
    await stage.kill(first)
    second = await stage.start(0)
    second.site.fate = lambda request: Fate(answers_s=6.0) if request.writes else Fate()
    await stage.clock.advance(120)

    ended = next(m for m in stage.channel.messages if "interrupted" in m.notice.title.lower())
    assert " of " in ended.notice.description
    assert "https://" in ended.notice.description


async def test_what_a_killed_process_had_on_its_way_is_looked_at_again(stage: Stage) -> None:
    """Its write commits after the next one's sync: nobody says "in step" for good before."""
    stage.guild(10, 11)
    first = await stage.start()
    stage.discord.change(10, name="old")
    first.site.fate = lambda _: Fate(commits_s=20.0, answers_s=NEVER)
    await stage.clock.advance(1)
    await stage.kill(first)
    stage.discord.change(10, name="new")
    second = await stage.start(10)
    assert stage.endings()[-1] is Ending.VERIFIED
    await stage.clock.advance(20)
    assert not stage.in_step()
    await stage.clock.advance(300)

    assert stage.in_step()
    assert second.service.leadership.is_leading


async def test_a_process_that_stops_in_order_hands_over(stage: Stage) -> None:
    """The next one is sure at once, and does not read everything a second time."""
    stage.guild(10, 11)
    first = await stage.start()
    await first.stop()
    second = await stage.start(600)

    assert [view.trigger for view, _ in second.telemetry.finished] == ["at start-up"]


async def test_a_stop_while_the_store_fails_ends_the_process(stage: Stage) -> None:
    """A cancel that meets a failing store was lost, and the process hung."""
    stage.guild(10)
    process = await stage.start()
    stage.kept.locked = True
    process.service.scheduler.want("to fail")
    await stage.clock.advance(9)
    stopping = stage.make_task(stage.clock_loop(), process.stop(within_s=0))
    await stage.clock.advance(30)

    assert stopping.done()


async def test_a_stop_in_a_run_lets_the_chunk_on_its_way_end(stage: Stage) -> None:
    """It is neutral where the site was well: the breaker does not count it."""
    stage.guild(*range(10, 20), stored=False)
    process = await stage.start(0)
    process.site.fate = lambda request: Fate(answers_s=1.0) if request.writes else Fate()
    await stage.clock.advance(6)
    stopping = stage.make_task(stage.clock_loop(), process.service.stop(within_s=8))
    await stage.clock.advance(9)
    assert stopping.done()
    await stage.kill(process)
    second = await stage.start(30)

    breaker = second.service.repository.state.breaker
    assert (breaker.state, breaker.failures) == (BreakerState.CLOSED, 0)
    assert stage.in_step()


async def test_a_size_that_a_process_died_of_is_halved(stage: Stage) -> None:
    """It was written down before it was sent."""
    sizes: dict[str, Any] = {"sync_first_items": 40, "sync_max_items": 100}
    stage.guild(*range(10, 70), stored=False)
    first = await stage.start(0, **sizes)
    first.site.fate = lambda request: Fate(answers_s=1.0) if request.writes else Fate()
    await stage.clock.advance(4)
    largest = max(len(call.ids) for call in first.site.writes)
    await stage.kill(first)
    second = await stage.start(0, **sizes)

    assert largest == 40
    assert second.service.repository.state.memory.ceiling == 20


async def test_a_store_that_is_away_for_a_moment_ends_no_run(stage: Stage) -> None:
    """What could not be kept is kept a moment later, and nobody need know."""
    stage.guild(*range(10, 30), stored=False)
    process = await stage.start(0)
    process.site.fate = lambda request: Fate(answers_s=0.4) if request.writes else Fate()
    await stage.clock.advance(0.5)
    stage.kept.reachable = False
    await stage.clock.advance(3)
    stage.kept.reachable = True
    await stage.clock.advance(60)

    assert stage.endings() == [Ending.VERIFIED]
    assert "State store unreachable" not in stage.channel.titles
    assert process.service.leadership.is_leading


async def test_when_it_was_last_verified_outlives_a_restart(stage: Stage) -> None:
    """An alert on its age must not fire after each deploy, nor forget how old it is."""
    stage.guild(10)
    first = await stage.start(30)
    verified_at = first.telemetry.verified_at
    await stage.kill(first)
    await stage.clock.advance(600)
    second = await stage.start(5, sync_at_start=False)
    again = second.telemetry.verified_at
    started = second.service.supervisor.start(Scope.ROLES, BY)
    await stage.clock.advance(30)

    assert isinstance(started, RunView)
    assert verified_at is not None
    assert again == verified_at
    assert second.telemetry.verified_at == verified_at, "roles alone are no full sync"


async def test_an_alert_that_a_killed_process_posted_is_not_posted_again(stage: Stage) -> None:
    """It died before it could note that mod-log shows it: the next one looks before it posts."""
    stage.guild(10)
    first = await stage.start()
    first.mod_log.faults.plan("mod_log.post", hanging()[0], when=When.DURING)
    await first.commands.pause(BY)
    await stage.clock.advance(5)
    await stage.kill(first)
    second = await stage.start(30)

    alerts = [message.alert_id for message in stage.channel.messages if message.alert_id]
    assert len(alerts) == len({*alerts})
    assert second.service.repository.alerts == {}


async def test_nothing_is_sent_that_may_outlive_the_lease(stage: Stage) -> None:
    """With less left of it than a request may take, another may lead before the answer."""
    stage.guild(10, 11)
    stage.kept.lease_s = 90
    process = await stage.start()
    stage.kept.reachable = False
    await stage.clock.advance(65)
    left_s = process.store.lease_left_s()
    stage.discord.change(10, name="renamed")
    await stage.clock.advance(5)

    assert 0 < left_s < 30
    assert process.site.writes == []


async def test_a_stop_takes_no_longer_than_it_may_while_discord_takes_nothing(
    stage: Stage,
) -> None:
    """The last message of a run that was stopped is ended by the next process instead."""
    stage.guild(*range(10, 20), stored=False)
    process = await stage.start(0)
    process.site.fate = lambda request: Fate(answers_s=20.0) if request.writes else Fate()
    await stage.clock.advance(6)
    fault, _ = hanging()
    process.mod_log.faults.plan("mod_log.finish", fault)
    stopping = stage.make_task(stage.clock_loop(), process.service.stop(within_s=8))
    await stage.clock.advance(8)

    assert stopping.done()
    assert not process.service.supervisor.is_on


async def test_a_last_message_that_discord_does_not_take_keeps_no_run_waiting(
    stage: Stage,
) -> None:
    """Nor is it forgotten by a stop because another run has begun since."""
    stage.guild(10, stored=False)
    process = await stage.start(0)
    fault, taken = hanging()
    process.mod_log.faults.plan("mod_log.finish", fault)
    await stage.clock.advance(60)
    stage.discord.join(11)
    process.service.supervisor.start(Scope.ALL, "by a test")
    await stage.clock.advance(60)
    assert len(stage.endings()) == 2
    stopping = stage.make_task(stage.clock_loop(), process.service.stop(within_s=8))
    await stage.clock.advance(4)
    assert not stopping.done()
    taken.set()
    await stage.clock.advance(1)

    assert stopping.done()


async def test_an_error_of_ours_at_a_run_s_end_leaves_it_to_be_counted(stage: Stage) -> None:
    """It is told, and the attempt is found open as if the store had not taken it."""
    stage.guild(10, stored=False)
    process = await stage.start(0)
    broken = RuntimeError("as planned")

    def at_its_end(_: RunView) -> None:
        process.store.faults.plan("store.put", raising(broken))
        process.telemetry.on_finished = lambda _: None

    process.telemetry.on_finished = at_its_end
    await stage.clock.advance(1200)

    told = [notice.notice.title for notice in stage.channel.messages]
    assert told.count("Sync was interrupted") == 1
    assert process.service.repository.state.attempt is None
