"""Two bots on one guild: with one store one of them waits, with two they say so."""

import pytest

from bot.exts.backend.sync._runs.run import Scope
from bot.exts.backend.sync._service.rivals import Rivals
from tests.bot.exts.backend.sync.orchestration.conftest import Stage
from tests.fakes.clock import HandClock
from tests.fakes.process import Process
from tests.fakes.store import Kept

pytestmark = pytest.mark.either_mode

TITLE = "Two bots sync this server"


async def beside(stage: Stage) -> tuple[Process, Process]:
    """Start two processes with a store each, and let both lead for a while."""
    stage.guild(10, 11)
    first = await stage.start(200)
    stage.kept = Kept()
    second = await stage.start(200)
    return first, second


def told(stage: Stage) -> int:
    """Return how often mod-log says that there are two."""
    return stage.channel.titles.count(TITLE)


async def test_two_stores_are_noticed_by_both(stage: Stage) -> None:
    """Each hears of the other's run, tells it once, and says with each answer whose it is."""
    first, second = await beside(stage)
    assert (told(stage), bool(first.service.whose), second.service.whose) == (1, True, "")
    for _ in range(3):
        first.service.supervisor.start(Scope.ALL, "asked for by <@7>")
        await stage.clock.advance(60)

    assert told(stage) == 2
    assert "memory" in first.service.whose
    assert "memory" in second.service.whose
    assert first.service.leadership.is_leading
    assert second.service.leadership.is_leading


async def test_one_store_is_nothing_to_tell(stage: Stage) -> None:
    """One leads, the other waits: whatever the one that leads begins."""
    stage.guild(10, 11)
    first = await stage.start(200)
    second = await stage.start(200)
    first.service.supervisor.start(Scope.ALL, "asked for by <@7>")
    await stage.clock.advance(60)
    await stage.kill(first)
    await stage.clock.advance(200)
    second.service.supervisor.start(Scope.ALL, "asked for by <@7>")
    await stage.clock.advance(60)

    assert second.service.leadership.is_leading
    assert (told(stage), first.service.whose, second.service.whose) == (0, "", "")


async def test_a_restart_is_nothing_to_tell(stage: Stage) -> None:
    """What the process before has posted is old, whether its store was kept or lost."""
    stage.guild(10, 11)
    first = await stage.start(200)
    first.service.supervisor.start(Scope.ALL, "asked for by <@7>")
    await stage.clock.advance(60)
    await stage.kill(first)
    stage.kept = Kept()
    second = await stage.start(400)

    assert (told(stage), second.service.whose) == (0, "")


async def test_who_is_not_heard_of_for_a_day_is_gone() -> None:
    """Then it is news again."""
    clock = HandClock()
    rivals = Rivals(clock, lease_s=90)
    rivals.leads(leading=True)
    await clock.advance(89)
    early = rivals.heard("theirs")
    await clock.advance(1)
    rivals.begun("ours")
    news = [rivals.heard("ours"), rivals.heard("theirs"), rivals.heard("another")]
    await clock.advance(86400)
    gone = rivals.are_there
    again = rivals.heard("theirs")

    assert (early, news, gone, again) == (False, [False, True, False], False, True)
