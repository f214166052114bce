"""Every log line is one parseable record, every error reaches Sentry once, and no secret does."""

import gzip
import io
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import sentry_sdk
import structlog

from bot import telemetry
from bot.settings import BotSettings

SECRETS = ("tok.en-with.secret", 'site"key')


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Log JSON into a buffer for one test."""
    root = logging.getLogger()
    before = (root.handlers, root.level, structlog.get_config())
    stream = io.StringIO()
    telemetry.configure_logging(
        stream=stream, log_format=None, level="INFO", redactor=telemetry.Redactor(SECRETS)
    )
    yield stream
    root.handlers, level, config = before
    root.setLevel(level)
    structlog.configure(**config)
    logging.captureWarnings(capture=False)
    structlog.contextvars.clear_contextvars()


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    """Parse what was logged, without the times."""
    parsed = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [{key: value for key, value in p.items() if key != "timestamp"} for p in parsed]


def test_both_ways_of_logging_give_the_same_records(lines: io.StringIO) -> None:
    """Events of structlog's and lines of the standard library share shape and bound context."""
    structlog.contextvars.bind_contextvars(run_id="r1")

    structlog.get_logger("ours").info("sync.run.started", members=2)
    logging.getLogger("discord.gateway").warning("Shard %s is %s", 1, "late")
    logging.getLogger("httpx").info("a line a request")

    assert records(lines) == [
        {
            "event": "sync.run.started",
            "level": "info",
            "logger": "ours",
            "members": 2,
            "run_id": "r1",
        },
        {
            "event": "Shard 1 is late",
            "level": "warning",
            "logger": "discord.gateway",
            "run_id": "r1",
        },
    ]


def test_times_are_utc(lines: io.StringIO) -> None:
    """A timestamp is ISO 8601 in UTC."""
    structlog.get_logger("ours").info("any")

    (line,) = lines.getvalue().splitlines()
    assert json.loads(line)["timestamp"].endswith("Z")


def test_no_spelling_of_a_secret_is_logged(lines: io.StringIO) -> None:
    """Secrets are replaced in texts, nested values, reprs, other libraries' lines, tracebacks."""
    log = structlog.get_logger("ours")
    token, key = SECRETS

    log.info(token, deep={"list": [key, {"again": token}]}, error=ValueError(key))
    logging.getLogger("aiohttp").info("header %s", {"Authorization": f"Token {key}"})
    try:
        raise RuntimeError(token)  # noqa: TRY301 - a traceback is what is looked at
    except RuntimeError:
        log.exception("failed")

    text = lines.getvalue()
    assert (token in text, "key" in text, text.count("[redacted]")) == (False, False, 6)


def fail(name: str) -> None:
    """Fail as Python does where a value is not what it was taken for, once inside of the other."""
    try:
        {"roles": 1}[name]
    except KeyError as exc:
        raise ExceptionGroup("two", [ValueError(f"no {name!r} here"), exc]) from exc


def test_what_an_error_quotes_is_not_logged(lines: io.StringIO) -> None:
    """It may be a member's name; where it was raised, and by which line, is told all the same."""
    try:
        fail("Zaph" + "od")
    except ExceptionGroup:
        structlog.get_logger("ours").exception("failed")

    (line,) = records(lines)
    assert "Zaphod" not in line["exception"]
    assert "KeyError: '…'" in line["exception"]
    assert "| ValueError: no '…' here" in line["exception"]
    assert 'in fail\n    {"roles": 1}[name]' in line["exception"]


def test_a_word_is_no_secret() -> None:
    """A token too short to be one garbles no line that happens to hold its letters."""
    redactor = telemetry.Redactor(["x", "", "secret"])

    assert redactor.text('{"max_ms": 1, "body": "secret"}') == (
        '{"max_ms": 1, "body": "[redacted]"}'
    )


def test_a_reconnect_is_one_warning(lines: io.StringIO) -> None:
    """discord.py's tries to reconnect are lines that name the cause, without a traceback."""
    try:
        raise ConnectionResetError(104, "reset")  # noqa: TRY301 - as discord.py logs it
    except ConnectionResetError:
        logging.getLogger("discord.client").exception("Attempting a reconnect in %.2fs", 1.5)

    assert records(lines) == [
        {
            "event": "Attempting a reconnect in 1.50s: ConnectionResetError(104, 'reset')",
            "level": "warning",
            "logger": "discord.client",
        }
    ]


class Sentry(HTTPServer):
    """Takes what the SDK sends and keeps the events."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SentryHandler)
        self.events: list[dict[str, Any]] = []


class SentryHandler(BaseHTTPRequestHandler):
    server: Sentry

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        _, *items = body.splitlines()
        self.server.events += [
            json.loads(payload)
            for header, payload in zip(items[::2], items[1::2], strict=True)
            if json.loads(header)["type"] == "event"
        ]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None: ...


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    """Run a Sentry for one test, and leave the SDK switched off."""
    server = Sentry()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)
    sentry_sdk.get_isolation_scope().clear()
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_error_is_reported_once_and_clean(
    lines: io.StringIO, sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One capture is one event with the log as breadcrumbs; error lines alone report nothing."""
    token, key = SECRETS
    monkeypatch.setenv("BOT_TOKEN", token)
    monkeypatch.setenv("SITE_API_TOKEN", key)
    monkeypatch.setenv("SENTRY_DSN", f"http://public@127.0.0.1:{sentry.server_port}/1")
    settings = BotSettings()
    telemetry.configure_sentry(settings, telemetry.Redactor(settings.secrets()))

    structlog.get_logger("ours").error("sync.chunk.failed", status=500, body=key)
    with sentry_sdk.new_scope() as scope:
        scope.set_context("request", {"Authorization": "anything", "url": "/api"})
        sentry_sdk.capture_exception(RuntimeError(f"with {token} of 'Zaphod'"))
    sentry_sdk.flush()

    assert [
        (
            event["exception"]["values"][0]["value"],
            event["contexts"]["request"],
            [
                (crumb["category"], crumb["message"], crumb["data"])
                for crumb in event["breadcrumbs"]["values"]
            ],
            event["release"],
        )
        for event in sentry.events
    ] == [
        (
            "with [redacted] of '…'",
            {"Authorization": "[redacted]", "url": "/api"},
            [("ours", "sync.chunk.failed", {"status": 500, "body": "[redacted]"})],
            "guild-sync@0.1.0",
        )
    ]
    assert "sync.chunk.failed" in lines.getvalue()
