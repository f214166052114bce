"""The SQL of many users at once, by database. The rows travel as one JSON parameter, `rows`.

What took the real site down was one `UPDATE` with a `CASE WHEN` arm per row. Here the database
turns the parameter into a set, and joins it.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final

from website.api.rows import FIELDS

_TYPES: Final = {
    "id": "bigint",
    "name": "text",
    "display_name": "text",
    "discriminator": "smallint",
    "roles": "jsonb",
    "in_guild": "boolean",
}
_COLUMNS: Final = ", ".join(FIELDS)
_OTHERS: Final = FIELDS[1:]  # than the id
_RETURNING: Final = " RETURNING " + ", ".join(f"api_user.{field}" for field in FIELDS)


def _given(vendor: str, fields: Sequence[str] = FIELDS) -> str:
    """Return the rows of the parameter as a table `given`, with these columns."""
    if vendor == "postgresql":
        typed = ", ".join(f"{field} {_TYPES[field]}" for field in fields)
        return f"jsonb_to_recordset(%(rows)s::jsonb) AS given({typed})"
    # `->>` would unpack JSON strings too; json_extract gives a nested list as JSON text.
    extracts = ", ".join(f"json_extract(value, '$.{field}') AS {field}" for field in fields)
    return f"(SELECT {extracts} FROM json_each(%(rows)s)) AS given"  # noqa: S608  constants


# Whether the site has all roles of a JSON list of ids.
_KNOWS_ROLES: Final = {
    "postgresql": "NOT EXISTS (SELECT FROM jsonb_array_elements_text(%(roles)s::jsonb) AS used(id)"
    " WHERE used.id::bigint NOT IN (SELECT id FROM api_role))",
    "sqlite": "NOT EXISTS (SELECT 1 FROM json_each(%(roles)s)"
    " WHERE value NOT IN (SELECT id FROM api_role))",
}


@cache
def insert(vendor: str, *, checks_roles: bool = False) -> str:
    """Return the statement that adds the rows whose ids are new.

    With `checks_roles` none is added if the site does not have all `roles`, a JSON list of ids.
    """
    # Without a WHERE, SQLite takes ON for a join's.
    condition = _KNOWS_ROLES[vendor] if checks_roles else "true"
    # In order, so that two requests that share new ids wait in one order.
    return (
        f"INSERT INTO api_user ({_COLUMNS}) SELECT {_COLUMNS} FROM {_given(vendor)}"  # noqa: S608
        f" WHERE {condition} ORDER BY id ON CONFLICT (id) DO NOTHING"
    )


@cache
def update(vendor: str, *, returns: bool) -> str:
    """Return the statement that changes, of each row, the fields that it gives.

    The caller has locked all rows.
    """
    # No field can be null, so one that a row does not give arrives as null and stays as it is.
    changes = ", ".join(f"{field} = COALESCE(given.{field}, api_user.{field})" for field in _OTHERS)
    return (
        f"UPDATE api_user SET {changes} FROM {_given(vendor)}"  # noqa: S608
        f" WHERE api_user.id = given.id{_RETURNING if returns else ''}"
    )


@cache
def update_all(vendor: str, fields: tuple[str, ...], *, returns: bool) -> str:
    """Return the statement that changes these fields of all rows, if it can; else of none.

    None is changed if the site lacks one of the rows, whose number is `count`, or one of `roles`, a
    JSON list of ids. On PostgreSQL the rows are locked in ascending order of ids before any is
    written, so that no two requests ever wait for each other in a circle.
    """
    rest = _RETURNING if returns else ""
    given = _given(vendor, ("id", *fields))
    if vendor == "postgresql":
        changes = ", ".join(f"{field} = locked.{field}" for field in fields)
        values = ", ".join(f"given.{field}" for field in fields)
        return f"""
            WITH locked AS MATERIALIZED (
                SELECT id, {values} FROM {given} JOIN api_user USING (id)
                 ORDER BY id FOR NO KEY UPDATE OF api_user
            )
            UPDATE api_user SET {changes} FROM locked WHERE api_user.id = locked.id
               AND (SELECT count(*) FROM locked) = %(count)s AND {_KNOWS_ROLES[vendor]}{rest}
        """  # noqa: S608
    changes = ", ".join(f"{field} = given.{field}" for field in fields)
    # Without WITH, or Python's `sqlite3` would not count the rows that are changed.
    return f"""
        UPDATE api_user SET {changes} FROM {given}
         WHERE api_user.id = given.id
           AND (SELECT count(*) FROM {given} JOIN api_user USING (id)) = %(count)s
           AND {_KNOWS_ROLES[vendor]}{rest}
    """  # noqa: S608
