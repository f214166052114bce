"""Ready and alive: what orchestrators ask, while the database has its worst days."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest

from sandbox.servers import Postgres
from tests.website.harness import DEADLINE_S, Database, MakeDatabase, StartWebsite, Website
from website.health import MOST_AGE_S, Connections, Readiness


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_site_is_not_ready_before_it_knows() -> None:
    """Nobody is let in on a guess."""
    readiness = Readiness(lambda: None)

    assert (readiness.fault, readiness.connections) == (
        "nobody has asked the database yet",
        None,
    )


def test_what_was_found_last_counts_until_it_is_too_old() -> None:
    """A database that takes the question and never answers is lost as well."""
    clock = Clock()
    readiness = Readiness(lambda: Connections(used=3, allowed=97), clock=clock)
    readiness.look()
    at_once = (readiness.fault, readiness.connections)
    clock.now_s = MOST_AGE_S
    in_time = readiness.fault
    clock.now_s = MOST_AGE_S + 1

    assert (at_once, in_time) == ((None, Connections(used=3, allowed=97)), None)
    assert (readiness.fault, readiness.connections) == (
        "the database has not answered for 6 s",
        None,
    )


def test_one_look_that_works_makes_it_ready_again() -> None:
    """Each look counts by itself: what went wrong, and nothing once it works."""
    answers: list[Exception | None] = [OSError("refused"), OSError(), None]

    def ask() -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    readiness = Readiness(ask)
    faults = []
    while answers:
        readiness.look()
        faults.append(readiness.fault)

    assert faults == ["refused", "OSError", None]


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    """Give a PostgreSQL that nobody else needs."""
    server = Postgres(tmp_path, durable=False)
    asyncio.run(server.start())
    try:
        yield server
    finally:
        asyncio.run(server.close())


def statuses(site: Website) -> tuple[int, int]:
    """Return what the site says of being ready and of being alive, each within a second."""
    with site.client(timeout_s=1) as client:
        return tuple(  # type: ignore[return-value]  # two of them
            client.get(path).status_code for path in ("healthcheck", "healthcheck/live")
        )


def settled(site: Website, expected: tuple[int, int]) -> tuple[int, int]:
    """Return what the site says once it says so, or at last."""
    deadline_s = time.monotonic() + DEADLINE_S
    while (said := statuses(site)) != expected and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return said


def test_ready_is_who_can_reach_the_database(
    start_website: StartWebsite, own_postgres: Postgres
) -> None:
    """With PostgreSQL full, frozen or stopped the site is not ready, but lives; then it is again.

    Neither answer ever waits, for all the site's clients ask for them.
    """
    site = start_website(Database(vendor="postgresql", url=own_postgres.url()))
    seen = {"at the start": statuses(site)}

    with ExitStack() as others:
        take_all_connections(own_postgres.url(), others)
        seen["full"] = settled(site, (503, 200))
    seen["free"] = settled(site, (200, 200))
    os.kill(own_postgres.pid, signal.SIGSTOP)
    seen["frozen"] = settled(site, (503, 200))
    os.kill(own_postgres.pid, signal.SIGCONT)
    seen["thawed"] = settled(site, (200, 200))
    asyncio.run(own_postgres.stop())
    seen["stopped"] = settled(site, (503, 200))
    with site.client() as client:
        said = client.get("healthcheck")

    assert seen == {
        "at the start": (200, 200),
        "full": (503, 200),
        "free": (200, 200),
        "frozen": (503, 200),
        "thawed": (200, 200),
        "stopped": (503, 200),
    }
    assert (said.json(), said.headers["Retry-After"]) == (
        {"detail": "The database is not available."},
        "5",
    )
    lost = [line for line in site.lines if line["event"] == "website.database.lost"]
    assert "too many clients" in lost[0]["error"]


def take_all_connections(url: str, held: ExitStack) -> None:
    """Open connections until the server takes no more."""
    while True:
        try:
            held.enter_context(closing(psycopg.connect(url)))
        except psycopg.OperationalError:
            return


def test_a_database_file_that_is_gone_is_not_made_anew(
    start_website: StartWebsite, make_database: MakeDatabase
) -> None:
    """With SQLite it is the file that is looked into; looking must not put an empty one there."""
    site = start_website(make_database("sqlite"))
    before = statuses(site)
    file = Path(site.database.url.removeprefix("sqlite:///"))
    file.rename(file.with_name("elsewhere"))
    after = settled(site, (503, 200))

    assert (before, after, file.exists()) == ((200, 200), (503, 200), False)


@pytest.mark.parametrize("path", ["healthcheck", "healthcheck/live"])
def test_health_is_only_looked_at(postgres_website: Website, path: str) -> None:
    """Nothing else than looking is taken, with a key or without."""
    with postgres_website.client() as client:
        statuses_by_method = {
            method: client.request(method, path, headers={"Authorization": ""}).status_code
            for method in ("GET", "HEAD", "POST", "DELETE")
        }

    assert statuses_by_method == {"GET": 200, "HEAD": 200, "POST": 405, "DELETE": 405}
