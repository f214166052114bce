"""The servers that the tests of the site share."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache

import psycopg
import pytest

from sandbox.servers import Postgres
from tests.website.harness import (
    KNOWN_ROLES,
    Database,
    MakeDatabase,
    StartWebsite,
    Vendor,
    Website,
    add_key,
    add_roles,
    bot_account,
    environment,
)


@pytest.fixture(scope="session")
def start_website(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartWebsite]:
    """Give a function that starts sites, and stop those that still run at the end."""
    with ExitStack() as stack:

        def start(database: Database, **settings: str) -> Website:
            directory = tmp_path_factory.mktemp("website")
            variables = environment(database.url, **settings)
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "website"],
                    cwd=directory,
                    env=variables,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            site = Website(process=process, database=database)
            reader = threading.Thread(target=site.read_log)
            reader.start()
            stack.callback(reader.join)
            stack.callback(process.send_signal, signal.SIGKILL)
            started = site.wait_for(lambda line: line["event"] == "website.started")
            site.url = f"http://{started['host']}:{started['port']}"
            site.token = add_key(database, bot_account(database))
            with site.client() as client:
                # A key counts as the bot's, and has its share of the site, from its first use on.
                client.get("bot/sync/capabilities").raise_for_status()
            return site

        yield start


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one PostgreSQL for all tests; give the URL of its first database."""
    server = Postgres(tmp_path_factory.mktemp("pg"), durable=False)
    asyncio.run(server.start())
    try:
        yield server.url()
    finally:
        asyncio.run(server.close())


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
        return Database(vendor=vendor, url=f"{base.rpartition('/')[0]}/{name}")

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
