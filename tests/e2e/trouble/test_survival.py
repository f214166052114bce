"""What outlives the process: no restart, no bad row, no second process can harm the site."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from sandbox.servers import Valkey
from tests.e2e.trouble.faulty_site import Answer, Call, Forward, Held
from tests.e2e.trouble.harness import GUILD, Stage, footer
from tests.e2e.trouble.people import Room

pytestmark = pytest.mark.slow

OPEN = "Sync breaker opened"
SOON = {"SYNC_FIRST_RETRY_S": 0.3, "SYNC_SECOND_RETRY_S": 0.3, "SYNC_BREAKER_OPEN_S": 0.5}
FOR_LONG = {"SYNC_FIRST_RETRY_S": 0.2, "SYNC_SECOND_RETRY_S": 0.2, "SYNC_BREAKER_OPEN_S": 900}


async def guild(stage: Stage, members: int = 20) -> list[int]:
    """Make a guild whose members may be asked for at each start of a test, not once in 30 s."""
    await stage.control.fault("member_interval_s", 0)
    return await stage.guild(members)


def request_run(call: Call) -> str:
    """Return the run that made a request."""
    return call.headers["X-Request-ID"].partition("-")[0]


async def fail(_call: Call, _forward: Forward) -> Answer:
    """Answer as a site that is ill."""
    return web.Response(status=500, text="<h1>Server Error (500)</h1>")


async def fail_writes(call: Call, forward: Forward) -> Answer:
    """Answer as a site that can still read."""
    return await (fail(call, forward) if call.writes_users else forward(call))


async def test_three_failures_in_a_row_open_the_breaker_over_restarts(
    stage: Stage, tmp_path: Path
) -> None:
    """Each start is one attempt; after the third nothing is asked of the site, start as you may."""
    await guild(stage)
    stage.site.fault = fail_writes
    async with stage.program(tmp_path, **FOR_LONG, SYNC_MAX_FAILING=1) as bot:
        await stage.until(lambda: bool(stage.alert_titles()))
        bot.kill()  # wherever it is by now: each start goes on counting where the last one was
        await bot.start()
        await stage.until(lambda: OPEN in stage.alert_titles())
        await bot.stop()
        asked = len(stage.site.calls)
        attempts = {request_run(call) for call in stage.site.writes()}
        for _ in range(2):
            await bot.start()
            await bot.wait_for_event("sync.lease.held")
            await stage.until(lambda: "Start-up sync withheld" in stage.alert_titles())
            await bot.stop()

    assert 1 <= len(attempts) <= 3
    assert [title for title in stage.alert_titles() if title == OPEN] == [OPEN]
    assert len(stage.site.calls) == asked


async def test_a_probe_closes_the_breaker_by_itself(stage: Stage) -> None:
    """A site that is well again is in step without anybody touching anything; it is told once."""
    await guild(stage)
    stage.site.fault = fail_writes
    async with stage.bot(**SOON, SYNC_MAX_FAILING=1):
        await stage.until(lambda: OPEN in stage.alert_titles())
        stage.site.fault = _well
        await stage.until(lambda: "Sync recovered" in stage.alert_titles())

    assert stage.alert_titles()[0].endswith("failed")
    assert [t for t in stage.alert_titles() if t in {OPEN, "Sync recovered"}] == [
        OPEN,
        "Sync recovered",
    ]
    assert "as a probe of the site" not in stage.ended()[0]["description"]
    assert stage.database.stored() == await stage.rows_due()


async def _well(call: Call, forward: Forward) -> Answer:
    return await forward(call)


async def test_live_changes_wait_for_an_open_breaker_and_follow_the_probe(stage: Stage) -> None:
    """Nothing but the probe's run reaches the site while it is open, and nothing is lost."""
    ids = await guild(stage)
    await stage.fill_site()
    async with stage.bot(SYNC_BREAKER_OPEN_S=900) as _:
        await stage.run_end()
        room = await _room(stage)
        owner = stage.discord.state.guilds[GUILD].owner_id
        opened = await room.say(owner, "sync breaker open")
        written = len(stage.site.writes())
        await stage.control.rename(GUILD, ids[3], "renamed")
        waiting = await _status_says(room, owner, "Live changes waiting")
        refused = await room.say(owner, "sync all force")
        during = len(stage.site.writes())
        closed = await room.say(owner, "sync breaker reset")
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)

    assert [opened, closed] == [
        "Sync: The breaker is open until it is reset.",
        "Sync: The breaker is closed.",
    ]
    assert waiting
    assert refused.startswith("Sync: The breaker is open")
    assert during == written
    assert stage.alert_titles() == ["Sync breaker opened by hand", "Sync breaker reset"]


async def test_a_killed_run_is_ended_by_the_next_start(stage: Stage, tmp_path: Path) -> None:
    """It counts as a failure, its message says so, and the next try comes when it was due."""
    await guild(stage, 60)
    stage.site.fault = held = Held()
    settings = {"SYNC_FIRST_RETRY_S": 1, "SYNC_FIRST_ITEMS": 10, "SYNC_EDIT_INTERVAL_S": 0.05}
    async with stage.program(tmp_path, **settings) as bot:
        await asyncio.wait_for(held.reached.wait(), 20)
        await stage.until(lambda: any("Syncing" in e["title"] for e in stage.embeds()))
        bot.kill()
        held.opened.set()
        await bot.start()
        died = await bot.wait_for_event("sync.attempt.interrupted")
        await stage.until(lambda: len(stage.ended()) >= 2 or "interrupted" in str(stage.embeds()))
        await bot.wait_for_event("sync.run.finished")
        await stage.until(lambda: any("Verified" in e["description"] for e in stage.embeds()))

    ended = {
        footer(embed): embed["title"] for embed in stage.embeds() if "alert" not in footer(embed)
    }
    assert ended[f"run {died['run_id']}"] == "Sync of roles and users interrupted"
    assert stage.alert_titles()[0] == "Sync was interrupted"
    assert stage.database.stored() == await stage.rows_due()


async def test_refused_credentials_open_the_breaker_until_they_change(
    stage: Stage, tmp_path: Path
) -> None:
    """A restart does not ask again with the same token; another token is tried at once."""
    await guild(stage)
    wrong = {"SITE_API_TOKEN": "0" * 40}
    async with stage.program(tmp_path, **wrong) as bot:
        await stage.until(lambda: stage.alert_titles() == [OPEN])
        await bot.stop()
        asked = len(stage.site.calls)
        await bot.start()
        await stage.until(lambda: "Start-up sync withheld" in stage.alert_titles())
        await bot.stop()
    again = len(stage.site.calls)
    async with stage.program(tmp_path):
        await stage.until(lambda: "Sync recovered" in stage.alert_titles())

    assert again == asked
    assert stage.database.stored() == await stage.rows_due()


async def test_a_pause_holds_a_run_between_two_chunks(stage: Stage) -> None:
    """Nothing is written from then on, not even after a restart, until somebody resumes."""
    await guild(stage, 60)
    stage.site.fault = held = Held()
    owner = stage.discord.state.guilds[GUILD].owner_id
    async with stage.bot(SYNC_FIRST_ITEMS=10, SYNC_MAX_ITEMS=10):
        await stage.until(held.reached.is_set)
        room = await _room(stage)
        paused = await room.say(owner, "sync pause")
        held.opened.set()
        await stage.until(lambda: len(stage.database.stored()) == 10)
        refused = await room.say(owner, "sync all")
    writes = len(stage.site.writes())
    async with stage.bot(SYNC_FIRST_ITEMS=10, SYNC_MAX_ITEMS=10):
        await stage.until(lambda: "Start-up sync withheld" in stage.alert_titles())
        before = len(stage.site.writes())
        resumed = await room.say(owner, "sync resume")
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)

    assert [paused, resumed] == ["Sync: Sync is paused.", "Sync: Sync resumed."]
    assert refused.startswith("Sync: Run") or "paused" in refused
    assert [before, stage.alert_titles()[0]] == [writes, "Sync is paused"]
    assert "Sync resumed" in stage.alert_titles()


async def test_a_parked_row_is_not_asked_again_until_it_changes(stage: Stage) -> None:
    """It outlives a restart, costs no request, and goes out as soon as the member changes."""
    ids = await guild(stage, 30)
    poison = ids[7]
    owner = stage.discord.state.guilds[GUILD].owner_id

    async def refuse_it(call: Call, forward: Forward) -> Answer:
        bad = [row for row in call.rows if row["id"] == poison and row.get("name") != "good"]
        if bad:
            faults = [{"name": ["No."]} if row in bad else {} for row in call.rows]
            return web.json_response(faults, status=400)
        return await forward(call)

    stage.site.fault = refuse_it
    async with stage.bot():
        await stage.until(lambda: "Rows parked" in stage.alert_titles())
        await stage.run_end()
        room = await _room(stage)
        listed = await room.say(owner, "sync parked")
    writes = len(stage.site.writes())
    async with stage.bot():
        second = await stage.run_end(2)
        asked_again = len(stage.site.writes()) - writes
        await stage.control.rename(GUILD, poison, "good")
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)
        async with asyncio.timeout(10):  # the row is there a moment before it is struck off
            while "No row is parked" not in await room.say(owner, "sync parked"):
                pass

    assert [str(poison) in listed, r"name\: No." in listed] == [True, True]
    assert [asked_again, stage.alert_titles()] == [0, ["Rows parked"]]
    assert "Parked before" in str(second["fields"])


async def test_a_lost_store_is_noticed_from_mod_log(stage: Stage, tmp_path: Path) -> None:
    """An empty store beside an open breaker's notice counts as an open breaker, and pings."""
    await guild(stage)
    wrong = {"SITE_API_TOKEN": "0" * 40}
    async with stage.program(tmp_path / "first", **wrong) as bot:
        await stage.until(lambda: stage.alert_titles() == [OPEN])
        await bot.stop()
    asked = len(stage.site.calls)
    async with stage.program(tmp_path / "second") as bot:
        await stage.until(lambda: "State store lost" in stage.alert_titles())
        await bot.stop()

    assert len(stage.site.calls) == asked


async def test_an_unreachable_store_starts_nothing(stage: Stage, tmp_path: Path) -> None:
    """Unknown is not allowed: no sync, one notice, and all of it as soon as the store is there."""
    await guild(stage)
    valkey = Valkey(tmp_path / "valkey")
    try:
        async with stage.program(tmp_path / "bot", SYNC_STATE_URL=valkey.url) as bot:
            await stage.until(lambda: stage.alert_titles() == ["State store unreachable"])
            asked = list(stage.site.calls)
            await valkey.start()
            await bot.wait_for_event("sync.run.finished")
            await stage.run_end()
            await stage.until(lambda: "State store reachable again" in stage.alert_titles())
    finally:
        await valkey.close()

    assert asked == []
    assert stage.database.stored() == await stage.rows_due()


async def test_a_damaged_store_is_kept_aside(stage: Stage, tmp_path: Path) -> None:
    """It is never overwritten: it stands under another name, and people are told which."""
    await guild(stage)
    state = tmp_path / "state.db"
    state.write_bytes(b"this is no database, whatever its name says" * 100)
    async with stage.program(tmp_path, SYNC_STATE_URL=f"sqlite:///{state}"):
        await stage.run_end()
        await stage.until(lambda: "State store needs attention" in stage.alert_titles())

    (aside,) = tmp_path.glob("state.db.corrupt-*")  # noqa: ASYNC240 - the bot has ended
    assert aside.read_bytes().startswith(b"this is no database")


async def test_a_second_process_waits_and_takes_over(stage: Stage, tmp_path: Path) -> None:
    """It writes nothing, and syncs as soon as the first one has died."""
    await guild(stage)
    async with AsyncExitStack() as bots:
        shared = {"SYNC_STATE_URL": f"sqlite:///{tmp_path}/shared.db"}
        first = await bots.enter_async_context(stage.program(tmp_path / "a", **shared))
        await stage.run_end()
        second = await bots.enter_async_context(stage.program(tmp_path / "b", **shared))
        await second.wait_for_event("sync.lease.waiting")
        ids = sorted(stage.database.stored())
        await stage.control.rename(GUILD, ids[3], "renamed")
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)
        quiet = second.events("sync.request.answered")
        first.kill()
        await second.wait_for_event("sync.run.finished")

    assert quiet == []
    assert stage.alert_titles() == []


async def test_a_write_of_a_killed_bot_that_commits_late_is_made_good(
    stage: Stage, tmp_path: Path
) -> None:
    """It comes after the next start's sync has looked: that one looks again a while later."""
    ids = await guild(stage)
    stage.site.fault = held = Held()
    settings = {"SYNC_FIRST_RETRY_S": 0.1, "SYNC_DOUBTFUL_RECHECK_S": 2}
    async with stage.program(tmp_path, **settings) as bot:
        await asyncio.wait_for(held.reached.wait(), 20)
        late = next(call for call in stage.site.calls if call.writes_users)
        bot.kill()
        stage.site.fault = _well
        await stage.control.rename(GUILD, ids[3], "newer name")
        await bot.start()
        finished = await bot.wait_for_event("sync.run.finished")
        old = {row["id"]: row for row in late.rows}[ids[3]]
        stage.database.query(
            "UPDATE api_user SET name = %s WHERE id = %s", old["name"], ids[3]
        )  # as the site does with what it had accepted
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)

    assert finished["ending"] == "verified"


async def test_an_alert_that_discord_did_not_take_comes_later_and_once(stage: Stage) -> None:
    """However often it was refused, and though one refusal came after the message was made."""
    await guild(stage)
    path = f"POST /channels/{stage.mod_log}/messages"
    stage.site.fault = fail
    await stage.control.rest_fault(path, count=2, status=503)
    await stage.control.rest_fault(path, count=1, status=503, after=True)
    async with stage.bot(SYNC_MAX_FAILING=1):
        await stage.until(lambda: bool(stage.alert_titles()))
        await stage.until(lambda: bool(stage.ended()))

    ids = [footer(alert) for alert in stage.embeds() if "alert" in footer(alert)]
    assert len(ids) == len(set(ids))
    assert stage.alert_titles() == ["Sync of roles and users failed"]


async def _room(stage: Stage) -> Room:
    channel = await stage.control.create_channel(GUILD, "bots")
    return Room(stage=stage, channel=channel, slash=False)


async def _status_says(room: Room, person: int, words: str) -> bool:
    """Say whether `status` says so, once the events before have been heard."""
    async with asyncio.timeout(10):
        while True:
            id_ = len(room.stage.bodies(room.channel))
            await room.say(person, "sync status")
            (embed,) = room.stage.bodies(room.channel)[id_]["embeds"]
            if any(part["name"] == words for part in embed.get("fields", ())):
                return True


async def test_a_store_that_dies_in_a_run_ends_it_and_counts_it(
    stage: Stage, tmp_path: Path
) -> None:
    """No larger chunk goes out that can't be written down first, and the run counts as cut off."""
    await guild(stage, 60)
    stage.site.fault = held = Held()
    valkey = Valkey(tmp_path / "valkey")
    try:
        await valkey.start()
        settings = {"SYNC_STATE_URL": valkey.url, "SYNC_FIRST_ITEMS": 10, "SYNC_MAX_ITEMS": 20}
        async with stage.program(tmp_path / "bot", **settings, SYNC_FIRST_RETRY_S=1) as bot:
            await asyncio.wait_for(held.reached.wait(), 20)
            valkey.kill()
            held.opened.set()
            await bot.wait_for_event("sync.attempt.unkept")
            written = len(stage.database.stored())
            await valkey.start()
            await bot.wait_for_event("sync.attempt.interrupted")
            await stage.until(lambda: "Sync was interrupted" in stage.alert_titles())
            due = await stage.rows_due()
            await stage.until(lambda: stage.database.stored() == due)
    finally:
        await valkey.close()

    assert written < 61
