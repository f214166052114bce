"""What the programs of this package share: signals, logs that stay, figures that are written."""

import argparse
import asyncio
import json
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import psycopg
from rich.console import Console
from rich.table import Table

from sandbox.discord.client import ControlError
from sandbox.servers import ServerError

_CANCELLED: Final = 130
_EXPECTED = (ServerError, ControlError, aiohttp.ClientError, psycopg.Error, OSError, LookupError)


class Outcome(Protocol):
    """What a program found."""

    @property
    def faults(self) -> Sequence[str]:
        """Everything that was wrong, for people."""
        ...

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` writes."""
        ...


Play = Callable[[Path, Callable[[str], None]], Awaitable[Outcome]]


def run(name: str, play: Play, *, json_path: Path | None) -> int:
    """Play below a new directory, show what it says and found; return 0 if nothing was wrong.

    Only then are the logs removed.
    """
    console = Console()

    def tell(what: str) -> None:
        console.print(what, markup=False, highlight=False, soft_wrap=True)

    def fail(why: str) -> int:
        tell(f"{name} failed: {why}")
        tell(f"Logs: {directory}")
        return 1

    directory = Path(tempfile.mkdtemp(prefix=f"sandbox-{name}-"))
    try:
        outcome = asyncio.run(_until_signalled(play(directory, tell)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        tell(f"Stopped; every server has ended. Logs: {directory}")
        return _CANCELLED
    except TimeoutError:
        return fail("it did not end in time")
    except _EXPECTED as exc:
        return fail(str(exc) or repr(exc))
    console.print(_table(name, outcome.as_json()))
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(outcome.as_json(), indent=2) + "\n")
    if outcome.faults:
        return fail("\n  ".join(["what was found:", *outcome.faults]))
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def at_least_one(text: str) -> int:
    """Read a number of an argument."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one is needed")
    return number


async def _until_signalled(playing: Awaitable[Outcome]) -> Outcome:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  asyncio.run made it
    # SIGINT as well: whoever starts this in the background may have let it be ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await playing


def _table(name: str, figures: dict[str, Any]) -> Table:
    table = Table(show_header=False, title=name, title_justify="left", min_width=60)
    table.add_column(style="bold")
    table.add_column()
    for key, value in figures.items():
        parts = value.items() if isinstance(value, dict) else ()
        table.add_row(key, ", ".join(f"{part} {count}" for part, count in parts) or str(value))
    return table
