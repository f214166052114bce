"""Lists that are too long for a message: CSV that a spreadsheet can open without harm."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..model.members import Field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..model.members import Member
    from ..policy.departures import WithheldList

# Discord takes files of 10 MiB; a mebibyte of it is for the rest of the request.
MAX_FILE_BYTES: Final = 9 * 1024 * 1024
# Source: OWASP, "CSV Injection": how a cell begins that a spreadsheet takes for a formula.
_FORMULA: Final = ("=", "+", "-", "@")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

PLAN_HEADER: Final = ("id", "change", "field", "site", "guild")
WITHHELD_HEADER: Final = ("id", "name on the site")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file to be attached to an answer; `left_out` counts lines that it had no room for."""

    name: str
    content: bytes
    left_out: int = 0


def line(cells: Iterable[object]) -> bytes:
    """Return a line of CSV; no cell of it is ever taken for a formula."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([_plain(str(cell)) for cell in cells])
    return text.getvalue().encode("utf-8", "replace")


def _plain(cell: str) -> str:
    # On one line: not every reader of CSV takes a quoted line break for a part of its cell.
    flat = _CONTROLS.sub(" ", cell)
    return f"'{flat}" if flat.startswith(_FORMULA) else flat


def differing(member: Member, row: Member | None, fields: Iterable[Field]) -> Iterator[bytes]:
    """Yield a line for each of these fields of a member; `row` is the site's, None if it has none.

    Of roles only the ids are named that one side lacks.
    """
    change = "create" if row is None else "update"
    for field in fields:
        ours = getattr(member, field.value)
        theirs = None if row is None else getattr(row, field.value)
        if field is Field.ROLES:
            held, kept = set(ours), set(theirs or ())
            ours, theirs = _ids(held - kept), _ids(kept - held)
        yield line((member.id, change, field.value, "" if theirs is None else theirs, ours))


def _ids(ids: Iterable[int]) -> str:
    return " ".join(map(str, sorted(ids)))


def withheld_file(list_: WithheldList, *, max_bytes: int = MAX_FILE_BYTES) -> File:
    """Return who is on a list, with the names that the site gives them as far as they are kept."""
    parts = [line(WITHHELD_HEADER)]
    size = len(parts[0])
    for place, id_ in enumerate(list_.ids):
        part = line((id_, list_.names.get(id_, "")))
        size += len(part)
        if size > max_bytes:
            return _file(list_, parts, left_out=len(list_.ids) - place)
        parts.append(part)
    return _file(list_, parts)


def _file(list_: WithheldList, parts: Iterable[bytes], *, left_out: int = 0) -> File:
    name = f"{list_.what.value.replace(' ', '-')}-{list_.digest}.csv"
    return File(name=name, content=b"".join(parts), left_out=left_out)
