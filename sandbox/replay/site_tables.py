"""The site's tables by plain SQL: filled, read whole, changed behind the site's back."""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg

from sandbox.replay.checks import RoleRow, UserRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteTables:
    """The roles and users of a website that has migrated its PostgreSQL database."""

    database_url: str

    async def replace(self, *, roles: Iterable[RoleRow], users: Iterable[UserRow]) -> None:
        """Put exactly these rows in place of all that are there."""
        async with await self._connect() as connection, connection.cursor() as cursor:
            await cursor.execute("TRUNCATE api_user, api_role")
            async with cursor.copy(
                "COPY api_role (id, name, colour, permissions, position) FROM STDIN"
            ) as copy:
                for role in roles:
                    await copy.write_row(
                        (role.id, role.name, role.colour, role.permissions, role.position)
                    )
            async with cursor.copy(
                "COPY api_user (id, name, display_name, discriminator, roles, in_guild) FROM STDIN"
            ) as copy:
                for user in users:
                    await copy.write_row(
                        (
                            user.id,
                            user.name,
                            user.display_name,
                            user.discriminator,
                            self._as_kept(user.roles),
                            user.in_guild,
                        )
                    )
            await connection.commit()
            # As on a site that has had these rows for long; autovacuum would get to it mid-run.
            await connection.set_autocommit(True)
            await cursor.execute("VACUUM ANALYZE api_user, api_role")

    async def users(self) -> list[UserRow]:
        """Return every row of the users, by ascending id."""
        async with await self._connect() as connection:
            rows = await connection.execute(
                "SELECT id, name, display_name, discriminator, roles, in_guild"
                " FROM api_user ORDER BY id"
            )
            return [
                UserRow(
                    id=id_,
                    name=name,
                    display_name=display_name,
                    discriminator=discriminator,
                    roles=tuple(roles),
                    in_guild=in_guild,
                )
                async for id_, name, display_name, discriminator, roles, in_guild in rows
            ]

    async def roles(self) -> list[RoleRow]:
        """Return every row of the roles, by ascending id."""
        async with await self._connect() as connection:
            rows = await connection.execute(
                "SELECT id, name, colour, permissions, position FROM api_role ORDER BY id"
            )
            return [
                RoleRow(
                    id=id_, name=name, colour=colour, permissions=permissions, position=position
                )
                async for id_, name, colour, permissions, position in rows
            ]

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Let no user be written while this is entered: whoever tries waits, or gives up."""
        async with await self._connect() as connection:
            await connection.execute("LOCK TABLE api_user IN SHARE MODE")
            yield

    async def rows(self) -> int:
        """Return how many rows there are, of users and of roles."""
        async with await self._connect() as connection:
            counted = await connection.execute(
                "SELECT (SELECT count(*) FROM api_user) + (SELECT count(*) FROM api_role)"
            )
            row = await counted.fetchone()
            return int(row[0]) if row is not None else 0

    async def execute(self, statement: str, *values: object) -> int:
        """Run one statement, each `%s` a value; return how many rows it touched."""
        async with await self._connect() as connection:
            cursor = await connection.execute(statement.encode(), values)
            return cursor.rowcount

    def _as_kept(self, roles: Sequence[int]) -> object:
        """Return a user's roles as the column takes them."""
        return json.dumps(roles)

    async def _connect(self) -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(self.database_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainSiteTables(SiteTables):
    """Those of the stand-in for a plain site, which keeps a user's roles in an array."""

    def _as_kept(self, roles: Sequence[int]) -> object:
        return list(roles)
