"""Each rule is seen to fire, each kind of trouble to be met: a check that cannot fail is none."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bot.exts.backend.sync._ports import Proof
from tests.fakes.process import Process
from tests.fakes.site import Fate
from tests.simulator.__main__ import quiet
from tests.simulator.shrink import shrink
from tests.simulator.story import Move, Story, tell
from tests.simulator.world import World

pytestmark = pytest.mark.unmeasured

SLOW = {number: Fate(answers_s=3.0) for number in range(20)}
CHANGES = (Move(20, "rename", (10, "other")), Move(21, "rename", (11, "other")))


def open_gate(process: Process) -> None:
    """Let the gate admit whatever comes."""
    gate: Any = process.service._gate
    gate.admits = lambda _: True


class NoLock:
    """A lock that keeps nobody out."""

    async def acquire(self) -> bool:
        return True

    def release(self) -> None: ...

    def locked(self) -> bool:
        return False


def no_renewing(process: Process) -> None:
    """Go on for ever with a lease that ran out, through a gate that is open."""

    async def never() -> None:
        await asyncio.Event().wait()

    open_gate(process)
    service: Any = process.service
    service._elector._renew = never


def no_turns(process: Process) -> None:
    """Let writes leave side by side."""
    gate: Any = process.service._gate
    gate.writing = NoLock()


def always_proven(process: Process) -> None:
    """Believe in the guild whatever Discord says."""

    class Believing(type(process.guild)):  # type: ignore[misc] # a class of its own for this one
        proof = Proof(complete=True, reason="believed", members=1)

    process.guild.__class__ = Believing
    process.guild._check_proven = lambda: None  # type: ignore[method-assign] # as above


def no_outbox(process: Process) -> None:
    """Let alerts wait for ever."""

    async def never() -> None:
        await asyncio.Event().wait()

    outbox: Any = process.service._outbox
    outbox.run_forever = never


def no_worker(process: Process) -> None:
    """Let live changes wait for ever."""

    async def never() -> None:
        await asyncio.Event().wait()

    live: Any = process.service._live
    live.run_forever = never


def no_schedule(process: Process) -> None:
    """Let no sync start by itself."""

    async def never(_runs: object) -> None:
        await asyncio.Event().wait()

    scheduler: Any = process.service.scheduler
    scheduler.run_forever = never


def double_entry(process: Process) -> None:
    """Tell of twice as many rows as were written."""
    told = process.telemetry.run_finished

    def twice(view: Any, figures: Any, **how: Any) -> None:
        tally = replace(view.tally, created=view.tally.created * 2)
        told(replace(view, tally=tally), figures, **how)

    process.telemetry.run_finished = twice  # type: ignore[method-assign] # as above


def unknown_to_itself(process: Process) -> None:
    """Take one's own runs for another's."""
    rivals: Any = process.service._rivals
    rivals.begun = lambda _: None


def broken(process: Process) -> None:
    """Fail where nobody foresaw it."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("planned")

    guild: Any = process.guild
    guild.roles = fail


@pytest.mark.parametrize(
    ("rule", "story", "sabotage"),
    [
        (
            "no write while paused",
            Story(moves=(Move(10, "command", ("pause",)), *CHANGES)),
            open_gate,
        ),
        (
            "no write while the breaker is open",
            Story(moves=(Move(10, "command", ("open",)), *CHANGES)),
            open_gate,
        ),
        (
            "no write without the lease",
            Story(
                lease_s=90.0, moves=(Move(10, "rename", (10, "other")), Move(115, "leave", (10,)))
            ),
            no_renewing,
        ),
        (
            "one write in flight",
            Story(fates=SLOW, moves=(*CHANGES, Move(21.5, "single", (11,)))),
            no_turns,
        ),
        (
            "no write from an unproven guild",
            Story(
                moves=(
                    Move(10, "command", ("pause",)),
                    *CHANGES,
                    Move(22, "session_lost", (5.0,)),
                    Move(27.015, "command", ("resume",)),
                )
            ),
            always_proven,
        ),
        ("alerts are delivered", Story(), no_outbox),
        ("live changes flow", Story(moves=CHANGES), no_worker),
        ("nothing moves on: a sync is wanted", Story(), no_schedule),
        ("totals are rows written", Story(stored=False), double_entry),
        ("no error of ours", Story(), broken),
        (
            "no rival is told of",
            Story(moves=(Move(200, "command", ("all",)),)),
            unknown_to_itself,
        ),
    ],
)
def test_a_rule_fires(rule: str, story: Story, sabotage: Callable[[Process], None]) -> None:
    """What it forbids is done to a world in which nothing else is wrong."""
    with quiet():
        assert World(story).play() is None
        found = World(story, sabotage=sabotage).play()

    assert found is not None
    assert found.rule == rule


def test_a_wrong_row_and_a_wrong_role_are_seen() -> None:
    """Behind the back of whoever says that all is in step."""
    with quiet():
        for kind, spoil in (
            ("row", lambda world: world.rows.users[10].update(name="wrong")),
            ("role", lambda world: world.rows.roles.pop(1)),
        ):
            world = World(Story())
            calm = world.calm

            def spoiled(
                world: World = world,
                calm: Callable[[], None] = calm,
                spoil: Callable[[World], object] = spoil,
            ) -> None:
                calm()
                spoil(world)

            world.calm = spoiled  # type: ignore[method-assign] # one world's own
            found = world.play()

            assert found is not None
            assert found.rule == f"says in step, and is not: a {kind}"


def test_a_story_is_shrunk_to_what_it_takes() -> None:
    """What has nothing to do with the finding is left out."""
    story = replace(tell(11), moves=(*CHANGES, Move(30, "command", ("pause",)), *tell(11).moves))
    with quiet():
        short = shrink(
            replace(story, moves=story.moves[:8]),
            "no write while paused",
            tries=60,
            play=lambda one: World(one, sabotage=open_gate).play(),
        )

    assert Move(30, "command", ("pause",)) in short.moves
    assert len(short.moves) < 8


@pytest.mark.slow
def test_every_kind_of_trouble_is_met() -> None:
    """Within some hundred worlds; the kinds are those that a world notes when it meets them."""
    reached: Counter[str] = Counter()
    with quiet():
        for seed in range(250):
            world = World(tell(seed))
            world.play()
            reached.update(world.reached)

    assert {
        "clock", "cut", "kill", "late", "lost", "mod-log away", "requests lost", "rival",
        "session lost", "single", "status 401", "status 429", "status 500", "status 502",
        "status 503", "status 504", "stop", "store away", "store locked", "store lost",
        "command all", "command users", "command roles", "command force", "command plan",
        "command cancel", "command pause", "command resume", "command open", "command reset",
        "command retry", "command approve", "command reject", "command status",
    } <= reached.keys()  # fmt: skip
