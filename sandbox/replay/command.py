"""`python -m sandbox replay`: one scenario from nothing to its figures."""

import argparse
import asyncio
import functools
import json
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import aiohttp
import psycopg
from rich.console import Console

from sandbox.discord.client import ControlError
from sandbox.replay import departures, downtime, gateway, live
from sandbox.replay.incident import incident
from sandbox.replay.outcome import Outcome, summary
from sandbox.replay.restart_loop import RESTARTS, restart_loop
from sandbox.replay.screen import Screen, formatted
from sandbox.replay.streaming import streaming
from sandbox.replay.world import World
from sandbox.servers import ServerError


class Scenario(Protocol):
    """Something that happens to a world, and what came of it; it makes the guild itself."""

    def __call__(self, world: World, *, members: int, screen: Screen) -> Awaitable[Outcome]: ...


SCENARIOS: Final[dict[str, Scenario]] = {
    "incident": incident,
    "role-deleted-live": live.role_deleted_live,
    "burst": live.burst,
    "steady": live.steady,
    "partial-chunk": gateway.partial_chunk,
    "ready-mid-chunk": gateway.ready_mid_chunk,
    "ready-mid-run": gateway.ready_mid_run,
    "rate-limited-chunk": gateway.rate_limited_chunk,
    "guild-outage": gateway.guild_outage,
    "mass-departure": departures.mass_departure,
    "site-down-10-min": downtime.site_down_10_min,
    "restart-loop": restart_loop,
    "streaming": streaming,
}
_TIMEOUT_S: Final = 600.0
_RESTART_TIMEOUT_S: Final = 20.0
_MEMBERS_A_SECOND: Final = 1_000  # what a replay may take for a large guild, beyond that
_CANCELLED: Final = 130
_EXPECTED = (ServerError, ControlError, aiohttp.ClientError, psycopg.Error, OSError, LookupError)


def main(arguments: Sequence[str]) -> int:
    """Replay, show and judge; return 0 only if site and guild agree in every row."""
    options = _parser().parse_args(arguments)
    console = Console()
    if options.keep_logs is None:
        directory = Path(tempfile.mkdtemp(prefix="sandbox-replay-"))
    else:
        directory = options.keep_logs / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    try:
        outcome = asyncio.run(_replay(options, directory, console))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print(f"Stopped; every server has ended. Logs: {directory}", soft_wrap=True)
        return _CANCELLED
    except TimeoutError:
        return _failed(console, f"did not end within {_timeout_s(options):g} s", directory)
    except _EXPECTED as exc:
        return _failed(console, str(exc) or repr(exc), directory)
    if not console.is_terminal:  # on one, the messages stand above as they ended
        for text in outcome.figures.mod_log:
            console.print(f"\n{formatted(text).plain}\n", markup=False, highlight=False)
    console.print(summary(outcome))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(outcome.as_json(), indent=2, ensure_ascii=False) + "\n")
    if outcome.faults:
        return _failed(console, "\n  ".join(["did not converge:", *outcome.faults]), directory)
    if options.keep_logs is None:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        console.print(f"Logs: {directory}", soft_wrap=True)
    return 0


async def _replay(options: argparse.Namespace, directory: Path, console: Console) -> Outcome:
    replay = asyncio.current_task()
    assert replay is not None  # noqa: S101  asyncio.run made it
    loop = asyncio.get_running_loop()
    # SIGINT as well: whoever starts this in the background may have let it be ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, replay.cancel)
    async with asyncio.timeout(_timeout_s(options)):
        with Screen(console) as screen:
            screen.say("starting PostgreSQL, the local Discord and the website")
            async with World(directory, seed=options.seed, digests=options.digests) as world:
                outcome = await _scenario(options)(world, members=options.members, screen=screen)
    return outcome


def _timeout_s(options: argparse.Namespace) -> float:
    restarts = options.restarts if options.scenario == "restart-loop" else 0
    filling_s: float = options.members / _MEMBERS_A_SECOND
    return _TIMEOUT_S + filling_s + restarts * _RESTART_TIMEOUT_S


def _scenario(options: argparse.Namespace) -> Scenario:
    if options.scenario == "steady":
        return functools.partial(live.steady, events_per_s=options.events_per_s)
    if options.scenario == "restart-loop":
        return functools.partial(restart_loop, restarts=options.restarts)
    if options.scenario == "streaming":
        return functools.partial(streaming, events=options.events)
    return SCENARIOS[options.scenario]


def _failed(console: Console, why: str, directory: Path) -> int:
    console.print(f"Replay failed: {why}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"Logs: {directory}", markup=False, highlight=False, soft_wrap=True)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox replay",
        description="Replay a scenario on PostgreSQL, the website, a local Discord and the bot.",
    )
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="incident")
    parser.add_argument(
        "--members",
        type=_at_least_one,
        default=80_000,
        metavar="N",
        help="beside the bot; %(default)s",
    )
    parser.add_argument(
        "--events-per-s", type=_at_least_one, default=50, metavar="N", help="of steady; %(default)s"
    )
    parser.add_argument(
        "--restarts",
        type=_at_least_one,
        default=RESTARTS,
        metavar="N",
        help="of the bot, in restart-loop; %(default)s",
    )
    parser.add_argument(
        "--events", type=_at_least_one, default=1_000, metavar="N", help="of streaming; %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides the members' names and roles")
    parser.add_argument(
        "--no-digests",
        dest="digests",
        action="store_false",
        help="on a site that does not offer them, so that rows are read",
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the figures are written")
    parser.add_argument(
        "--keep-logs", type=Path, metavar="DIR", help="keep each server's log below this directory"
    )
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one is needed")
    return number
