"""What moderators order, and what becomes of the sync that is on."""

import asyncio

import pytest

from bot.exts.backend.sync._core.messages.buttons import Action, Button
from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from bot.exts.backend.sync._core.policy.departures import Decision
from bot.exts.backend.sync._core.policy.request_backoff import Failure, FailureKind
from bot.exts.backend.sync._errors import RunStoppedError
from bot.exts.backend.sync._runs.run import Scope
from bot.exts.backend.sync._service.commands import MAX_ITEMS, TARGET
from tests.bot.exts.backend.sync.orchestration.conftest import (
    BY,
    DOWN,
    ILL,
    NEVER,
    REFUSED,
    Stage,
    failing_writes,
    text,
)
from tests.fakes.faults import raising
from tests.fakes.process import Process
from tests.fakes.site import Fate

pytestmark = pytest.mark.either_mode

NO_SOURCE = RunStoppedError(Failure(kind=FailureKind.SOURCE, reason="as planned"))


async def slow_run(stage: Stage, *, answers_s: float = 2.0) -> Process:
    """Start a process whose first sync writes slowly, and come into the middle of it."""
    stage.guild(*range(10, 20), stored=False)
    process = await stage.start(0)
    process.site.fate = lambda request: Fate(answers_s=answers_s) if request.writes else Fate()
    await stage.clock.advance(11)
    assert process.service.supervisor.current is not None
    return process


async def test_a_cancel_stops_before_the_next_request(stage: Stage) -> None:
    """It says by whom, and is not tried again by itself."""
    process = await slow_run(stage)
    reply = process.commands.cancel(BY)
    sent = len(process.site.writes)
    await stage.clock.advance(600)

    assert reply.done
    assert len(process.site.writes) == sent
    assert stage.endings() == [Ending.CANCELLED]
    assert BY in stage.channel.messages[-1].notice.description


async def test_a_cancel_while_a_chunk_is_unanswered_keeps_its_doubt(stage: Stage) -> None:
    """What commits late is written over, though the run is long over."""
    stage.guild(10, 11)
    process = await stage.start()
    stage.rows.users[10]["name"] = "wrong"
    process.site.fate = lambda request: (
        Fate(commits_s=20.0, answers_s=NEVER) if request.writes else Fate()
    )
    process.commands.start(Scope.ALL, BY, forced=False)
    await stage.clock.advance(3)
    process.commands.cancel(BY)
    await stage.clock.advance(6)
    process.site.fate = lambda _: Fate()
    stage.discord.change(10, name="newer")
    await stage.clock.advance(300)

    assert stage.in_step()


async def test_a_cancelled_sync_that_stood_in_for_live_changes_lets_them_go_on(
    stage: Stage,
) -> None:
    """They are tried again by themselves."""
    stage.guild(10, 11)
    process = await stage.start()
    process.site.fate = lambda request: (
        ILL if request.writes or "page" in str(request.params) else Fate()
    )
    stage.discord.change(10, name="renamed")
    for _ in range(600):
        await stage.clock.advance(1)
        if process.service.supervisor.current is not None:
            break
    process.commands.cancel(BY)
    process.site.fate = lambda _: Fate()
    await stage.clock.advance(600)

    assert stage.in_step()


async def test_a_pause_holds_every_write_and_a_resume_lets_them_go_on(stage: Stage) -> None:
    """Over a restart as well; what waits is not lost."""
    stage.guild(10, 11)
    process = await stage.start()
    await process.commands.pause(BY)
    stage.discord.change(10, name="renamed")
    await stage.clock.advance(60)
    await stage.kill(process)
    process = await stage.start(60)
    assert process.site.writes == []
    again = await process.commands.pause(BY)
    await process.commands.resume(BY)
    await stage.clock.advance(30)

    assert (again.done, stage.in_step()) == (False, True)
    assert "Sync is not paused." in text(await process.commands.resume(BY))


async def test_a_pause_holds_the_run_that_is_on(stage: Stage) -> None:
    """Between two of its chunks; its patience does not run out meanwhile."""
    process = await slow_run(stage)
    await process.commands.pause(BY)
    await stage.clock.advance(3)
    await stage.let_nothing_be_written(process)
    await process.commands.resume(BY)
    await stage.clock.advance(60)

    assert stage.endings() == [Ending.VERIFIED]
    assert stage.in_step()


async def test_one_run_at_a_time(stage: Stage) -> None:
    """A second one is refused, and says which is on."""
    process = await slow_run(stage)
    view = process.service.supervisor.current
    reply = process.commands.start(Scope.USERS, BY, forced=False)

    assert view is not None
    assert not reply.done
    assert view.run_id in text(reply)


@pytest.mark.parametrize("scope", [Scope.USERS, Scope.ROLES])
async def test_a_narrow_sync_writes_what_it_is_for(stage: Stage, scope: Scope) -> None:
    """Roles alone, or users and the roles that they need."""
    stage.guild(10)
    process = await stage.start()
    stage.rows.users[10]["name"] = stage.rows.roles[5]["name"] = "wrong"
    reply = process.commands.start(scope, BY, forced=False)
    await stage.clock.advance(30)

    assert reply.done
    assert stage.rows.users[10]["name"] == ("user10" if scope is Scope.USERS else "wrong")
    assert stage.rows.roles[5]["name"] == ("wrong" if scope is Scope.USERS else "role5")


async def test_an_open_breaker_refuses_what_is_not_forced(stage: Stage) -> None:
    """Force means "probe now"; a breaker that a person opened waits for a reset."""
    stage.guild(10, stored=False)
    process = await stage.start(0)
    process.site.fate = failing_writes(DOWN)
    await stage.clock.advance(15 * 60)
    process.site.fate = lambda _: Fate()
    asked = process.commands.start(Scope.ALL, BY, forced=False)
    forced = process.commands.start(Scope.ALL, BY, forced=True)
    await stage.clock.advance(10)
    await process.commands.open_breaker(BY, "to look")
    held = process.commands.start(Scope.ALL, BY, forced=True)
    stage.discord.change(10, name="renamed")
    await stage.clock.advance(60)
    assert not stage.in_step()
    await process.commands.reset_breaker(BY)
    await stage.clock.advance(60)

    assert [reply.done for reply in (asked, forced, held)] == [False, True, False]
    assert process.service.repository.state.breaker.state is BreakerState.CLOSED
    assert stage.in_step()


async def test_an_opened_breaker_stops_the_run_that_is_on(stage: Stage) -> None:
    """Between two of its chunks."""
    process = await slow_run(stage)
    await process.commands.open_breaker(BY, "")
    await stage.clock.advance(3)
    sent = len(process.site.writes)
    await stage.clock.advance(600)

    assert (stage.endings(), len(process.site.writes)) == ([Ending.FAILED], sent)


async def test_a_plan_writes_nothing_and_tells_what_differs(stage: Stage) -> None:
    """As a file; it is no attempt of the breaker's, and mod-log does not show it."""
    stage.guild(10, 11)
    process = await stage.start()
    messages = len(stage.channel.messages)
    stage.rows.users[10]["name"] = "wrong"
    stage.discord.members.pop(next(iter(stage.discord.members.keys() - {10})))
    planning = stage.make_task(stage.clock_loop(), process.commands.plan(BY))
    await stage.clock.advance(30)
    reply = planning.result()

    assert reply.file is not None
    assert b"wrong" in reply.file.content
    assert (process.site.writes, len(stage.channel.messages)) == ([], messages)


async def test_one_member_is_compared_written_and_read_back(stage: Stage) -> None:
    """Beside whatever else is on; a lost answer is waited out before it is called right."""
    stage.guild(10, 11)
    process = await stage.start()
    stage.rows.users[10]["name"] = "wrong"

    async def ask() -> list[str]:
        return [
            text(reply)
            async for reply in process.commands.single(next(iter(stage.discord.members)))
        ]

    first = stage.make_task(stage.clock_loop(), ask())
    await stage.clock.advance(5)
    stage.rows.users[10]["name"] = "wrong"
    process.site.fate = lambda request: (
        Fate(commits_s=20.0, answers_s=0.1, status=502) if request.writes else Fate()
    )
    second = stage.make_task(stage.clock_loop(), ask())
    await stage.clock.advance(5)
    process.site.fate = lambda _: Fate()
    stage.discord.change(10, name="newer")
    await stage.clock.advance(300)

    assert "written** and verified" in first.result()[-1]
    assert second.done()
    assert stage.in_step()


async def test_one_member_is_answered_about_though_nothing_can_be_kept(stage: Stage) -> None:
    """The site refuses the token while the store is away: that is said, and no task breaks."""
    stage.guild(10, 11)
    process = await stage.start()
    stage.rows.users[10]["name"] = "wrong"
    process.site.fate = failing_writes(REFUSED)
    stage.kept.reachable = False

    async def ask() -> list[str]:
        return [text(reply) async for reply in process.commands.single(UserId(10))]

    asking = stage.make_task(stage.clock_loop(), ask())
    await stage.clock.advance(30)

    assert "Invalid token" in asking.result()[-1]


async def test_a_run_is_tuned_while_it_is_on(stage: Stage) -> None:
    """Never out of bounds, and not at all where none is on."""
    process = await slow_run(stage)
    tuned = process.commands.tune(MAX_ITEMS, 1, BY)
    too_much = process.commands.tune(TARGET, 1000, BY)
    await stage.clock.advance(60)
    idle = process.commands.tune(MAX_ITEMS, 1, BY)

    assert [reply.done for reply in (tuned, too_much, idle)] == [True, False, False]
    assert [len(call.ids) for call in process.site.writes if call.ids][-1] == 1


async def test_a_parked_row_is_tried_again_when_asked(stage: Stage) -> None:
    """It is listed with its reason, and listed no more once the site has taken it."""
    stage.guild(10, 11, stored=False)
    stage.rows.named = {10}
    process = await stage.start()
    listed = text(process.questions.parked())
    stage.rows.named = set()
    reply = await process.commands.retry_parked()
    await stage.clock.advance(10)
    nothing = await process.commands.retry_parked()

    assert "Not this one" in listed
    assert (reply.done, nothing.done) == (True, False)
    assert stage.in_step()


async def test_questions_are_answered_at_any_time(stage: Stage) -> None:
    """Before, in and after a run: how things stand, and what the last runs were."""
    process = await slow_run(stage)
    running = text(process.questions.status())
    (run_id,) = [view.run_id for view in (process.service.supervisor.current,) if view is not None]
    details = text(await process.questions.details(run_id))
    await stage.clock.advance(60)

    assert run_id in running
    assert run_id in details
    assert process.questions.run_ids() == [run_id]
    assert run_id in text(process.questions.history())
    assert run_id in text(await process.questions.details(run_id))
    assert "No run" in text(await process.questions.details("nope"))


async def test_a_process_that_does_not_lead_carries_nothing_out(stage: Stage) -> None:
    """It says why."""
    stage.guild(10)
    await stage.start()
    second = await stage.start()
    replies = [
        second.commands.start(Scope.ALL, BY, forced=True),
        await second.commands.pause(BY),
        await second.commands.reset_breaker(BY),
        await second.commands.plan(BY),
        second.commands.cancel(BY),
    ]

    assert [reply.done for reply in replies] == [False] * 5
    assert ["process 0" in text(reply) for reply in replies] == [True] * 4 + [False]


@pytest.mark.parametrize("decision", list(Decision)[1:])
async def test_too_many_role_deletions_wait_for_a_decision(
    stage: Stage, decision: Decision
) -> None:
    """Approved, they are written by the next sync; rejected, they stay."""
    stage.guild(10)
    for role in range(30, 40):
        stage.discord.create_role(role)
    stage.rows.fill({}, stage.discord.roles)
    process = await stage.start()
    for role in range(30, 40):
        stage.discord.delete_role(role)
    await stage.clock.advance(30)
    kept = len(stage.rows.roles)
    (digest,) = process.questions.list_ids()
    who = await process.questions.who(digest)
    reply = await process.commands.decide(None, decision, BY)
    again = await process.commands.decide(digest, decision, BY)
    await stage.clock.advance(30)

    assert kept == 12
    assert who.file is not None
    assert (reply.done, again.done) == (True, False)
    assert len(stage.rows.roles) == (2 if decision is Decision.APPROVED else 12)
    # What was carried out is forgotten: it must not let the next ones through.
    assert (process.service.repository.withheld == {}) is (decision is Decision.APPROVED)


async def test_every_button_does_what_it_says(stage: Stage) -> None:
    """While its run is on, and after: then it says that it does nothing any more."""
    process = await slow_run(stage)
    view = process.service.supervisor.current
    assert view is not None

    def button(action: Action, argument: str = "") -> Button:
        return Button(action=action, argument=argument)

    steered = [
        await process.commands.pressed(button(action, view.run_id), BY)
        for action in (Action.PAUSE, Action.RESUME, Action.DETAILS, Action.CANCEL)
    ]
    await stage.clock.advance(60)
    over = [
        await process.commands.pressed(button(action, view.run_id), BY)
        for action in (Action.PAUSE, Action.CANCEL)
    ]
    closed = [
        await process.commands.pressed(button(action), BY)
        for action in (Action.PROBE, Action.RESET)
    ]
    lists = [
        await process.commands.pressed(button(action, "nope"), BY)
        for action in (Action.APPROVE, Action.REJECT, Action.SHOW_WHO)
    ]
    parked = [
        await process.commands.pressed(button(action), BY)
        for action in (Action.RETRY_PARKED, Action.SHOW_PARKED)
    ]

    assert [reply.done for reply in steered] == [True, True, False, True]
    assert not any(reply.done for reply in (*over, *closed, *lists, *parked))
    assert all("has ended" in text(reply) for reply in over)


async def test_an_order_that_cannot_be_kept_does_not_hold(stage: Stage) -> None:
    """It says so, and writes go on."""
    stage.guild(10)
    process = await stage.start()
    stage.kept.reachable = False
    pausing = stage.make_task(stage.clock_loop(), process.commands.pause(BY))
    await stage.clock.advance(8)
    reply = pausing.result()
    stage.kept.reachable = True

    assert not reply.done
    assert process.service.repository.state.pause is None


@pytest.mark.parametrize("stage", [False], indirect=True, ids=["uncached"])
async def test_a_plan_that_fails_writes_nothing_later_either(stage: Stage) -> None:
    """Whoever asked for it is answered; nobody is pinged, and no sync takes its place."""
    stage.guild(10)
    process = await stage.start()
    stage.rows.users[10]["name"] = "wrong"
    told = len(stage.channel.messages)
    process.guild.faults.plan("guild.page", raising(NO_SOURCE))
    asking = asyncio.create_task(process.commands.plan(BY))
    await stage.clock.advance(600)

    assert "failed" in text(asking.result())
    assert len(stage.channel.messages) == told
    assert stage.rows.users[10]["name"] == "wrong"


async def test_nothing_starts_while_the_bot_is_being_stopped(stage: Stage) -> None:
    """Or its end would be cut off, and tell something else than the truth."""
    stage.guild(10)
    process = await stage.start()
    process.service.supervisor.close()
    refused = process.commands.start(Scope.ALL, BY, forced=True)
    await stage.clock.advance(60)

    assert "is being stopped" in text(refused)
    assert len(stage.endings()) == 1


async def test_a_check_for_drift_that_is_put_off_is_one_still(stage: Stage) -> None:
    """It compares without its own changes being explained, and counts what it finds."""
    stage.guild(10)
    process = await stage.start()
    stage.rows.users[10]["name"] = "wrong"
    process.service.scheduler.put_off("drift check", drift=True)
    await stage.clock.advance(120)

    assert process.service.repository.drift is not None
    assert process.service.repository.drift.rows == 1


async def test_many_changes_that_wait_for_a_stop_cost_nothing(stage: Stage) -> None:
    """A run that may not start any more is not asked for again and again."""
    stage.guild(*range(10, 30))
    process = await stage.start(run_above=4)
    process.service.supervisor.close()
    for id_ in range(10, 20):
        stage.discord.change(id_, name="renamed")
    await stage.clock.advance(60)

    assert len(process.service.queue) > 4
