"""Who is answered when, where, and what where that does not go."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
import structlog

from bot.exts.backend.sync._core.messages.reply import Reply, said
from bot.exts.backend.sync._errors import UnansweredError
from bot.exts.backend.sync._service.answers import Answers
from tests.fakes.call import FakeCall, Kind, Said
from tests.fakes.clock import HandClock
from tests.fakes.faults import When, raising
from tests.fakes.mod_log import CHANNEL, Channel, FakeModLog

SURE = "`/sync user` you alone see it"


class Desk:
    """Where commands are answered: a clock, mod-log and somebody who asks."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.channel = Channel()
        self.whose = ""
        self.answers = Answers(
            mod_log=FakeModLog(self.channel, clock=self.clock),
            mod_log_id=CHANNEL,
            clock=self.clock,
            chance=random.Random(1),
            whose=lambda: self.whose,
        )
        self._tasks: list[asyncio.Task[None]] = []

    def call(self, kind: Kind = Kind.SLASH, **more: Any) -> FakeCall:
        """Let somebody ask."""
        return FakeCall(clock=self.clock, kind=kind, name="sync user", **more)

    async def run(self, work: Coroutine[Any, Any, Any], *, seconds: float = 0.0) -> None:
        """Begin something, and let some time pass."""
        self._tasks.append(asyncio.ensure_future(work))
        await self.clock.advance(seconds)
        for task in self._tasks:
            if task.done():
                task.result()

    def after(self, seconds: float, reply: Reply) -> Coroutine[Any, Any, Reply]:
        """Return work that takes some time."""

        async def work() -> Reply:
            await self.clock.sleep(seconds)
            return reply

        return work()

    def close(self) -> None:
        """End what still goes on."""
        for task in self._tasks:
            task.cancel()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """Open the desk."""
    made = Desk()
    yield made
    made.close()


def texts(answers: list[Said]) -> list[tuple[str, bool]]:
    """Return what answers say, and whether their caller alone sees them."""
    return [(one.text, one.private) for one in answers]


async def replies(*told: Reply, pause: Callable[[], Coroutine[Any, Any, None]]) -> Any:
    """Yield answers one after the other, with something between them."""
    for one in told:
        yield one
        await pause()


async def test_a_quick_answer_is_not_deferred(desk: Desk) -> None:
    """It is the first that people see of it."""
    call = desk.call()
    work = desk.after(0.5, said("done", done=True))
    await desk.run(desk.answers.carry_out(call, work), seconds=1)

    assert (texts(call.said), call.deferred) == ([("done", False)], None)


@pytest.mark.parametrize("takes_s", [2.0, 5.0, 700.0])
async def test_a_slow_order_is_deferred_and_then_answered(desk: Desk, takes_s: float) -> None:
    """Discord would forget it after three seconds."""
    call = desk.call()
    work = desk.after(takes_s, said("done", done=True))
    await desk.run(desk.answers.carry_out(call, work), seconds=1.5)
    assert call.thinks
    await desk.clock.advance(takes_s)

    assert texts(call.said) == [("done", False)]


async def test_a_typed_command_is_not_deferred(desk: Desk) -> None:
    """Nobody waits for it with a clock in hand."""
    call = desk.call(Kind.TEXT)
    await desk.run(desk.answers.carry_out(call, desk.after(100, said("done"))), seconds=101)

    assert (texts(call.said), call.faults.calls["call.defer"]) == ([("done", False)], 0)


async def test_what_took_too_long_for_its_token_is_said_in_the_channel(desk: Desk) -> None:
    """To everybody, if it names nobody."""
    call = desk.call()
    await desk.run(desk.answers.carry_out(call, desk.after(1000, said("done"))), seconds=1001)

    assert [(one.text, one.posted) for one in call.said] == [("done", True)]


async def test_what_names_members_and_took_too_long_goes_to_mod_log(desk: Desk) -> None:
    """A plan without a cache may take longer than the quarter of an hour of its token."""
    call = desk.call()
    await desk.run(desk.answers.defer(call, private=True))
    await desk.clock.advance(1000)
    await desk.run(desk.answers.give(call, said("names"), private=True))

    assert call.said == []
    assert [(one.line, one.notice.description) for one in desk.channel.messages] == [
        ("<@7> asked for this:", "names")
    ]


@pytest.mark.parametrize("hours", [-25, -1, 1, 25])
async def test_a_wall_clock_that_is_wrong_costs_no_answer(desk: Desk, hours: int) -> None:
    """How long a token is valid is measured by what has passed here."""
    call = desk.call()
    desk.clock.skew = timedelta(hours=hours)
    await desk.run(desk.answers.give(call, said("status")))

    assert texts(call.said) == [("status", True)]


async def test_an_answer_that_came_too_late_goes_another_way(desk: Desk) -> None:
    """A process that hung for four seconds heard the command too late to defer it."""
    call = desk.call()
    await desk.clock.advance(4)
    await desk.run(desk.answers.carry_out(call, desk.after(0, said("done", done=True))))

    assert [(one.text, one.posted) for one in call.said] == [("done", True)]


async def test_what_names_members_goes_to_mod_log(desk: Desk) -> None:
    """A typed command's channel is anybody's; it is told where the answer is."""
    call = desk.call(Kind.TEXT)
    await desk.run(desk.answers.give(call, said("names"), private=True))
    (line,) = call.said

    assert line.text.startswith("The answer is in <#900>, since it names members.")
    assert SURE in line.text
    assert desk.channel.messages[0].notice.description == "names"


async def test_in_mod_log_it_is_answered_where_it_was_asked(desk: Desk) -> None:
    """Whoever reads that may read names."""
    call = desk.call(Kind.TEXT, channel_id=CHANNEL)
    await desk.run(desk.answers.give(call, said("names"), private=True))

    assert texts(call.said) == [("names", False)]
    assert desk.channel.messages == []


async def test_a_mod_log_that_can_not_be_used_is_told_of_once(desk: Desk) -> None:
    """However many answers follow."""
    desk.channel.away = True
    call = desk.call(Kind.TEXT)
    told = replies(said("first"), said("second"), pause=lambda: desk.clock.sleep(0))
    await desk.run(desk.answers.follow(call, told))
    (line,) = call.said

    assert "mod-log can't be used now" in line.text


async def test_an_answer_becomes_what_follows(desk: Desk) -> None:
    """One message, not two."""
    call = desk.call()
    told = replies(said("differs"), said("written"), pause=lambda: desk.clock.sleep(3))
    await desk.run(desk.answers.follow(call, told), seconds=1)
    assert texts(call.said) == [("differs", True)]
    await desk.clock.advance(10)

    assert [(one.text, one.private, one.edits) for one in call.said] == [("written", True, 1)]


async def test_what_follows_after_the_token_goes_to_mod_log(desk: Desk) -> None:
    """The first answer can't be changed any more."""
    call = desk.call()
    told = replies(said("differs"), said("written"), pause=lambda: desk.clock.sleep(1000))
    await desk.run(desk.answers.follow(call, told), seconds=2001)

    assert texts(call.said) == [("differs", True)]
    assert [one.notice.description for one in desk.channel.messages] == ["written"]


async def test_a_channel_that_is_closed_to_the_bot_is_nobodys_fault(desk: Desk) -> None:
    """The order is carried out; that its answer went nowhere is logged."""
    call = desk.call(Kind.TEXT, forbidden=True)
    done: list[str] = []

    async def work() -> Reply:
        done.append("done")
        return said("done", done=True)

    await desk.run(desk.answers.carry_out(call, work()))

    assert (done, call.said) == (["done"], [])


@pytest.mark.parametrize("kind", list(Kind))
async def test_where_two_bots_answer_each_says_which_it_is(desk: Desk, kind: Kind) -> None:
    """Below each answer, whatever it answers; where there is one, nothing of it is said."""
    desk.whose = "state in a"
    call = desk.call(kind, channel_id=CHANNEL)
    if kind is Kind.PRESS:
        await desk.run(desk.answers.answer_press(call, lambda: desk.after(0, said("paused"))))
    else:
        told = replies(said("a"), said("b"), pause=lambda: desk.clock.sleep(0))
        await desk.run(desk.answers.follow(call, told))

    assert [one.reply.notice.fields for one in call.said] == [(("This bot", "state in a"),)]


async def test_a_press_is_carried_out_and_struck_off(desk: Desk) -> None:
    """Its answer is for who pressed, the message says it to all."""
    press = desk.call(Kind.PRESS)
    await desk.run(
        desk.answers.answer_press(press, lambda: desk.after(5, said("paused", done=True)))
    )
    await desk.clock.advance(6)

    assert texts(press.said) == [("paused", True)]
    assert press.struck_off == said("paused", done=True)


async def test_a_press_that_discord_has_forgotten_does_nothing(desk: Desk) -> None:
    """Whoever pressed was told that it failed, and would press again."""
    press = desk.call(Kind.PRESS)
    done: list[str] = []

    async def work() -> Reply:
        done.append("done")
        return said("paused", done=True)

    await desk.clock.advance(4)
    await desk.run(desk.answers.answer_press(press, work))

    assert (done, press.said, press.struck_off) == ([], [], None)


async def test_a_message_that_is_gone_costs_no_answer(desk: Desk) -> None:
    """A moderator's broom took the button's message while its order was carried out."""
    press = desk.call(Kind.PRESS)
    press.faults.plan("call.strike_off", raising(UnansweredError("404")), when=When.BEFORE)
    await desk.run(
        desk.answers.answer_press(press, lambda: desk.after(0, said("paused", done=True)))
    )

    assert texts(press.said) == [("paused", True)]


async def test_an_error_behind_a_button_is_told_with_a_reference(desk: Desk) -> None:
    """To who pressed; the log and Sentry hold the same one."""
    press = desk.call(Kind.PRESS)

    async def work() -> Reply:
        raise RuntimeError("as planned")

    with structlog.testing.capture_logs() as logs:
        await desk.run(desk.answers.answer_press(press, work))
    ((text, private),) = texts(press.said)
    (failed,) = logs

    assert private
    assert failed["event"] == "sync.command.failed"
    assert failed["reference"] in text
    assert press.struck_off is None


async def test_a_button_that_asks_is_left_where_it_is(desk: Desk) -> None:
    """Nothing was done that its message should tell."""
    press = desk.call(Kind.PRESS)
    await desk.run(desk.answers.answer_press(press, lambda: desk.after(0, said("who is on it"))))

    assert texts(press.said) == [("who is on it", True)]
    assert press.struck_off is None


@pytest.mark.parametrize(
    ("kind", "told"), [(Kind.TEXT, 1), (Kind.SLASH, 15), (Kind.PRESS, 15)], ids=str
)
async def test_a_stranger_fills_no_channel(desk: Desk, kind: Kind, told: int) -> None:
    """Nobody is told more often in ten seconds; afterwards again."""
    calls = [desk.call(kind) for _ in range(20)]
    for call in calls:
        await desk.run(desk.answers.refuse(call, "you may not"))
    assert sum(len(call.said) for call in calls) == told
    await desk.clock.advance(11)
    late = desk.call(kind)
    await desk.run(desk.answers.refuse(late, "you may not"))

    assert texts(late.said) == [("you may not", kind is not Kind.TEXT)]


async def test_many_strangers_fill_no_channel(desk: Desk) -> None:
    """Forty of them hear it in ten seconds, the others an error of Discord's, or nothing."""
    calls = [desk.call(Kind.TEXT, person_id=number) for number in range(60)]
    for call in calls:
        await desk.run(desk.answers.refuse(call, "you may not"))

    assert sum(len(call.said) for call in calls) == 40
