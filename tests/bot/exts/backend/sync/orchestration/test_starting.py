"""When a sync starts by itself, and what a process does before and after."""

from datetime import timedelta

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from bot.exts.backend.sync._core.policy.departures import Decision, Subject, withheld
from bot.exts.backend.sync._core.site.requests import Request
from tests.bot.exts.backend.sync.orchestration.conftest import (
    BY,
    DOWN,
    REFUSED,
    Stage,
    failing_writes,
)
from tests.fakes.guild import FakeGuild
from tests.fakes.site import Fate

pytestmark = pytest.mark.unmeasured

VERIFIED, FAILED = Ending.VERIFIED, Ending.FAILED


async def test_a_start_brings_the_site_in_step(stage: Stage) -> None:
    """Roles, then users; the attempt is struck off, and its run is kept and shown."""
    stage.guild(10, 11, 12, stored=False)
    process = await stage.start()

    assert stage.endings() == [VERIFIED]
    assert stage.in_step()
    assert process.service.repository.state.attempt is None
    assert [run.ending for run in process.service.repository.past_runs()] == ["verified"]
    assert stage.channel.titles == ["New state store", "Sync of roles and users finished"]


async def test_a_start_that_nobody_wants_starts_nothing(stage: Stage) -> None:
    """`SYNC_AT_START=off` waits for a person, an event or a check."""
    stage.guild(10, stored=False)
    process = await stage.start(sync_at_start=False)

    assert (stage.endings(), process.service.leadership.is_leading) == ([], True)


async def test_the_attempt_is_on_disk_before_the_first_request(stage: Stage) -> None:
    """A process that dies of its first request has written down that it made it."""
    stage.guild(10)
    process = await stage.start(0, sync_at_start=False)
    kept: list[bool] = []

    def note(_: Request) -> Fate:
        kept.append("attempt" in stage.kept.entries)
        return Fate()

    process.site.fate = note
    process.service.scheduler.want("to be seen")
    await stage.clock.advance(5)

    assert kept
    assert all(kept)


async def test_a_failed_sync_is_tried_again_after_a_minute_and_after_five(stage: Stage) -> None:
    """The third failure in a row opens the breaker for a quarter of an hour."""
    stage.guild(10, stored=False)
    process = await stage.start(0)
    process.site.fate = failing_writes(DOWN)
    began = []
    for _ in range(9):
        await stage.clock.advance(60)
        began = [view.started_at for view in stage.runs()]
    first, second, third = began

    assert timedelta(seconds=45) < second - first < timedelta(seconds=150)
    assert timedelta(minutes=4) < third - second < timedelta(minutes=8)
    assert process.service.repository.state.breaker.state is BreakerState.OPEN
    assert stage.channel.titles.count("Sync breaker opened") == 1


async def test_a_probe_closes_the_breaker_and_lets_waiting_changes_through(stage: Stage) -> None:
    """By itself, at its time, once the site is well; mod-log says how long it lasted."""
    stage.guild(10, 11, stored=False)
    process = await stage.start(0)
    process.site.fate = failing_writes(DOWN)
    await stage.clock.advance(15 * 60)
    opened = process.service.repository.state.breaker
    stage.discord.change(10, name="renamed")
    process.site.fate = lambda _: Fate()
    await stage.clock.advance(20 * 60)

    breaker = process.service.repository.state.breaker
    assert (opened.state, breaker.state) == (BreakerState.OPEN, BreakerState.CLOSED)
    assert stage.endings()[-1] is VERIFIED
    assert "Sync recovered" in stage.channel.titles
    assert stage.in_step()


async def test_a_failed_probe_waits_twice_as_long(stage: Stage) -> None:
    """It is told once, and nothing is written until the next."""
    stage.guild(10, stored=False)
    process = await stage.start(0)
    process.site.fate = failing_writes(DOWN)
    await stage.clock.advance(30 * 60)
    writes = len(process.site.writes)
    breaker = process.service.repository.state.breaker
    await stage.clock.advance(10 * 60)

    assert (breaker.state, breaker.length) == (BreakerState.OPEN, timedelta(minutes=30))
    assert len(process.site.writes) == writes


async def test_refused_credentials_open_the_breaker_at_once(stage: Stage) -> None:
    """For a day, and without a second try."""
    stage.guild(10)
    process = await stage.start(0)
    process.site.fate = lambda _: REFUSED
    await stage.clock.advance(3600)

    breaker = process.service.repository.state.breaker
    assert (stage.endings(), breaker.state) == ([FAILED], BreakerState.OPEN)
    assert breaker.length == timedelta(days=1)


async def test_a_restart_does_not_shorten_a_wait(stage: Stage) -> None:
    """However often it is restarted: three attempts, and then none until the probe."""
    stage.guild(10, stored=False)
    for _ in range(8):
        process = await stage.start(0)
        process.site.fate = failing_writes(DOWN)
        await stage.clock.advance(100)
        await stage.kill(process)

    assert len(stage.runs()) == 3
    assert stage.channel.titles.count("Sync breaker opened") == 1


async def test_a_sync_that_could_not_be_begun_is_tried_again(stage: Stage) -> None:
    """A store that is locked for seven seconds just then must not let a role's holders keep it."""
    stage.guild(10)
    stage.discord.change(10, roles=[5])
    process = await stage.start()
    stage.kept.locked = True
    stage.discord.delete_role(5)
    await stage.clock.advance(8)
    stage.kept.locked = False
    await stage.clock.advance(120)

    assert FAILED in stage.endings()
    assert stage.in_step()
    assert process.service.leadership.is_leading


async def test_an_unreachable_store_starts_nothing_and_is_told_once(stage: Stage) -> None:
    """And told again when it is back; then the sync is made up for."""
    stage.guild(10, stored=False)
    stage.kept.reachable = False
    process = await stage.start(120)
    assert (stage.endings(), process.site.calls) == ([], [])
    stage.kept.reachable = True
    await stage.clock.advance(60)

    assert stage.channel.titles.count("State store unreachable") == 1
    assert stage.in_step()


async def test_a_lost_store_counts_as_an_open_breaker(stage: Stage) -> None:
    """Where mod-log shows that there was one: nobody knows what it had counted."""
    stage.guild(10)
    process = await stage.start()
    process.site.fate = lambda _: DOWN
    process.service.scheduler.want("to fail")
    await stage.clock.advance(15 * 60)
    await stage.kill(process)
    stage.kept.lose()
    process = await stage.start()

    assert process.service.repository.state.breaker.state is BreakerState.OPEN
    assert "State store lost" in stage.channel.titles


async def test_a_pause_outlives_a_lost_store(stage: Stage) -> None:
    """Mod-log's last word is that it holds, also after a restart: nothing is written until then."""
    stage.guild(10, 11)
    process = await stage.start()
    await process.commands.pause(BY)
    await stage.clock.advance(10)
    await stage.kill(process)
    stage.kept.lose()
    stage.discord.change(10, name="renamed")
    process = await stage.start(6 * 3600)
    written, pause = [*process.site.writes], process.service.repository.state.pause
    breaker = process.service.repository.state.breaker.state
    await process.commands.reset_breaker(BY)
    await process.commands.resume(BY)
    await stage.clock.advance(600)

    assert written == []
    assert breaker is BreakerState.OPEN
    assert pause is not None
    assert stage.in_step()


async def test_a_breaker_opened_by_hand_outlives_a_lost_store(stage: Stage) -> None:
    """It is probed by nobody, as before."""
    stage.guild(10)
    process = await stage.start()
    await process.commands.open_breaker(BY, "a move")
    await stage.clock.advance(10)
    await stage.kill(process)
    stage.kept.lose()
    process = await stage.start(6 * 3600)

    assert process.site.calls == []
    assert process.service.repository.state.breaker.opened_by is not None
    assert "State store lost" in stage.channel.titles


async def test_a_rejection_outlives_a_lost_store(stage: Stage) -> None:
    """Nobody knows what else was known: the breaker counts as open."""
    stage.guild(10)
    process = await stage.start()
    list_ = withheld(Subject.DEPARTURES, [7], total=9, run_id="r1", names={}, now=stage.clock.now())
    await process.service.repository.withhold(list_)
    await process.commands.decide(None, Decision.REJECTED, BY)
    await stage.clock.advance(10)
    await stage.kill(process)
    stage.kept.lose()
    process = await stage.start()

    assert process.service.repository.state.breaker.state is BreakerState.OPEN


async def test_a_check_for_drift_repairs_what_no_event_told_of(stage: Stage) -> None:
    """It counts it as drift, and shows a run only because it found something."""
    stage.guild(10, 11)
    process = await stage.start(sync_drift_every_s=600)
    shown = len(stage.channel.messages)
    await stage.clock.advance(700)
    assert len(stage.channel.messages) == shown
    stage.rows.users[10]["name"] = "wrong"
    await stage.clock.advance(700)

    assert stage.in_step()
    assert process.service.repository.drift is not None
    assert len(stage.channel.messages) == shown + 1


async def test_departures_of_whom_the_site_has_no_row_come_to_an_end(stage: Stage) -> None:
    """They are left out of a run of live changes, and not asked about and marked again for ever."""
    stage.guild(10, *range(20, 30))
    process = await stage.start(run_above=4)
    for id_ in range(20, 30):
        del stage.rows.users[id_]
        stage.discord.leave(id_)
    await stage.clock.advance(30)
    asked = len(process.site.calls)
    await stage.clock.advance(600)

    assert len(process.service.queue) == 0
    assert len(process.site.calls) == asked


async def test_a_new_session_is_a_reason_to_sync(stage: Stage) -> None:
    """Nobody tells of what happened between the last event of the old one and the new one's."""
    stage.guild(10, 11)
    process = await stage.start()
    process.guild.lose_session()
    stage.discord.change(10, name="missed")
    process.guild.connect()
    await stage.clock.advance(10)

    assert stage.in_step()
    assert "new session" in stage.runs()[-1].trigger


async def test_members_that_cannot_be_read_fail_a_run_but_no_breaker(stage: Stage) -> None:
    """The site has done nothing wrong; it is tried again a minute later."""
    stage.guild(10, stored=False)
    stage.discord.rest_fails = stage.discord.loses_requests = True
    process = await stage.start(60)
    failures = process.service.repository.state.breaker.failures
    stage.discord.rest_fails = stage.discord.loses_requests = False
    await stage.clock.advance(600)

    assert failures == 0
    assert stage.in_step()


@pytest.mark.parametrize("skew", [timedelta(days=-1), timedelta(hours=1)])
async def test_a_wall_clock_that_is_set_right_moves_no_wait(stage: Stage, skew: timedelta) -> None:
    """Neither a day back nor an hour on: what waits in a process waits for what really passes."""
    stage.guild(10, stored=False)
    process = await stage.start(0)
    process.site.fate = failing_writes(DOWN)
    while not stage.runs():
        await stage.clock.advance(1)
    stage.clock.skew = skew
    process.site.fate = lambda _: Fate()
    await stage.clock.advance(40)
    assert len(stage.runs()) == 1
    await stage.clock.advance(60)

    assert stage.in_step()


async def test_alerts_are_told_in_their_order_once_discord_is_back(stage: Stage) -> None:
    """However long that takes, and each once."""
    stage.guild(10)
    process = await stage.start()
    told = len(stage.channel.messages)
    stage.channel.away = True
    await process.commands.pause(BY)
    await process.commands.resume(BY)
    await stage.clock.advance(600)
    assert len(stage.channel.messages) == told
    stage.channel.away = False
    await stage.clock.advance(120)

    later = stage.channel.messages[told:]
    assert [BY in message.notice.description for message in later] == [True, True]
    assert process.service.repository.alerts == {}


@pytest.mark.parametrize("offers", [None, {"pages_by_id": True}])
async def test_rows_of_those_who_left_stand_among_the_others(
    stage: Stage, offers: dict[str, object] | None
) -> None:
    """They are no reason to read too little again: each row is written once, and verified."""
    stage.guild(*range(10, 210))
    stage.rows.offers = offers
    stage.discord.page_items = 30
    for id_ in (12, 27, 28, 41):
        stage.discord.leave(id_)
        stage.rows.users[id_]["in_guild"] = False
    for id_ in stage.discord.members:
        stage.rows.users[id_]["roles"] = [1, 5]
    process = await stage.start(120, sync_page_items=30, sync_max_items=30)

    assert stage.endings() == [VERIFIED]
    assert stage.in_step()
    written = [id_ for call in process.site.writes for id_ in call.ids]
    assert sorted(written) == sorted(stage.discord.members)


async def test_what_discord_keeps_a_run_waiting_for_is_shown(stage: Stage) -> None:
    """Within ten seconds the live message names it, and no longer once it has come."""
    stage.guild(*range(10, 20), stored=False)
    process = await stage.start(0)
    process.site.fate = lambda request: Fate(answers_s=2.0) if request.writes else Fate()
    await stage.clock.advance(3)
    process.guild.receive(FakeGuild.hear_outage)
    await stage.clock.advance(10)
    during = stage.channel.messages[-1].notice
    process.guild.receive(FakeGuild.hear_guild)
    await stage.clock.advance(10)
    after = stage.channel.messages[-1].notice
    await stage.clock.advance(120)

    line = "**Waiting for Discord:** Discord says that this server is unavailable"
    assert (during.title, line in during.description) == ("Syncing roles and users", True)
    assert (after.title, line in after.description) == ("Syncing roles and users", False)
    assert stage.endings()[0] is VERIFIED


@pytest.mark.parametrize(
    ("fate", "line"),
    [
        (Fate(answers_s=25.0), "no answer yet to GET bot\\/users"),
        (Fate(commits_s=None, status=503, retry_after="60"), "the site is overloaded"),
    ],
)
async def test_what_the_site_keeps_a_reading_waiting_for_is_shown(
    stage: Stage, fate: Fate, line: str
) -> None:
    """As long as a single request takes, or the site asks to be left alone."""
    stage.guild(10)
    process = await stage.start(0)
    process.site.fate = lambda request: fate if request.path == "bot/users" else Fate()
    await stage.clock.advance(10)

    live = stage.channel.messages[-1].notice.description
    assert f"**Waiting for the site:** {line}" in live


DAY = 24 * 3600


async def test_what_was_lost_without_a_word_is_found_within_a_day(stage: Stage) -> None:
    """No new session, no drift that the cache could show: all members are read anew."""
    stage.guild(10, 11, 12)
    process = await stage.start()
    behind, stage.discord.connected = stage.discord.connected, []
    stage.discord.join(13)
    stage.discord.leave(11)
    stage.discord.change(12, name="renamed")
    stage.discord.connected = behind
    await stage.clock.advance(DAY - 60)
    before = stage.in_step()
    await stage.clock.advance(120)

    assert (before, stage.in_step()) == (False, stage.cached)
    told = stage.channel.titles.count("Member list corrected")
    assert told == stage.cached
    assert stage.endings() == [VERIFIED]
    assert len(process.service.queue) == 0


async def test_members_are_not_read_anew_while_a_sync_is_on(stage: Stage) -> None:
    """It waits for its end; where Discord gives no answer it is tried again within the hour."""
    stage.guild(10)
    process = await stage.start()
    asked = process.guild.faults.calls
    await stage.clock.advance(DAY - 60)
    process.service.scheduler.want("to be on")
    process.site.fate = lambda _: Fate(answers_s=25.0)
    await stage.clock.advance(65)
    during = asked["guild.read_anew"]
    process.site.fate = lambda _: Fate()
    stage.discord.loses_requests = True
    await stage.clock.advance(300)
    stage.discord.loses_requests = False
    after = asked["guild.read_anew"]
    await stage.clock.advance(3700)

    if stage.cached:
        assert (during, after, asked["guild.read_anew"]) == (0, 1, 2)
    assert stage.endings() == [VERIFIED, VERIFIED]
