"""An exception or a cancellation in each call of each port in turn: what must hold all the same."""

from typing import Any

import pytest
import structlog

from bot.exts.backend.sync._errors import StoreUnreachableError
from tests.bot.exts.backend.sync.orchestration.conftest import Stage
from tests.fakes.faults import When, cancelling, raising
from tests.fakes.process import Process

STORE = ("store.open", "store.scan", "store.put", "store.acquire", "store.renew")
AWAY = StoreUnreachableError("the state store memory can't be used: as planned")
BROKEN = RuntimeError("as planned")


def calls(*, last: int, fast: tuple[int, ...]) -> list[Any]:
    """Return which calls of a place fail in turn: each of them, a few in the fast tests."""
    return [
        number if number in fast else pytest.param(number, marks=pytest.mark.slow)
        for number in range(1, last + 1)
    ]


async def live(stage: Stage) -> Process:
    """Bring a process through a start-up, a full sync, and changes of all kinds."""
    stage.guild(10, 11, 12, stored=False)
    return await stage.start(0)


async def go_on(stage: Stage) -> None:
    """Let things change, and let all of it come to an end."""
    await stage.clock.advance(200)
    stage.discord.join(20, roles=[5])
    stage.discord.leave(11)
    stage.discord.change(12, name="renamed")
    stage.discord.create_role(6)
    await stage.clock.advance(30)
    stage.discord.delete_role(5)
    await stage.clock.advance(700)


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("call", calls(last=11, fast=(2, 7)))
@pytest.mark.parametrize("place", STORE)
async def test_a_store_that_fails_a_call_costs_time_and_nothing_else(
    stage: Stage, place: str, call: int, when: When
) -> None:
    """Whether it did what it was asked or not: in step, the lease held, every alert told."""
    process = await live(stage)
    passed = [raising(AWAY) if number == call else _nothing for number in range(1, call + 1)]
    for fault in passed:
        process.store.faults.plan(place, fault, when=when)
    await go_on(stage)

    assert stage.in_step()
    assert process.control.is_leading
    assert process.control.ledger.alerts == {}
    assert len(process.control.dirty) == 0


@pytest.mark.parametrize("call", calls(last=13, fast=(1, 4, 6, 10)))
async def test_an_error_while_the_site_is_asked_ends_one_run_at_most(
    stage: Stage, call: int
) -> None:
    """It is told as ours; ids wait again, the lease stays, and all is made good by itself."""
    process = await live(stage)
    for number in range(1, call + 1):
        fault = raising(BROKEN) if number == call else _nothing
        process.site.faults.plan("site.send", fault)
    await go_on(stage)

    assert stage.in_step()
    assert process.control.is_leading
    assert len(process.control.dirty) == 0


@pytest.mark.parametrize("call", calls(last=5, fast=(1, 3)))
@pytest.mark.parametrize("place", ["guild.prove", "guild.departed", "guild.page"])
async def test_an_error_while_discord_is_asked_ends_one_run_at_most(
    stage: Stage, place: str, call: int
) -> None:
    """The same, where it is Discord that was asked."""
    process = await live(stage)
    for number in range(1, call + 1):
        process.guild.faults.plan(place, raising(BROKEN) if number == call else _nothing)
    await go_on(stage)

    assert stage.in_step()
    assert process.control.is_leading


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("call", calls(last=7, fast=(1, 5)))
async def test_a_cancel_while_the_site_is_asked_leaves_no_doubt_behind(
    stage: Stage, call: int, when: When
) -> None:
    """The task that asked may be gone; what it had on its way is written again all the same."""
    process = await live(stage)
    for number in range(1, call + 1):
        fault = cancelling() if number == call else _nothing
        process.site.faults.plan("site.send", fault, when=when)
    await go_on(stage)

    assert len(process.control.writes) == 0
    assert process.control.is_leading


async def _nothing() -> None:
    """Let this call pass."""


UNPARSED = TypeError("'NoneType' object is not subscriptable")


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("times", [1, 50])
@pytest.mark.parametrize("place", ["recent", "post", "replace", "finish"])
@pytest.mark.parametrize("fresh", [True, False])
async def test_mod_log_is_a_side_channel(
    stage: Stage, place: str, times: int, when: When, *, fresh: bool
) -> None:
    """What discord.py can't parse there costs no lease, no run and no count of the breaker."""
    stage.guild(10, stored=False)
    if not fresh:
        await stage.kill(await stage.start(0.05))
    stage.kept.reachable = False  # so that it meets the fault from its first call on
    process = await stage.start(0, sync_edit_interval_s=0.5)
    stage.kept.reachable = True
    process.mod_log.faults.plan(f"mod_log.{place}", raising(UNPARSED), when=when, times=times)
    with structlog.testing.capture_logs() as logs:
        await go_on(stage)

    assert stage.in_step()
    assert process.telemetry.told.count(("leads", True)) == 1
    assert process.control.is_leading
    assert process.control.ledger.state.breaker.failures == 0
    assert {log.get("task") for log in logs if log["log_level"] == "error"} <= {
        f"mod-log's {place}"
    }


class Broken:
    """A call that breaks at its second time."""

    def __init__(self, error: Exception) -> None:
        self.error, self.met = error, 0

    def __call__(self, *_args: object, **_values: object) -> None:
        self.met += 1
        if self.met == 2:
            raise self.error


@pytest.mark.parametrize(("task", "call"), [("metrics", "kept"), ("live changes", "waiting")])
async def test_a_fault_in_a_task_leaves_lease_and_run_alone(
    stage: Stage, task: str, call: str
) -> None:
    """It is told once, by the name of the task, which begins anew; a run that is on goes on."""
    process = await live(stage)
    broken = Broken(UNPARSED)
    setattr(process.telemetry, call, broken)
    with structlog.testing.capture_logs() as logs:
        await go_on(stage)

    assert stage.in_step()
    assert process.control.is_leading
    assert process.telemetry.told.count(("leads", True)) == 1
    told = [log for log in logs if log["event"] == "sync.task.broke"]
    assert [(log["task"], log["log_level"]) for log in told] == [(task, "error")]
    assert broken.met > 2
