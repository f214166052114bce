"""The old syncer's way, as a client: what the extension is measured beside.

As python-discord's bot did it in 2021, and in chunks later: roles first, each by itself; then every
page of users by its number, once, to the end; then what differs is created and updated, with
answers that hold the rows. Members are given to it. It waits for nobody, tries nothing again, and
looks at nothing that it wrote.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from sandbox.replay.checks import RoleRow, UserRow

PAGE_ROWS: Final = 2_500
CHUNK_ROWS: Final = 1_000
# What aiohttp, by which the old bot speaks, allows a request by itself.
TIMEOUT_S: Final = 300.0
_FIELDS: Final = ("name", "display_name", "discriminator", "in_guild")


@dataclass(slots=True, kw_only=True)
class OldRun:
    """What a sync did so far and what it took; bytes are those of the bodies.

    `created` and `updated` are users, `roles` the roles that were written. Reading ends with the
    answers decoded, and writing holds the time in which bodies are made.
    """

    created: int = 0
    updated: int = 0
    roles: int = 0
    requests: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    largest_request_s: float = 0.0
    seconds: dict[str, float] = field(
        default_factory=lambda: {"reading": 0.0, "comparing": 0.0, "writing": 0.0}
    )

    @property
    def wall_s(self) -> float:
        """How long the whole took."""
        return sum(self.seconds.values())


class OldSyncer:
    """Brings a site's roles and users in step with those that it is given.

    `chunk_rows` of None is the way of 2021: one request for all that are created, and one for all
    that are updated. `run` tells of the latest sync, also after it has failed.
    """

    def __init__(
        self,
        *,
        api_url: str,
        token: str,
        page_rows: int = PAGE_ROWS,
        chunk_rows: int | None = CHUNK_ROWS,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.run = OldRun()
        self._api_url = api_url
        self._headers = {"Authorization": f"Token {token}"}
        self._page_rows = page_rows
        self._chunk_rows = chunk_rows
        self._timeout_s = timeout_s

    async def sync(self, *, roles: Iterable[RoleRow], members: Iterable[UserRow]) -> OldRun:
        """Sync both; return what it took. Raise httpx.HTTPError for the first that goes wrong."""
        self.run = OldRun()
        async with httpx.AsyncClient(
            base_url=self._api_url, headers=self._headers, timeout=self._timeout_s, trust_env=False
        ) as client:
            await self._sync_roles(client, roles)
            await self._sync_users(client, members)
        return self.run

    async def _sync_roles(self, client: httpx.AsyncClient, roles: Iterable[RoleRow]) -> None:
        with self._phase("reading"):
            rows = await self._ask(client, "GET", "bot/roles")
        with self._phase("comparing"):
            wanted = {role.id: _role(role) for role in roles}
            there = {row["id"]: row for row in rows}
            writes: list[tuple[str, str, dict[str, Any] | None]] = [
                *(("POST", "bot/roles", row) for id_, row in wanted.items() if id_ not in there),
                *(
                    ("PUT", f"bot/roles/{id_}", row)
                    for id_, row in wanted.items()
                    if id_ in there and row != there[id_]
                ),
                *(("DELETE", f"bot/roles/{id_}", None) for id_ in there if id_ not in wanted),
            ]
        with self._phase("writing"):
            for method, path, row in writes:
                await self._ask(client, method, path, json=row)
                self.run.roles += 1

    async def _sync_users(self, client: httpx.AsyncClient, members: Iterable[UserRow]) -> None:
        with self._phase("reading"):
            rows = await self._users(client)
        with self._phase("comparing"):
            new = {member.id: member for member in members}
            changes = [change for row in rows if (change := _change(row, new.pop(row["id"], None)))]
            created = [_user(member) for member in new.values()]
        with self._phase("writing"):
            for chunk in self._chunks(created):
                await self._ask(client, "POST", "bot/users", json=chunk)
                self.run.created += len(chunk)
            for chunk in self._chunks(changes):
                await self._ask(client, "PATCH", "bot/users/bulk_patch", json=chunk)
                self.run.updated += len(chunk)

    async def _users(self, client: httpx.AsyncClient) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        page: int | None = 1
        while page is not None:
            query = {"page": page, "page_size": self._page_rows}
            answer = await self._ask(client, "GET", "bot/users", params=query)
            rows += answer["results"]
            page = answer["next_page_no"]
        return rows

    def _chunks(self, rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
        size = self._chunk_rows or len(rows) or 1
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    async def _ask(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        *,
        params: Mapping[str, int] | None = None,
        json: object = None,
    ) -> Any:
        request = client.build_request(method, path, params=params, json=json)
        self.run.requests += 1
        self.run.sent_bytes += len(request.content)
        started_s = time.perf_counter()
        try:
            response = await client.send(request)
        finally:
            took_s = time.perf_counter() - started_s
            self.run.largest_request_s = max(self.run.largest_request_s, took_s)
        response.raise_for_status()
        self.run.received_bytes += len(response.content)
        return response.json() if response.content else None

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        started_s = time.perf_counter()
        try:
            yield
        finally:
            self.run.seconds[name] += time.perf_counter() - started_s


def _change(row: Mapping[str, Any], member: UserRow | None) -> dict[str, Any] | None:
    """Return what has to be sent for a row of the site, None if it is right as it is."""
    if member is None:
        return {"id": row["id"], "in_guild": False} if row["in_guild"] else None
    wanted = _user(member)
    changed = {name: wanted[name] for name in _FIELDS if row[name] != wanted[name]}
    if set(row["roles"]) != set(wanted["roles"]):
        changed["roles"] = wanted["roles"]
    return {"id": row["id"], **changed} if changed else None


def _user(member: UserRow) -> dict[str, Any]:
    return {
        "id": member.id,
        "name": member.name,
        "display_name": member.display_name,
        "discriminator": member.discriminator,
        "roles": list(member.roles),
        "in_guild": member.in_guild,
    }


def _role(role: RoleRow) -> dict[str, Any]:
    return {
        "id": role.id,
        "name": role.name,
        "colour": role.colour,
        "permissions": role.permissions,
        "position": role.position,
    }
