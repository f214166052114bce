"""What machines are told names no member and holds no secret, whatever the site answers."""

from __future__ import annotations

import asyncio
import json
from html import escape
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiohttp import web

from tests.e2e.trouble.harness import GUILD, Stage
from tests.e2e.trouble.sentry import Sentry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.e2e.trouble.faulty_site import Answer, Call, Forward

pytestmark = pytest.mark.slow

# Of the site, and of nobody who is known to the bot.
SECRET: Final = "hunter2-s3cr3t"
PING: Final = "7c1d-ping-secret"
MARK: Final = "zaphod"
DEBUG_PAGE: Final = """<!DOCTYPE html><html lang="en"><head>
<title>IntegrityError at /api/bot/users/bulk_patch</title><style>html * {{ padding: 0; }}</style>
</head><body><h1>IntegrityError at /api/bot/users/bulk_patch</h1>
<pre class="exception_value">new row violates check constraint. DETAIL: Failing row contains
({rows}).</pre><table><tr><td>DATABASES</td><td><pre>{{'PASSWORD': '{secret}'}}</pre></td></tr>
<tr><td>HTTP_AUTHORIZATION</td><td><pre>'{token}'</pre></td></tr></table></body></html>"""


def page(text: str, status: int) -> web.Response:
    """Answer with a page of HTML."""
    return web.Response(status=status, text=text, content_type="text/html")


def answer(value: Any, status: int) -> web.Response:
    """Answer with JSON."""
    return web.json_response(value, status=status)


def debug_page(call: Call) -> web.Response:
    """Fail as Django does in development: with the rows, the settings and the headers."""
    token = call.request.headers["Authorization"]
    text = DEBUG_PAGE.format(rows=escape(str(call.rows)), secret=SECRET, token=token)
    return page(text, 500)


def nginx_page(_call: Call) -> web.Response:
    """Fail as the server before it does."""
    return page(
        "<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body>", 502
    )


def echo(call: Call) -> web.Response:
    """Fail with all that was sent, and with what the site has itself."""
    return answer({"you_sent": call.rows, "password": SECRET, "note": f"pwd={SECRET}"}, 500)


def plain_echo(call: Call) -> web.Response:
    """Fail with the body as it came, which is no page and no object."""
    return web.Response(status=500, text=f"DATABASE_URL=postgres://site:{SECRET}@db {call.body!r}")


def names_taken(call: Call) -> web.Response:
    """Reject each row, by its name."""
    return answer(
        [{"name": [f"{row.get('name')} is taken", f"“{row.get('name')}”"]} for row in call.rows],
        400,
    )


def refused_whole(call: Call) -> web.Response:
    """Reject them all without saying which."""
    return answer({"detail": f"secret {SECRET}: {call.rows}"}, 422)


FAULTS: Final[dict[str, Callable[[Call], web.Response]]] = {
    "debug page": debug_page,
    "nginx": nginx_page,
    "echo": echo,
    "plain echo": plain_echo,
    "names": names_taken,
    "whole": refused_whole,
}


@pytest.fixture
async def sentry() -> AsyncIterator[Sentry]:
    """Run a Sentry."""
    async with Sentry() as running:
        yield running


async def named_guild(stage: Stage) -> list[int]:
    """Make a guild of which each member's names are marked; return the ids."""
    ids = await stage.guild(12)
    for number, id_ in enumerate(ids):
        await stage.control.rename(GUILD, id_, f"{MARK}{number}", silent=True)
        await stage.control.nick(GUILD, id_, f"Ford {MARK.title()} {number}", silent=True)
    return ids


def kept(directory: Path) -> str:
    """Return every byte of a bot's store."""
    files = directory.rglob("sync.db*")
    return b"".join(path.read_bytes() for path in files).decode("latin1")


async def test_neither_names_nor_secrets_leave_it(
    stage: Stage, tmp_path: Path, sentry: Sentry
) -> None:
    """In no byte of a log at its longest, of an envelope, a metric, an event, or the store.

    In mod-log a mention names a member; no secret stands there either.
    """
    ids = await named_guild(stage)
    faults = list(FAULTS.values())

    async def answer_each_way(call: Call, forward: Forward) -> Answer:
        if call.writes_users and faults:
            return faults.pop(0)(call)
        return await forward(call)

    stage.site.fault = answer_each_way
    program = stage.program(
        tmp_path,
        SENTRY_DSN=sentry.dsn,
        SYNC_PING_URL=f"{stage.website.api_url}{PING}",
        SENTRY_TRACES_SAMPLE_RATE=1,
        LOG_LEVEL="DEBUG",
        SYNC_DEADLINE_S=0.5,
        SYNC_MAX_FAILING=3,
        SYNC_FIRST_RETRY_S=0.5,
        SYNC_SECOND_RETRY_S=0.5,
        SYNC_BREAKER_OPEN_S=0.5,
        SYNC_PARKED_MIN=50,
    )
    async with program:
        await stage.until(lambda: any("Verified" in str(end) for end in stage.ended()))
        await stage.control.rename(GUILD, ids[0], f"{MARK} live")
        await program.wait_for_event("sync.drain.finished")
        await program.wait_for_event("sync.ping.failed")
        metrics = await asyncio.to_thread(program._metrics)
        await program.stop()
    log = program.log_text()
    told = {
        "log": log,
        "envelopes": sentry.bytes.decode(),
        "metrics": metrics,
        "store": kept(tmp_path),
    }

    assert "page: IntegrityError at /api/bot/users/bulk_patch" in log
    assert "502 Bad Gateway" in log
    assert {kind for kind, _ in sentry.items} >= {"event", "transaction", "check_in"}
    assert [where for where, text in told.items() if MARK in text.lower()] == []
    secrets = (SECRET, PING, stage.website.token, "sandbox-token")
    shown = told | {"mod-log": json.dumps(stage.bodies(), ensure_ascii=False)}
    assert [
        (where, secret) for where, text in shown.items() for secret in secrets if secret in text
    ] == []
