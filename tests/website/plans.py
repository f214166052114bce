"""The plans of the statements that the API executes, and docs/performance.md with them.

`python -m tests.website.plans` starts the website on PostgreSQL with 1,000,000 users, has it
explain what it executes (`observing.Explaining`), and writes that into the page. About a minute.
With `--rows 5000000` it prints what it finds, and leaves the page alone.
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import textwrap
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from sandbox.servers import Postgres, Website
from tests.website.digest_times import bounds_of
from tests.website.harness import Database, add_roles, add_users, user_id

PAGE: Final = Path(__file__).parents[2] / "docs" / "performance.md"
_BLOCK: Final = re.compile(r"<!-- statements -->\n.*?<!-- end -->\n", re.DOTALL)
_ROWS: Final = 1_000_000
_WARMING: Final = 5
ROLES: Final = [10**17 + place for place in range(6)]
EVENT: Final = "website.statement.explained"
_SCAN: Final = re.compile(
    r"Scan .*on api_user.* \(actual .*rows=(?P<rows>[0-9.]+) loops=(?P<loops>[0-9]+)\)"
)
_NOISE: Final = (
    (re.compile(r"'\{[0-9,]+\}'"), "'{…}'"),
    (re.compile(r"'(\[.{60}).*?\]'"), r"'\1…'"),
    (re.compile(r"'[0-9a-f]{64}'"), "'…'"),
    (re.compile(r" loops=1\)"), ")"),
    (re.compile(r"(%s, )+%s\)"), "%s, …)"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A statement that a request had executed, and how PostgreSQL did it."""

    request: str
    sql: str
    plan: tuple[str, ...]

    @property
    def title(self) -> str:
        """Return the beginning of the statement."""
        return textwrap.shorten(self.sql.replace('"', ""), 60, placeholder=" …")

    @property
    def shape(self) -> str:
        """Return the plan without its figures."""
        return re.sub(r"[0-9.]+", "#", "\n".join(self.plan))

    @property
    def time_ms(self) -> float:
        """Return what it took to execute."""
        return float(self.plan[-1].removeprefix("Execution Time: ").removesuffix(" ms"))

    @property
    def users_read(self) -> int:
        """Return how many rows of users it went through, in the table or its index."""
        return max(map(_users_read, re.split(r"\n *(?=->)", "\n".join(self.plan))))


def _users_read(node: str) -> int:
    scan = _SCAN.search(node)
    if scan is None:
        return 0
    removed = re.search(r"Rows Removed by Filter: ([0-9]+)", node)
    kept = float(scan["rows"]) + (int(removed[1]) if removed else 0)
    return round(kept * int(scan["loops"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, by the name that the page has for it."""

    name: str
    method: str
    path: str
    body: Any = None
    preference: str = ""


def asked(rows: int) -> list[Asked]:
    """Return requests of every kind, for a site that has so many of the samples' users."""
    middle = rows // 2
    person: dict[str, Any] = {
        "name": "somebody",
        "display_name": "Somebody",
        "discriminator": 0,
        "roles": ROLES,
        "in_guild": True,
    }
    users = "bot/users"
    some = [user_id(middle + 7 * place) for place in range(1_000)]
    new = [{"id": user_id(place), **person} for place in range(rows, rows + 1_000)]
    minimal = "return=minimal"
    updates = [{"id": one, "roles": ROLES[:5]} for one in some]
    renamed = [{"id": one, "name": f" user {one}"} for one in some]
    one_user = f"{users}/{user_id(middle)}"
    role = {"id": 1, "name": "new", "colour": 0, "permissions": 0, "position": 0}
    all_bounds = ",".join(map(str, bounds_of(rows, 128)))
    few_bounds = f"{user_id(middle)},{user_id(middle + 100)}"
    return [
        Asked(name="a page by id", method="GET", path=f"{users}?after={some[0]}&page_size=1000"),
        Asked(name="the first page by number", method="GET", path=f"{users}?page_size=1000"),
        Asked(
            name="a later page by number",
            method="GET",
            path=f"{users}?page={middle // 1_000}&page_size=1000",
        ),
        Asked(name="users of a name", method="GET", path=f"{users}?name=user7"),
        Asked(name="one user", method="GET", path=one_user),
        Asked(
            name="1,000 users updated",
            method="PATCH",
            path=f"{users}/bulk_patch",
            body=updates,
            preference=minimal,
        ),
        Asked(
            name="1,000 users updated, row by row",
            method="PATCH",
            path=f"{users}/bulk_patch",
            body=renamed,
            preference=minimal,
        ),
        Asked(name="1,000 users created", method="POST", path=users, body=new),
        Asked(
            name="1,000 users created, row by row",
            method="POST",
            path=users,
            body=[{**row, "name": " n", "id": row["id"] + 1} for row in new],
        ),
        Asked(name="one user created", method="POST", path=users, body={**new[0], "id": 5}),
        Asked(name="one user put", method="PUT", path=one_user, body={**new[0], "id": some[0]}),
        Asked(name="one user patched", method="PATCH", path=one_user, body={"name": "n"}),
        Asked(name="one user deleted", method="DELETE", path=one_user),
        Asked(name="a role created", method="POST", path="bot/roles", body=role),
        Asked(name="all roles", method="GET", path="bot/roles"),
        Asked(name="one role", method="GET", path="bot/roles/1"),
        Asked(name="a role put", method="PUT", path="bot/roles/1", body=role),
        Asked(name="a role deleted", method="DELETE", path="bot/roles/1"),
        Asked(name="digests of all", method="GET", path=f"bot/sync/digests?bounds={all_bounds}"),
        Asked(name="digests of 100", method="GET", path=f"bot/sync/digests?bounds={few_bounds}"),
    ]


def explain(
    client: httpx.Client, requests: list[Asked], log: Callable[[], list[dict[str, Any]]]
) -> list[Explained]:
    """Send the requests; return their statements, each once unless it was done in another way.

    `log` returns the website's log lines so far.
    """
    for _ in range(_WARMING):  # a new connection plans its first statements for longer
        client.get("bot/sync/capabilities").raise_for_status()
    explained: dict[tuple[str, str], Explained] = {}
    for request in requests:
        headers = {"X-Request-ID": uuid.uuid4().hex, "Prefer": request.preference}
        client.request(
            request.method, request.path, json=request.body, headers=headers
        ).raise_for_status()
        for line in log():
            if line["event"] == EVENT and line["request_id"] == headers["X-Request-ID"]:
                one = Explained(request=request.name, sql=line["sql"], plan=tuple(line["plan"]))
                explained.setdefault((one.sql, one.shape), one)
    return [*explained.values()]


def block(explained: list[Explained], *, rows: int, busy: float) -> str:
    """Return the part of the page that is measured."""
    lines = [
        f"With {rows:,} users, on {os.cpu_count()} cores for which {busy:.1f} processes contended.",
        "",
        "| first executed by | statement | users read | time |",
        "|---|---|---|---|",
        *(
            f"| {one.request} | `{one.title}` | {one.users_read:,} | {one.time_ms:.1f} ms |"
            for one in explained
        ),
        "",
        "<details><summary>Each statement about users, and its plan</summary>",
        "",
    ]
    for one in explained:
        if "api_role" in one.sql and "api_user" not in one.sql:
            continue
        sql = textwrap.wrap(_short(one.sql), 108, break_long_words=False, break_on_hyphens=False)
        lines += [f"**{one.request}**", "", "```", *sql, "", *map(_short, one.plan), "```", ""]
    return "<!-- statements -->\n" + "\n".join([*lines, "</details>"]) + "\n<!-- end -->\n"


def _short(line: str) -> str:
    for pattern, instead in _NOISE:
        line = pattern.sub(instead, line)
    return line


async def _main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with Postgres(directory / "pg") as server:
            url = await server.create_database("plans")
            watched = "tests.website.observing.Explaining"
            async with Website(directory, database_url=url, EXTRA_MIDDLEWARE=watched) as site:
                database = Database(vendor="postgresql", url=url)
                await asyncio.to_thread(fill, database, rows)
                headers = {"Authorization": f"Token {site.token}"}
                with httpx.Client(
                    base_url=site.api_url, headers=headers, timeout=60, trust_env=False
                ) as client:
                    explained = await asyncio.to_thread(explain, client, asked(rows), site.events)
            busy = os.getloadavg()[0]
    found = block(explained, rows=rows, busy=busy)
    if rows != _ROWS:
        sys.stdout.write(found)
        return
    page = PAGE.read_text("utf-8")
    assert len(_BLOCK.findall(page)) == 1
    PAGE.write_text(_BLOCK.sub(lambda _: found, page), "utf-8")


def fill(database: Database, rows: int) -> None:
    """Give a site that has just been made so many users, and let it know about them."""
    add_roles(database, ROLES)
    add_users(database, rows, roles=ROLES)
    database.query("VACUUM ANALYZE api_user, api_role")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=_ROWS)
    asyncio.run(_main(parser.parse_args().rows))
