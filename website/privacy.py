"""What may be said of an exception where it is kept: never what somebody is called, nor a secret.

PostgreSQL explains an error with the row it is about, Python many a one with the value. So of an
exception its type and its frames are told, and its own words only where they can't hold a value.
"""

import json
import re
import sqlite3
import traceback
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, InterfaceError, OperationalError

REDACTED: Final = "[redacted]"
_SHORTEST_SECRET: Final = 6  # anything shorter guards nothing, and occurs by chance
# They name files, modules, attributes and types, or are ours.
_PLAIN_SPOKEN: Final = (
    *(OSError, ImportError, AttributeError, NameError, TypeError, IndexError),
    *(MemoryError, RecursionError, NotImplementedError, ImproperlyConfigured),
)
# They speak of the server, a lock or a limit. Their first line does: the others may have a row.
_OF_THE_SERVER: Final = (
    *(OperationalError, psycopg.OperationalError, sqlite3.OperationalError),
    *(InterfaceError, psycopg.InterfaceError, sqlite3.InterfaceError),
)


def first_line(exc: BaseException) -> str:
    """Return the first line of what an exception says, cut."""
    return str(exc).strip().partition("\n")[0][:300]


def facts(exc: BaseException) -> dict[str, str]:
    """Return what the database says of an error in words of its own: codes and names of its schema.

    Keys: `sqlstate`, `table`, `column`, `constraint`, each where it is known.
    """
    cause = exc.__cause__ if isinstance(exc, Error) else exc
    if isinstance(cause, psycopg.Error):
        known = {
            "sqlstate": cause.sqlstate,
            "table": cause.diag.table_name,
            "column": cause.diag.column_name,
            "constraint": cause.diag.constraint_name,
        }
        return {name: text for name, text in known.items() if text}
    if isinstance(cause, sqlite3.IntegrityError):
        # It says which kind failed, and after a colon the name, or table and column.
        return {"constraint": str(cause).rpartition(": ")[2]}
    return {}


def reason(exc: BaseException) -> str:
    """Return what an exception says, where that can't be anybody's; else what the database does."""
    if isinstance(exc, _OF_THE_SERVER):
        return first_line(exc)
    if isinstance(exc, _PLAIN_SPOKEN):
        return str(exc)
    return " ".join(f"{key}={text}" for key, text in facts(exc).items())


def chain(exc: BaseException) -> list[BaseException]:
    """Return the exception after those that led to it, the first of them first."""
    found: list[BaseException] = []
    one: BaseException | None = exc
    while one is not None and one not in found:
        found.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return found[::-1]


def described(exc: BaseException) -> str:
    """Return the tracebacks of the whole chain, as Python would print them but for the words."""
    return "\n\nwhich led to\n\n".join(_described(one) for one in chain(exc))


def _described(exc: BaseException) -> str:
    kind = type(exc)
    name = kind.__qualname__ if kind.__module__ == "builtins" else _full_name(kind)
    frames = "".join(traceback.format_tb(exc.__traceback__))
    head = f"Traceback (most recent call last):\n{frames}" if frames else ""
    return head + ": ".join(filter(None, (name, reason(exc))))


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


# -- secrets -------------------------------------------------------------------------------------
# The last line of defence: nothing should say them, and nothing that says them comes through.
_hidden: list[re.Pattern[str]] = []


def hide(secrets: Iterable[str]) -> None:
    """Take these out of what is told from now on, in each spelling that they may come in."""
    spellings = {
        spelling
        for secret in secrets
        if len(secret) >= _SHORTEST_SECRET
        for spelling in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret))
    }
    longest_first = sorted(spellings, key=len, reverse=True)  # one may hold another
    _hidden[:] = [re.compile("|".join(map(re.escape, longest_first)))] if spellings else []


def without_secrets(text: str) -> str:
    """Return the text without what is hidden."""
    for pattern in _hidden:
        text = pattern.sub(REDACTED, text)
    return text


def without_secrets_within(value: Any) -> Any:
    """Return a copy of a JSON-like value without what is hidden."""
    match value:
        case str():
            return without_secrets(value)
        case Mapping():
            return {key: without_secrets_within(item) for key, item in value.items()}
        case list() | tuple():
            return [without_secrets_within(item) for item in value]
        case _:
            return value
