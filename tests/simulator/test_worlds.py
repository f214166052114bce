"""Worlds of all kinds come to their end without a broken rule."""

import gc
import random
from collections.abc import Iterator

import pytest

from tests.simulator.__main__ import quiet
from tests.simulator.story import tell
from tests.simulator.world import World

pytestmark = pytest.mark.unmeasured


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Let no world log or meet the garbage of another, and leave the other tests as they are."""
    with quiet():
        yield


def play(seeds: range) -> dict[int, str]:
    """Play worlds; return what was broken in which."""
    broken = {}
    for seed in seeds:
        found = World(tell(seed)).play()
        if found is not None:
            broken[seed] = str(found)
        if seed % 20 == 0:
            gc.collect()
    return broken


def test_a_few_worlds() -> None:
    """The first ones, so that whatever breaks most of them is seen within seconds."""
    assert play(range(20)) == {}


@pytest.mark.slow
def test_a_minute_of_worlds() -> None:
    """Some that nobody has looked at, and the same ones at each run."""
    first = random.Random("worlds").randrange(10**9)

    assert play(range(first, first + 700)) == {}


def test_a_world_can_be_told_again() -> None:
    """The same story takes the same course, step by step."""
    one, other = World(tell(7)), World(tell(7))

    assert (one.play(), one.log) == (other.play(), other.log)
    assert one.loop.steps == other.loop.steps
