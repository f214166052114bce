"""A site for all these tests, emptied for each, and a Discord that lives for one.

The bot lives in the test's own process, which spares its start, and meets the site through a proxy
on which things go wrong. The tests of the process itself stand in `test_process.py`.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox.servers import Website
from tests.e2e.trouble.harness import Stage, staged
from tests.fakes.local_site import LocalSite


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests that are marked so with a bot that caches members, and with one without.

    Where the mark says `fast`, the fast tests have that one of them alone.
    """
    marker = metafunc.definition.get_closest_marker("cached_or_not")
    if marker is not None:
        fast = marker.kwargs.get("fast")
        modes = [
            pytest.param(mode, id=id_, marks=() if fast in {None, mode} else pytest.mark.slow)
            for mode, id_ in (("on", "cached"), ("off", "uncached"))
        ]
        metafunc.parametrize("member_cache", modes, indirect=True)


@pytest.fixture
def member_cache(request: pytest.FixtureRequest) -> str:
    """Say whether the bot caches members, as its setting has it."""
    return str(getattr(request, "param", "on"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def website(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Website | LocalSite]:
    """Run the website as its own process, on SQLite; the fast tests have one in a thread."""
    directory = tmp_path_factory.mktemp("website")
    if "FAST_TESTS" in os.environ:
        with LocalSite(directory) as local:
            yield local
        return
    url = f"sqlite:///{directory}/website.sqlite3"
    async with Website(directory, database_url=url) as site:
        yield site


@pytest.fixture
async def stage(
    website: Website | LocalSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member_cache: str
) -> AsyncIterator[Stage]:
    """Set the stage: an empty Discord, an empty site, and the way to it."""
    monkeypatch.setenv("SYNC_MEMBER_CACHE", member_cache)
    monkeypatch.chdir(tmp_path)  # where the bot finds no .env, and keeps its state
    async with staged(website, monkeypatch) as stage:
        # Tests give commands faster than people do, and would wait for Discord's five messages in
        # five seconds; that the bot bears them is for the tests of mod-log and of the sandbox.
        for kind in ("message create", "message edit"):
            await stage.control.rate_limit(kind, 1000, 1.0)
        yield stage
