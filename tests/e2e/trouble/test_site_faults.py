"""What the site can do to a run: stop it with one clear message, or only slow it down."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from tests.e2e.trouble.faulty_site import Answer, Call, Fault, Forward
from tests.e2e.trouble.harness import GUILD, Stage, footer

# -- what stops a run ---------------------------------------------------------------------------


async def refuse_token(call: Call, forward: Forward) -> Answer:
    """Send on a token that the site does not know."""
    return await forward(call.with_header("Authorization", "Token wrong"))


async def answer_html(_call: Call, _forward: Forward) -> Answer:
    """Answer as a proxy that wants a log-in would, with 200."""
    return web.Response(text="<!doctype html><title>Log *in*</title>", content_type="text/html")


async def answer_half(call: Call, forward: Forward) -> Answer:
    """End the answer in its middle, as if it were whole."""
    body = bytes((await forward(call)).body or b"")  # type: ignore[arg-type] # bytes here
    return web.Response(body=body[: len(body) // 2], content_type="application/json")


async def answer_slowly(call: Call, forward: Forward) -> Answer:
    """Answer one byte at a time, so that the connection is never silent for long."""
    whole = bytes((await forward(call)).body or b"")  # type: ignore[arg-type] # bytes here
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    await answer.prepare(call.request)
    for place in range(len(whole)):
        await answer.write(whole[place : place + 1])
        await asyncio.sleep(0.05)
    return answer


def repeat_a_page(*, next_page: Callable[[Call], int] | None) -> Fault:
    """Answer every page with the first one's rows; with `next_page`, as if it were the one due."""

    async def repeat(call: Call, forward: Forward) -> Answer:
        if call.path == "bot/sync/capabilities":
            return web.json_response({"detail": "Not found."}, status=404)
        if call.page is None:
            return await forward(call)
        page = await forward(call.with_query(page="1"))
        body = json.loads(page.text or "")
        if next_page is not None:
            body["next_page_no"] = next_page(call)
        return web.json_response(body)

    return repeat


async def repeat_a_page_by_id(call: Call, forward: Forward) -> Answer:
    """Answer every page with the first one, where pages go by id."""
    return await forward(call.with_query(after="0") if call.path == "bot/users" else call)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A fault, the first line that mod-log says of it, and the title of the alert."""

    fault: Fault
    says: str
    alert: str = "Sync of roles and users failed"
    requests: int | None = None
    settings: dict[str, object] = field(default_factory=dict)


STOPPED = {
    "wrong token": Stopped(
        fault=refuse_token,
        says=r"**The site refuses our credentials** (HTTP 401): detail\: Invalid token.",
        alert="Sync breaker opened",
        requests=1,
    ),
    "html": Stopped(
        fault=answer_html,
        says=r"**The site kept failing** (HTTP 200): not JSON\: Expecting value\:"
        r" line 1 column 1 \(char 0\)\: page\: Log \*in\*",
        requests=6,
    ),
    "half a JSON": Stopped(
        fault=answer_half,
        says=r"**The site kept failing** (HTTP 200): not JSON\: ",
    ),
    "a page twice": Stopped(
        fault=repeat_a_page(next_page=None),
        says="**The site's answer is not its contract's**: the page before 2 repeats rows already "
        "read",
        settings={"SYNC_PAGE_ITEMS": 10},
    ),
    "a page twice as another": Stopped(
        fault=repeat_a_page(next_page=lambda call: int(call.page or 0) + 1),
        says="**The site's answer is not its contract's**: the page before 3 repeats rows already "
        "read",
        settings={"SYNC_PAGE_ITEMS": 10},
    ),
    "a page twice by id": Stopped(
        fault=repeat_a_page_by_id,
        says="**The site's answer is not its contract's**: the page before 100000047110388136 "
        "repeats rows already read",
        settings={"SYNC_PAGE_ITEMS": 10},
    ),
    "a byte at a time": Stopped(
        fault=answer_slowly,
        says="**The site kept failing**: no whole answer within the deadline",
        requests=5,
        settings={"SYNC_DEADLINE_S": 0.2},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("stopped", STOPPED.values(), ids=STOPPED)
async def test_a_fault_stops_the_run_with_one_clear_line(stage: Stage, stopped: Stopped) -> None:
    """The message names status, error and run id, an alert repeats it, nothing is written."""
    ids = await stage.guild(40)
    await stage.fill_site()
    await stage.control.rename(GUILD, ids[3], "renamed", silent=True)
    before = stage.database.stored()
    stage.site.fault = stopped.fault
    async with stage.bot(**stopped.settings):
        end = await stage.run_end()
        await stage.until(lambda: bool(stage.alerts()))

    (alert,) = stage.alerts()
    run_ids = {call.request.headers["X-Request-ID"].partition("-")[0] for call in stage.site.calls}
    assert end["description"].startswith(stopped.says)
    assert [[end["title"], footer(end)], [alert["title"], footer(alert).partition(" · ")[0]]] == [
        ["Sync of roles and users failed", *[f"run {run_id}" for run_id in run_ids]],
        [stopped.alert, *[f"run {run_id}" for run_id in run_ids]],
    ]
    assert "**Next:**" in alert["description"]
    assert stopped.requests in {None, len(stage.site.calls)}
    assert [stage.site.writes(), stage.database.stored()] == [[], before]


async def test_a_site_that_is_down_stops_the_run(stage: Stage) -> None:
    """After five refused connections the run gives up and says so; members are kept."""
    await stage.guild()
    await stage.site.close()
    async with stage.bot():
        end = await stage.run_end()

    assert end["description"].partition("\n")[0] == (
        r"**The site kept failing**: the site can't be reached \(ConnectError\)"
    )


@pytest.mark.parametrize("status", [200, 302, 400, 404, 405, 500])
async def test_a_site_that_answers_with_what_it_was_sent_tells_no_token(
    stage: Stage, status: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither mod-log nor the store nor the log holds it, whatever stood in the answer."""
    ids = await stage.guild()
    await stage.fill_site()
    await stage.control.rename(GUILD, ids[3], "renamed", silent=True)
    token = "S3cret/token+of=the.site"

    async def echo(call: Call, forward: Forward) -> Answer:
        given = call.headers["Authorization"]
        assert given == f"Token {token}"
        if not call.writes:
            return await forward(call.with_header("Authorization", f"Token {stage.website.token}"))
        said = {"detail": f"{given} was sent", given: [given, call.headers], "id": [given]}
        return web.json_response(said, status=status, headers={"X-Echo": given})

    stage.site.fault = echo
    async with stage.bot(SITE_API_TOKEN=token):
        end = await stage.run_end()

    kept = b"".join(path.read_bytes() for path in (tmp_path / "var").iterdir())
    logged = "".join(capfd.readouterr())
    assert any(call.writes for call in stage.site.calls)
    assert end["description"]
    assert kept
    assert "sync.run.finished" in logged
    for held in (json.dumps(stage.bodies()), kept.decode("latin-1"), logged):
        assert "S3cret" not in held
