"""What looks on inside a real website, through its `EXTRA_MIDDLEWARE`, and logs what it sees."""

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse

from website.api import parsers, whole

logger = structlog.get_logger(__name__)

Respond = Callable[[HttpRequest], HttpResponse]
_PLANNED = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")


class Explaining:
    """Log PostgreSQL's plan of each statement of a request, beside its SQL.

    The statement is carried out twice: once for its plan, which is undone.
    """

    def __init__(self, respond: Respond) -> None:
        self._respond = respond

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        with connection.execute_wrapper(_explain):
            return self._respond(request)


def _explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001  Django's interface
    if sql.lstrip().startswith(_PLANNED):
        with transaction.atomic(), connection.connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF) {sql}", params)
            plan = [line for (line,) in cursor]
            transaction.set_rollback(True)
        logger.info("website.statement.explained", sql=" ".join(sql.split()), plan=plan)
    return execute(sql, params, many, context)


class NeverCollecting:
    """Keep what is garbage only because it refers to itself: as if Python had not come to it."""

    def __init__(self, respond: Respond) -> None:
        gc.disable()
        self._respond = respond

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        return self._respond(request)


class Timing:
    """Log what the parts of a request take, in ms: its body, its check, its statements."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._parts_ms: defaultdict[str, float] = defaultdict(float)
        for module, name, part in (
            (parsers.LazyListParser, "parse", "reading the body"),
            (whole, "read", "decoding and checking"),
        ):
            setattr(module, name, self._timed(part, getattr(module, name)))

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request. One at a time, please."""
        self._parts_ms.clear()
        with connection.execute_wrapper(self._statement), self._taken("inside"):
            response = self._respond(request)
        logger.info("website.parts.timed", parts_ms=dict(self._parts_ms))
        return response

    def _statement(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001  Django's interface
        is_write = sql.lstrip().startswith(("INSERT", "UPDATE", "WITH"))
        with self._taken("writing" if is_write else "asking for the key"):
            return execute(sql, params, many, context)

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self._taken(part):
                return function(*args, **kwargs)

        return timed

    @contextmanager
    def _taken(self, part: str) -> Iterator[None]:
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self._parts_ms[part] += (time.perf_counter() - began_s) * 1_000
