"""A store that is odd, a mod-log that is away: what is told, and what a sync does meanwhile."""

import json
from datetime import timedelta

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending, Phase
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from bot.exts.backend.sync._errors import StoreUnreachableError
from bot.exts.backend.sync._runs.run import Scope
from tests.bot.exts.backend.sync.orchestration.conftest import BY, DOWN, Stage, failing_writes, text
from tests.fakes.faults import When, raising
from tests.fakes.guild import FakeGuild
from tests.fakes.process import Process
from tests.fakes.site import Fate

pytestmark = pytest.mark.either_mode

AWAY = StoreUnreachableError("the state store memory can't be used: as planned")


def failing(process: Process) -> None:
    """Let the site fail on every write."""
    process.site.fate = failing_writes()


async def test_what_a_store_says_of_itself_is_not_told_at_each_restart(stage: Stage) -> None:
    """That it may lose what is kept."""
    stage.guild(10)
    stage.kept.warnings = ("memory has appendonly no, not yes",)
    for _ in range(4):
        process = await stage.start(10)
        await stage.kill(process)
    await stage.start(10)

    told = [message.notice.description for message in stage.channel.messages]
    assert 1 <= ["appendonly" in line for line in told].count(True) <= 2


async def test_a_store_that_was_kept_aside_is_told(stage: Stage) -> None:
    """With the place where it is now."""
    stage.guild(10)
    stage.kept.kept_aside = "memory.aside"
    await stage.start(10)

    told = [message.notice.description for message in stage.channel.messages]
    assert ["memory.aside" in line for line in told].count(True) == 1


@pytest.mark.parametrize("key", ["breaker", "attempt", "pause", "told", "crash-memory", "drift"])
async def test_a_record_that_can_not_be_read_counts_as_an_open_breaker(
    stage: Stage, key: str
) -> None:
    """For it may have held one; it is kept aside under another key, and said."""
    stage.guild(10, 11)
    first = await stage.start()
    await first.stop()
    stage.kept.entries[key] = json.dumps("no record")
    process = await stage.start(30)

    assert process.service.repository.state.breaker.state is BreakerState.OPEN
    aside = [name for name in stage.kept.entries if name.startswith("unreadable/")]
    assert [name.rpartition("/")[2] for name in aside] == [key]
    assert "State store lost" in stage.channel.titles
    await process.commands.reset_breaker(BY)
    await stage.clock.advance(60)
    assert stage.endings()[-1] is Ending.VERIFIED


async def test_a_kept_run_that_can_not_be_read_is_left_out(stage: Stage) -> None:
    """Of a list of runs that people look at: nothing else depends on it."""
    stage.guild(10)
    process = await stage.start()
    (run_id,) = process.questions.run_ids()
    (key,) = [key for key in stage.kept.entries if key.startswith("history/")]
    await process.stop()
    stage.kept.entries[key] = json.dumps({"no": "run"})
    process = await stage.start(30)

    assert run_id not in process.questions.run_ids()
    assert process.service.leadership.is_leading


async def test_an_end_that_could_not_be_kept_counts_as_interrupted(stage: Stage) -> None:
    """The next turn, of this process too, finds the attempt open, and tries again."""
    stage.guild(10, 11, stored=False)
    process = await stage.start(0)
    process.site.fate = lambda _: Fate(answers_s=0.5)
    for _ in range(200):
        await stage.clock.advance(0.1)
        view = process.service.supervisor.current
        if view is not None and view.phase is Phase.VERIFYING:
            break
    stage.kept.reachable = False
    for _ in range(60):
        await stage.clock.advance(1)
        if process.service.supervisor.last is not None:
            break
    last = process.service.supervisor.last
    stage.kept.reachable = True
    await stage.clock.advance(40)
    failures = process.service.repository.state.breaker.failures
    await stage.clock.advance(300)

    assert last is not None
    assert "could not be saved" in last.next_step
    assert failures == 1
    told = [message.notice.description for message in stage.channel.messages]
    assert any("the state store took nothing" in text for text in told)
    assert not any("killed" in text for text in told)
    assert stage.endings()[-1] is Ending.VERIFIED
    assert process.service.repository.state.breaker.failures == 0


async def test_a_lease_that_can_not_be_renewed_in_time_is_given_up(stage: Stage) -> None:
    """A store that is away for less than the lease costs nothing."""
    stage.guild(10)
    stage.kept.lease_s = 90
    process = await stage.start()
    stage.kept.reachable = False
    await stage.clock.advance(60)
    leads = process.service.leadership.is_leading
    await stage.clock.advance(60)
    assert (leads, process.service.leadership.is_leading) == (True, False)
    stage.kept.reachable = True
    await stage.clock.advance(120)

    assert process.service.leadership.is_leading
    assert stage.channel.titles.count("State store unreachable") == 1
    assert stage.endings()[-1] is Ending.VERIFIED


async def test_a_retry_that_could_not_be_written_down_waits_a_minute(stage: Stage) -> None:
    """The breaker has it due all the while: runs that follow each other at once help nobody."""
    stage.guild(10, stored=False)
    process = await stage.start(0, prepare=failing)
    while process.service.repository.state.breaker.retry_at is None:
        await stage.clock.advance(1)

    async def away_for_attempts() -> None:
        view = process.service.supervisor.current
        if view is not None and view.ending is None:
            raise AWAY

    process.store.faults.plan("store.put", away_for_attempts, times=10**6)
    while len(stage.endings()) < 2:
        await stage.clock.advance(1)
    await stage.clock.advance(300)

    assert 4 <= len(stage.endings()) - 2 <= 5


async def test_an_alert_that_could_not_be_struck_off_is_not_posted_twice(stage: Stage) -> None:
    """It was shown; only that could not be kept yet."""
    stage.guild(10)
    process = await stage.start()
    await process.commands.pause(BY)
    stage.kept.locked = True
    await stage.clock.advance(60)
    stage.kept.locked = False
    await stage.clock.advance(120)

    assert [BY in m.notice.description for m in stage.channel.messages].count(True) == 1
    assert process.service.repository.alerts == {}


async def test_what_needs_no_store_is_bounded_while_mod_log_is_away(stage: Stage) -> None:
    """The latest of it is told."""
    stage.guild(10)
    stage.kept.lease_s = 90
    process = await stage.start()
    stage.channel.away = True
    told = len(stage.channel.messages)
    for _ in range(15):
        stage.kept.reachable = False
        await stage.clock.advance(150)
        stage.kept.reachable = True
        await stage.clock.advance(60)
    stage.channel.away = False
    await stage.clock.advance(200)

    later = [m.notice.title for m in stage.channel.messages[told:]]
    said = [title for title in later if title.startswith("State store")]
    assert len(said) == 20
    assert process.service.leadership.is_leading


async def test_a_mod_log_that_is_away_holds_no_sync_up(stage: Stage) -> None:
    """It begins, goes on and ends; its message comes when Discord takes it."""
    stage.guild(10, 11)
    process = await stage.start()
    stage.channel.away = True
    stage.rows.users[10]["name"] = "wrong"
    process.commands.start(Scope.ALL, BY, forced=False)
    await stage.clock.advance(60)
    assert stage.in_step()
    assert stage.endings() == [Ending.VERIFIED] * 2
    stage.channel.away = False
    await stage.clock.advance(60)

    assert stage.channel.titles[-1] == "Sync of roles and users finished"


@pytest.mark.parametrize("when", list(When))
async def test_a_breaker_that_moves_while_discord_is_waited_for_stops_the_run(
    stage: Stage, when: When
) -> None:
    """It was let in as what it would not be any more; nothing was asked of the site."""
    stage.guild(10)
    process = await stage.start()
    sent = len(process.site.calls)
    process.guild.lose_session()
    stage.discord.available = False
    process.guild.connect()
    await stage.clock.advance(1)
    assert process.service.supervisor.current is not None
    process.guild.faults.plan("guild.prove", _nothing, when=when)
    await process.commands.open_breaker(BY, "to look")
    stage.discord.available = True
    process.guild.receive(FakeGuild.hear_guild)
    await stage.clock.advance(30)

    assert len(process.site.calls) == sent
    assert stage.endings()[-1] is Ending.FAILED
    assert process.service.repository.state.breaker.state is BreakerState.OPEN


@pytest.mark.slow
async def test_a_person_is_reminded_once_a_day_of_what_still_lasts(stage: Stage) -> None:
    """Of a pause as of an open breaker."""
    stage.guild(10)
    process = await stage.start()
    await process.commands.pause(BY)
    await stage.clock.advance(10)
    told = len(stage.channel.messages)
    await stage.clock.advance(timedelta(days=2).total_seconds() + 1200)

    assert len(stage.channel.messages) == told + 2


async def test_one_member_is_told_of_what_stands_in_the_way(stage: Stage) -> None:
    """Paused, an open breaker, a Discord or a site that does not answer: said, and none written."""
    stage.guild(10, 11)
    process = await stage.start()
    stage.rows.users[10]["name"] = "wrong"

    async def ask() -> str:
        async def answers() -> list[str]:
            found = next(iter(stage.discord.members))
            return [text(reply) async for reply in process.commands.single(found)]

        asking = stage.make_task(stage.clock_loop(), answers())
        await stage.clock.advance(400)
        return str(asking.result()[-1])

    await process.commands.pause(BY)
    paused = await ask()
    await process.commands.resume(BY)
    process.site.fate = lambda _: DOWN
    unread = await ask()
    process.site.fate = failing_writes(DOWN)
    unwritten = await ask()
    await process.commands.open_breaker(BY, "to look")
    opened = await ask()

    assert "paused" in paused
    assert "could not be compared" in unread
    assert unwritten
    assert "to look" in opened
    assert stage.rows.users[10]["name"] == "wrong"


async def test_a_single_member_is_waited_for_two_minutes_at_most(stage: Stage) -> None:
    """Somebody waits for the answer."""
    stage.guild(10, 11)
    process = await stage.start()
    stage.rows.users[10]["name"] = "wrong"
    process.site.fate = lambda request: (
        Fate(commits_s=None, status=503, retry_after="290") if request.writes else Fate()
    )

    async def answers() -> list[str]:
        found = next(iter(stage.discord.members))
        return [text(reply) async for reply in process.commands.single(found)]

    asking = stage.make_task(stage.clock_loop(), answers())
    await stage.clock.advance(119)
    assert not asking.done()
    await stage.clock.advance(10)

    assert "longer than 120 s" in asking.result()[-1]


async def test_a_background_task_that_breaks_is_logged_and_ends_nothing_else(stage: Stage) -> None:
    """The one that strikes shown alerts off, by an error of ours."""
    stage.guild(10, 11)
    process = await stage.start()
    process.mod_log.faults.plan("mod_log.post", raising(RuntimeError("as planned")))
    await process.commands.pause(BY)
    await process.commands.resume(BY)
    stage.discord.change(10, name="renamed")
    await stage.clock.advance(60)

    assert stage.in_step()
    assert process.service.leadership.is_leading


async def _nothing() -> None:
    """Let this call pass."""
