"""A fault in each call of each port in turn: what must hold all the same.

A process starts, brings everything to the site, and then changes of all kinds. Each row of the
table lets one call go wrong, the first, the second and so on, before it does anything, or after all
was done but nobody hears of it. `make test-fast` takes a few calls of each, `make test` all.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

import pytest
import structlog

from bot.exts.backend.sync._errors import StoreUnreachableError
from tests.bot.exts.backend.sync.orchestration.conftest import Stage
from tests.fakes.faults import Faults, When, cancelling, raising
from tests.fakes.process import Process

AWAY = StoreUnreachableError("the state store memory can't be used: as planned")
BROKEN = RuntimeError("as planned")

pytestmark = pytest.mark.unmeasured

Fault = Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A call of a port: which of them go wrong in turn with a member cache, and which without.

    The fast tests take those of `fast`.
    """

    name: str
    cached: Collection[int] = (1,)
    paged: Collection[int] = (1,)
    fast: Collection[int] = (1,)


OPENING = (Place(name="store.open"), Place(name="store.acquire"), Place(name="store.scan"))
RENEWING = Place(name="store.renew", cached=range(1, 13), paged=range(1, 13))
PUTS = Place(name="store.put", cached=range(1, 11), paged=range(1, 15), fast=(1, 6))
# Not those that strike a shown alert off, or the last run: an error of ours there ends the task
# that delivers alerts, or leaves the attempt open.
PUTS_BUT_TWO = Place(
    name="store.put",
    cached=sorted({*range(1, 10)} - {3}),
    paged=sorted({*range(1, 14)} - {3}),
    fast=(1, 6),
)
SITE = Place(name="site.send", cached=range(1, 18), paged=range(1, 18), fast=(3, 8, 13))
# Those of the first run: whoever cancels what a live change waits for ends the task that brings
# them, and whoever cancels a later run does not want another.
FIRST_RUN = (
    Place(name="site.send", cached=range(1, 11), paged=range(1, 11), fast=(3, 8)),
    Place(name="guild.prove"),
    Place(name="guild.page", cached=(), paged=(1, 2)),
)
GUILD = (
    Place(name="guild.prove"),
    Place(name="guild.page", cached=(), paged=range(1, 5), fast=(2,)),
)
MOD_LOG = (Place(name="mod_log.recent"), Place(name="mod_log.finish", cached=(1, 2), paged=(1, 2)))


def rows(*places: Place) -> pytest.MarkDecorator:
    """Return the table's rows: whether members are cached, the call's place and its number."""
    return pytest.mark.parametrize(
        ("stage", "place", "call"),
        [
            pytest.param(
                cached,
                place.name,
                number,
                id=f"{'cached' if cached else 'uncached'}-{place.name}-{number}",
                marks=(
                    ()
                    if number in place.fast and (cached or not place.cached)
                    else pytest.mark.slow
                ),
            )
            for place in places
            for cached in (True, False)
            for number in (place.cached if cached else place.paged)
        ],
        indirect=["stage"],
    )


async def live(stage: Stage, place: str, call: int, fault: Fault, *, when: When) -> Process:
    """Bring a process through its life, with one fault in it that it surely meets."""
    stage.guild(10, 11, 12, stored=False)
    met: list[Faults] = []

    def prepare(process: Process) -> None:
        faults: Faults = getattr(process, place.partition(".")[0]).faults
        for number in range(1, call + 1):
            faults.plan(place, fault if number == call else _nothing, when=when)
        met.append(faults)

    process = await stage.start(0, prepare=prepare)
    await go_on(stage)
    assert met[0].met[place, when] >= call, f"it makes only {met[0].calls[place]} calls"
    return process


async def go_on(stage: Stage) -> None:
    """Let things change, and let all of it come to an end."""
    await stage.clock.advance(200)
    stage.discord.join(20, roles=[5])
    stage.discord.leave(11)
    stage.discord.change(12, name="renamed")
    stage.discord.create_role(6)
    await stage.clock.advance(30)
    stage.discord.delete_role(5)
    await stage.clock.advance(900)


def holds(stage: Stage, process: Process) -> None:
    """Check what must hold whatever happened: in step, the lease, nothing waits, all is told."""
    assert stage.in_step()
    assert process.service.leadership.is_leading
    assert len(process.service.queue) == 0
    assert len(process.service.writes) == 0
    assert process.service.repository.state.attempt is None
    assert process.service.repository.state.breaker.failures == 0
    assert process.service.repository.alerts == {}
    assert [title for title in stage.channel.titles if title.startswith("Syncing")] == []
    assert process.site.most == 1
    told = [m.notice.title for m in stage.channel.messages if m.alert_id is not None]
    assert len({*told}) == len(told), told  # nothing is told again and again


@pytest.mark.parametrize("when", list(When))
@rows(*OPENING, RENEWING, PUTS)
async def test_a_store_that_is_away_for_a_call(
    stage: Stage, place: str, call: int, when: When
) -> None:
    """It costs time and nothing else, whether it did what it was asked or not."""
    process = await live(stage, place, call, raising(AWAY), when=when)

    holds(stage, process)


@pytest.mark.parametrize("when", list(When))
@rows(*OPENING, RENEWING, PUTS_BUT_TWO)
async def test_an_error_in_the_store(stage: Stage, place: str, call: int, when: When) -> None:
    """An error of ours costs a turn at most; the next one begins by itself."""
    process = await live(stage, place, call, raising(BROKEN), when=when)

    holds(stage, process)


@pytest.mark.parametrize("when", list(When))
@rows(SITE, *GUILD)
async def test_an_error_while_something_is_asked(
    stage: Stage, place: str, call: int, when: When
) -> None:
    """It ends one run or drain at most, and all is made good by itself."""
    process = await live(stage, place, call, raising(BROKEN), when=when)

    holds(stage, process)


@pytest.mark.parametrize("when", list(When))
@rows(*FIRST_RUN)
async def test_a_cancel_while_something_is_asked(
    stage: Stage, place: str, call: int, when: When
) -> None:
    """Whoever asked may be gone; what was on its way is written again all the same."""
    process = await live(stage, place, call, cancelling(), when=when)

    holds(stage, process)


@pytest.mark.parametrize("when", list(When))
@rows(*MOD_LOG)
async def test_an_error_in_mod_log(stage: Stage, place: str, call: int, when: When) -> None:
    """No sync depends on what people read."""
    process = await live(stage, place, call, raising(BROKEN), when=when)

    holds(stage, process)


async def _nothing() -> None:
    """Let this call pass."""


UNPARSED = TypeError("'NoneType' object is not subscriptable")


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.slow), 50])
@pytest.mark.parametrize("place", ["recent", "post", "replace", "finish"])
@pytest.mark.parametrize("fresh", [True, pytest.param(False, marks=pytest.mark.slow)])
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
    assert process.service.leadership.is_leading
    assert process.service.repository.state.breaker.failures == 0
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


@pytest.mark.parametrize(("task", "call"), [("metrics", "kept"), ("live changes", "brought")])
async def test_a_fault_in_a_task_leaves_lease_and_run_alone(
    stage: Stage, task: str, call: str
) -> None:
    """It is told once, by the name of the task, which begins anew; a run that is on goes on."""
    stage.guild(10, 11, 12, stored=False)
    process = await stage.start(0)
    broken = Broken(UNPARSED)
    setattr(process.telemetry, call, broken)
    with structlog.testing.capture_logs() as logs:
        await go_on(stage)

    assert stage.in_step()
    assert process.service.leadership.is_leading
    assert process.telemetry.told.count(("leads", True)) == 1
    told = [log for log in logs if log["event"] == "sync.task.broke"]
    assert [(log["task"], log["log_level"]) for log in told] == [(task, "error")]
    assert broken.met > 2
