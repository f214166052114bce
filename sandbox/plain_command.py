"""`python -m sandbox plain-site`: the stand-in for a plain site, with a database and rows."""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import httpx

from sandbox.old_syncer import CHUNK_ROWS, OldSyncer
from sandbox.replay.site_tables import PlainSiteTables
from sandbox.servers import PlainSite, Postgres, ServerError

_CANCELLED: Final = 130


def plain_site(arguments: Sequence[str]) -> int:
    """Serve until a signal comes; or let the old syncer change rows, and print what it took."""
    options = _parser().parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="sandbox-plain-site-"))
    try:
        asyncio.run(_run(options, directory))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _CANCELLED if options.change is not None else 0
    except ServerError as exc:
        print(exc, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


async def _run(options: argparse.Namespace, directory: Path) -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  asyncio.run made it
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with Postgres(directory / "postgres") as postgres:
        database_url = await postgres.create_database("site")
        async with PlainSite(
            directory / "site",
            database_url=database_url,
            costs=options.costs,
            memory_limit_mb=options.memory_limit_mb,
        ) as site:
            await site.seed(rows=options.rows)
            if options.change is None:
                print(f"DATABASE_URL={database_url}")
                print(f"SITE_API_URL={site.api_url}")
                print(f"SITE_API_TOKEN={site.token}", flush=True)
                await asyncio.get_running_loop().create_future()
            print(json.dumps(await _sync(site, postgres, options), indent=2))


async def _sync(site: PlainSite, postgres: Postgres, options: argparse.Namespace) -> dict[str, Any]:
    """Give the first rows other roles by the old syncer's way; return the figures."""
    tables = PlainSiteTables(database_url=site.settings["DATABASE_URL"])
    roles, rows = await tables.roles(), await tables.users()
    members = [
        replace(row, roles=(2, 3)) if number < options.change else row
        for number, row in enumerate(rows)
    ]
    syncer = OldSyncer(
        api_url=site.api_url,
        token=site.token,
        chunk_rows=None if options.at_once else CHUNK_ROWS,
        timeout_s=options.timeout_s,
    )
    cpu_s, started_s = site.cpu_s(), time.monotonic()
    failed = None
    try:
        await syncer.sync(roles=roles, members=members)
    except httpx.HTTPError as exc:
        failed = repr(exc)
    took_s = time.monotonic() - started_s
    figures = {
        "failed": failed,
        **asdict(syncer.run),
        "wall_s": took_s,
        "site_exit_code": site.exit_code,
        "site_cpu_s": None if not site.running else site.cpu_s() - cpu_s,
        "site_peak_mb": None if not site.running else site.peak_rss_mb(),
        "postgres_peak_mb": postgres.peak_rss_mb(),
    }
    if failed is not None:
        postgres.kill()  # an UPDATE of so many arms heeds no request to end
        return figures
    return {**figures, "differences": len({*await tables.users()} ^ {*members})}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox plain-site",
        description="Serve a stand-in for a plain site, with a PostgreSQL of its own and rows.",
    )
    parser.add_argument("--rows", type=int, default=80_000, metavar="N", help="%(default)s")
    parser.add_argument(
        "--costs", type=float, default=1.0, metavar="X", help="multiplies every cost; %(default)s"
    )
    parser.add_argument("--memory-limit-mb", type=int, metavar="N", help="none")
    parser.add_argument(
        "--change",
        type=int,
        metavar="N",
        help="let the old syncer change so many rows, print what that took, and end",
    )
    parser.add_argument(
        "--at-once", action="store_true", help="in one request, as it was done in 2021"
    )
    parser.add_argument("--timeout-s", type=float, default=300.0, help="of a request; %(default)s")
    return parser
