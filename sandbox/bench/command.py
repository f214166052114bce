"""`python -m sandbox bench`: our way beside the old one, in one run, and what was promised of it.

Each case is measured on a site that has just been put out of step in the same way, the old syncer
first and the bot then. Times run from a run's first request to its last answer: what either waits
for Discord is left out. On a plain site both meet the stand-in, where a request costs what it does
on the real one (`plain_site.costs`); on our website the old way is that of pages by number and
chunks of 1,000.
"""

import argparse
import asyncio
import json
import random
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console

from sandbox.old_syncer import OldSyncer
from sandbox.replay.checks import RoleRow, SiteRequest, UserRow
from sandbox.replay.first_run import follow
from sandbox.replay.screen import Screen
from sandbox.replay.world import World
from sandbox.servers import ServerError

RESULTS: Final = Path("bench/results")
_CANCELLED: Final = 130
_OTHERS_S: Final = 0.025  # what one request of others costs the stand-in
_BUSY: Final = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A promise: a figure, its goal, and whether it was kept; `is_least` if more is better."""

    name: str
    figure: float
    goal: float
    is_least: bool = False

    @property
    def is_met(self) -> bool:
        return self.figure >= self.goal if self.is_least else self.figure <= self.goal

    def __str__(self) -> str:
        sign = "≥" if self.is_least else "≤"
        met = "met" if self.is_met else "missed"
        return f"target: {self.name}: {self.figure:.3g} (goal {sign} {self.goal:g}): {met}"


@dataclass(slots=True, kw_only=True)
class Measured:
    """What one sync took; `verified` is what its summary rests on, of the old way nothing.

    `others_p99_s` is of whoever else asked the site meanwhile, `rows_per_s` of the writing alone.
    """

    site: str
    case: str
    way: str
    members: int
    changes: int
    wall_s: float
    requests: int
    largest_request_s: float
    rows_per_s: float = 0.0
    others_p99_s: float = 0.0
    differences: int = 0
    verified: str = ""


@dataclass(slots=True)
class Bench:
    """All that was measured, and the world in which it was."""

    console: Console
    measured: list[Measured] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def note(self, measured: Measured) -> Measured:
        """Keep and print a measurement."""
        self.measured.append(measured)
        self.console.print(
            f"{measured.site:<11} {measured.case:<22} {measured.way:<5} {measured.wall_s:7.2f} s "
            f"{measured.requests:5} requests, longest {measured.largest_request_s:.2f} s, "
            f"{measured.rows_per_s:7,.0f} rows/s, others' p99 {measured.others_p99_s:.2f} s  "
            f"{measured.verified}",
            highlight=False,
            soft_wrap=True,
        )
        if measured.differences:
            raise ServerError(f"{measured.way}: {measured.differences:,} rows differ")
        return measured


class Stage:
    """A world whose site can be put out of step again and again."""

    def __init__(self, world: World, bench: Bench, *, site: str, members: int) -> None:
        self._world = world
        self._bench = bench
        self._site = site
        self._members = members
        self._bots = 0
        self._roles: list[RoleRow] = []
        self._users: list[UserRow] = []

    async def set(self) -> None:
        """Fill the guild."""
        await self._world.make_guild(members=self._members)
        self._roles = await self._world.expected_roles()
        self._users = await self._world.expected_users()

    async def spoil(self, changes: int) -> None:
        """Give so many rows of the site another name, anywhere, and the rest as they should be."""
        wrong = set(random.Random(1).sample(range(len(self._users)), changes))
        users = [
            replace(user, name="before") if place in wrong else user
            for place, user in enumerate(self._users)
        ]
        await self._world.tables.replace(roles=self._roles, users=users)
        await self._world.warm_site()

    async def both(
        self, case: str, changes: int, *, busy: float = 0.0
    ) -> tuple[Measured, Measured]:
        """Measure the old way and ours on the same differences."""
        return (
            await self._measure(case, changes, "old", self._old, busy=busy),
            await self.ours(case, changes, busy=busy),
        )

    async def ours(self, case: str, changes: int, *, busy: float = 0.0) -> Measured:
        """Measure our way alone."""
        return await self._measure(case, changes, "ours", self._ours, busy=busy)

    async def _measure(
        self,
        case: str,
        changes: int,
        way: str,
        sync: Callable[[], Awaitable[str]],
        *,
        busy: float,
    ) -> Measured:
        await self.spoil(changes)
        before = len(self._world.site_requests())
        async with _others(self._world, self._users[0].id, busy=busy) as waits:
            verified = await sync()
        requests = self._world.site_requests()[before:]
        others = f"/api/bot/users/{self._users[0].id}"
        own = [one for one in requests if busy == 0 or one.path != others]
        writes = [one for one in own if one.method == "PATCH"]
        return self._bench.note(
            Measured(
                site=self._site,
                case=case,
                way=way,
                members=len(self._users),
                changes=changes,
                wall_s=_span_s(own),
                requests=len(own),
                largest_request_s=max(one.duration.total_seconds() for one in own),
                rows_per_s=changes / _span_s(writes) if writes else 0.0,
                others_p99_s=sorted(waits)[int(len(waits) * 0.99)] if waits else 0.0,
                differences=len(await self._world.differences()),
                verified=verified,
            )
        )

    async def _old(self) -> str:
        world = self._world
        syncer = OldSyncer(api_url=world.website.api_url, token=world.website.token)
        await syncer.sync(roles=self._roles, members=self._users)
        return ""

    async def _ours(self) -> str:
        self._bots += 1
        bot = self._world.bot(f"bot{self._bots}")
        await bot.start()
        with Screen(Console(quiet=True)) as screen:
            ended = await follow(self._world, bot, screen)
        await bot.stop()
        if ended.line["ending"] != "verified":
            raise ServerError(f"the run ended {ended.line['ending']}")
        return str(ended.line.get("verification") or "nothing was written")


def _span_s(requests: Sequence[SiteRequest]) -> float:
    began = min(one.started_at for one in requests)
    return (max(one.started_at + one.duration for one in requests) - began).total_seconds()


@asynccontextmanager
async def _others(world: World, id_: int, *, busy: float) -> AsyncIterator[list[float]]:
    """Let others ask for one user by chance, so that they take that part of a plain site's time."""
    waits: list[float] = []
    if not busy:
        yield waits
        return
    chance, asked = random.Random(1), set[asyncio.Task[None]]()
    headers = {"Authorization": f"Token {world.website.token}"}

    async def ask(session: aiohttp.ClientSession) -> None:
        began = time.monotonic()
        async with session.get(f"bot/users/{id_}") as answer:
            await answer.read()
        waits.append(time.monotonic() - began)

    async def come(session: aiohttp.ClientSession) -> None:
        while True:
            await asyncio.sleep(chance.expovariate(busy / _OTHERS_S))
            task = asyncio.create_task(ask(session))
            asked.add(task)
            task.add_done_callback(asked.discard)

    async with aiohttp.ClientSession(
        base_url=world.website.api_url,
        headers=headers,
        connector=aiohttp.TCPConnector(limit=0),
    ) as session:
        coming = asyncio.create_task(come(session))
        try:
            yield waits
        finally:
            coming.cancel()
            await asyncio.gather(coming, *asked, return_exceptions=True)


async def _plain(bench: Bench, directory: Path, *, members: int, quick: bool) -> None:
    async with World(directory, durable=False, plain=True) as world:
        stage = Stage(world, bench, site="plain site", members=members)
        await stage.set()
        few = members // 20
        old, ours = await stage.both("nothing changed", 0)
        bench.targets.append(_ratio("plain site, nothing changed, to old", ours, old, 1.1))
        old, ours = await stage.both(f"{few:,} changed", few)
        bench.targets.append(_ratio(f"plain site, {few:,} changed, to old", ours, old, 1.1))
        longest = ours.largest_request_s
        busy_old, busy = await stage.both(f"{few:,} changed, 60 % busy", few, busy=_BUSY)
        bench.targets += [
            Target(
                name="plain site, 60 % busy, rows/s to idle",
                figure=busy.rows_per_s / ours.rows_per_s,
                goal=0.32,
                is_least=True,
            ),
            Target(
                name="plain site, 60 % busy, others' p99 to old",
                figure=busy.others_p99_s / busy_old.others_p99_s,
                goal=0.4,
            ),
        ]
        if not quick:
            old, ours = await stage.both("all changed", members)
            bench.targets.append(_ratio("plain site, all changed, to old", ours, old, 1.1))
            longest = max(longest, ours.largest_request_s)
        bench.targets.append(
            Target(name="plain site, longest request, s", figure=longest, goal=1.0)
        )


async def _website(bench: Bench, directory: Path, *, members: int) -> None:
    async with World(directory, durable=False) as world:
        stage = Stage(world, bench, site="our website", members=members)
        await stage.set()
        nothing = [await stage.ours("nothing changed", 0) for _ in range(3)]
        _, ours = await stage.both("all changed", members)
        bench.targets += [
            Target(
                name=f"our website, nothing changed at {members:,}, s",
                figure=statistics.median(one.wall_s for one in nothing),
                goal=0.5,
            ),
            Target(
                name=f"our website, nothing changed at {members:,}, requests",
                figure=statistics.median(one.requests for one in nothing),
                goal=5,
            ),
            Target(name="our website, longest request, s", figure=ours.largest_request_s, goal=1.0),
        ]


def _ratio(name: str, ours: Measured, old: Measured, goal: float) -> Target:
    return Target(name=name, figure=ours.wall_s / old.wall_s, goal=goal)


def bench(arguments: Sequence[str]) -> int:
    """Measure, print and keep; with `--strict` return 1 if a target was missed."""
    options = _parser().parse_args(arguments)
    console = Console()
    made = Bench(console)
    directory = Path(tempfile.mkdtemp(prefix="sandbox-bench-"))
    try:
        asyncio.run(_bench(made, directory, options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _CANCELLED
    except ServerError as exc:
        console.print(f"Bench failed: {exc}", markup=False, soft_wrap=True)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    for target in made.targets:
        console.print(str(target), highlight=False, soft_wrap=True)
    _keep(made, quick=options.quick)
    missed = any(not target.is_met for target in made.targets)
    return 1 if options.strict and missed else 0


async def _bench(made: Bench, directory: Path, options: argparse.Namespace) -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  asyncio.run made it
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    members = 8_000 if options.quick else 80_000
    await _website(made, directory / "website", members=members)
    await _plain(made, directory / "plain", members=members, quick=options.quick)


def _keep(made: Bench, *, quick: bool) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "measured": [asdict(one) for one in made.measured],
        "targets": [{**asdict(one), "met": one.is_met} for one in made.targets],
    }
    name = "quick.json" if quick else "full.json"
    (RESULTS / name).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox bench",
        description="Measure our way of syncing beside the old one, on two kinds of site.",
    )
    parser.add_argument("--quick", action="store_true", help="8,000 members, not 80,000")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a target is missed")
    return parser
