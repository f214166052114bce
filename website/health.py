"""Whether the process lives, and whether it can work: what orchestrators and the bot ask.

Work needs the database, so a thread of its own opens a connection every second and runs a statement
on it: one that is kept open would go on being answered while nobody else gets in. Requests are
answered by what it found last. So they never wait, and nobody can make it ask more often.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import structlog
from django.conf import settings
from django.db.utils import ConnectionHandler
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from website import privacy
from website.reporting import reporter

logger = structlog.get_logger(__name__)

PATH: Final = "/api/healthcheck"
PATHS: Final = frozenset({PATH, f"{PATH}/live"})
EVERY_S: Final = 1.0
CONNECT_TIMEOUT_S: Final = 2  # the least that libpq takes
STATEMENT_TIMEOUT_MS: Final = 1_000
# After this without an answer the database is stuck: more than all of the above together.
MOST_AGE_S: Final = 5.0
_ALIAS: Final = "readiness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """How many connections a PostgreSQL server has, and how many it allows to programs like us."""

    used: int
    allowed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What asking the database came to, and when, by the monotonic clock."""

    at_s: float
    fault: str | None = None
    connections: Connections | None = None


class Readiness:
    """What was found last, renewed in a thread. Of no use before `start`."""

    def __init__(
        self,
        ask: Callable[[], Connections | None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._found: Finding | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Ask once, then go on asking."""
        self.look()
        threading.Thread(target=self._run, name="readiness", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()

    def look(self) -> None:
        """Ask the database now, and log it if the answer is of another kind than before."""
        was_lost = self._found is not None and self._found.fault is not None
        connections, fault = None, None
        try:
            connections = self._ask()
        # Whatever it is, the site can't work. Two libraries' errors, and the system's.
        except Exception as exc:  # noqa: BLE001
            fault = privacy.reason(exc) or type(exc).__name__
        self._found = Finding(at_s=self._clock(), fault=fault, connections=connections)
        if fault is not None and not was_lost:
            logger.error("website.database.lost", error=fault)
            reporter.message("The website's database is lost", context={"error": fault})
        elif fault is None and was_lost:
            logger.info("website.database.found")

    @property
    def fault(self) -> str | None:
        """Why the site can't work now; None if it can."""
        if self._found is None:
            return "nobody has asked the database yet"
        age_s = self._clock() - self._found.at_s
        if age_s > MOST_AGE_S:
            return f"the database has not answered for {age_s:.0f} s"
        return self._found.fault

    @property
    def connections(self) -> Connections | None:
        """How many connections the database had when it last answered; None if it can't tell."""
        return None if self.fault or self._found is None else self._found.connections

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            self.look()


def ask_database() -> Connections | None:
    """Open a connection, read a table, and close it; raise what goes wrong."""
    # Not of `django.db.connections`, which would keep it.
    databases = ConnectionHandler(
        {"default": {}, _ALIAS: _in_a_hurry(settings.DATABASES["default"])}
    )
    connection = databases.create_connection(_ALIAS)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_STATEMENTS[connection.vendor])
            _, used, allowed = cursor.fetchone()
    finally:
        connection.close()
    return None if allowed is None else Connections(used=used, allowed=allowed)


# The first column is what the site needs. All may read the others, whatever their rights.
_STATEMENTS: Final = {
    "postgresql": (
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM api_role LIMIT 1) AS role),"
        " (SELECT sum(numbackends)::int FROM pg_stat_database),"
        " current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int"
    ),
    "sqlite": (
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM api_role LIMIT 1) AS role), NULL, NULL"
    ),
}


def _in_a_hurry(database: dict[str, Any]) -> dict[str, Any]:
    """Return the database's settings with short timeouts, for a look that changes nothing."""
    options = {**database["OPTIONS"]}
    name = database["NAME"]
    if database["ENGINE"].endswith("sqlite3"):
        # `ro`: a file that is gone must not be made anew, and be found to be empty.
        name = f"file:{quote(str(Path(name).absolute()))}?mode=ro"
        options |= {"timeout": STATEMENT_TIMEOUT_MS / 1_000, "init_command": ""}
    else:
        options["options"] += f" -c statement_timeout={STATEMENT_TIMEOUT_MS}"
        options["connect_timeout"] = CONNECT_TIMEOUT_S
    return {**database, "NAME": name, "OPTIONS": options}


readiness: Final = Readiness(ask_database)


@csrf_exempt  # nothing is done here, whatever comes
def ready(request: HttpRequest) -> JsonResponse:
    """Tell whether the site can work: 503 while its database is lost."""
    if request.method not in {"GET", "HEAD"}:
        return _not_allowed(request)
    if readiness.fault is not None:  # which names the server, and is for the log
        return JsonResponse(
            {"detail": "The database is not available."}, status=503, headers={"Retry-After": "5"}
        )
    return JsonResponse({"status": "ok"})


@csrf_exempt
def live(request: HttpRequest) -> JsonResponse:
    """Tell that the process answers, whatever its database does: a restart would not help it."""
    if request.method not in {"GET", "HEAD"}:
        return _not_allowed(request)
    return JsonResponse({"status": "ok"})


def _not_allowed(request: HttpRequest) -> JsonResponse:
    return JsonResponse(
        {"detail": f'Method "{request.method}" not allowed.'},
        status=405,
        headers={"Allow": "GET, HEAD"},
    )
