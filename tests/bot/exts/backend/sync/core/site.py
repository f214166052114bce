"""A site in memory that keeps the contract, with the troubles that a real one may have.

It speaks in bodies and status codes, so whatever is sent to it goes through `wire` and `outcome`.
Each write is taken whole or not at all. The order in which it looks at a request is that of the
recorded samples: size, repeated ids, each row, unknown ids, and only then does it write.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from bot.exts.backend.sync._core.model.members import Member
from bot.exts.backend.sync._core.site import wire
from bot.exts.backend.sync._core.site.outcome import Answer, Lost, NoAnswer
from bot.exts.backend.sync._core.site.requests import Request

SECONDS: Final = 0.1
RETRY_AFTER_S: Final = 7


class Trouble(Enum):
    """What becomes of a request, whatever is in it."""

    NONE = auto()
    ERROR = auto()  # 500, nothing applied
    OVERLOADED = auto()  # 503 with Retry-After
    THROTTLED = auto()  # 429 without
    LOST = auto()  # no answer, nothing applied
    LOST_APPLIED = auto()  # no answer, but applied
    UNREACHABLE = auto()
    TOO_LARGE = auto()  # 413
    REJECTED = auto()  # 400 that names no row


_ANSWERS: Final[dict[Trouble, Answer | NoAnswer]] = {
    Trouble.ERROR: Answer(
        status=500, body=b"<h1>Server Error</h1>", retry_after=None, seconds=SECONDS
    ),
    Trouble.OVERLOADED: Answer(
        status=503, body=b"", retry_after=str(RETRY_AFTER_S), seconds=SECONDS
    ),
    Trouble.THROTTLED: Answer(status=429, body=b"", retry_after=None, seconds=SECONDS),
    Trouble.LOST: NoAnswer(cause=Lost.DEADLINE, detail="", seconds=30),
    Trouble.LOST_APPLIED: NoAnswer(cause=Lost.CONNECTION, detail="ReadError", seconds=SECONDS),
    Trouble.UNREACHABLE: NoAnswer(cause=Lost.UNREACHABLE, detail="ConnectError", seconds=0),
    Trouble.TOO_LARGE: Answer(status=413, body=b"too large", retry_after=None, seconds=SECONDS),
    Trouble.REJECTED: Answer(
        status=400, body=b'{"detail":"JSON parse error"}', retry_after=None, seconds=SECONDS
    ),
}
_BLOCKED: Final = Answer(
    status=403, body=b"<h1>Request blocked</h1>", retry_after=None, seconds=SECONDS
)
FAILING: Final = tuple(_ANSWERS.keys() - {Trouble.TOO_LARGE, Trouble.REJECTED})


@dataclass(kw_only=True)
class Site:
    """The rows and role ids of a site, and what is wrong with it.

    `troubles` come to the next writes, one each; `always` to all that follow. A request with one of
    the `breaking` ids answers 500, with one of the `blocked` a firewall's 403, with one of the
    `nameless` 400 without saying which, and one of the `named` is rejected by name. `max_rows` is
    what it takes in a request.
    """

    rows: dict[int, Member] = field(default_factory=dict)
    roles: set[int] = field(default_factory=set)
    breaking: Collection[int] = ()
    blocked: Collection[int] = ()
    nameless: Collection[int] = ()
    named: Collection[int] = ()
    max_rows: int | None = None
    troubles: list[Trouble] = field(default_factory=list)
    always: Trouble = Trouble.NONE
    writes: int = 0

    def pages(self, size: int) -> Iterable[tuple[Member, ...]]:
        """Yield all rows by id, `size` a page."""
        ordered = sorted(self.rows.values(), key=lambda row: row.id)
        for start in range(0, len(ordered), size):
            yield tuple(ordered[start : start + size])

    def write(self, request: Request) -> Answer | NoAnswer:
        """Answer a POST or PATCH of a list of users."""
        self.writes += 1
        trouble = self.troubles.pop(0) if self.troubles else self.always
        if trouble not in {Trouble.NONE, Trouble.LOST_APPLIED}:
            return _ANSWERS[trouble]
        assert request.body is not None
        answer = self._take(json.loads(request.body), creating=request.method == "POST")
        return _ANSWERS[trouble] if trouble is Trouble.LOST_APPLIED else answer

    def probe(self) -> Answer | NoAnswer | None:
        """Answer a healthcheck: None if the site is well."""
        return None if self.always is Trouble.NONE else _ANSWERS[self.always]

    def _take(self, rows: list[dict[str, object]], *, creating: bool) -> Answer:
        ids = [row["id"] for row in rows]
        if not set(self.blocked).isdisjoint(ids):
            return _BLOCKED
        assert rows, "the real site answers an empty list with 500"
        assert len({frozenset(row) for row in rows}) == 1, "rows of different fields in a request"
        if self.max_rows is not None and len(rows) > self.max_rows:
            return _answer(413, "too large")
        if len(set(ids)) < len(ids):
            return _answer(400, {"id": ["User given multiple times."]})
        faults = [self._fault(row) for row in rows]
        if any(faults):
            return _answer(400, faults)
        unknown = [id_ for id_ in ids if id_ not in self.rows]
        if unknown and not creating:
            return _answer(404, {"detail": f"User with id {unknown[0]} not found."})
        if not set(self.nameless).isdisjoint(ids):
            return _answer(400, {"non_field_errors": ["Something is wrong."]})
        if not set(self.breaking).isdisjoint(ids):
            return _ANSWERS[Trouble.ERROR]  # type: ignore[return-value]  # a 500 is an Answer
        for row in rows:
            self._keep(row, creating=creating)
        return _answer(201 if creating else 200, [])

    def _fault(self, row: dict[str, object]) -> dict[str, list[str]]:
        if row["id"] in self.named:
            return {"name": ["Not this one."]}
        held = row.get("roles", [])
        assert isinstance(held, list)
        unknown = [f"Role with ID {id_} does not exist" for id_ in held if id_ not in self.roles]
        return {"roles": unknown} if unknown else {}

    def _keep(self, row: dict[str, object], *, creating: bool) -> None:
        id_ = row["id"]
        assert isinstance(id_, int)
        if creating:
            self.rows.setdefault(id_, wire.read_user(row))
        else:
            self.rows[id_] = wire.read_user(wire.member_row(self.rows[id_]) | row)


def _answer(status: int, value: object) -> Answer:
    return Answer(status=status, body=wire.encode(value), retry_after=None, seconds=SECONDS)
