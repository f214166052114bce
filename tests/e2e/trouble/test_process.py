"""The bot as a process: what only `python -m bot` itself can promise."""

import asyncio
import json
import re
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.servers import Bot
from tests.e2e.trouble.faulty_site import Answer, Call, Forward
from tests.e2e.trouble.harness import GUILD, Stage, variables
from tests.e2e.trouble.sentry import Sentry

pytestmark = pytest.mark.slow


@pytest.fixture
async def sentry() -> AsyncIterator[Sentry]:
    """Run a Sentry."""
    async with Sentry() as running:
        yield running


def bot(stage: Stage, directory: Path, **settings: object) -> Bot:
    """Return the bot's program, which keeps its state in `directory`."""
    given = variables(stage.discord, stage.website, site_url=stage.site.api_url, **settings)
    return Bot(directory, given)


def without_times(event: dict[str, Any]) -> list[Any]:
    """Return what one reads first of a Sentry event: level, title, failure and run."""
    tags = event.get("tags", {})
    return [event["level"], event["message"], tags.get("sync.failure"), tags.get("run_id")]


PORTAL = "https://discord.com/developers/applications"
REFUSED: dict[str, dict[str, object]] = {
    "settings": {"GUILD_ID": "", "SITE_API_URL": "site.example", "SITE_API_TOKEN": "two words"},
    "token": {"BOT_TOKEN": "wrong-token"},
    "intents": {},
}
LINES = {
    "settings": "bot: settings: GUILD_ID is missing; SITE_API_URL should be a valid URL, relative "
    "URL without a base; SITE_API_TOKEN must be printable ASCII without blanks",
    "token": "bot: BOT_TOKEN is wrong: Discord refuses it; copy the token from the Bot page of the "
    f"application at {PORTAL}",
    "intents": 'bot: Discord refuses the privileged intents: switch on "Server Members Intent" and '
    f'"Message Content Intent" on the Bot page of this application at {PORTAL}',
}


@pytest.mark.parametrize("wrong", REFUSED)
async def test_what_only_the_operator_can_put_right_ends_it(
    stage: Stage, tmp_path: Path, wrong: str
) -> None:
    """Exit code 78 and one line that names what is wrong; no secret is shown, no site asked."""
    await stage.guild()
    await stage.control.allow_intents(allowed=wrong != "intents")
    program = bot(stage, tmp_path, **REFUSED[wrong])
    await program.launch()
    exit_code = await program.wait_ended()
    await program.close()

    log = program.log_text()
    said = [row for row in log.splitlines() if not row.startswith("{")]
    assert [exit_code, said, stage.site.calls] == [78, [LINES[wrong]], []]
    assert "two words" not in log
    assert "wrong-token" not in log


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "unanswered"])
async def test_stopped_in_the_middle_of_a_run(
    stage: Stage, tmp_path: Path, *, answered: bool
) -> None:
    """SIGTERM ends it with 0 within ten seconds, and the last message counts what was written.

    The request in flight may end first; where it doesn't, the bot goes without its answer.
    """
    await stage.guild(60)
    held, opened = asyncio.Event(), asyncio.Event()

    async def hold_the_second(call: Call, forward: Forward) -> Answer:
        if len(stage.site.writes()) == 2 and call.writes_users:
            held.set()
            await asyncio.wait_for(opened.wait(), 30)
        return await forward(call)

    stage.site.fault = hold_the_second
    program = bot(stage, tmp_path, SYNC_FIRST_ITEMS=10, SYNC_MAX_ITEMS=10)
    async with program:
        await asyncio.wait_for(held.wait(), 20)
        stopping = asyncio.create_task(program.stop(patience_s=10))
        await stage.until(lambda: bool(program.events("bot.stopping")))
        if answered:
            opened.set()
        exit_code = await stopping
        rows = stage.database.stored()
        opened.set()

    (last,) = stage.ended()
    applied = 20 if answered else 10
    assert [exit_code, len(rows), last["title"], last["description"].splitlines()[0]] == [
        0,
        applied,
        "Sync of roles and users cancelled",
        f"Stopped at **{applied}** of **61** changes.",
    ]


async def test_a_failed_run_and_the_breaker_it_opens_are_an_event_each(
    stage: Stage, tmp_path: Path, sentry: Sentry
) -> None:
    """Both carry the run id that log and mod-log name, and no token leaves the process."""
    await stage.guild()
    wrong = "0123456789abcdef0123456789abcdef01234567"
    program = bot(stage, tmp_path, SITE_API_TOKEN=wrong, SENTRY_DSN=sentry.dsn)
    async with program:
        finished = await program.wait_for_event("sync.run.finished")
        end = await stage.run_end()
        exit_code = await program.stop()

    run_id = finished["run_id"]
    assert [without_times(event) for event in sentry.events] == [
        [
            "error",
            "Sync of roles and users failed: the site refuses our credentials (HTTP 401)",
            "refused",
            run_id,
        ],
        ["error", "Sync breaker opened: nothing is written", None, run_id],
    ]
    assert [finished["ending"], finished["failure_status"], end["footer"]["text"], exit_code] == [
        "failed",
        401,
        f"run {run_id}",
        0,
    ]
    crumbs = [crumb["message"] for crumb in sentry.events[0]["breadcrumbs"]["values"]]
    assert "GET bot/sync/capabilities: Refused" in crumbs
    assert wrong not in program.log_text() + str(sentry.events) + str(stage.bodies())


@pytest.mark.parametrize(
    ("channel_id", "says"),
    [
        (123, "404 Not Found (error code: 10003): Unknown Channel"),
        (GUILD + 900, "403 Forbidden (error code: 50001): Missing Access"),
    ],
    ids=["unknown", "forbidden"],
)
async def test_a_mod_log_channel_that_cannot_be_used_does_not_stop_a_sync(
    stage: Stage, tmp_path: Path, sentry: Sentry, channel_id: int, says: str
) -> None:
    """The run ends verified all the same; log and Sentry say which channel is wrong, once."""
    await stage.guild()
    await stage.control.forbid_channel(GUILD + 900)
    program = bot(stage, tmp_path, MOD_LOG_CHANNEL_ID=channel_id, SENTRY_DSN=sentry.dsn)
    async with program:
        finished = await program.wait_for_event("sync.run.finished")
        failed = await program.wait_for_event("sync.mod_log.failed", count=2)
        await program.stop()

    assert [finished["ending"], finished["created"]] == ["verified", 21]
    assert [failed["channel_id"], failed["error"]] == [channel_id, says]
    assert stage.database.stored() == await stage.rows_due()
    assert [event["message"] for event in sentry.events] == [
        f"MOD_LOG_CHANNEL_ID {channel_id} can't be used: {says}"
    ]


async def test_stopped_before_discord_was_ever_reached(stage: Stage, tmp_path: Path) -> None:
    """A bot that waits for Discord ends with 0 as soon as any other, and asks the site nothing."""
    await stage.guild()
    await stage.control.fault("refuse_connections")
    program = bot(stage, tmp_path)
    async with program:
        await program.wait_for_event("bot.discord.unreachable")
        exit_code = await program.stop(patience_s=10)

    assert [exit_code, stage.site.calls, program.events("bot.close.timed_out")] == [0, [], []]


async def test_a_bot_whose_site_is_down_is_live_and_ready(stage: Stage, tmp_path: Path) -> None:
    """An orchestrator that restarted it for that would only ask more of the site."""
    await stage.guild()
    await stage.site.close()
    program = bot(stage, tmp_path)
    async with program:
        await program.wait_for_event("sync.run.finished")
        answers = {path: await asyncio.to_thread(ask, program, path) for path in PATHS}
        metrics = await asyncio.to_thread(program._metrics)
        await program.stop()

    (live, _), (ready, _), (_, status) = answers.values()
    sync = status["cogs"]["Sync"]
    assert [live, ready, sync["ready"], sync["leads"], sync["members"]] == [
        200,
        200,
        True,
        True,
        21,
    ]
    assert [sync["last_run"]["ending"], sync["last_verified_at"]] == ["failed", None]
    assert sync["next_try_at"] is not None
    assert re.search(r'\nsync_request_failures_total\{kind="unreachable"\} [1-9]', metrics)
    assert "\nsync_last_verified_timestamp_seconds 0.0\n" in metrics


PATHS = ("/live", "/ready", "/status")


def ask(program: Bot, path: str) -> tuple[int, dict[str, Any]]:
    """Ask a bot how it stands, as an orchestrator does."""
    url = f"http://127.0.0.1:{program.environment['METRICS_PORT']}{path}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status, json.loads(answer.read())
