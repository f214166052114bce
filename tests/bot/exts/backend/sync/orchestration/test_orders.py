"""What somebody ordered is on record: in the log at once, in the store as soon as that can be."""

import pytest
import structlog

from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.policy.orders import KEPT_ORDERS, Way
from tests.bot.exts.backend.sync.orchestration.conftest import Stage, text
from tests.fakes.process import Process

pytestmark = pytest.mark.either_mode


def ordered(process: Process) -> list[tuple[int, str]]:
    """Return who ordered what, as a process knows it."""
    return [(order.by, order.what) for order in process.service.audit.orders]


async def test_orders_are_known_after_a_restart(stage: Stage) -> None:
    """In their order, also where two came in the same moment."""
    stage.guild(10)
    first = await stage.start(10)
    with structlog.testing.capture_logs() as logs:
        first.service.audit.note(7, "pause", Way.TEXT)
        first.service.audit.note(8, "resume", Way.BUTTON)
        at_once = ordered(first)
        await stage.clock.advance(5)
    await stage.kill(first)
    second = await stage.start(10)

    assert at_once == ordered(second) == [(7, "pause"), (8, "resume")]
    assert [
        (log["user_id"], log["order"]) for log in logs if log["event"] == "sync.order.given"
    ] == [
        (7, "pause"),
        (8, "resume"),
    ]
    assert "<@8> `resume`, button" in text(second.questions.audit())


async def test_an_order_does_not_wait_for_its_record(stage: Stage) -> None:
    """Whoever stops a sync must not hear that the store is away; it is kept once it is back."""
    stage.guild(10)
    process = await stage.start(10)
    stage.kept.reachable = False
    process.service.audit.note(7, "cancel", Way.TEXT)
    await stage.clock.advance(60)
    known = ordered(process)
    stage.kept.reachable = True
    await stage.clock.advance(120)
    await stage.kill(process)
    later = await stage.start(10)

    assert known == ordered(later) == [(7, "cancel")]


async def test_whoever_has_left_can_be_forgotten(stage: Stage) -> None:
    """What was parked of them stays otherwise, where no row of them can be put right any more."""
    stage.guild(10, 11)
    stage.rows.named |= {10}
    stage.discord.change(10, name="renamed")
    process = await stage.start(30)
    member = await process.commands.forget(UserId(10))
    stage.discord.leave(10)
    await stage.clock.advance(600)
    left = await process.commands.forget(UserId(10))
    await stage.clock.advance(5)

    assert (member.done, left.done) == (False, True)
    assert "is a member of this server" in text(member)
    assert "nothing more about `10`" in text(left)
    assert process.service.repository.parked == {}
    assert [key for key in stage.kept.entries if key.endswith("/10")] == []


async def test_the_name_of_whoever_is_forgotten_leaves_a_list_that_waits(stage: Stage) -> None:
    """The list is the same to decide about: it goes by ids."""
    stage.guild(*range(10, 40))
    for id_ in range(10, 30):
        stage.discord.leave(id_)
    process = await stage.start(60)
    (before,) = process.service.repository.withheld.values()
    reply = await process.commands.forget(UserId(10))
    (after,) = process.service.repository.withheld.values()
    await stage.kill(process)
    (later,) = (await stage.start(60)).service.repository.withheld.values()

    assert reply.done
    assert 10 in before.names
    assert after.names.keys() == before.names.keys() - {10}
    assert (later.names, later.digest) == (after.names, before.digest)


async def test_only_so_many_are_kept(stage: Stage) -> None:
    """The oldest go; the numbers of the others stay as they are."""
    stage.guild(10)
    process = await stage.start(10)
    for number in range(KEPT_ORDERS + 30):
        process.service.audit.note(number, "retry", Way.TEXT)
        await stage.clock.advance(0.1)

    kept = [key for key in stage.kept.entries if key.startswith("order/")]
    assert [by for by, _ in ordered(process)] == list(range(30, KEPT_ORDERS + 30))
    assert min(kept) == "order/000000000031"
    assert len(kept) == KEPT_ORDERS


async def test_one_that_cannot_be_read_is_left_out(stage: Stage) -> None:
    """It hides none of the others, and the next one is behind them all."""
    stage.guild(10)
    first = await stage.start(10)
    for what in ("pause", "resume"):
        first.service.audit.note(7, what, Way.TEXT)
    await stage.clock.advance(5)
    await stage.kill(first)
    stage.kept.entries["order/000000000001"] = '{"by": "Zaphod"}'
    stage.kept.entries["order/somebody's"] = "1"
    second = await stage.start(10)
    second.service.audit.note(8, "retry", Way.TEXT)
    await stage.clock.advance(5)

    assert ordered(second) == [(7, "resume"), (8, "retry")]
    assert "order/000000000003" in stage.kept.entries
