"""Departures that are too many to believe: asked about, decided, written, forgotten."""

from datetime import timedelta

import pytest

from bot.exts.backend.sync._core.messages.buttons import Action, Button
from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.policy.departures import Decision, Subject
from bot.exts.backend.sync._runs.run import Scope
from tests.bot.exts.backend.sync.orchestration.conftest import BY, DOWN, Stage, text
from tests.bot.exts.backend.sync.orchestration.lists import GONE, withholding
from tests.fakes.site import Fate

pytestmark = pytest.mark.either_mode

DAY_S = timedelta(days=1).total_seconds()


def left(stage: Stage) -> set[int]:
    """Return whom the site says to have left."""
    return {id_ for id_, row in stage.rows.users.items() if not row["in_guild"]}


async def test_the_rest_is_written_while_they_wait(stage: Stage) -> None:
    """The run is verified, says how many it withheld, and asks once, however often it runs."""
    process = await withholding(stage)
    process.commands.start(Scope.ALL, BY, forced=False)
    await stage.clock.advance(60)

    assert stage.endings() == [Ending.VERIFIED] * 2
    assert [view.withheld for view in stage.runs()] == [600, 600]
    assert (left(stage), stage.rows.users[11]["name"]) == (set(), "user11")
    assert stage.channel.titles.count("Departures withheld") == 1
    (list_,) = process.service.repository.withheld.values()
    assert (list_.what, list_.ids) == (Subject.DEPARTURES, tuple(GONE))


async def test_an_approved_list_is_written_but_for_who_is_back(stage: Stage) -> None:
    """And without whoever was found missing later; then the list is forgotten."""
    process = await withholding(stage)
    (digest,) = process.questions.list_ids()
    stage.discord.join(1000)
    await stage.clock.advance(5)
    stage.rows.users[2000] = {**stage.rows.users[1001], "id": 2000}
    reply = await process.commands.pressed(Button(action=Action.APPROVE, argument=digest), BY)
    await stage.clock.advance(60)

    assert reply.done
    assert left(stage) >= set(range(1001, 1600))
    assert 1000 not in left(stage)
    assert process.service.repository.withheld == {}
    assert BY in stage.runs()[-1].trigger
    assert len(stage.runs()[-1].approved) == 1


@pytest.mark.parametrize(
    "decision", [None, pytest.param(Decision.REJECTED, marks=pytest.mark.slow)]
)
async def test_a_list_holds_for_a_day(stage: Stage, decision: Decision | None) -> None:
    """Nobody is asked twice within it; unanswered or rejected, the next sync after it asks."""
    process = await withholding(stage)
    (digest,) = process.questions.list_ids()
    if decision is not None:
        assert (await process.commands.decide(digest, decision, BY)).done
    await stage.clock.advance(DAY_S - 600)
    process.commands.start(Scope.ALL, BY, forced=False)
    await stage.clock.advance(60)
    assert stage.channel.titles.count("Departures withheld") == 1
    await stage.clock.advance(700)
    assert process.questions.list_ids() == []
    assert not (await process.commands.decide(digest, Decision.APPROVED, BY)).done
    process.commands.start(Scope.ALL, BY, forced=False)
    await stage.clock.advance(60)

    assert stage.channel.titles.count("Departures withheld") == 2
    assert process.questions.list_ids() == [digest]
    assert left(stage) == set()


async def test_a_decision_outlives_the_process(stage: Stage) -> None:
    """Approved, then killed before the sync: the next process carries it out."""
    process = await withholding(stage)
    await process.commands.pause(BY)
    assert (await process.commands.decide(None, Decision.APPROVED, BY)).done
    await stage.kill(process)
    process = await stage.start(10, sync_first_items=1000, sync_max_items=1000, sync_page_items=500)
    assert left(stage) == set()
    await process.commands.resume(BY)
    await stage.clock.advance(120)

    assert left(stage) == set(GONE)
    assert process.service.repository.withheld == {}


async def test_a_list_is_forgotten_once_not_so_many_are_missing(stage: Stage) -> None:
    """They came back: the few who did not are written, and nothing waits any more."""
    process = await withholding(stage)
    for id_ in range(1000, 1590):
        stage.discord.join(id_, name=f"gone{id_}")
    await stage.clock.advance(200)
    process.commands.start(Scope.ALL, BY, forced=False)
    await stage.clock.advance(60)

    assert left(stage) == set(range(1590, 1600))
    assert process.service.repository.withheld == {}


async def test_a_plan_asks_nobody(stage: Stage) -> None:
    """It tells how many would be withheld, as a file of everybody."""
    stage.guild(10)
    for id_ in GONE:
        stage.rows.users[id_] = {**stage.rows.users[10], "id": id_}
    process = await stage.start(sync_at_start=False, sync_page_items=500)
    planning = stage.make_task(stage.clock_loop(), process.commands.plan(BY))
    await stage.clock.advance(30)

    assert "600" in text(planning.result())
    assert process.service.repository.withheld == {}
    assert "Departures withheld" not in stage.channel.titles


async def test_of_two_lists_one_has_to_be_named(stage: Stage) -> None:
    """The answer names both; each can be seen and decided by itself."""
    for role in range(30, 40):
        stage.discord.create_role(role)
    stage.rows.fill({}, stage.discord.roles)
    for role in range(30, 40):
        stage.discord.delete_role(role)
    process = await withholding(stage)
    digests = process.questions.list_ids()
    asked = await process.commands.decide(None, Decision.APPROVED, BY)
    shown = await process.commands.pressed(Button(action=Action.SHOW_WHO, argument=digests[0]), BY)
    rejected = await process.commands.pressed(Button(action=Action.REJECT, argument=digests[0]), BY)

    assert len(digests) == 2
    assert not asked.done
    assert all(digest in text(asked) for digest in digests)
    assert shown.file is not None
    assert rejected.done
    assert process.questions.list_ids() == digests  # for what was rejected can still be approved


async def test_nobody_is_marked_while_discord_does_not_answer_who_left(stage: Stage) -> None:
    """It is asked again by a sync a minute later."""
    stage.guild(10)
    stage.rows.users[9] = {**stage.rows.users[10], "id": 9}
    process = await stage.start(0)
    stage.discord.loses_requests = not stage.cached  # without a cache only requests can tell
    if stage.cached:
        while process.guild.proof is None:
            await stage.clock.advance(0.01)
        stage.discord.loses_requests = True
    await stage.clock.advance(200)
    assert (stage.endings()[0], left(stage)) == (Ending.VERIFIED, set())
    assert stage.runs()[0].withheld == 1
    stage.discord.loses_requests = False
    await stage.clock.advance(300)

    assert left(stage) == {9}
    assert "ask Discord again" in stage.runs()[-1].trigger


async def test_a_rejection_can_be_taken_back(stage: Stage) -> None:
    """Pressed by mistake, it holds until somebody approves; then the list is written."""
    process = await withholding(stage)
    await process.commands.decide(None, Decision.REJECTED, BY)
    stage_left = left(stage)
    taken_back = await process.commands.decide(None, Decision.APPROVED, BY)
    await stage.clock.advance(120)

    assert stage_left == set()
    assert taken_back.done
    assert left(stage) == {*GONE}


async def test_what_is_being_written_can_not_be_taken_back(stage: Stage) -> None:
    """A sync has begun on it; the answer says so, and the list ends with it."""
    process = await withholding(stage)
    process.site.fate = lambda request: Fate(answers_s=1.0) if request.writes else Fate()
    await process.commands.decide(None, Decision.APPROVED, BY)
    await stage.clock.advance(1.5)
    digest = next(iter(process.service.repository.withheld.values())).digest
    late = await process.commands.decide(digest, Decision.REJECTED, BY)
    await stage.clock.advance(120)

    assert (late.done, "has begun to write it" in text(late)) == (False, True)
    assert left(stage) == {*GONE}


async def test_what_is_rejected_while_discord_is_asked_is_not_written(stage: Stage) -> None:
    """Approved, and taken back while the sync asks who of them has left: the last word holds."""
    slow = [0.0]
    process = await withholding(
        stage, delay_s=lambda what: slow[0] if what in {"rest", "request"} else 0.0
    )
    (digest,) = process.questions.list_ids()
    await process.commands.decide(digest, Decision.APPROVED, BY)
    slow[0] = 2.0
    await stage.clock.advance(1.5)
    taken_back = await process.commands.decide(digest, Decision.REJECTED, BY)
    await stage.clock.advance(600)
    (list_,) = process.service.repository.withheld.values()

    assert taken_back.done
    assert (list_.decision, list_.begun) == (Decision.REJECTED, False)
    assert left(stage) == set()


async def test_a_plan_leaves_an_approved_list_as_it_is(stage: Stage) -> None:
    """Approved, and a plan made before a sync could write it: the next sync does."""
    process = await withholding(stage)
    process.site.fate = lambda request: DOWN if request.writes else Fate()
    (digest,) = process.questions.list_ids()
    await process.commands.decide(digest, Decision.APPROVED, BY)
    await stage.clock.advance(30)
    process.commands.cancel(BY)
    await stage.clock.advance(10)
    planning = stage.make_task(stage.clock_loop(), process.commands.plan(BY))
    await stage.clock.advance(30)
    assert planning.done()
    kept = process.service.repository.withheld[Subject.DEPARTURES]
    process.site.fate = lambda _: Fate()
    await stage.clock.advance(1200)

    assert (kept.digest, kept.decision) == (digest, Decision.APPROVED)
    assert left(stage) == {*GONE}


async def test_a_list_of_whom_everybody_is_back_ends_and_the_next_is_asked_about(
    stage: Stage,
) -> None:
    """Others left meanwhile: they are news, and not what somebody approved."""
    process = await withholding(stage)
    process.site.fate = lambda _: DOWN  # so that nothing is written before they are back
    first = process.questions.list_ids()
    await process.commands.decide(None, Decision.APPROVED, BY)
    for id_ in GONE:
        stage.discord.join(id_, name=f"gone{id_}")
    others = range(2000, 2600)
    for id_ in others:
        stage.rows.users[id_] = {**stage.rows.users[10], "id": id_, "name": f"gone{id_}"}
    process.site.fate = lambda _: Fate()
    await stage.clock.advance(3600)
    process.commands.start(Scope.ALL, BY, forced=True)
    await stage.clock.advance(120)
    second = process.questions.list_ids()

    assert left(stage) == set()
    assert (len(first), len(second)) == (1, 1)
    assert first != second
    assert stage.channel.titles.count("Departures withheld") == 2


@pytest.mark.parametrize(("missing", "asked"), [(10, 0), (13, 1)])
async def test_a_small_guild_asks_too(stage: Stage, missing: int, asked: int) -> None:
    """Below 500 rows more than ten, or a fifth, wait for a moderator; seen leaves do not."""
    stage.guild(*range(10, 60))
    gone = range(100, 100 + missing)
    for id_ in gone:
        stage.rows.users[id_] = {**stage.rows.users[10], "id": id_, "name": f"gone{id_}"}
    process = await stage.start(60)
    for id_ in range(10, 40):
        stage.discord.leave(id_)
    await stage.clock.advance(60)

    assert len(process.questions.list_ids()) == asked
    assert left(stage) == {*range(10, 40), *(() if asked else gone)}
