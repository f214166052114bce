"""A trigger of ours on the site's tables: each row written, and when; the site knows nothing of it.

It is put into a scenario's own database only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg

from sandbox.replay.checks import RoleRow, UserRow
from sandbox.replay.chronicle import Key, Row, SiteWrite

# A statement is noted as one set, at its end: a trigger for each row would slow the site down.
_INSTALL: Final = b"""
DROP TABLE IF EXISTS sandbox_audit;
CREATE TABLE sandbox_audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    of text NOT NULL,
    operation text NOT NULL,
    row jsonb NOT NULL
);
CREATE OR REPLACE FUNCTION sandbox_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sandbox_audit (of, operation, row)
    SELECT TG_TABLE_NAME, TG_OP, to_jsonb(touched) FROM touched;
    RETURN NULL;
END $$;
"""
_TRIGGER: Final = """
CREATE OR REPLACE TRIGGER sandbox_note_{operation} AFTER {operation} ON {table}
REFERENCING {which} TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION sandbox_note();
"""
_TABLES: Final = {"api_user": UserRow, "api_role": RoleRow}
_OPERATIONS: Final = {"INSERT": "NEW", "UPDATE": "NEW", "DELETE": "OLD"}


@dataclass(slots=True, kw_only=True)
class SiteAudit:
    """What is written to the users and roles of a migrated website's PostgreSQL database."""

    database_url: str
    _read_up_to: int = 0

    async def begin(self) -> None:
        """Note every row that is written from now on, and forget what was noted before."""
        async with await self._connect() as connection:
            await connection.execute(_INSTALL)
            for table in _TABLES:
                for operation, which in _OPERATIONS.items():
                    statement = _TRIGGER.format(table=table, operation=operation, which=which)
                    await connection.execute(statement.encode())
        self._read_up_to = 0

    async def news(self) -> list[SiteWrite]:
        """Return what was written since the last call, but for transactions still under way.

        All that a transaction wrote comes at once, with the moment of its commit.
        """
        async with await self._connect() as connection:
            # Every transaction below the snapshot's xmin has ended: none can come in late.
            cursor = await connection.execute(
                "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
            )
            row = await cursor.fetchone()
            assert row is not None  # noqa: S101  a SELECT without FROM has one row
            up_to = int(row[0])
            cursor = await connection.execute(
                "SELECT pg_xact_commit_timestamp(xmin), of, operation, row FROM sandbox_audit"
                " WHERE transaction >= %s::text::xid8 AND transaction < %s::text::xid8"
                " ORDER BY 1, id",
                (self._read_up_to, up_to),
            )
            writes = [_write(*record) async for record in cursor]
        self._read_up_to = up_to
        return writes

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(self.database_url)


def _write(at: datetime, table: str, operation: str, fields: Mapping[str, Any]) -> SiteWrite:
    row: Row = (
        UserRow(**{**fields, "roles": tuple(fields["roles"])})
        if table == "api_user"
        else RoleRow(**fields)
    )
    key = Key("user" if table == "api_user" else "role", row.id)
    return SiteWrite(at=at, key=key, row=None if operation == "DELETE" else row)
