"""`python -m sandbox bench`: measure what is chosen, keep it, judge it, and write it down."""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import psycopg
from rich.console import Console

from sandbox.bench import page, plan, profile, scenes
from sandbox.bench.before import taken_out
from sandbox.bench.plain import PlainStage
from sandbox.bench.plan import Part
from sandbox.bench.record import Record
from sandbox.bench.results import DIRECTORY, Origin, Results
from sandbox.bench.targets import failures, targets
from sandbox.bench.website import SITE, Stage
from sandbox.discord.client import ControlError
from sandbox.servers import ServerError

_CANCELLED: Final = 130
_BROKEN: Final = (ServerError, ControlError, httpx.HTTPError, psycopg.Error, OSError)


def bench(
    arguments: Sequence[str], *, kept_in: Path = DIRECTORY, page_path: Path = page.PAGE
) -> int:
    """Measure, print and keep; with `--strict` return 1 if a target was missed.

    A part that breaks is named, the others are measured all the same, and 1 is returned.
    """
    options = _parser().parse_args(arguments)
    found = plan.chosen(plan.parts(quick=options.quick, members=options.members), options.only)
    if options.profile:
        found = [part for part in found if profile.can(part)]
    if not found:
        print(f"there is nothing like {', '.join(options.only)}: --list names all", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(f"{part.name:<32} {part.repetitions}" for part in found))
        return 0
    path = kept_in / ("quick.json" if options.quick else "full.json")
    if options.page:
        return 0 if _is_written(page_path, Results.load(path)) else 1
    return _run(options, found, path=path, page_path=page_path)


def _run(options: argparse.Namespace, found: Sequence[Part], *, path: Path, page_path: Path) -> int:
    is_trial = options.members is not None
    record = Record(
        console=Console(),
        results=Results() if is_trial else Results.load(path),
        origin=Origin.here(),
        path=None if is_trial else path,
    )
    directory = Path(tempfile.mkdtemp(prefix="sandbox-bench-"))
    try:
        broken = asyncio.run(_measure(record, found, directory, options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _CANCELLED
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if options.profile:
        return 1 if broken else 0
    judged = targets(record.results, main=_main(options))
    for target in judged:
        record.console.print(str(target), highlight=False, markup=False, soft_wrap=True)
    is_written = options.quick or is_trial or _is_written(page_path, record.results)
    missed = failures(judged, whole=not (options.quick or options.only or is_trial))
    return 1 if broken or not is_written or (options.strict and missed) else 0


def _is_written(path: Path, results: Results) -> bool:
    """Write what is measured into the page; tell, and return False, if it has no place for it."""
    try:
        page.rewrite(path, results)
    except (page.PageError, OSError) as exc:
        print(exc, file=sys.stderr)
        return False
    return True


def _main(options: argparse.Namespace) -> int:
    """Return the size that stands for the 80,000 of the targets."""
    if options.members is not None:
        return int(options.members)
    return plan.QUICK if options.quick else plan.MAIN


async def _measure(
    record: Record, found: Sequence[Part], directory: Path, options: argparse.Namespace
) -> int:
    """Measure all of them; return how many broke."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  asyncio.run made it
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(each, task.cancel)
    broken = 0
    for number, together in enumerate(plan.by_stage(found)):
        try:
            async with _stage(record, together[0], directory, number, options) as measured:
                for part in together:
                    broken += not await _is_measured(record, part, measured)
        except _BROKEN as exc:
            record.say(f"  the servers of {together[0].name} broke: {exc!r}")
            broken += 1
    return broken


Measure = Callable[[Part], Awaitable[None]]


async def _is_measured(record: Record, part: Part, measure: Measure) -> bool:
    record.say(f"  {part.name}")
    try:
        await measure(part)
    except _BROKEN as exc:
        record.say(f"  {part.name} broke: {exc!r}")
        return False
    return True


@asynccontextmanager
async def _stage(
    record: Record, part: Part, directory: Path, number: int, options: argparse.Namespace
) -> AsyncIterator[Measure]:
    """Lend what measures the parts of a stage; its servers end with it."""
    own, files = directory / str(number), directory / "before"
    if options.profile:
        yield lambda one: profile.measure(one, own, record, files=taken_out(files))
    elif part.case in scenes.CASES:
        yield lambda one: scenes.measure(
            one.case, own, record, members=one.members, is_quick=options.quick
        )
    elif part.site == SITE:
        async with Stage(
            own, record, members=part.members, files=taken_out(files), is_quick=options.quick
        ) as stage:
            yield lambda one: stage.measure(one.case, repetitions=one.repetitions, with_old=one.old)
    else:
        async with PlainStage(own, record, members=part.members) as plain:
            yield lambda one: plain.measure(one.case, repetitions=one.repetitions)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox bench",
        description="Measure our way of syncing beside the old one, on two kinds of site.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="8,000 members, and only what takes seconds"
    )
    parser.add_argument("--strict", action="store_true", help="exit 1 if a target is missed")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="SITE/CASE/MEMBERS",
        help="measure these parts alone, and keep the others' figures; SITE or SITE/CASE will do, "
        "and * stands for anything; may be given again",
    )
    parser.add_argument("--list", action="store_true", help="name the parts, and how often each")
    parser.add_argument(
        "--profile", action="store_true", help="where the time of our way goes, in these parts"
    )
    parser.add_argument(
        "--page", action="store_true", help="only write the kept figures into the documents"
    )
    parser.add_argument(
        "--members", type=int, metavar="N", help="in place of each size, and keep nothing"
    )
    return parser
