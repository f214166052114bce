"""Nothing that the site keeps or sends says what a member is called, or knows a secret."""

import asyncio
import gzip
import json
import re
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
import pytest
from aiohttp import web
from django.db import IntegrityError

from sandbox.servers import Postgres
from tests.e2e.trouble.sentry import Sentry
from tests.website.harness import (
    DEADLINE_S,
    KNOWN_ROLES,
    ROOT,
    Database,
    MakeDatabase,
    StartWebsite,
    Website,
    add_roles,
    add_users,
    environment,
    run_site,
    user_id,
)
from tests.website.test_metrics import page_of
from website import privacy
from website.reporting import SAME_AGAIN_S, Reporter

NAME = "Zzyzx Quillon"  # as nothing else is called
PASSWORD, KEY, DSN_KEY = "marked-password", "marked-secret-key-0123456789", "markedsentrykey"
ROWS = [{"id": user_id(number), "name": NAME, "display_name": NAME} for number in range(2)]


class Raw(Sentry):
    """A Sentry that keeps each envelope as it came, too."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[bytes] = []

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.dsn = self.dsn.replace("//key@", f"//{DSN_KEY}@")
        return self

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.envelopes.append(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body)
        return await super()._take(request)


def make_trouble(site: Website) -> list[httpx.Response]:
    """Have the database and the site's own code fail over rows with the marked name."""
    database = site.database
    add_roles(database, KNOWN_ROLES)
    add_users(database, 2)
    answers = []
    with site.client() as client:
        database.query(
            "ALTER TABLE api_user ADD CONSTRAINT not_so CHECK (left(name, 5) <> 'Zzyzx')"
        )
        answers += [
            client.patch("bot/users/bulk_patch", json=ROWS, headers={"X-Request-ID": "run1-7"}),
            client.post("bot/users", json=[{**ROWS[0], "id": 5, "discriminator": 0}]),
            client.patch(f"bot/users/{user_id(0)}", json={"name": NAME}),
        ]
        database.query("ALTER TABLE api_user DROP CONSTRAINT not_so")
        database.query(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'I will not have ' || NEW.name; END $$"
        )
        database.query(
            "CREATE TRIGGER refuse BEFORE UPDATE ON api_user FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        answers.append(client.patch("bot/users/bulk_patch", json=ROWS))
        answers.append(client.get("bot/users", params={"name": NAME}))
        answers.append(client.request("POST", "bot/roles", json=ROWS, headers={"X-Break": "1"}))
    return answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What is left of a site that had trouble: its answers, log, metrics, and what Sentry heard."""

    site: Website
    answers: list[httpx.Response]
    page: str
    sentry: Raw


@pytest.fixture(scope="module")
def aftermath(start_website: StartWebsite, make_database: MakeDatabase) -> Aftermath:
    """Start a site with marked secrets, make trouble, and stop it."""
    database = make_database("postgresql")
    url = re.sub("://[^@]*@", f"://postgres:{PASSWORD}@", database.url)

    def trouble(sentry: Raw) -> Aftermath:
        site = start_website(
            Database(vendor="postgresql", url=url),
            SECRET_KEY=KEY,
            SENTRY_DSN=sentry.dsn,
            SENTRY_ENVIRONMENT="trial",
            METRICS_PORT="0",
            EXTRA_MIDDLEWARE="tests.website.outspoken.Middleware",
            DEBUG="true",
            DJANGO_DEBUG="true",
        )
        answers, page = make_trouble(site), page_of(site)
        name = site.database.query("SELECT current_database()")[0][0]
        with psycopg.connect(make_database("postgresql").url, autocommit=True) as other:
            other.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        site.wait_for(lambda line: line["event"] == "website.database.lost")
        site.process.send_signal(signal.SIGTERM)
        site.process.wait(DEADLINE_S)
        return Aftermath(site=site, answers=answers, page=page, sentry=sentry)

    async def with_sentry() -> Aftermath:
        async with Raw() as sentry:
            return await asyncio.to_thread(trouble, sentry)

    return asyncio.run(with_sentry())


def test_trouble_is_told_without_names_and_secrets(aftermath: Aftermath) -> None:
    """Log, metrics, answers and Sentry tell what broke by names of the schema, not of anybody."""
    site = aftermath.site
    said = {
        "log": json.dumps(site.lines, ensure_ascii=False),
        "metrics": aftermath.page,
        "answers": "".join(one.text for one in aftermath.answers if one.status_code >= 500),
        # An envelope's own head says to whom it is addressed, by Sentry's protocol.
        "sentry": re.sub(r'"dsn":"[^"]*"', "", b"".join(aftermath.sentry.envelopes).decode()),
    }
    marks = (*NAME.split(), PASSWORD, KEY, DSN_KEY, site.token)

    assert [one.status_code for one in aftermath.answers] == [500, 500, 500, 500, 200, 500]
    assert [(where, mark) for where, text in said.items() for mark in marks if mark in text] == []
    broken = [line for line in site.lines if line["event"] == "website.database.constraint_broken"]
    assert [(line["table"], line["constraint"]) for line in broken] == [("api_user", "not_so")] * 3
    assert "psycopg.errors.CheckViolation: sqlstate=23514" in said["log"]
    assert "ValueError" in said["log"]


def test_what_broke_is_an_event_each(aftermath: Aftermath) -> None:
    """Of each kind of failure Sentry hears once, however many requests ended by it."""
    *failed, lost = aftermath.sentry.events
    events = [(one["exception"]["values"][-1], one) for one in failed]
    value, broken = events[0]

    assert [(one["type"], one["value"]) for one, _ in events] == [
        ("IntegrityError", "sqlstate=23514 table=api_user constraint=not_so"),
        ("ProgrammingError", "sqlstate=P0001"),
        ("ValueError", ""),
    ]
    assert broken["fingerprint"] == ["constraint", "not_so"]
    assert broken["tags"] == {"request_id": "run1-7", "method": "PATCH", "view": "bulk_patch"}
    assert (broken["release"], broken["environment"]) == ("website@0.1.0", "trial")
    assert value["stacktrace"]["frames"][-1]["function"] == "execute"
    assert (lost["message"], lost["fingerprint"]) == (
        "The website's database is lost",
        ["The website's database is lost"],
    )
    for one in aftermath.sentry.events:
        assert one.keys() & {"request", "user", "modules", "extra"} == set()
        assert one["breadcrumbs"] == {"values": []}


def test_a_dsn_that_is_none_is_a_wrong_setting(tmp_path: Path) -> None:
    """It is named in one line, which does not repeat it."""
    ended = run_site(tmp_path, **environment("sqlite:///s.sqlite3", SENTRY_DSN=f"x{DSN_KEY}"))

    assert (ended.returncode, ended.stderr) == (
        1,
        "website: SENTRY_DSN: must look like https://key@host/number\n",
    )


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    """Give a PostgreSQL whose log may be changed."""
    server = Postgres(tmp_path, durable=False)
    asyncio.run(server.start())
    try:
        yield server
    finally:
        asyncio.run(server.close())


def test_the_database_s_own_log_is_kept_quiet(own_postgres: Postgres) -> None:
    """By itself PostgreSQL logs the row and the statement; as docker-compose.yml starts it, not."""
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    options = dict(re.findall(r"^      - (log_\w+)=(\w+)$", compose, re.MULTILINE))
    with psycopg.connect(own_postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE person (name text CHECK (name = ''))")
        break_it(connection)
        by_itself = own_postgres.log_text()
        for name, value in options.items():
            connection.execute(f"ALTER SYSTEM SET {name} = {value}")
        connection.execute("SELECT pg_reload_conf()")
        # A backend reads it before its next command.
        while connection.execute("SHOW log_error_verbosity").fetchone() != ("terse",):
            pass
        break_it(connection)
        quiet = own_postgres.log_text()[len(by_itself) :]

    assert (by_itself.count(NAME), quiet.count(NAME)) == (2, 0)
    assert "violates check constraint" in quiet


def break_it(connection: psycopg.Connection[Any]) -> None:
    """Insert a row that may not be."""
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(f"INSERT INTO person VALUES ('{NAME}')")  # noqa: S608  a log's example


def raised(exc: Exception, cause: Exception | None = None) -> Exception:
    """Return the exception with a traceback."""
    with pytest.raises(type(exc)) as caught:
        raise exc from cause
    return caught.value


@pytest.mark.parametrize(
    ("exc", "said"),
    [
        (ValueError(NAME), ""),
        (KeyError(NAME), ""),
        (UnicodeEncodeError("utf-8", NAME, 0, 1, NAME), ""),
        (psycopg.DataError(f'invalid input syntax for type integer: "{NAME}"'), ""),
        (psycopg.OperationalError(f"refused\nDETAIL: {NAME}"), "refused"),
        (ImportError("No module named 'x'"), "No module named 'x'"),
        (sqlite3.IntegrityError("CHECK constraint failed: not_so"), "constraint=not_so"),
    ],
)
def test_words_that_may_hold_a_value_are_left_out(exc: Exception, said: str) -> None:
    """Of most exceptions only the type is told; of those that speak of the system the words too."""
    described = privacy.described(raised(IntegrityError(NAME), raised(exc)))

    assert privacy.reason(exc) == said
    assert NAME not in described
    assert type(exc).__name__ in described
    assert described.count("Traceback (most recent call last):") == 2


def test_a_secret_is_hidden_in_each_spelling() -> None:
    """Raw, as JSON and in a URL; what is too short to be one is let be."""
    privacy.hide(['pass"w/rd', "abc"])
    try:
        hidden = privacy.without_secrets_within(
            {"a": ['pass"w/rd', ("pass%22w%2Frd", 'pass\\"w/rd')], "b": 1, "c": "abc"}
        )
    finally:
        privacy.hide([])

    gone = privacy.REDACTED
    assert hidden == {"a": [gone, [gone, gone]], "b": 1, "c": "abc"}


def test_the_same_again_is_reported_after_a_minute() -> None:
    """A bot that looks for one bad row among a thousand asks twenty times, and is one event."""
    now_s = [0.0, 1.0, 2.0, SAME_AGAIN_S]
    sent: list[str] = []
    reporter = Reporter(
        lambda event, _tags: sent.append(event["message"]), clock=lambda: now_s.pop(0)
    )
    for text in ("a", "a", "b", "a"):
        reporter.message(text, context={})

    assert sent == ["a", "b", "a"]
