"""Every scenario of a living guild, in short: 5,000 members, and waits of a tenth.

They spend most of their time waiting, for discord.py above all, so they are played side by side on
a few worlds of their own.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from rich.console import Console

from sandbox.replay.command import SCENARIOS
from sandbox.replay.live import over_bounds
from sandbox.replay.outcome import Outcome
from sandbox.replay.screen import Screen
from sandbox.replay.world import World

MEMBERS: Final = 5_000
# What takes longest comes first, and no lane takes much longer than another.
LANES: Final[Sequence[Sequence[str]]] = (
    ("ready-mid-run", "burst"),
    ("site-down-10-min", "mass-departure"),
    ("rate-limited-chunk", "partial-chunk"),
    ("ready-mid-chunk", "guild-outage", "role-deleted-live"),
)
ELSEWHERE: Final = {"incident", "restart-loop", "steady", "streaming"}
NAMES: Final = tuple(name for lane in LANES for name in lane)
FURTHER: Final = [
    "events",
    "event_to_site_p50_s",
    "event_to_site_p99_s",
    "departures_written_wrongly",
    "roles_deleted_wrongly",
]
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def play(names: Sequence[str], directory: Path) -> dict[str, Outcome | Exception]:
    """Play scenarios one after the other in one world; one that breaks does not stop the rest."""
    outcomes: dict[str, Outcome | Exception] = {}
    async with World(directory, durable=False) as world:
        for name in names:
            screen = Screen(Console(file=io.StringIO()))
            async with world.renewed(directory / name) as fresh:
                try:
                    outcomes[name] = await SCENARIOS[name](fresh, members=MEMBERS, screen=screen)
                except Exception as exc:  # noqa: BLE001  its own test tells of it
                    outcomes[name] = exc
    return outcomes


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Mapping[str, Outcome | Exception]]:
    """Play all scenarios, once for all tests."""
    lanes = [play(names, tmp_path_factory.mktemp("lane")) for names in LANES]
    played = await asyncio.gather(*lanes)
    yield {name: outcome for lane in played for name, outcome in lane.items()}


@pytest.mark.parametrize("name", NAMES)
async def test_it_ends_converged(outcomes: Mapping[str, Outcome | Exception], name: str) -> None:
    """Every row agrees, and nothing was written against the guild on the way there."""
    outcome = outcomes[name]
    if isinstance(outcome, Exception):
        raise outcome

    assert outcome.faults == []
    told = outcome.as_json()
    assert [told["members"], told["converged"]] == [MEMBERS, True]
    assert list(outcome.further)[: len(FURTHER)] == FURTHER
    assert [told["departures_written_wrongly"], told["roles_deleted_wrongly"]] == [0, 0]


async def test_all_scenarios_of_a_living_guild_are_played() -> None:
    """What `--scenario` offers is here, but for what has tests of its own."""
    assert {*NAMES} == SCENARIOS.keys() - ELSEWHERE


@pytest.mark.parametrize(
    ("events_per_s", "p99_s", "writes", "faults"),
    [
        (50, 0.49, 8, 0),
        (50, 0.5, 8, 1),
        (50, 0.49, 9, 1),
        (500, 2.99, 2, 0),
        (500, 3.0, 3, 2),
        (200, 2.99, 3, 1),
        (501, 60.0, 60, 0),
    ],
)
async def test_a_load_has_bounds(events_per_s: int, p99_s: float, writes: int, faults: int) -> None:
    """Those of the next load for which there are any; a heavier one is only measured."""
    assert len(over_bounds(events_per_s, p99_s=p99_s, writes_in_a_second=writes)) == faults
