"""`python -m sandbox playground`: all is started, the page opened, nothing left at the end."""

import argparse
import asyncio
import os
import secrets
import shutil
import signal
import tempfile
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sandbox.playground.ground import Ground
from sandbox.playground.guard import guarded
from sandbox.playground.web import Site
from sandbox.playground.world import EXPECTED, World
from sandbox.servers.process import PROJECT

_LOGS: Final = PROJECT / "var" / "playground"
_KEPT: Final = 3  # runs whose logs stay
_READ_AND_ENTER: Final = 0o005


def main(arguments: Sequence[str]) -> int:
    """Run until a signal comes; return 0 if that is how it ended."""
    options = _parser().parse_args(arguments)
    started_s = time.monotonic()
    scratch = _scratch()
    try:
        with guarded(secrets.token_hex(8), scratch):
            # PostgreSQL's data, and whatever a program makes for itself, go there.
            os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
            asyncio.run(_play(options, _logs(), started_s))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("Stopped; every server has ended.", flush=True)
        return 0
    except EXPECTED as exc:
        print(f"The playground could not go on: {exc}", flush=True)
        return 1
    return 0


async def _play(options: argparse.Namespace, logs: Path, started_s: float) -> None:
    playing = asyncio.current_task()
    assert playing is not None  # noqa: S101  asyncio.run made it
    # SIGINT as well: whoever starts this in the background may have let it be ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, playing.cancel)
    print(f"Starting PostgreSQL, a website, a local Discord with {options.members:,} members, "
          "and the bot …", flush=True)  # fmt: skip
    ground = Ground(logs, members=options.members, seed=options.seed, plain=options.plain)
    async with ground:
        world = World(ground)
        async with world.watched(), Site(world, port=options.port) as site:
            await ground.bot.start()
            print(f"Ready after {time.monotonic() - started_s:.0f} s: {site.address}")
            print(f"Logs: {logs}")
            print("Stop it with Ctrl-C: every process ends, and all files but the logs go.",
                  flush=True)  # fmt: skip
            if options.browser:
                await asyncio.to_thread(webbrowser.open, site.address)
            await asyncio.get_running_loop().create_future()


def _scratch() -> Path:
    """Make a directory that PostgreSQL's own user can reach, as root needs one."""
    chosen = Path(tempfile.gettempdir()).resolve()
    open_to_all = all(
        path.stat().st_mode & _READ_AND_ENTER == _READ_AND_ENTER
        for path in (chosen, *chosen.parents)
    )
    made = tempfile.mkdtemp(prefix="playground-", dir=chosen if open_to_all else "/tmp")  # noqa: S108
    Path(made).chmod(0o755)
    return Path(made)


def _logs() -> Path:
    """Return where this run's logs go; those of the latest runs stay."""
    _LOGS.mkdir(parents=True, exist_ok=True)
    for old in sorted(_LOGS.glob("run-*"))[: -(_KEPT - 1)]:
        shutil.rmtree(old, ignore_errors=True)
    return _LOGS / f"run-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox playground",
        description="Open a page on a local Discord, the real bot and the real website behind it.",
    )
    parser.add_argument("--members", type=_some, default=1_000, metavar="N", help="%(default)s")
    parser.add_argument("--seed", type=int, default=0, help="decides the members' names and roles")
    parser.add_argument("--port", type=int, default=0, help="of the page; 0 takes a free one")
    parser.add_argument("--plain", action="store_true", help="with the plain stand-in as website")
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="only print the address"
    )
    return parser


def _some(text: str) -> int:
    number = int(text)
    if number < 10:  # noqa: PLR2004  three people, and somebody to act upon
        raise argparse.ArgumentTypeError("at least 10 are needed")
    return number
