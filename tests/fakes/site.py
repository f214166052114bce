"""A site in memory: what the contract answers, byte for byte as far as it is read, and its fates.

`Rows` is the site itself. `FakeSite` is a process' way to it, on which a request may be answered
late, by somebody else or never, and commit at any moment all the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bot.exts.backend.sync._core.model.members import MAX_ID
from bot.exts.backend.sync._core.site import wire
from bot.exts.backend.sync._core.site.outcome import Answer, Lost, NoAnswer
from tests.fakes.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from bot.exts.backend.sync._core.model.members import (
        Member,
        Role,
        RoleId,
        UserId,
    )
    from bot.exts.backend.sync._core.site.requests import Request
    from bot.exts.backend.sync._ports import Clock

    Row = dict[str, Any]

PAGE: Final = 2500
PROXY_PAGE: Final = b"<html><head><title>502 Bad Gateway</title></head></html>"
_FIELDS: Final = ("name", "display_name", "discriminator", "roles", "in_guild")
_NAMES: Final = ("name", "display_name")
_ROLE_FIELDS: Final = ("id", "name", "colour", "permissions", "position")


@dataclass(slots=True, kw_only=True)
class Rows:
    """The rows of a site that keeps the contract; `offers` is what its capabilities answer.

    It looks at a request in the order of the recorded samples: repeated ids, each row, unknown
    ids; only then does it write. A request with one of the `breaking` ids answers 500, one of the
    `named` ids is rejected by name. `role_names_are_unique` is a rule that some sites have. The
    next update of one of the `forgotten` ids is answered and not stored; that of one of the
    `mistaken` is stored and answered wrongly. Sums of digests are `miscounted` by so much, and rows
    `counted_twice`; where there are `digests_kept`, what was said once of some bounds is said for
    ever.
    """

    users: MutableMapping[int, Row] = field(default_factory=dict)
    roles: MutableMapping[int, Row] = field(default_factory=dict)
    offers: Row | None = None
    breaking: set[int] = field(default_factory=set)
    named: set[int] = field(default_factory=set)
    forgotten: set[int] = field(default_factory=set)
    mistaken: set[int] = field(default_factory=set)
    role_names_are_unique: bool = False
    miscounted: int = 0
    counted_twice: set[int] = field(default_factory=set)
    digests_kept: dict[str, object] | None = None

    def fill(self, members: Mapping[UserId, Member], roles: Mapping[RoleId, Role]) -> None:
        """Take a guild as it is, as a correct older syncer would have left it."""
        self.roles.update({id_: dict(wire.role_row(role)) for id_, role in roles.items()})
        self.users.update({id_: dict(wire.member_row(member)) for id_, member in members.items()})

    def answer(  # noqa: C901 - one arm a path
        self, method: str, path: str, params: Mapping[str, int | str] | None, body: bytes | None
    ) -> tuple[int, object]:
        """Answer a request as the contract does, and do what it asks for."""
        value: Any = None if body is None else json.loads(body)
        parts = path.split("/")
        match (method, parts):
            case ("GET", ["healthcheck"]):
                return 200, {"status": "ok"}
            case ("GET", ["bot", "sync", "capabilities"]):
                return (
                    (404, {"detail": "Not found."}) if self.offers is None else (200, self.offers)
                )
            case ("GET", ["bot", "sync", "digests"]) if (self.offers or {}).get("digests"):
                return self._digests(str((params or {})["bounds"]))
            case ("GET", ["bot", "users"]):
                return self._page(params or {})
            case ("GET", ["bot", "users", id_]):
                row = self.users.get(int(id_))
                return _no_match("User") if row is None else (200, row)
            case ("POST", ["bot", "users"]):
                return self._write(value, creating=True)
            case ("PATCH", ["bot", "users", "bulk_patch"]):
                return self._write(value, creating=False)
            case ("GET", ["bot", "roles"]):
                return 200, [self.roles[id_] for id_ in sorted(self.roles)]
            case ("POST", ["bot", "roles"]):
                return self._create_role(value)
            case ("PUT", ["bot", "roles", id_]):
                return self._update_role(int(id_), value)
            case ("DELETE", ["bot", "roles", id_]):
                return _no_match("Role") if self.roles.pop(int(id_), None) is None else (204, None)
            case _:
                return 404, {"detail": "Not found."}

    def _digests(self, bounds: str) -> tuple[int, object]:
        digests = []
        for low, high in itertools.pairwise(map(int, bounds.split(","))):
            rows = [row for id_, row in self.users.items() if low <= id_ < high]
            rows += [row for row in rows if row["id"] in self.counted_twice]
            hashes = [_hash(row) for row in rows if row["in_guild"]]
            digests.append((len(hashes), (sum(hashes) + self.miscounted) % 2**64))
        said = {
            "counts": [count for count, _ in digests],
            "sums": [f"{sum_:016x}" for _, sum_ in digests],
        }
        return 200, said if self.digests_kept is None else self.digests_kept.setdefault(
            bounds, said
        )

    def _page(self, params: Mapping[str, Any]) -> tuple[int, object]:
        ids = sorted(self.users)
        size = params.get("page_size", PAGE)
        if "after" in params and (self.offers or {}).get("pages_by_id"):
            later = [id_ for id_ in ids if id_ > params["after"]]
            page = later[:size]
            following = page[-1] if len(later) > size else None
            return 200, {
                "count": len(ids),
                "next_after": following,
                "results": [self.users[id_] for id_ in page],
            }
        number = params.get("page", 1)
        start = (number - 1) * size
        if start >= len(ids) and number > 1:
            return 404, {"detail": "Invalid page."}
        return 200, {
            "count": len(ids),
            "next_page_no": number + 1 if start + size < len(ids) else None,
            "previous_page_no": number - 1 if number > 1 else None,
            "results": [self.users[id_] for id_ in ids[start : start + size]],
        }

    def _write(self, rows: list[Row], *, creating: bool) -> tuple[int, object]:
        ids = [row["id"] for row in rows]
        for id_ in ids:
            if ids.count(id_) > 1:
                return 400, {"id": [f"User with ID {id_} given multiple times."]}
        faults = [self._fault(row) for row in rows]
        if any(faults):
            return 400, faults
        unknown = [id_ for id_ in ids if id_ not in self.users]
        if unknown and not creating:
            return 404, {"detail": f"User with id {unknown[0]} not found."}
        if not self.breaking.isdisjoint(ids):
            return 500, "<h1>Server Error (500)</h1>"
        said: dict[int, Row] = {}
        for row in rows:
            stored = {
                name: value.strip() if isinstance(value, str) else value
                for name, value in row.items()
            }
            if creating:
                self.users.setdefault(row["id"], stored)
                continue
            said[row["id"]] = {**self.users[row["id"]], **stored}
            if row["id"] in self.forgotten:
                self.forgotten.discard(row["id"])
            else:
                self.users[row["id"]] = said[row["id"]]
            if row["id"] in self.mistaken:
                said[row["id"]] = {**said[row["id"]], "name": "somebody else"}
        return (201, []) if creating else (200, [said[id_] for id_ in ids])

    def _fault(self, row: Row) -> dict[str, list[str]]:
        if row["id"] in self.named:
            return {"name": ["Not this one."]}
        faults: dict[str, list[str]] = {
            name: _text_faults(row[name], 32) for name in _NAMES if name in row
        }
        faults["roles"] = [
            f"Role with ID {id_} does not exist"
            for id_ in row.get("roles", ())
            if id_ not in self.roles
        ]
        return {name: found for name, found in faults.items() if found}

    def _create_role(self, row: Row) -> tuple[int, object]:
        faults = _text_faults(row["name"], 100)
        if faults:
            return 400, {"name": faults}
        if row["permissions"] > MAX_ID:
            return 400, {"permissions": [f"Ensure this value is less than or equal to {MAX_ID}."]}
        if row["id"] in self.roles:
            return 400, {"id": ["role with this ID already exists."]}
        if self.role_names_are_unique and any(
            kept["name"] == row["name"] for kept in self.roles.values()
        ):
            return 400, {"name": ["role with this name already exists."]}
        self.roles[row["id"]] = {name: row[name] for name in _ROLE_FIELDS}
        return 201, self.roles[row["id"]]

    def _update_role(self, id_: int, row: Row) -> tuple[int, object]:
        if id_ not in self.roles:
            return _no_match("Role")
        self.roles[id_] = {name: row[name] for name in _ROLE_FIELDS}
        return 200, self.roles[id_]


def _hash(row: Row) -> int:
    """Hash a row as docs/site-contract.md has it, by nobody else's code."""
    name, shown = row["name"].encode(), row["display_name"].encode()
    roles = ",".join(str(role) for role in row["roles"])
    text = f"{row['id']},{row['discriminator']},".encode()
    text += b"%d:%b,%d:%b," % (len(name), name, len(shown), shown) + roles.encode()
    return int(hashlib.md5(text, usedforsecurity=False).hexdigest()[:15], 16)


def _text_faults(text: str, limit: int) -> list[str]:
    if "\0" in text:
        return ["Null characters are not allowed."]
    if not text.strip():
        return ["This field may not be blank."]
    if len(text.strip()) > limit:
        return [f"Ensure this field has no more than {limit} characters."]
    return []


def _no_match(model: str) -> tuple[int, object]:
    return 404, {"detail": f"No {model} matches the given query."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of a request, seconds counted from when it was sent.

    It commits after `commits_s` (None: never). At `answers_s` comes the site's own answer, if it
    has committed by then, or `status` with a proxy's page, or, where `cut`, the connection's end.
    """

    commits_s: float | None = 0.01
    answers_s: float = 0.02
    status: int | None = None
    body: bytes = PROXY_PAGE
    retry_after: str | None = None
    cut: bool = False
    unreachable: bool = False


WELL: Final = Fate()
REFUSED: Final = Fate(commits_s=None, status=401, body=b'{"detail":"Invalid token."}')
LOST: Final = Fate(answers_s=1e6)  # committed at once, and never told
DOWN: Final = Fate(commits_s=None, unreachable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as the site saw it."""

    request: Request
    request_id: str
    at: float

    @property
    def ids(self) -> tuple[int, ...]:
        """The users that a write names, in its order."""
        if self.request.body is None or not self.request.path.startswith("bot/users"):
            return ()
        return tuple(row["id"] for row in json.loads(self.request.body))

    @property
    def changes(self) -> tuple[tuple[int, bool], ...]:
        """The users that a write names, and of each whether it only says that they have left."""
        if not self.ids:
            return ()
        rows = json.loads(self.request.body or b"[]")
        return tuple((row["id"], not row.get("in_guild", True)) for row in rows)


class FakeSite:
    """A process' way to a site; `fate` says what becomes of each request.

    `calls` are all requests in their order, `committed` the ids that each write, by its request's
    id, has brought. `in_flight` are writes that wait for their answer, `most` the most at once.
    `later` runs something after some time, whatever becomes of this process. `on_send`, `on_commit`
    and `on_given_up`, when nobody waits for the answer any more, are for whoever watches.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        clock: Clock,
        later: Callable[[float, Callable[[], None]], None] | None = None,
        deadline_s: float = 30.0,
        faults: Faults | None = None,
    ) -> None:
        self.rows = rows
        self.faults = faults or Faults()
        self.fate: Callable[[Request], Fate] = lambda _: WELL
        self.calls: list[Call] = []
        self.committed: dict[str, tuple[int, ...]] = {}
        self.in_flight = 0
        self.most = 0
        self.on_send: Callable[[Call], None] = lambda _: None
        self.on_commit: Callable[[Call], None] = lambda _: None
        self.on_given_up: Callable[[], None] = lambda: None
        self.is_dead = False
        self._clock = clock
        self._later = later or self._in_a_task
        self._deadline_s = deadline_s
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def writes(self) -> list[Call]:
        """Every write so far."""
        return [call for call in self.calls if call.request.writes]

    async def send(self, request: Request, *, request_id: str) -> Answer | NoAnswer:
        """Send a request once, and return whatever happens."""
        call = Call(request=request, request_id=request_id, at=self._clock.monotonic())
        self.calls.append(call)
        self.in_flight += request.writes
        self.most = max(self.most, self.in_flight)
        self.on_send(call)
        try:
            return await self.faults.around("site.send", lambda: self._sent(call))
        finally:
            self.in_flight -= request.writes
            self.on_given_up()

    async def _sent(self, call: Call) -> Answer | NoAnswer:
        if self.is_dead:
            await asyncio.get_running_loop().create_future()
        request, fate = call.request, self.fate(call.request)
        if fate.unreachable:
            await asyncio.sleep(0)
            return NoAnswer(cause=Lost.UNREACHABLE, detail="ConnectError", seconds=0.0)
        answered: list[tuple[int, object]] = []

        def commit() -> None:
            answered.append(
                self.rows.answer(request.method, request.path, request.params, request.body)
            )
            if request.writes and answered[0][0] < 400:
                self.committed[call.request_id] = call.ids
                self.on_commit(call)

        if fate.commits_s is not None:
            self._later(fate.commits_s, commit)
        await self._clock.sleep(min(fate.answers_s, self._deadline_s))
        seconds = self._clock.monotonic() - call.at
        if fate.answers_s >= self._deadline_s:
            return NoAnswer(cause=Lost.DEADLINE, detail="", seconds=seconds)
        if fate.cut:
            return NoAnswer(cause=Lost.CONNECTION, detail="ReadError", seconds=seconds)
        status, body = fate.status, fate.body
        if status is None:
            if not answered:
                return NoAnswer(cause=Lost.CONNECTION, detail="ReadError", seconds=seconds)
            status, value = answered[0]
            body = b"" if value is None else value if isinstance(value, bytes) else _encode(value)
        return Answer(status=status, body=body, retry_after=fate.retry_after, seconds=seconds)

    def _in_a_task(self, seconds: float, act: Callable[[], None]) -> None:
        async def wait() -> None:
            await self._clock.sleep(seconds)
            act()

        task = asyncio.create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def late(fate: Fate, **changes: Any) -> Fate:
    """Return a fate with something else about it."""
    return replace(fate, **changes)


def _encode(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else wire.encode(value)
