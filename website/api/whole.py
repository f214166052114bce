"""A list of users whose rows are all plainly right and give the same fields: decoded as a whole.

This is what the bot sends. It takes nothing that a check row by row (`bulk.check`) would refuse or
change, but for one thing: whether the site has the roles is for the statement that writes them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Final

import msgspec

from website.api import items
from website.api.limits import LARGEST_BIGINT, LARGEST_DISCRIMINATOR, LONGEST_NAME, MOST_ROLES
from website.api.rows import FIELDS, SLICE_ROWS

# The longest body, in characters, that is decoded as a whole, which takes three times its memory.
LARGEST_BODY: Final = 512 * 1_024

_Id = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_BIGINT)]
_TYPES: Final[dict[str, Any]] = {
    "id": _Id,
    "name": Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)],
    "display_name": Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)],
    "discriminator": Annotated[int, msgspec.Meta(ge=0, le=LARGEST_DISCRIMINATOR)],
    "roles": Annotated[list[_Id], msgspec.Meta(max_length=MOST_ROLES)],
    "in_guild": bool,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Rows that all give `id` and these fields; in the order of the request.

    `rows` is a JSON list of them, `roles` one of the ids of all their roles.
    """

    ids: Sequence[int]
    fields: tuple[str, ...]
    rows: str
    roles: str


def read(text: str, *, most_rows: int) -> Chunk | None:
    """Return what the text holds; None if it is anything else, or more than one slice."""
    if len(text) > LARGEST_BODY:
        return None
    try:
        first = next(items.items(text), None)
        if not isinstance(first, dict) or "id" not in first or not first.keys() <= _TYPES.keys():
            return None
        fields = tuple(field for field in FIELDS if field in first)
        rows = _decoder(fields).decode(text)
    except (ValueError, RecursionError):
        return None
    if len(rows) > min(SLICE_ROWS, most_rows):
        return None
    columns = {field: [*map(attrgetter(field), rows)] for field in fields}
    role_ids = _distinct(columns.get("roles", ()))
    texts = [*columns.get("name", ()), *columns.get("display_name", ())]
    if role_ids is None or len({*columns["id"]}) < len(rows) or not _are_stripped(texts):
        return None
    return Chunk(
        ids=columns["id"],
        fields=fields[1:],
        rows=msgspec.json.encode(rows).decode(),
        roles=json.dumps([*role_ids]),
    )


@cache
def _decoder(fields: tuple[str, ...]) -> msgspec.json.Decoder[list[Any]]:
    """Return what decodes a list of rows that give these fields, all of them and no other."""
    row = msgspec.defstruct(
        "Row", [(field, _TYPES[field]) for field in fields], gc=False, forbid_unknown_fields=True
    )
    return msgspec.json.Decoder(list[row])  # type: ignore[valid-type]  # made just now


def _distinct(roles: Sequence[list[int]]) -> frozenset[int] | None:
    """Return the ids of all of these; None if one row has any of them twice."""
    if sum(map(len, map(frozenset, roles))) != sum(map(len, roles)):
        return None
    return frozenset().union(*roles)


def _are_stripped(texts: list[str]) -> bool:
    return [*map(str.strip, texts)] == texts and "\0" not in "".join(texts)
