"""Users as JSON, a slice at a time: no answer is held as objects, and only once as bytes."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec
from django.http import StreamingHttpResponse

FIELDS: Final = ("id", "name", "display_name", "discriminator", "roles", "in_guild")
# What a new row has where the request says nothing.
DEFAULTS: Final[dict[str, Any]] = {"display_name": "", "roles": [], "in_guild": True}
SLICE_ROWS: Final = 1_000  # bounds a statement's memory on both sides; larger ones gain nothing

_T = TypeVar("_T")


def slices(values: Iterable[_T]) -> Iterator[list[_T]]:
    """Yield the values in lists of at most SLICE_ROWS."""
    rest = iter(values)
    while part := list(islice(rest, SLICE_ROWS)):
        yield part


class _Row(msgspec.Struct, gc=False):
    """A user's row, in the order of FIELDS."""

    id: int
    name: str
    display_name: str
    discriminator: int
    roles: msgspec.Raw
    in_guild: bool


def encode(records: Iterable[Sequence[Any]]) -> bytes:
    """Return the records as the items of a JSON list.

    Their values are those of FIELDS, as the database has them: roles are JSON text, which is
    handed on, but for the blanks that PostgreSQL puts between ids.
    """
    rows = [
        _Row(id_, name, shown, number, msgspec.Raw(roles.replace(" ", "")), bool(in_guild))
        for id_, name, shown, number, roles, in_guild in records
    ]
    return msgspec.json.encode(rows)[1:-1]


def answer(
    pieces: list[bytes],
    *,
    before: bytes = b"[",
    after: bytes = b"]",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> StreamingHttpResponse:
    """Answer JSON: the pieces with commas between them, which takes them out of the list.

    The whole is never joined; Waitress keeps what the client has not read yet in a file.
    """
    length = sum(map(len, pieces)) + max(0, len(pieces) - 1) + len(before) + len(after)

    def content() -> Iterator[bytes]:
        rest = deque(pieces)
        pieces.clear()
        yield before + (rest.popleft() if rest else b"")
        while rest:
            yield b"," + rest.popleft()
        yield after

    return StreamingHttpResponse(
        content(),
        status=status,
        content_type="application/json",
        headers={"Content-Length": str(length), **(headers or {})},
    )
