"""What may be said of an exception where it is kept: never what somebody is called, nor a secret.

PostgreSQL explains an error with the row it is about, Python many a one with the value. So of an
exception its type and its frames are told, and its own words only where they can't hold a value.
"""

import sqlite3
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Final

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, InterfaceError, OperationalError

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


def words(exc: BaseException) -> str:
    """Return an exception in one line: its type, and of its words what can't be anybody's."""
    kind = type(exc)
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = f"{kind.__module__}.{name}"
    if isinstance(exc, _OF_THE_SERVER):
        return f"{name}: {first_line(exc)}"
    if isinstance(exc, _PLAIN_SPOKEN):
        return f"{name}: {exc}"
    of_database = " ".join(f"{key}={text}" for key, text in facts(exc).items())
    return f"{name}: {of_database}" if of_database else name


def described(exc: BaseException) -> str:
    """Return the traceback, of causes first, as Python would print it but for the words."""
    return "\n".join(_parts(exc, set()))


def _parts(exc: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(exc))
    cause, context = exc.__cause__, exc.__context__
    if cause is not None and id(cause) not in seen:
        yield from _parts(cause, seen)
        yield "\nThe above exception was the direct cause of the following exception:\n"
    elif context is not None and not exc.__suppress_context__ and id(context) not in seen:
        yield from _parts(context, seen)
        yield "\nDuring handling of the above exception, another exception occurred:\n"
    yield _frames(exc.__traceback__) + words(exc)
    if isinstance(exc, BaseExceptionGroup):
        for one in exc.exceptions:
            if id(one) not in seen:
                yield from _parts(one, seen)


def _frames(tb: TracebackType | None) -> str:
    frames = "".join(traceback.format_tb(tb)) if tb is not None else ""
    return f"Traceback (most recent call last):\n{frames}" if frames else ""
