"""The incident's own request, at the website: every member's roles in one PATCH.

    python -m bench.incident [--members N] [--raise-limits]

Starts PostgreSQL and the website, sends one PATCH of N rows, asks for the health check meanwhile
and prints one JSON object:

- `status`, `seconds`: what the request was answered with, and when after it was begun
- `applied`: how many rows hold what was asked for
- `site_rss_idle_mb`, `site_rss_peak_mb`: the site's `VmHWM` after one page read and one 10-row
  patch, and at the end
- `healthcheck_max_s`, `healthchecks`: the slowest answer to a health check, of how many
- `postgres_alive`: the same PostgreSQL still serves, and none of its processes crashed

As it is configured the site refuses such a request (413); `--raise-limits` lets it try.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg

from sandbox.replay.checks import RoleRow, UserRow
from sandbox.replay.site_tables import SiteTables
from sandbox.servers import Postgres, Website

_EVERYONE: Final = 267_624_335_836_053_506
_DELETED: Final = _EVERYONE + 1
_LIMIT_S: Final = 600.0
_POLL_S: Final = 0.05
_CRASHES: Final = ("was terminated by signal", "all server processes terminated")


async def measure(*, members: int, raise_limits: bool, directory: Path) -> dict[str, Any]:
    """Send the request to fresh servers; return the figures."""
    limits = {"MAX_REQUEST_BYTES": "2000000000", "MAX_REQUEST_ITEMS": str(members)}
    async with Postgres(directory / "postgres") as postgres:
        url = await postgres.create_database("site")
        async with Website(
            directory / "website", database_url=url, **(limits if raise_limits else {})
        ) as site:
            await _fill(url, members)
            async with httpx.AsyncClient(
                base_url=site.api_url,
                headers={"Authorization": f"Token {site.token}"},
                timeout=_LIMIT_S,
                trust_env=False,
            ) as client:
                return await _ask(client, site, postgres, members) | {"applied": await _count(url)}


async def _ask(
    client: httpx.AsyncClient, site: Website, postgres: Postgres, members: int
) -> dict[str, Any]:
    (await client.get("bot/users")).raise_for_status()
    (await client.patch("bot/users/bulk_patch", json=_patch(10))).raise_for_status()
    idle_mb = site.peak_rss_mb()
    server = postgres.pid
    content = json.dumps(_patch(members)).encode()  # before the clock is read: it is the sender's
    healthchecks: list[float] = []
    watch = asyncio.create_task(_watch(site, healthchecks))
    started_s = time.monotonic()
    answer = await client.patch(
        "bot/users/bulk_patch", content=content, headers={"Content-Type": "application/json"}
    )
    seconds = time.monotonic() - started_s
    watch.cancel()
    await asyncio.wait({watch})
    if not watch.cancelled():
        watch.result()
    return {
        "members": members,
        "request_bytes": len(content),
        "status": answer.status_code,
        "seconds": round(seconds, 3),
        "site_rss_idle_mb": round(idle_mb, 1),
        "site_rss_peak_mb": round(site.peak_rss_mb(), 1),
        "healthcheck_max_s": round(max(healthchecks), 3),
        "healthchecks": len(healthchecks),
        "postgres_alive": postgres.running
        and postgres.pid == server
        and not any(crash in postgres.log_text() for crash in _CRASHES),
    }


async def _watch(site: Website, seconds: list[float]) -> None:
    """Ask for the health check, now and again, over a connection of its own."""
    async with httpx.AsyncClient(
        base_url=site.api_url, timeout=_LIMIT_S, trust_env=False
    ) as client:
        while True:
            started_s = time.monotonic()
            # Noted even if it is still unanswered when the request is over.
            seconds.append(0.0)
            try:
                (await client.get("healthcheck")).raise_for_status()
            finally:
                seconds[-1] = time.monotonic() - started_s
            await asyncio.sleep(_POLL_S)


async def _fill(url: str, members: int) -> None:
    roles = [
        RoleRow(id=id_, name=name, colour=0, permissions=0, position=position)
        for position, (id_, name) in enumerate([(_EVERYONE, "@everyone"), (_DELETED, "Developers")])
    ]
    users = (
        UserRow(
            id=_user_id(number),
            name=f"user{number}",
            display_name=f"User {number}",
            discriminator=0,
            roles=(_EVERYONE, _DELETED),
            in_guild=True,
        )
        for number in range(members)
    )
    await SiteTables(database_url=url).replace(roles=roles, users=users)


async def _count(url: str) -> int:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        found = await connection.execute(
            "SELECT count(*) FROM api_user WHERE roles = %s::jsonb", [json.dumps([_EVERYONE])]
        )
        (count,) = await found.fetchone() or (0,)
        return int(count)


def _patch(members: int) -> list[dict[str, Any]]:
    return [{"id": _user_id(number), "roles": [_EVERYONE]} for number in range(members)]


def _user_id(number: int) -> int:
    return 10**17 + 7_919 * number


def main() -> int:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.incident", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--members", type=int, default=80_000, metavar="N")
    parser.add_argument("--raise-limits", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="incident-") as directory:
        figures = asyncio.run(
            measure(
                members=arguments.members,
                raise_limits=arguments.raise_limits,
                directory=Path(directory),
            )
        )
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
