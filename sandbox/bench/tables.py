"""A site's rows by SQL: put out of step again and again, and compared, without a row in Python.

The rows that there should be are kept in tables beside the site's own. A million rows are put out
of step in seconds that way.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from sandbox.replay.checks import RoleRow, UserRow
from sandbox.replay.site_tables import SiteTables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COLUMNS: Final = ("id", "name", "display_name", "discriminator", "roles", "in_guild")
_OLD_NAME: Final = "before"
_KEEP: Final = """
DROP TABLE IF EXISTS bench_user, bench_role;
CREATE UNLOGGED TABLE bench_role AS TABLE api_role;
CREATE UNLOGGED TABLE bench_user AS SELECT {columns} FROM api_user;
ALTER TABLE bench_user ADD PRIMARY KEY (id);
ANALYZE bench_user, bench_role
"""
_SPOIL: Final = """
INSERT INTO api_user ({columns})
SELECT id, CASE WHEN id = ANY(%(renamed)s) THEN %(old_name)s ELSE name END, display_name,
       discriminator, {roles}, in_guild
FROM bench_user WHERE NOT %(emptied)s ORDER BY id
"""
# How one role more is added, as the column is typed.
_WITH_ROLE: Final = {"jsonb": "roles || to_jsonb(%(role)s::bigint)", "ARRAY": "roles || %(role)s"}
_DIFFERING: Final = """
SELECT (SELECT count(*) FROM api_user AS a FULL JOIN bench_user AS b USING (id)
        WHERE ({a}) IS DISTINCT FROM ({b}))
     + (SELECT count(*) FROM (TABLE api_role EXCEPT TABLE bench_role) AS more)
     + (SELECT count(*) FROM (TABLE bench_role EXCEPT TABLE api_role) AS fewer)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoilt:
    """How a site is put out of step.

    The rows of these ids have another name, every row has a `role` that is gone, which the site
    knows as well, or there are no users at all.
    """

    renamed: frozenset[int] = frozenset()
    role: RoleRow | None = None
    emptied: bool = False


class JsonTables(SiteTables):
    """Those of the version before, which keeps a user's roles as JSON, whatever ours does."""

    def _as_kept(self, roles: Sequence[int]) -> object:
        return json.dumps(roles)


class BenchTables:
    """The tables of a site, and beside them what should be in them."""

    def __init__(self, tables: SiteTables) -> None:
        self._tables = tables
        self.roles_type = ""  # of the column, as the information schema names it

    async def keep(self, *, roles: Iterable[RoleRow], users: Iterable[UserRow]) -> None:
        """Fill the site with these rows, and keep them as those that should be there."""
        await self._tables.replace(roles=roles, users=users)
        async with self.connection() as connection:
            cursor = await connection.execute(
                "SELECT data_type FROM information_schema.columns"
                " WHERE table_name = 'api_user' AND column_name = 'roles'"
            )
            found = await cursor.fetchone()
            self.roles_type = "" if found is None else str(found[0])
            await connection.execute(_statement(_KEEP))

    async def spoil(self, how: Spoilt) -> None:
        """Put the site out of step so, and let it be as if it had been so for long."""
        values = {
            "renamed": list(how.renamed),
            "old_name": _OLD_NAME,
            "emptied": how.emptied,
            "role": how.role.id if how.role else None,
        }
        roles = sql.SQL("roles")
        if how.role is not None:
            roles = sql.SQL(_WITH_ROLE[self.roles_type])
        async with self.connection() as connection:
            async with connection.transaction():
                await connection.execute("TRUNCATE api_user, api_role")
                await connection.execute("INSERT INTO api_role SELECT * FROM bench_role")
                if how.role is not None:
                    await connection.execute(
                        "INSERT INTO api_role (id, name, colour, permissions, position)"
                        " VALUES (%s, %s, %s, %s, %s)",
                        (
                            how.role.id,
                            how.role.name,
                            how.role.colour,
                            how.role.permissions,
                            how.role.position,
                        ),
                    )
                await connection.execute(_statement(_SPOIL, roles=roles), values)
            # Autovacuum and the checkpointer would get to it in the middle of what is measured.
            await connection.execute("VACUUM ANALYZE api_user, api_role")
            await connection.execute("CHECKPOINT")

    async def differing(self) -> int:
        """Count the rows, of users and roles, that are not as they should be."""
        sides = {
            side: sql.SQL(", ").join(sql.Identifier(side, column) for column in COLUMNS[1:])
            for side in ("a", "b")
        }
        async with self.connection() as connection:
            cursor = await connection.execute(_statement(_DIFFERING, **sides))
            row = await cursor.fetchone()
            return int(row[0]) if row is not None else 0

    @asynccontextmanager
    async def connection(self) -> "AsyncIterator[psycopg.AsyncConnection[Any]]":
        """Lend a connection on which each statement is a transaction of its own."""
        async with await psycopg.AsyncConnection.connect(
            self._tables.database_url, autocommit=True
        ) as connection:
            yield connection


def _statement(text: str, **parts: sql.Composable) -> sql.Composed:
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    return sql.SQL(text).format(columns=columns, **parts)
