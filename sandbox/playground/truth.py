"""How many rows differ between guild and site, asked of the database itself.

What the guild has is kept in tables beside the site's own, in a schema of our own; one query
compares them. The site and the bot know nothing of it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import psycopg

from sandbox.replay import checks
from sandbox.replay.checks import RoleRow, UserRow

Json = dict[str, Any]

_TABLES: Final = """
CREATE SCHEMA IF NOT EXISTS playground;
DROP TABLE IF EXISTS playground.member, playground.role;
CREATE TABLE playground.member (id bigint PRIMARY KEY, name text, display_name text,
  discriminator integer, roles bigint[]);
CREATE TABLE playground.role (id bigint PRIMARY KEY, name text, colour bigint,
  permissions numeric, position integer);
"""
_DIFFER: Final = """
SELECT (
  SELECT count(*) FROM api_user AS site FULL JOIN playground.member AS guild USING (id)
  WHERE CASE
    WHEN guild.id IS NULL THEN site.in_guild
    WHEN site.id IS NULL OR NOT site.in_guild THEN true
    ELSE site.name <> guild.name OR site.display_name <> guild.display_name
      OR site.discriminator <> guild.discriminator
      OR NOT (site.roles @> {roles} AND site.roles <@ {roles})
  END
) + (
  SELECT count(*) FROM api_role AS site FULL JOIN playground.role AS guild USING (id)
  WHERE guild.id IS NULL OR site.id IS NULL OR site.name <> guild.name
    OR site.colour <> guild.colour OR site.permissions <> guild.permissions
    OR site.position <> guild.position
)
"""
_TIMEOUT_S: Final = 3


class Truth:
    """The guild as it is, in the site's database, and how much of the site differs from it.

    `plain` says that the site keeps a user's roles in an array, not in JSON. Every method raises
    psycopg.Error or OSError while the database is away.
    """

    def __init__(self, *, database_url: str, guild: int, plain: bool) -> None:
        self._database_url = database_url
        self._guild = guild
        roles = "guild.roles" if plain else "to_jsonb(guild.roles)"
        self._query = _DIFFER.format(roles=roles)

    async def begin(self, *, roles: Iterable[RoleRow], members: Iterable[UserRow]) -> None:
        """Take the guild for what these rows say."""
        async with await self._connect() as connection, connection.cursor() as cursor:
            await cursor.execute(_TABLES)
            async with cursor.copy("COPY playground.member FROM STDIN") as copy:
                for member in members:
                    await copy.write_row(_member(member))
            async with cursor.copy("COPY playground.role FROM STDIN") as copy:
                for role in roles:
                    await copy.write_row(_role(role))
            await cursor.execute("ANALYZE playground.member")

    async def follow(self, history: Sequence[Json]) -> None:
        """Take in what was done to the guild, as `DiscordControl.history` tells it."""
        async with await self._connect() as connection, connection.cursor() as cursor:
            for change in history:
                await self._apply(cursor, change)

    async def _apply(self, cursor: psycopg.AsyncCursor[Any], change: Json) -> None:
        id_, row = change["id"], change["row"]
        if change["op"] == "delete_role":
            await cursor.execute("DELETE FROM playground.role WHERE id = %s", [id_])
            # Who held it has no entry of their own.
            await cursor.execute(
                "UPDATE playground.member SET roles = array_remove(roles, %s)"
                " WHERE %s = ANY(roles)",
                [id_, id_],
            )
        elif change["op"] == "put_role":
            await cursor.execute("DELETE FROM playground.role WHERE id = %s", [id_])
            await cursor.execute(
                "INSERT INTO playground.role VALUES (%s, %s, %s, %s, %s)",
                _role(checks.expected_role(row)),
            )
        else:
            await cursor.execute("DELETE FROM playground.member WHERE id = %s", [id_])
            if row is not None:
                await cursor.execute(
                    "INSERT INTO playground.member VALUES (%s, %s, %s, %s, %s)",
                    _member(checks.expected_user(row, self._guild)),
                )

    async def differing(self) -> int:
        """Return how many rows of the site are not what the guild says, users and roles."""
        async with await self._connect() as connection:
            cursor = await connection.execute(self._query.encode())
            row = await cursor.fetchone()
            return 0 if row is None else int(row[0])

    async def _connect(self) -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(
            self._database_url, connect_timeout=_TIMEOUT_S, options="-c statement_timeout=10000"
        )


def _member(row: UserRow) -> tuple[object, ...]:
    return (row.id, row.name, row.display_name, row.discriminator, list(row.roles))


def _role(row: RoleRow) -> tuple[object, ...]:
    return (row.id, row.name, row.colour, row.permissions, row.position)
