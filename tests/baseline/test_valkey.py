"""What the version before left on a server is read from a server."""

import json
from pathlib import Path

import pytest
from redis import Redis

from bot.exts.backend.sync._store import open_store
from sandbox.servers import Valkey
from tests.baseline.make_stores import VALKEY


@pytest.mark.slow
async def test_a_server_gives_back_what_it_was_left(tmp_path: Path) -> None:
    """Today's store reads every entry of every state, and counts its leases on from there."""
    hashes = json.loads(VALKEY.read_text())
    async with Valkey(tmp_path / "valkey") as server:
        with Redis.from_url(server.url, decode_responses=True) as client:
            for key, fields in hashes.items():
                client.hset(key, mapping=fields)
            for key, fields in hashes.items():
                entries = {
                    name[1:]: json.loads(text) for name, text in fields.items() if name[0] == "="
                }
                async with open_store(server.url, guild_id=int(key.rpartition(":")[2])) as store:
                    assert not store.is_new
                    assert await store.acquire()
                    assert await store.scan("") == entries
                    await store.put({"born": entries["born"], "new": 1})
                    assert await store.scan("") == {**entries, "new": 1}
                assert client.hget(key, "fence") == str(int(fields["fence"]) + 1)
