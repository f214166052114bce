"""Nothing that is decided or recovered depends on a word that people read."""

import __future__

import ast
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest

from bot.exts.backend.sync._core.messages import alert, report, single, status, usage
from bot.exts.backend.sync._core.messages.marks import Mark, mark_of
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from bot.exts.backend.sync._core.policy.departures import Decision, Subject
from tests.bot.exts.backend.sync.orchestration.conftest import BY, Stage
from tests.bot.exts.backend.sync.orchestration.lists import withholding
from tests.fakes.process import Process
from tests.fakes.site import Fate

pytestmark = pytest.mark.either_mode

# What is kept in the store is no text for people; the words of marks and buttons stand elsewhere.
KEPT = {"to_json", "from_json"}


class Rewording(ast.NodeTransformer):
    """Turn every text of a module's functions round."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node if node.name in KEPT else self.generic_visit(node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        node.value = self.visit(node.value)
        return node  # without its format

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):
            return ast.copy_location(ast.Constant(node.value[::-1]), node)
        return node


def in_other_words(module: ModuleType) -> dict[str, Any]:
    """Return the code of a module's functions with other texts."""
    tree = Rewording().visit(ast.parse(inspect.getsource(module)))
    for top in [node for node in tree.body if not isinstance(node, ast.FunctionDef)]:
        tree.body[tree.body.index(top)] = ast.parse("pass").body[0]
    made: dict[str, Any] = {}
    code = compile(
        ast.fix_missing_locations(tree),
        module.__file__ or "",
        "exec",
        flags=__future__.annotations.compiler_flag,
    )
    exec(code, made)  # noqa: S102 - our own source
    return {name: made[name].__code__ for name in made if isinstance(made[name], FunctionType)}


@pytest.fixture
def reword() -> Iterator[Callable[[], None]]:
    """Return what lets all messages speak other words, and back."""
    changed: list[tuple[object, str, Any]] = []

    def swap() -> None:
        if changed:
            back()
            return
        for module in (alert, report, single, status, usage):
            for name, code in in_other_words(module).items():
                replace(getattr(module, name), "__code__", code)
            for name, value in [*vars(module).items()]:
                if isinstance(value, str) and not name.startswith("__"):
                    replace(module, name, value[::-1])

    def replace(owner: object, name: str, value: object) -> None:
        changed.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def back() -> None:
        while changed:
            owner, name, value = changed.pop()
            setattr(owner, name, value)

    yield swap
    back()


async def held_up(stage: Stage) -> Process:
    """Die in the middle of a run that somebody has paused, with a list that somebody rejected."""
    process = await withholding(stage)
    await process.commands.decide(None, Decision.REJECTED, BY)
    process.site.fate = lambda request: Fate(answers_s=25.0) if request.writes else Fate()
    for id_ in (10, 11):
        stage.rows.users[id_]["name"] = "old"
    process.service.scheduler.want("because a test wants it")  # in a task of its own
    await stage.clock.advance(3)
    await process.commands.pause(BY)
    await stage.clock.advance(20)
    await stage.kill(process)
    return process


def live(stage: Stage) -> list[str]:
    """Return the titles of those messages that still say that their run is on."""
    notices = [message.notice for message in stage.channel.messages]
    return [n.title for n in notices if mark_of(n.title, n.footer) is Mark.LIVE]


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "lost"])
@pytest.mark.parametrize("first", [False, True], ids=["before", "after"])
async def test_a_restart_recovers_whatever_the_words(
    stage: Stage, reword: Callable[[], None], *, first: bool, lost: bool
) -> None:
    """A run cut off, a pause and a rejected list, told by a version that speaks otherwise."""
    if first:
        reword()
    await held_up(stage)
    open_before = live(stage)
    reword()
    if lost:
        stage.kept.lose()
    process = await stage.start(60)
    state = process.service.repository.state
    lists = process.service.repository.withheld

    assert [len(open_before), live(stage)] == [1, []]
    assert state.pause is not None
    if lost:
        assert state.breaker.state is BreakerState.OPEN
    else:
        assert lists[Subject.DEPARTURES].decision is Decision.REJECTED
        assert state.breaker.failures == 1


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "lost"])
async def test_a_breaker_that_was_opened_by_hand_holds_whatever_the_words(
    stage: Stage, reword: Callable[[], None], *, lost: bool
) -> None:
    """Only a person closes it."""
    stage.guild(10)
    first = await stage.start()
    await first.commands.open_breaker(BY, "a move of hosts")
    await stage.clock.advance(10)
    await stage.kill(first)
    reword()
    if lost:
        stage.kept.lose()
    second = await stage.start(3600)

    breaker = second.service.repository.state.breaker
    assert (breaker.state, breaker.opened_by is not None) == (BreakerState.OPEN, True)


def test_the_words_are_others(reword: Callable[[], None]) -> None:
    """Or the tests above would show nothing."""
    plain = alert.waiting_for("bot-2"), usage.overview(), alert.whose("here")
    reword()

    other = alert.waiting_for("bot-2"), usage.overview(), alert.whose("here")
    assert plain[0].title == "Sync waits for its turn"
    assert other[0].title == plain[0].title[::-1]
    assert plain[2] != other[2]
