"""The store on a server, without one: what it makes of a server's answers, silences and ends."""

import asyncio

import pytest

from bot.exts.backend.sync._errors import LeaseLostError, StoreError, StoreUnreachableError
from bot.exts.backend.sync._store import open_store
from tests.fakes.local_valkey import LocalValkey

HASH = "guild-sync:1"


async def test_a_store_that_may_lose_what_is_kept_says_so() -> None:
    """A line for each setting; one that keeps its settings to itself is not believed."""
    durable = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    found = {}
    for name, config in (
        ("durable", durable),
        ("weak", {**durable, "appendonly": "no", "maxmemory-policy": "allkeys-lru"}),
        ("silent", None),
    ):
        async with (
            LocalValkey(config=config) as server,
            open_store(server.url, guild_id=1) as store,
        ):
            found[name] = store.warnings

    assert found["durable"] == ()
    assert ["appendonly no" in found["weak"][0], "allkeys-lru" in found["weak"][1]] == [True, True]
    assert "CONFIG GET is refused" in found["silent"][0]


async def test_a_newer_format_is_left_alone() -> None:
    """Whether it was there before, or came while this process was at work."""
    async with LocalValkey() as server:
        store = open_store(server.url, guild_id=1)
        await store.open()
        assert await store.acquire()
        server.hashes[HASH]["format"] = "2"
        for call in (store.put({"a": 1}), store.acquire()):
            with pytest.raises(StoreError, match="format 2, newer than 1"):
                await call
        await store.close()
        with pytest.raises(StoreError, match="format 2, newer than 1"):
            await open_store(server.url, guild_id=1).open()


async def test_a_lease_that_ran_out_is_not_prolonged() -> None:
    """It can be had again, by whoever comes first; the one before is told at its next write."""
    async with (
        LocalValkey() as server,
        open_store(server.url, guild_id=1, lease_s=0.05) as first,
        open_store(server.url, guild_id=1) as second,
    ):
        assert await first.acquire()
        await asyncio.sleep(0.06)  # how long the lease is
        assert (await first.renew(), first.lease_left_s()) == (False, 0.0)
        assert await second.acquire()
        assert not await first.acquire()
        with pytest.raises(LeaseLostError):
            await first.put({"a": 1})
        assert first.holder() is not None


async def test_a_write_that_arrives_late_undoes_nothing() -> None:
    """Writes are numbered: the server refuses one that is older than what it has done."""
    async with LocalValkey() as server, open_store(server.url, guild_id=1) as store:
        assert await store.acquire()
        await store.put({"a": 1})
        server.hashes[HASH]["write"] = "9"
        with pytest.raises(LeaseLostError):
            await store.put({"a": 2})
        assert await store.get("a") == 1


async def test_a_server_that_forgot_everything_refuses_its_holder() -> None:
    """What it is asked to keep would be of a state that is gone."""
    async with LocalValkey() as server, open_store(server.url, guild_id=1) as store:
        assert await store.acquire()
        server.hashes.clear()
        server.leases.clear()
        with pytest.raises(LeaseLostError):
            await store.put({"a": 1})
        assert server.hashes.get(HASH, {}).get("=a") is None


@pytest.mark.parametrize("trouble", ["refuses", "gone"])
async def test_a_server_that_does_not_do_its_work_is_unreachable(trouble: str) -> None:
    """Each call says so, and where; closing does not."""
    async with LocalValkey() as server:
        store = open_store(server.url, guild_id=1)
        await store.open()
        assert await store.acquire()
        if trouble == "refuses":
            server.refuses = "LOADING the dataset is being loaded"
        else:
            await server.stop()
        for call in (
            store.get("a"),
            store.scan(""),
            store.put({"a": 1}),
            store.acquire(),
            store.renew(),
            store.release(),
        ):
            with pytest.raises(StoreUnreachableError, match=r"redis://127\.0\.0\.1"):
                await call
        await store.close()


async def test_a_server_that_cannot_be_opened_is_unreachable() -> None:
    """While it says nothing of its settings for another reason than that it may not."""
    async with LocalValkey() as server:
        server.refuses = "LOADING the dataset is being loaded"
        with pytest.raises(StoreUnreachableError):
            await open_store(server.url, guild_id=1).open()


async def test_a_restart_between_two_calls_goes_unnoticed() -> None:
    """A connection that the server no longer knows is made anew, once."""
    async with LocalValkey() as server, open_store(server.url, guild_id=1) as store:
        await store.put({"a": 1}, fenced=False)
        for writer in [*server._writers]:
            writer.close()
        await asyncio.sleep(0)

        assert await store.get("a") == 1
