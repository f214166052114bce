"""What every store promises: the one in memory as well as the two that processes share."""

import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.exts.backend.sync._clock import SystemClock
from bot.exts.backend.sync._errors import LeaseLostError
from bot.exts.backend.sync._ports import Store
from bot.exts.backend.sync._store import open_store
from sandbox.servers import Valkey
from tests.fakes.local_valkey import LocalValkey
from tests.fakes.store import FakeStore, Kept

Open = Callable[[], Store]


@pytest.fixture(
    params=["lock", "lease", "sqlite", "local", pytest.param("valkey", marks=pytest.mark.slow)]
)
async def another(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Return what makes stores on one place, each as another process would."""
    if request.param == "valkey":
        async with Valkey(tmp_path / "valkey") as server:
            yield lambda: open_store(server.url, guild_id=1)
        return
    if request.param == "local":
        async with LocalValkey() as local:
            yield lambda: open_store(local.url, guild_id=1)
        return
    if request.param == "sqlite":
        yield lambda: open_store(f"sqlite:///{tmp_path}/sync.db", guild_id=1)
        return
    kept = Kept(lease_s=None if request.param == "lock" else 90.0)
    names = iter("abcdefgh")
    yield lambda: FakeStore(kept, clock=SystemClock(), name=next(names))


async def test_what_was_put_is_there_for_the_next(another: Open) -> None:
    """Whole, under its keys, in their order; None deletes; a new place knows that it is one."""
    async with another() as store:
        assert store.is_new
        assert await store.acquire()
        await store.put({"b/2": [1, None, "ä"], "a": {"x": True}, "b/1": 0.5})
        await store.put({"a": None, "c": "kept"})
    async with another() as store:
        assert not store.is_new
        assert (await store.get("a"), await store.get("c")) == (None, "kept")
        assert list((await store.scan("b/")).items()) == [("b/1", 0.5), ("b/2", [1, None, "ä"])]


async def test_a_put_is_whole_or_not_at_all(another: Open) -> None:
    """One value that is no JSON keeps all the others out."""
    async with another() as store:
        assert await store.acquire()
        with pytest.raises(ValueError, match="JSON"):
            await store.put({"good": 1, "bad": math.nan})
        assert await store.scan("") == {}


async def test_only_one_holds_the_lease(another: Open) -> None:
    """The other is told who does, and may write nothing; it gets it once it is released."""
    async with another() as first, another() as second:
        assert await first.acquire()
        assert await first.acquire()
        assert not await second.acquire()
        assert second.holder()
        assert (first.lease_left_s() > 60, second.lease_left_s()) == (True, 0)
        with pytest.raises(LeaseLostError):
            await second.put({"mine": 1})
        await first.release()
        assert await second.acquire()
        assert (await first.renew(), await second.renew()) == (False, True)
        with pytest.raises(LeaseLostError):
            await first.put({"mine": 1})
        await second.put({"mine": 2})
        assert await first.get("mine") == 2


async def test_what_is_not_fenced_needs_no_lease(another: Open) -> None:
    """For what any process may say."""
    async with another() as store:
        await store.put({"said": 1}, fenced=False)

        assert await store.get("said") == 1


async def test_a_closed_store_gives_its_lease_up(another: Open) -> None:
    """It may be closed twice."""
    first = another()
    await first.open()
    assert await first.acquire()
    await first.close()
    await first.close()
    async with another() as second:
        assert await second.acquire()
