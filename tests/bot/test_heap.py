"""What lives long is not walked by the garbage collector, and what died is still freed."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from bot.heap import HeapKeeper


class Node:
    """One end of a cycle, as a guild and its members are."""

    def __init__(self) -> None:
        self.other = self


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    """Leave the test process's heap as it was."""
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_a_burst_of_chunks_is_frozen_and_a_lone_one_is_not() -> None:
    """Each chunk of a whole member list is frozen from the second on; a single answer is not."""
    keeper = HeapKeeper()
    frozen: list[bool] = []

    for at_s in (0.0, 60.0, 60.1, 120.0):
        gc.unfreeze()
        keeper.on_gateway_event("GUILD_MEMBERS_CHUNK", at_s)
        frozen.append(gc.get_freeze_count() > 0)

    assert frozen == [False, False, True, False]


def test_a_dropped_cache_is_freed_at_the_next_session() -> None:
    """A frozen cycle that died is kept until the next READY, and freed by it; the first is free."""
    keeper = HeapKeeper()
    node = Node()
    gone = weakref.ref(node)
    keeper.on_gateway_event("READY", 0.0)
    keeper.on_gateway_event("GUILD_CREATE", 0.0)
    del node
    gc.collect()

    kept = gone() is not None
    keeper.on_gateway_event("READY", 100.0)

    assert (kept, gone() is None) == (True, True)


def test_garbage_is_collected_before_it_is_frozen() -> None:
    """Young cyclic garbage never becomes permanent by freezing."""
    node = Node()
    gone = weakref.ref(node)
    del node

    HeapKeeper().freeze()

    assert gone() is None
