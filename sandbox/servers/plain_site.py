"""The stand-in for a plain site, `python -m sandbox.plain_site`."""

import secrets
from pathlib import Path
from typing import ClassVar

import psycopg

from sandbox.servers.website import Website

# The state in which the samples of the real site's answers were taken.
FIRST_USER = 10**17
USER_STEP = 7_919


class PlainSite(Website):
    """A site that offers nothing beyond the contract, and costs what the real one does.

    Every cost is multiplied by `costs`: 0 leaves only what the work itself takes. With
    `memory_limit_mb` the process is killed as soon as more than this is resident.
    """

    name: ClassVar[str] = "plain_site"
    module: ClassVar[str] = "sandbox.plain_site"

    def __init__(
        self,
        directory: Path,
        *,
        database_url: str,
        costs: float = 1.0,
        memory_limit_mb: int | None = None,
    ) -> None:
        super().__init__(
            directory,
            database_url=database_url,
            API_TOKEN=secrets.token_hex(20),
            COSTS=f"{costs:g}",
            **({} if memory_limit_mb is None else {"MEMORY_LIMIT_MB": str(memory_limit_mb)}),
        )

    async def prepare(self) -> None:
        """Take the token that it will make by itself: no other program has to be asked."""
        self.token = self.settings["API_TOKEN"]

    async def seed(self, *, rows: int, roles: int = 60) -> None:
        """Put so many users in place of all that are there, by SQL, and roles that they hold.

        User i (from 0) has the id 10**17 + 7919 * i, is called `user{i}`, shown as `User {i}`, and
        is in the guild; all hold the first role, and every second one holds another besides. Role i
        (from 0) has the id i + 1 and is called `role{i}`.
        """
        async with await psycopg.AsyncConnection.connect(
            self.settings["DATABASE_URL"], autocommit=True
        ) as connection:
            await connection.execute("TRUNCATE api_user, api_role")
            await connection.execute(
                "INSERT INTO api_role (id, name, colour, permissions, position)"
                " SELECT i + 1, 'role' || i, 0, 0, i FROM generate_series(0, %s - 1) AS made(i)",
                [roles],
            )
            await connection.execute(
                "INSERT INTO api_user (id, name, display_name, discriminator, roles, in_guild)"
                " SELECT %s + %s::bigint * i, 'user' || i, 'User ' || i, 0,"
                "  CASE WHEN i %% 2 = 0 OR %s < 2 THEN ARRAY[1]::bigint[]"
                "  ELSE ARRAY[1, 2 + i / 2 %% (%s - 1)]::bigint[] END, true"
                " FROM generate_series(0, %s - 1) AS made(i)",
                [FIRST_USER, USER_STEP, roles, roles, rows],
            )
            await connection.execute("VACUUM ANALYZE api_user, api_role")
