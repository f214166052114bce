"""What is measured by scenarios that there are: changes that come steadily, and a restart loop."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rich.console import Console

from sandbox.bench import asked
from sandbox.bench.asked import Asked
from sandbox.bench.record import Record, Tally
from sandbox.bench.results import Key
from sandbox.bench.sides import Taken
from sandbox.bench.website import SITE
from sandbox.replay import live
from sandbox.replay.outcome import Outcome
from sandbox.replay.restart_loop import restart_loop
from sandbox.replay.screen import Screen
from sandbox.replay.world import World
from sandbox.servers import ServerError

CASES: Final = ("live", "probe")
_EVENTS_PER_S: Final = 50
# Enough for three attempts that open the breaker, and for probes that fail.
_RESTARTS: Final = 6


async def measure(
    name: str, directory: Path, record: Record, *, members: int, is_quick: bool
) -> None:
    """Play the scenario in a world of its own, and keep what it measures."""
    record.say(f"our website, {members:,} members: {name}")
    async with World(directory, durable=False) as world:
        with Screen(Console(quiet=True)) as screen:
            match name:
                case "live":
                    taken = await _live(world, screen, members, for_s=10.0 if is_quick else 30.0)
                case "probe":
                    taken = await _probe(world, screen, members)
                case _:
                    raise LookupError(f"there is no case {name}")
    tally = Tally()
    tally.add(taken)
    record.keep(Key(SITE, name, members, "ours"), tally, changes=members)


async def _live(world: World, screen: Screen, members: int, *, for_s: float) -> Taken:
    """Let 50 things happen a second: of ten, one joins, one leaves, the others change."""
    outcome = await live.steady(
        world, members=members, screen=screen, events_per_s=_EVENTS_PER_S, for_s=for_s
    )
    times = {
        "event_p50_s": outcome.further["event_to_site_p50_s"],
        "event_p99_s": outcome.further["event_to_site_p99_s"],
    }
    figures = {name: value for name, value in times.items() if value is not None}
    return Taken(figures={**figures, **_common(outcome)}, said=_said(outcome))


async def _probe(world: World, screen: Screen, members: int) -> Taken:
    """Let the site die of every write and the bot be restarted; measure the probe after that.

    It writes all that the role's removal has made different, at sizes that crashes have taught.
    """
    outcome = await restart_loop(world, members=members, screen=screen, restarts=_RESTARTS)
    requests = last_run(asked.asked(world.website.events(), prefix=""))
    phases = asked.phases(requests, ended=requests[-1].ended)
    figures = {
        "wall_s": phases.wall_s,
        "reading_s": phases.reading_s,
        "writing_s": phases.writing_s,
        "verifying_s": phases.verifying_s,
        "requests": len(requests),
        "largest_s": max(one.own_s for one in requests),
        "rows_per_s": sum(one.rows for one in requests if one.writes_users) / phases.writing_s,
    }
    return Taken(figures={**figures, **_common(outcome)}, said=_said(outcome))


def last_run(requests: Iterable[Asked]) -> list[Asked]:
    """Return the requests of the last run that wrote users; raise ServerError if none did."""
    by_run = itertools.groupby(
        sorted(requests, key=lambda one: (one.run_id, one.began)), key=lambda one: one.run_id
    )
    runs = [list(found) for _, found in by_run]
    wrote = [run for run in runs if any(one.writes_users for one in run)]
    if not wrote:
        raise ServerError("no run has written users")
    return max(wrote, key=lambda run: run[-1].ended)


def _common(outcome: Outcome) -> dict[str, float]:
    figures = outcome.figures
    return {
        "bot_mb": figures.bot_rss_peak_mb,
        "site_idle_mb": figures.site_rss_idle_mb,
        "site_mb": figures.site_rss_peak_mb,
    }


def _said(outcome: Outcome) -> str:
    return "; ".join(outcome.faults[:3]) or "every row is right"
