"""How live changes are brought: how many at once, how often, and what stops only some of them."""

import itertools
import random

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.model.members import RoleId, UserId
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from tests.bot.exts.backend.sync.orchestration.conftest import (
    BY,
    DOWN,
    NEVER,
    REFUSED,
    Stage,
    failing_writes,
)
from tests.fakes.faults import When, raising
from tests.fakes.site import WELL, Call, Fate

pytestmark = pytest.mark.either_mode


@pytest.mark.parametrize(("answers_s", "apart_s"), [(0.02, 0.135), (0.08, 0.216), (0.12, 0.27)])
async def test_a_steady_stream_costs_a_few_writes_a_second(
    stage: Stage, answers_s: float, apart_s: float
) -> None:
    """However dense it is: fewer than eight on a quick site, fewer than four on another."""
    stage.guild(*range(10, 60))
    process = await stage.start()
    process.site.fate = lambda _: Fate(answers_s=answers_s)
    began = stage.clock.monotonic()
    for number in range(100):
        stage.discord.change(10 + number % 50, name=f"name{number}")
        await stage.clock.advance(0.05)
    times = [call.at for call in process.site.writes if call.at >= began]
    gaps = [b - a for a, b in itertools.pairwise(times)]

    # The first write may be the first of this site that is not as quick as those before it.
    assert min(gaps[1:]) == pytest.approx(apart_s, abs=0.005)
    assert min(gaps) > 0.13
    await stage.clock.advance(60)
    assert stage.in_step()
    assert process.site.most == 1


async def test_any_change_is_on_a_quick_site_within_half_a_second(stage: Stage) -> None:
    """Fifty a second, on a site that answers within 50 ms: of ten one comes and one goes."""
    here = list(range(10, 600))
    stage.guild(*here)
    process = await stage.start(sync_first_items=100, sync_max_items=1000, sync_page_items=1000)
    process.site.fate = lambda _: Fate(commits_s=0.04, answers_s=0.05)
    chance = random.Random(3)
    changed: dict[int, float] = {}
    waits: list[float] = []

    def committed(call: Call) -> None:
        for id_ in changed.keys() & {*call.ids}:
            member, row = stage.discord.members.get(UserId(id_)), stage.rows.users[id_]
            if row["in_guild"] and member and row["name"] != member.name:
                continue  # it left the bot before the change
            if row["in_guild"] is (member is not None):
                waits.append(stage.clock.monotonic() - changed.pop(id_))

    process.site.on_commit = committed
    for number in range(500):
        drawn = chance.random()
        if drawn < 0.1:
            id_ = here.pop(chance.randrange(len(here)))
            stage.discord.leave(id_)
        elif drawn < 0.2:
            here.append(id_ := 1000 + number)
            stage.discord.join(id_)
        else:
            id_ = chance.choice(here)
            stage.discord.change(id_, name=f"name{number}")
        changed.setdefault(id_, stage.clock.monotonic())
        await stage.clock.advance(0.02)
    await stage.clock.advance(10)

    assert len(waits) > 300
    assert sorted(waits)[len(waits) * 99 // 100] < 0.5
    assert stage.in_step()


async def test_whoever_comes_back_waits_hardly_longer(stage: Stage) -> None:
    """A create passes over the row that they have: the update goes before what came later."""
    stage.guild(*range(10, 40))
    process = await stage.start()
    stage.discord.leave(10)
    await stage.clock.advance(5)
    stage.discord.join(10, name="back")
    stage.discord.leave(30)
    await stage.clock.advance(5)
    calls = [(call.request.method, call.ids) for call in process.site.writes]

    assert calls[-3:] == [("POST", (10,)), ("PATCH", (10,)), ("PATCH", (30,))]
    assert stage.in_step()


async def test_a_slow_site_has_as_long_to_itself_as_a_write_took(stage: Stage) -> None:
    """From one beginning to the next: twice the time that the last one took."""
    stage.guild(*range(10, 20))
    process = await stage.start(sync_max_items=1)
    process.site.fate = lambda _: Fate(answers_s=2.0)
    for id_ in range(10, 14):
        stage.discord.change(id_, name="renamed")
    await stage.clock.advance(60)
    times = [call.at for call in process.site.writes]

    assert len(times) == 4
    assert min(b - a for a, b in itertools.pairwise(times)) >= 4


async def test_a_live_write_whose_token_is_refused_opens_the_breaker(stage: Stage) -> None:
    """At once; what waits is not lost, and goes when a person has seen to it."""
    stage.guild(10, 11)
    process = await stage.start()
    process.site.fate = lambda _: REFUSED
    stage.discord.change(10, name="renamed")
    stage.discord.join(12)
    await stage.clock.advance(60)
    opened = process.service.repository.state.breaker.state
    sent = len(process.site.writes)
    await stage.clock.advance(3600)
    assert (opened, len(process.site.writes)) == (BreakerState.OPEN, sent)
    assert len(process.service.queue) == 2
    process.site.fate = lambda _: WELL
    await process.commands.reset_breaker(BY)
    await stage.clock.advance(60)

    assert stage.in_step()
    assert len(process.service.queue) == 0


async def test_a_role_that_could_not_be_written_waits_again(stage: Stage) -> None:
    """Before the members who hold it."""
    stage.guild(10)
    process = await stage.start()
    process.site.fate = failing_writes(DOWN)
    stage.discord.create_role(7)
    stage.discord.change(10, roles=[7])
    await stage.clock.advance(5)
    assert RoleId(7) in stage.discord.roles
    assert 7 not in stage.rows.roles
    assert len(process.service.queue) == 2
    process.site.fate = lambda _: WELL
    await stage.clock.advance(120)

    assert stage.in_step()
    assert process.service.repository.parked == {}


@pytest.mark.slow
async def test_more_than_may_wait_is_left_to_a_full_sync(stage: Stage) -> None:
    """Nothing of it is lost, and what waits stays bounded."""
    stage.guild(10)
    process = await stage.start(sync_max_waiting=1000)
    await process.commands.pause(BY)
    for id_ in range(1000, 2500):
        stage.discord.join(id_)
    await stage.clock.advance(5)
    assert len(process.service.queue) <= 1000
    await process.commands.resume(BY)
    await stage.clock.advance(600)

    assert stage.in_step()
    assert any("too many to follow" in view.trigger for view in stage.runs())


async def test_a_stranger_who_was_marked_is_asked_about_and_forgotten(stage: Stage) -> None:
    """Discord says that they are no member, and the site has no row: nothing is to be done."""
    stage.guild(10)
    process = await stage.start()
    process.service.queue.mark([UserId(999)])
    await stage.clock.advance(60)
    sent = len(process.site.calls)
    await stage.clock.advance(600)

    assert len(process.service.queue) == 0
    assert len(process.site.calls) == sent
    assert 999 not in stage.rows.users


async def test_a_row_of_somebody_who_left_unseen_says_so(stage: Stage) -> None:
    """Marked by whatever named them, they are asked about, and the row is told what is so."""
    stage.guild(10, 11)
    process = await stage.start()
    process.guild.lose_session()
    stage.discord.leave(11)
    process.guild.discord.connected.append(process.guild)
    process.guild._members.pop(UserId(11), None)
    process.service.queue.mark([UserId(11)])
    await stage.clock.advance(60)

    assert stage.rows.users[11]["in_guild"] is False
    assert stage.in_step()


async def test_a_discord_that_does_not_answer_loses_nobody(stage: Stage) -> None:
    """Whoever is asked about waits, however often that fails."""
    stage.guild(10, 11)
    process = await stage.start()
    stage.discord.loses_requests = True
    process.guild._members.pop(UserId(11), None)
    stage.rows.users[11]["name"] = "wrong"
    process.service.queue.mark([UserId(11)])
    await stage.clock.advance(400)
    stage.discord.loses_requests = False
    stage.discord.change(10, name="renamed")
    await stage.clock.advance(900)

    assert stage.rows.users[10]["name"] == "renamed"
    assert len(process.service.queue) == 0


async def test_many_strangers_are_left_to_a_full_sync(stage: Stage) -> None:
    """So many are not believed to have left without a comparison and a moderator."""
    stage.guild(10)
    process = await stage.start(
        sync_first_items=1000, sync_max_items=1000, run_above=5000, sync_page_items=500
    )
    process.service.queue.mark(UserId(id_) for id_ in range(1000, 1700))
    await stage.clock.advance(120)

    assert any("too many to follow" in view.trigger for view in stage.runs())
    assert stage.endings()[-1] is Ending.VERIFIED
    assert len(process.service.queue) == 0


async def test_a_parked_row_is_sent_again_only_when_it_is_another(stage: Stage) -> None:
    """An event that changes nothing of it costs no request."""
    stage.guild(10, 11)
    process = await stage.start()
    stage.rows.named = {10}
    stage.discord.change(10, name="bad")
    await stage.clock.advance(30)
    sent = [10 in call.ids for call in process.site.writes].count(True)
    stage.discord.change(10, name="bad")
    await stage.clock.advance(30)
    again = [10 in call.ids for call in process.site.writes].count(True)
    stage.discord.change(10, name="worse")
    await stage.clock.advance(30)

    assert (again, [*process.service.repository.parked]) == (sent, [10])
    assert [10 in call.ids for call in process.site.writes].count(True) > again


async def test_an_answer_that_was_lost_is_waited_out_and_written_again(stage: Stage) -> None:
    """It commits after the newer value: two minutes later the row is brought once more."""
    stage.guild(10)
    process = await stage.start()
    process.site.fate = lambda request: (
        Fate(commits_s=25.0, answers_s=NEVER) if request.writes else WELL
    )
    stage.discord.change(10, name="older")
    await stage.clock.advance(1)
    process.site.fate = lambda _: WELL
    stage.discord.change(10, name="newer")
    await stage.clock.advance(40)
    waiting = len(process.service.writes)
    await stage.clock.advance(300)

    assert waiting == 1
    assert len(process.service.writes) == 0
    assert stage.in_step()


async def test_a_run_of_changes_that_fails_gives_them_back(stage: Stage) -> None:
    """It counts for the breaker; the next full sync brings what it could not."""
    stage.guild(10)
    process = await stage.start(run_above=4)
    process.site.fate = failing_writes(DOWN)
    for id_ in range(20, 30):
        stage.discord.join(id_)
    while len(stage.runs()) < 2:
        await stage.clock.advance(1)
    waiting = len(process.service.queue)
    failed = stage.runs()[-1]
    process.site.fate = lambda _: WELL
    await stage.clock.advance(600)

    assert (failed.what, failed.ending, waiting) == ("live changes", Ending.FAILED, 10)
    assert stage.in_step()
    assert len(process.service.queue) == 0


async def test_a_run_of_changes_waits_for_the_breaker(stage: Stage) -> None:
    """A full sync probes; what waited follows, and the run begins only if there is still enough."""
    stage.guild(10)
    process = await stage.start(run_above=4)
    await process.commands.open_breaker(BY, "to look")
    for id_ in range(20, 30):
        stage.discord.join(id_)
    await stage.clock.advance(600)
    assert len(stage.runs()) == 1
    await process.commands.reset_breaker(BY)
    await stage.clock.advance(120)

    assert stage.in_step()
    assert len(process.service.queue) == 0


async def test_after_a_cancelled_run_of_changes_the_next_one_waits(stage: Stage) -> None:
    """Or the cancel would be for nothing; a minute later they go."""
    stage.guild(10)
    process = await stage.start(run_above=4)
    process.site.fate = lambda request: Fate(answers_s=2.0) if request.writes else WELL
    for id_ in range(20, 40):
        stage.discord.join(id_)
    for _ in range(100):
        await stage.clock.advance(0.2)
        view = process.service.supervisor.current
        if view is not None and view.tally.total:
            break
    assert process.commands.cancel(BY).done
    await stage.clock.advance(8)
    cancelled = stage.runs()[-1]
    process.site.fate = lambda _: WELL
    await stage.clock.advance(40)
    assert len(stage.runs()) == 2
    await stage.clock.advance(120)

    assert (cancelled.what, cancelled.ending) == ("live changes", Ending.CANCELLED)
    assert stage.in_step()
    assert len(process.service.queue) == 0


@pytest.mark.parametrize("when", list(When))
async def test_a_change_that_comes_while_its_row_is_written_is_not_lost(
    stage: Stage, when: When
) -> None:
    """The newer value goes with the next write, whatever becomes of the first."""
    stage.guild(10)
    process = await stage.start()

    async def change() -> None:
        stage.discord.change(10, name="newer")

    process.site.faults.plan("site.send", change, when=when)
    stage.discord.change(10, name="older")
    await stage.clock.advance(30)

    assert stage.rows.users[10]["name"] == "newer"
    assert len(process.service.queue) == 0


async def test_a_standby_remembers_nothing_that_the_next_sync_does_not_bring(stage: Stage) -> None:
    """Events that it hears are for its own first sync to find."""
    stage.guild(10)
    first = await stage.start()
    second = await stage.start()
    stage.discord.change(10, name="renamed")
    first.site.faults.plan("site.send", raising(RuntimeError("as planned")))
    await stage.kill(first)
    await stage.clock.advance(300)

    assert second.service.leadership.is_leading
    assert stage.in_step()


async def test_who_comes_and_goes_while_their_row_is_in_doubt_is_written(stage: Stage) -> None:
    """A write that was given up has put a row back into the guild, and is due just then."""
    stage.guild(10, 11)
    process = await stage.start()
    process.site.fate = lambda _: Fate(answers_s=0.1, status=502, commits_s=20.0)
    stage.discord.change(11, name="renamed")
    await stage.clock.advance(0.35)
    process.site.fate = lambda _: Fate()
    stage.discord.leave(11)
    await stage.clock.advance(100)
    await process.commands.pause(BY)
    await stage.clock.advance(10)
    stage.discord.join(11)
    await stage.clock.advance(25)
    stage.discord.leave(11)
    await stage.clock.advance(5)
    in_guild = stage.rows.users[11]["in_guild"]
    await process.commands.resume(BY)
    await stage.clock.advance(60)

    assert in_guild
    assert stage.in_step()
    assert len(process.service.writes) == 0
