"""Whole worlds for tests: real servers, a guild of the test's own, and bots as processes.

PostgreSQL, the website and the local Discord are started once and serve all tests; what would tell
two tests apart (guild, rows, faults, bots and their state) is new for each. A test that stops or
kills one of the three needs a `World` of its own: `async with World(tmp_path) as world`.

The three are met on one event loop, so every test that asks for `world` runs on the session's.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox.replay.world import World


@pytest.hookimpl(tryfirst=True)  # before pytest-asyncio chooses a loop
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of a world on the loop on which its servers were met."""
    for item in items:
        # The hook is shown the whole session's tests, and others have a `world` too.
        is_here = Path(__file__).parent in item.path.parents
        if is_here and isinstance(item, pytest.Function) and "world" in item.fixturenames:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Start the three servers, once for all tests."""
    async with World(tmp_path_factory.mktemp("world"), durable=False) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def world(shared_world: World, tmp_path: Path) -> AsyncIterator[World]:
    """Give the shared servers with empty tables, no guild and no faults; stop the test's bots.

    >>> await world.make_guild(members=200)
    >>> await world.fill_site()
    >>> bot = world.bot()
    >>> await bot.start()
    >>> await bot.wait_for_event("sync.run.finished")
    """
    async with shared_world.renewed(tmp_path) as fresh:
        yield fresh
