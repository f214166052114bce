"""The same changes by SQL alone: what the database takes for them, whoever asks it.

The rows travel as one JSON parameter a statement, made before the time is taken. Where nothing
changed all rows are read, which is the least that finds it out without digests.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql

from sandbox.bench.tables import COLUMNS, BenchTables
from sandbox.replay.checks import UserRow

_UPDATE: Final = """
UPDATE api_user SET {changes}
FROM jsonb_to_recordset(%s::jsonb) AS given (id bigint, {typed})
WHERE api_user.id = given.id
"""
_INSERT: Final = """
INSERT INTO api_user ({columns}) SELECT {columns}
FROM jsonb_to_recordset(%s::jsonb) AS given (id bigint, {typed})
"""
_READ: Final = "SELECT {columns} FROM api_user WHERE id >= %s AND id <= %s"
_TYPES: Final = {
    "name": "text",
    "display_name": "text",
    "discriminator": "smallint",
    "in_guild": "boolean",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be written: these fields of these users, created or updated; or all are read."""

    users: Sequence[UserRow]
    fields: tuple[str, ...]
    creates: bool = False

    def rows(self) -> Iterator[dict[str, Any]]:
        """Return what is sent of each user."""
        for user in self.users:
            yield {"id": user.id, **{name: getattr(user, name) for name in self.fields}}


async def run(tables: BenchTables, work: Work, *, rows_a_statement: int | None) -> float:
    """Do the work, in as many statements as that makes, each its own transaction; return seconds.

    None: all in one.
    """
    statement, parameters = _prepared(tables, work, rows_a_statement or len(work.users) or 1)
    async with tables.connection() as connection, connection.cursor(binary=True) as cursor:
        began_s = time.perf_counter()
        for values in parameters:
            await cursor.execute(statement, values)
            if not work.fields:
                await cursor.fetchall()
        return time.perf_counter() - began_s


def _prepared(
    tables: BenchTables, work: Work, size: int
) -> tuple[sql.Composed, list[tuple[object, ...]]]:
    fields = work.fields or COLUMNS[1:]
    types = {**_TYPES, "roles": "bigint[]" if tables.roles_type == "ARRAY" else "jsonb"}
    parts = {
        "columns": _listed(("id", *fields), sql.Identifier),
        "typed": _listed(
            fields, lambda name: sql.SQL("{} {}").format(sql.Identifier(name), _type(types, name))
        ),
        "changes": _listed(
            fields, lambda name: sql.SQL("{0} = given.{0}").format(sql.Identifier(name))
        ),
    }
    text = _INSERT if work.creates else _UPDATE if work.fields else _READ
    statement = sql.SQL(text).format(**parts)
    if not work.fields:
        ids = sorted(user.id for user in work.users)
        return statement, [(part[0], part[-1]) for part in _parts(ids, size)]
    rows = list(work.rows())
    return statement, [(json.dumps(part),) for part in _parts(rows, size)]


def _type(types: Mapping[str, str], name: str) -> sql.SQL:
    return sql.SQL(types[name])


def _listed(names: Sequence[str], make: Callable[[str], sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(map(make, names))


def _parts(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
