"""Measure chunks of 1,000 rows through the API beside plain SQL, and write docs/performance.md.

`python -m tests.website.bulk_times` starts the website on PostgreSQL, which flushes each commit to
the disk as a real one does, with 80,000 users. Chunk by chunk the same rows are written in both
ways, each first in turn; then once more through a website that tells what its parts take. About a
minute. `--print` leaves the page alone.
"""

import asyncio
import http.client
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import psycopg

from sandbox.servers import Postgres, Website
from tests.website.harness import Database, add_roles, add_users, user_id

PAGE: Final = Path(__file__).parents[2] / "docs" / "performance.md"
_BLOCK: Final = re.compile(r"<!-- chunks -->\n.*?<!-- end -->\n", re.DOTALL)
_ROWS: Final = 80_000
_CHUNK: Final = 1_000
_TURNS: Final = 5
_WARMING: Final = 40
_ROLES: Final = [10**17 + place for place in range(6)]

Kind = Literal["update", "create"]
# What anybody would write: no check, no order, no answer.
_PLAIN: Final[dict[Kind, str]] = {
    "update": "UPDATE api_user SET roles = given.roles"
    " FROM jsonb_to_recordset(%s::jsonb) AS given (id bigint, roles jsonb)"
    " WHERE api_user.id = given.id",
    "create": "INSERT INTO api_user (id, name, display_name, discriminator, roles, in_guild)"
    " SELECT id, name, display_name, discriminator, roles, in_guild"
    " FROM jsonb_to_recordset(%s::jsonb) AS given (id bigint, name text, display_name text,"
    " discriminator smallint, roles jsonb, in_guild boolean)",
}
_REQUESTS: Final[dict[Kind, tuple[str, str]]] = {
    "update": ("PATCH", "/api/bot/users/bulk_patch"),
    "create": ("POST", "/api/bot/users"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One chunk in both ways, in seconds; `site_s` is the website's own part of `request_s`."""

    request_s: float
    site_s: float
    sql_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """All chunks of one turn."""

    kind: Kind
    pairs: tuple[Pair, ...]

    def ratio(self, part: Callable[[Pair], float] = lambda pair: pair.request_s) -> float:
        """Return how many times as long the API took for all rows as plain SQL."""
        return sum(map(part, self.pairs)) / sum(pair.sql_s for pair in self.pairs)


class Api:
    """A client on one connection that costs as little as a client can."""

    def __init__(self, site: Website) -> None:
        self._connection = http.client.HTTPConnection(site.url.removeprefix("http://"), timeout=60)
        self._headers = {
            "Authorization": f"Token {site.token}",
            "Content-Type": "application/json",
            "Prefer": "return=minimal",
        }
        for _ in range(_WARMING):
            self.send("GET", "/api/bot/sync/capabilities", None)

    def send(self, method: str, path: str, body: bytes | None) -> float:
        """Send a request that is answered well; return the seconds that the site says it took."""
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        content = response.read()
        assert response.status in {200, 201}, content
        return float(response.headers["Server-Timing"].partition("dur=")[2]) / 1_000


def rows_of(kind: Kind, start: int, turn: int) -> list[dict[str, Any]]:
    """Return a chunk of changed or of new users, other ones or with other roles each turn."""
    places = range(start, start + _CHUNK)
    if kind == "update":
        # As after a role was deleted; the places vary, or every second turn would change nothing.
        roles = _ROLES[: 1 + turn % len(_ROLES)]
        return [{"id": user_id(place), "roles": roles} for place in places]
    return [
        {
            "id": user_id(place + _ROWS * (1 + turn)),
            "name": f"user{place}",
            "display_name": f"User {place}",
            "discriminator": 0,
            "roles": _ROLES,
            "in_guild": True,
        }
        for place in places
    ]


def measure(kind: Kind, turn: int, api: Api, cursor: psycopg.Cursor[Any]) -> Timing:
    """Write all rows in both ways; the table is as full and as worn for either."""
    pairs = []
    for number, start in enumerate(range(0, _ROWS, _CHUNK)):
        body = json.dumps(rows_of(kind, start, 2 * turn), separators=(",", ":")).encode()
        parameter = json.dumps(rows_of(kind, start, 2 * turn + 1))
        sql_first_s = _sql_s(cursor, kind, parameter) if number % 2 else 0.0
        began_s = time.perf_counter()
        site_s = api.send(*_REQUESTS[kind], body)
        request_s = time.perf_counter() - began_s
        sql_s = sql_first_s or _sql_s(cursor, kind, parameter)
        pairs.append(Pair(request_s=request_s, site_s=site_s, sql_s=sql_s))
    return Timing(kind=kind, pairs=tuple(pairs))


def _sql_s(cursor: psycopg.Cursor[Any], kind: Kind, parameter: str) -> float:
    began_s = time.perf_counter()
    cursor.execute(_PLAIN[kind], [parameter])
    return time.perf_counter() - began_s


def _measured(site: Website, url: str) -> list[Timing]:
    api = Api(site)
    with (
        closing(psycopg.connect(url, autocommit=True)) as connection,
        connection.cursor() as cursor,
    ):
        return [
            measure(kind, turn, api, cursor) for kind in get_args(Kind) for turn in range(_TURNS)
        ]


def _parts(site: Website) -> Iterator[tuple[Kind, dict[str, float]]]:
    """Yield by kind what the parts of a request take, in ms: the medians."""
    api = Api(site)
    for kind in get_args(Kind):
        seen = len(site.events("website.parts.timed"))
        totals_ms: list[tuple[float, float]] = []
        for start in range(0, _ROWS, _CHUNK):
            body = json.dumps(rows_of(kind, start, 2 * _TURNS), separators=(",", ":")).encode()
            began_s = time.perf_counter()
            site_s = api.send(*_REQUESTS[kind], body)
            totals_ms.append(((time.perf_counter() - began_s) * 1_000, site_s * 1_000))
        logged = [event["parts_ms"] for event in site.events("website.parts.timed")[seen:]]
        told = [_told(parts, *totals) for parts, totals in zip(logged, totals_ms, strict=True)]
        yield kind, {name: statistics.median(each[name] for each in told) for name in told[0]}


def _told(parts: dict[str, float], client_ms: float, site_ms: float) -> dict[str, float]:
    """Split the totals of a request into what adds up to them."""
    inside_ms = parts.pop("inside")
    return {
        "HTTP and the client": client_ms - site_ms,
        "Django's middleware, limits and log": site_ms - inside_ms,
        "the view besides": inside_ms - sum(parts.values()),
        **parts,
    }


def block(timings: list[Timing], parts: dict[Kind, dict[str, float]], *, busy: float) -> str:
    """Return the part of the page that is measured."""
    lines = [
        f"Measured on {os.cpu_count()} cores, for which {busy:.1f} processes contended on average.",
        "",
        "| | plain SQL | through the API | ratio | of five | the website's part |",
        "|---|---|---|---|---|---|",
    ]
    for kind in get_args(Kind):
        mine = [timing for timing in timings if timing.kind == kind]
        ratios = sorted(timing.ratio() for timing in mine)
        site = statistics.median(timing.ratio(lambda pair: pair.site_s) for timing in mine)
        pairs = [pair for timing in mine for pair in timing.pairs]
        sql_ms = statistics.median(pair.sql_s for pair in pairs) * 1_000
        request_ms = statistics.median(pair.request_s for pair in pairs) * 1_000
        lines.append(
            f"| {kind} | {sql_ms:.1f} ms | {request_ms:.1f} ms | {statistics.median(ratios):.2f} |"
            f" {ratios[0]:.2f} to {ratios[-1]:.2f} | {site:.2f} |"
        )
    names = [*dict.fromkeys(name for told in parts.values() for name in told)]
    lines += [
        "",
        f"| part of a request, median ms | {' | '.join(parts)} |",
        "|---|" + "---|" * len(parts),
    ]
    lines += [
        f"| {name} | " + " | ".join(f"{told.get(name, 0):.2f}" for told in parts.values()) + " |"
        for name in names
    ]
    return "<!-- chunks -->\n" + "\n".join(lines) + "\n<!-- end -->\n"


async def _main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with Postgres(directory / "pg") as server:
            url = await server.create_database("chunks")
            async with Website(directory, database_url=url) as site:
                database = Database(vendor="postgresql", url=url)
                await asyncio.to_thread(add_roles, database, _ROLES)
                await asyncio.to_thread(add_users, database, _ROWS, roles=_ROLES)
                await asyncio.to_thread(database.query, "VACUUM ANALYZE api_user")
                timings = await asyncio.to_thread(_measured, site, url)
                site.settings["EXTRA_MIDDLEWARE"] = "tests.website.observing.Timing"
                await site.restart()
                parts = dict(await asyncio.to_thread(lambda: list(_parts(site))))
            busy = os.getloadavg()[0]
    found = block(timings, parts, busy=busy)
    sys.stdout.write(found)
    if "--print" not in sys.argv:
        page = PAGE.read_text("utf-8")
        assert len(_BLOCK.findall(page)) == 1
        PAGE.write_text(_BLOCK.sub(lambda _: found, page), "utf-8")


if __name__ == "__main__":
    asyncio.run(_main())
