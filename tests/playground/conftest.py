"""A whole playground, small, for the tests of one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from sandbox.playground.ground import Ground
from sandbox.playground.web import Site
from sandbox.playground.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

MEMBERS = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    """Run every server but the bot."""
    directory = tmp_path_factory.mktemp("playground")
    async with Ground(directory, members=MEMBERS, seed=1, plain=False) as ground:
        # Real Discord's five messages in five seconds would only make these tests longer.
        for kind in ("message create", "message edit"):
            await ground.control.rate_limit(kind, 50, 1)
        yield ground


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(ground: Ground) -> AsyncIterator[World]:
    """Watch it; the bot does not run yet."""
    world = World(ground)
    async with world.watched():
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(world: World) -> AsyncIterator[Site]:
    """Serve the page."""
    async with Site(world) as site:
        yield site
