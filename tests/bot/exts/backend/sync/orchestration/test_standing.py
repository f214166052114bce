"""How it stands is told while nothing moves, too: in an outage one looks hardest."""

import json

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending, Phase
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from bot.exts.backend.sync._core.policy.request_backoff import FailureKind
from bot.exts.backend.sync._core.policy.standing import Standing
from bot.exts.backend.sync._runs.run import Scope
from bot.exts.backend.sync._service.standings import Standings
from tests.bot.exts.backend.sync.orchestration.conftest import BY, DOWN, NEVER, Stage
from tests.fakes.process import Process
from tests.fakes.site import Fate


def standing(process: Process) -> Standing:
    """Return how a process stands now."""
    return Standings(process.service, guild=process.guild, telemetry=process.telemetry).now()


async def test_what_waits_is_counted_while_the_site_is_down(stage: Stage) -> None:
    """Not only once it has gone: how many, for how long, and when the site is tried again."""
    stage.guild(10, 11, 12)
    process = await stage.start(30)
    well = standing(process)
    process.site.fate = lambda _: DOWN
    stage.discord.change(10, name="renamed")
    await stage.clock.advance(300)
    stage.discord.change(11, name="renamed")
    stage.discord.change(12, name="renamed")
    await stage.clock.advance(1)
    down = standing(process)
    await stage.clock.advance(1800)
    later = standing(process)

    assert (well.waiting, well.oldest_s, well.is_ready) == (0, 0.0, True)
    assert well.verified_at is not None
    assert (down.waiting, down.oldest_s // 10) == (3, 30)
    assert (later.waiting, later.breaker, later.is_ready) == (3, BreakerState.OPEN, True)
    assert later.oldest_s > 2000
    assert later.next_try_at is not None
    assert later.verified_at == well.verified_at


async def test_it_is_told_again_and_again(stage: Stage) -> None:
    """Every few seconds, whatever happens or does not."""
    stage.guild(10)
    process = await stage.start(30)
    standings = Standings(process.service, guild=process.guild, telemetry=process.telemetry)
    task = stage.clock_loop().create_task(standings.run_forever())
    await stage.clock.advance(60)
    task.cancel()

    told = [value for word, value in process.telemetry.told if word == "stands"]
    assert len(told) >= 12
    assert all(one.leads and one.members == 1 and one.members_complete for one in told)


async def test_one_that_stands_by_is_ready_and_one_without_a_store_is_not(stage: Stage) -> None:
    """The first would take over at once; the second says what is wrong."""
    stage.guild(10)
    await stage.start(30)
    second = await stage.start(30)
    waiting = standing(second)
    stage.kept.reachable = False
    await stage.clock.advance(60)
    away = standing(second)

    assert (waiting.leads, waiting.stands_by, waiting.is_ready) == (False, True, True)
    assert waiting.store_trouble is None
    assert (away.is_ready, away.store_trouble is None) == (False, False)


async def test_it_can_be_told_as_plain_values(stage: Stage) -> None:
    """To whoever asks over HTTP."""
    stage.guild(10)
    process = await stage.start(30)

    values = standing(process).to_json()
    assert json.loads(json.dumps(values)) == values
    assert (values["ready"], values["breaker"], values["run"]) == (True, "closed", None)
    assert isinstance(values["last_run"], dict)
    assert values["last_run"]["ending"] == "verified"


async def test_machines_hear_of_runs_that_died_and_what_follows(stage: Stage) -> None:
    """A loop of restarts counts its cut-off runs, and the breaker that opens at a start."""
    stage.guild(10, stored=False)
    for _ in range(3):
        process = await stage.start(0.0)
        process.site.fate = lambda _: Fate(commits_s=None, answers_s=20.0)
        while process.service.repository.state.attempt is None:
            await stage.clock.advance(1)
        await stage.kill(process)
    process = await stage.start(5)
    told = [(word, value) for word, value in process.telemetry.told if word != "kept"]

    assert [word for word, _ in told].count("interrupted") == 1
    assert [value[:2] for word, value in told if word == "breaker"] == [
        (BreakerState.CLOSED, BreakerState.OPEN)
    ]


async def test_a_live_change_tells_how_long_it_had_waited(stage: Stage) -> None:
    """From its event to the answer, also where many go as a run."""
    stage.guild(10)
    process = await stage.start(30, run_above=4)
    stage.discord.change(10, name="renamed")
    await stage.clock.advance(5)
    for id_ in range(20, 30):
        stage.discord.join(id_)
    await stage.clock.advance(60)

    told = [value for word, value in process.telemetry.told if word == "brought"]
    single, many = told[0], [waited for _, waited in told[1:]]
    assert (single[0].updated, len(single[1]), single[1][0] < 5) == (1, 1, True)
    assert sum(map(len, many)) >= 10
    assert all(0 <= one < 60 for waited in many for one in waited)


async def test_rows_that_the_site_refuses_are_told_with_their_run(stage: Stage) -> None:
    """Of a run as of a live change; a row that was set aside before is no news."""
    stage.guild(10, 11)
    stage.rows.named |= {10}
    stage.discord.change(10, name="renamed")
    process = await stage.start(30)

    runs = [view.run_id for view, _ in process.telemetry.finished]
    told = [value for word, value in process.telemetry.told if word == "parked"]
    assert told == [(runs[0], [10])]


async def test_a_run_is_told_from_its_beginning_to_its_end(stage: Stage) -> None:
    """Within its own trace: its beginning, each phase as it comes, each request, and its end."""
    stage.guild(10, stored=False)
    process = await stage.start(30)

    words = [word for word, _ in process.telemetry.told if word not in {"kept", "leads"}]
    phases = [value for word, value in process.telemetry.told if word == "phase"]
    assert [words[0], words[1], words[-1]] == ["traced", "started", "finished"]
    assert phases[0] is Phase.SITE
    assert [phase for phase in phases if phase in {Phase.USERS, Phase.VERIFYING, Phase.ENDED}] == [
        Phase.USERS,
        Phase.VERIFYING,
    ]


@pytest.mark.parametrize("in_trouble", [False, True])
async def test_a_stop_is_told_as_neutral_only_if_nothing_was_wrong(
    stage: Stage, *, in_trouble: bool
) -> None:
    """Also where it had to be cut off: machines must not wait for an end that never comes."""
    stage.guild(*range(10, 60), stored=False)
    answers_s = NEVER if in_trouble else 0.4

    def slow(process: Process) -> None:
        process.site.fate = lambda asked: Fate(answers_s=answers_s) if asked.writes else Fate()

    process = await stage.start(3, prepare=slow)
    stopping = stage.clock_loop().create_task(process.stop(within_s=1.0))
    await stage.clock.advance(20)
    await stopping

    assert [view.ending for view, _ in process.telemetry.finished][-1] is Ending.CANCELLED
    assert process.telemetry.neutral[-1] is not in_trouble


async def test_an_error_of_ours_is_told_with_the_end_of_its_run(stage: Stage) -> None:
    """Not beside it: one error is one report."""
    stage.guild(10)
    process = await stage.start(30)
    error = KeyError("Zaphod")

    def broken(_request: object) -> Fate:
        raise error

    process.site.fate = broken
    process.commands.start(Scope.ALL, BY, forced=False)
    await stage.clock.advance(5)

    last, _ = process.telemetry.finished[-1]
    assert process.telemetry.faults == [error]
    assert last.failure is not None
    assert (last.failure.kind, last.failure.reason) == (FailureKind.INTERNAL, "KeyError: '…'")
