"""Measure digests, and write plan and times into docs/performance.md.

`python -m tests.website.digest_times` starts the website on PostgreSQL and on SQLite, makes rows by
SQL, and asks over HTTP. It takes some minutes, and 1 GB of disk for a while.
"""

import asyncio
import os
import re
import statistics
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import httpx
import psutil
import psycopg

from sandbox.servers import Postgres, Website
from tests.website.harness import Database, Vendor, add_users, user_id
from website.api import digests

PAGE: Final = Path(__file__).parents[2] / "docs" / "performance.md"
_BLOCK: Final = re.compile(r"<!-- digests -->\n.*?<!-- end -->\n", re.DOTALL)
_SIZES: Final = (80_000, 1_000_000)
_RANGES: Final = (1, 16, 128)
_TURNS: Final = 7
_WARMING: Final = 40
_ROLES: Final = [10**17 + place for place in range(6)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long requests for digests took, in the site's own time; and what they cost besides.

    `cpu_s` is of the website and the database together, a request; `memory_mb` is by how much the
    website's peak grew.
    """

    vendor: Vendor
    rows: int
    ranges: int
    seconds: tuple[float, ...]
    cpu_s: float
    answer_bytes: int
    memory_mb: float

    def line(self) -> str:
        """Return the table's line."""
        low, middle, high = min(self.seconds), statistics.median(self.seconds), max(self.seconds)
        return (
            f"| {self.vendor} | {self.rows:,} | {self.ranges} | {middle:.2f} s |"
            f" {low:.2f} to {high:.2f} s | {self.cpu_s:.2f} s | {self.answer_bytes:,} |"
            f" {self.memory_mb:.1f} MB |"
        )


async def measure(
    vendor: Vendor, rows: int, directory: Path, server: Postgres
) -> tuple[list[Timing], str]:
    """Fill a database, ask its website, and return the times, and PostgreSQL's plan."""
    name = f"rows_{rows}"
    url = f"sqlite:///{directory}/{name}.sqlite3"
    if vendor == "postgresql":
        url = await server.create_database(name)
    database = Database(vendor=vendor, url=url)
    home = directory / f"{vendor}-{name}"
    home.mkdir()
    async with Website(home, database_url=url) as site:
        await asyncio.to_thread(add_users, database, rows, roles=_ROLES)
        if vendor == "postgresql":
            # As on a site that has had these rows for long.
            await asyncio.to_thread(database.query, "VACUUM ANALYZE api_user")
        timings = await asyncio.to_thread(_ask, site, server, vendor, rows)
        plan = "" if vendor == "sqlite" else await asyncio.to_thread(_plan, url, rows)
    return timings, plan


def bounds_of(rows: int, ranges: int) -> list[int]:
    """Return the bounds of so many ranges with as many rows each."""
    return [user_id(rows * place // ranges) for place in range(ranges + 1)]


def _ask(site: Website, server: Postgres, vendor: Vendor, rows: int) -> list[Timing]:
    timings = []
    headers = {"Authorization": f"Token {site.token}"}
    with httpx.Client(
        base_url=site.api_url, headers=headers, timeout=60, trust_env=False
    ) as client:
        # Each thread has a connection of its own, and on SQLite 2 MB of pages with it.
        for _ in range(_WARMING):
            client.get(f"bot/sync/digests?bounds=0,{user_id(20_000)}").raise_for_status()
        before_mb = site.peak_rss_mb()
        for ranges in _RANGES:
            bounds = ",".join(map(str, bounds_of(rows, ranges)))
            before_s = _cpu_s(site.pid) + _cpu_s(server.pid)
            answers = [client.get(f"bot/sync/digests?bounds={bounds}") for _ in range(_TURNS)]
            assert all(sum(answer.json()["counts"]) == rows for answer in answers)
            timings.append(
                Timing(
                    vendor=vendor,
                    rows=rows,
                    ranges=ranges,
                    seconds=tuple(_seconds(answer) for answer in answers),
                    cpu_s=(_cpu_s(site.pid) + _cpu_s(server.pid) - before_s) / _TURNS,
                    answer_bytes=len(answers[0].content),
                    memory_mb=site.peak_rss_mb() - before_mb,
                )
            )
    return timings


def _seconds(answer: httpx.Response) -> float:
    return float(answer.headers["Server-Timing"].partition("dur=")[2]) / 1_000


def _cpu_s(pid: int) -> float:
    """Return what a process and its children have computed, those that have ended included."""
    process = psutil.Process(pid)
    own = process.cpu_times()
    children = [child.cpu_times() for child in process.children(recursive=True)]
    return (
        own.children_user + own.children_system + sum(x.user + x.system for x in [own, *children])
    )


def _plan(url: str, rows: int) -> str:
    bounds = bounds_of(rows, 128)
    with closing(psycopg.connect(url)) as connection:
        lines = connection.execute(
            f"EXPLAIN (ANALYZE, BUFFERS OFF) {digests.STATEMENT}",
            {"bounds": bounds, "low": bounds[0], "high": bounds[-1]},
        ).fetchall()
    # The bounds are said in full several times; they are 2,600 characters.
    return "\n".join(re.sub(r"'\{[0-9,]+\}'", "'{…}'", line) for (line,) in lines)


def block(timings: list[Timing], plan: str, *, busy: float) -> str:
    """Return the part of the page that is measured."""
    head = "| database | rows | ranges | median | of seven | CPU a request | answer | memory |"
    lines = [head, "|" + "---|" * 8, *(timing.line() for timing in timings)]
    return (
        "<!-- digests -->\n"
        f"Measured on {os.cpu_count()} cores, for which {busy:.1f} processes contended on average."
        "\n\n" + "\n".join(lines) + f"\n\n```\n{plan}\n```\n<!-- end -->\n"
    )


async def _main() -> None:
    timings: list[Timing] = []
    plan = ""
    with tempfile.TemporaryDirectory() as directory:
        async with Postgres(Path(directory) / "pg") as server:
            for vendor in get_args(Vendor)[::-1]:
                for rows in _SIZES:
                    found, shown = await measure(vendor, rows, Path(directory), server)
                    timings += found
                    plan = shown or plan  # of the largest
            busy = os.getloadavg()[2]
    page = PAGE.read_text("utf-8")
    assert len(_BLOCK.findall(page)) == 1
    PAGE.write_text(_BLOCK.sub(lambda _: block(timings, plan, busy=busy), page), "utf-8")


if __name__ == "__main__":
    asyncio.run(_main())
