"""Every button of mod-log, pressed by who may and by who may not, before and after a restart."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from tests.e2e.trouble.faulty_site import Answer, Call, Fault, Forward, Held
from tests.e2e.trouble.harness import GUILD, Stage
from tests.e2e.trouble.people import REFUSAL, ROLE, People

PARKED, OPEN = "Rows parked", "Sync breaker opened"
QUICK = {"SYNC_COMMAND_ROLE_IDS": ROLE, "SYNC_EDIT_INTERVAL_S": 0.05}


def description(stage: Stage, title: str) -> str:
    """Return what the first message of this title says."""
    return next(str(e["description"]) for e in stage.embeds() if e["title"] == title)


async def refuse_writes(call: Call, forward: Forward) -> Answer:
    """Answer as a site that is ill but can read."""
    return web.Response(status=500, text="ill") if call.writes_users else await forward(call)


@pytest.fixture
async def people(stage: Stage) -> People:
    """Make a guild of 30 and choose the people."""
    return await People.of_guild(stage, members=30, in_step=False)


async def well(call: Call, forward: Forward) -> Answer:
    """Answer as a site that is well."""
    return await forward(call)


def refusing(poison: int) -> Fault:
    """Return a fault that refuses one row, however often it is sent."""

    async def refuse(call: Call, forward: Forward) -> Answer:
        bad = [row for row in call.rows if row["id"] == poison]
        if not bad:
            return await forward(call)
        faults = [{"name": ["No."]} if row in bad else {} for row in call.rows]
        return web.json_response(faults, status=400)

    return refuse


async def test_a_run_is_steered_from_its_message(stage: Stage, people: People) -> None:
    """Pause holds the next chunk and becomes Resume; Details tells the presser; Cancel ends it."""
    stage.site.fault = held = Held()
    async with stage.bot(**QUICK, SYNC_FIRST_ITEMS=10, SYNC_MAX_ITEMS=10):
        await stage.until(held.reached.is_set)
        await stage.until(lambda: any("Syncing" in embed["title"] for embed in stage.embeds()))
        begun = people.buttons("Syncing")
        details = await people.press(people.holder, "Syncing", "Details")
        paused = await people.press(people.administrator, "Syncing", "Pause")
        held.opened.set()
        await stage.until(lambda: "Resume" in people.buttons("Syncing"))
        await stage.until(lambda: len(stage.database.stored()) == 10)
        live = next(e for e in stage.embeds() if e["title"].startswith("Syncing"))
        stage.site.fault = held = Held()
        resumed = await people.press(people.holder, "Syncing", "Resume")
        await stage.until(held.reached.is_set)
        cancelled = await people.press(people.administrator, "Syncing", "Cancel")
        held.opened.set()
        end = await stage.run_end()

    assert begun == ["Pause", "Cancel", "Details"]
    assert details.text.startswith("Syncing roles and users")
    assert [details.private, paused.text, resumed.text] == [
        True,
        "Sync\nSync is paused.",
        "Sync\nSync resumed.",
    ]
    assert f"**Paused** by <@{people.administrator}>" in live["description"]
    assert cancelled.text.endswith("is being stopped.")
    assert end["description"].endswith(f"Cancelled by <@{people.administrator}>.")
    assert len(stage.database.stored()) == 20
    # Who did it is said where everybody reads it.
    notices = {e["title"]: e["description"] for e in stage.alerts()}
    assert f"<@{people.administrator}> paused it" in notices["Sync is paused"]
    assert f"<@{people.holder}> ended the pause" in notices["Sync resumed"]


async def test_a_stranger_may_press_nothing(stage: Stage, people: People) -> None:
    """Each button refuses in one sentence, for the presser's eyes only, and does nothing."""
    stage.site.fault = held = Held()
    async with stage.bot(**QUICK):
        await stage.until(held.reached.is_set)
        await stage.until(lambda: any("Syncing" in embed["title"] for embed in stage.embeds()))
        answers = [
            await people.press(people.stranger, "Syncing", label)
            for label in people.buttons("Syncing")
        ]
        held.opened.set()
        end = await stage.run_end()

    assert [(answer.text, answer.private) for answer in answers] == [(REFUSAL, True)] * 3
    assert "**Verified** in" in end["description"]


@pytest.mark.slow
async def test_a_button_of_an_ended_run_says_so(stage: Stage, people: People) -> None:
    """Where Discord took no more edits, the message looks as if the run were still on."""
    stage.site.fault = held = Held()
    async with stage.bot(**QUICK):
        await stage.until(held.reached.is_set)
        await stage.until(lambda: any("Syncing" in embed["title"] for embed in stage.embeds()))
        path = f"PATCH /channels/{stage.mod_log}/messages/*"
        await stage.control.rest_fault(path, count=10_000, status=403)
        held.opened.set()
        await stage.until(lambda: len(stage.database.stored()) == 31)
        async with asyncio.timeout(10):  # the last row is there a moment before the run has ended
            while "has ended" not in (await people.press(people.holder, "Syncing", "Details")).text:
                pass
        answers = [
            await people.press(people.administrator, "Syncing", label)
            for label in ("Pause", "Cancel")
        ]
        details = await people.press(people.administrator, "Syncing", "Details")
        status = await people.invoke(people.administrator, "sync status")
        await stage.control.clear_faults()

    assert ["this button no longer does anything" in answer.text for answer in answers] == [
        True
    ] * 2
    assert "has ended: verified" in details.text
    assert "Paused" not in status.text


@pytest.mark.slow
async def test_parked_rows_after_a_restart(stage: Stage, people: People) -> None:
    """Show parked lists them to the presser; Retry parked sends them, and says who pressed it."""
    poison = sorted(await stage.rows_due())[20]
    stage.site.fault = refusing(poison)
    async with stage.bot(**QUICK):
        end = await stage.run_end()
        await stage.until(lambda: any(e["title"] == PARKED for e in stage.alerts()))
    summary = people.buttons(end["title"])
    stage.site.fault = well
    async with stage.bot(**QUICK, SYNC_AT_START=False) as bot:
        await stage.until(bot.is_ready)
        refused = await people.press(people.stranger, PARKED, "Retry parked")
        shown = await people.press(people.holder, PARKED, "Show parked")
        retried = await people.press(people.administrator, PARKED, "Retry parked")
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)
        after = people.buttons(PARKED)
        async with asyncio.timeout(10):  # it is there a moment before it is struck off
            while (
                "No row"
                not in (await people.press(people.holder, end["title"], "Show parked")).text
            ):
                pass
        late = await people.press(people.holder, end["title"], "Retry parked")

    assert summary == ["Retry parked", "Show parked"]
    assert [refused.text, retried.text, late.text] == [
        REFUSAL,
        "Sync\n1 row is tried again.",
        "Sync\nNo row is parked.",
    ]
    assert [shown.private, str(poison) in shown.text] == [True, True]
    alert = next(e for e in stage.alerts() if e["title"] == PARKED)
    assert alert["description"].endswith(
        f"*<@{people.administrator}> pressed Retry parked.* 1 row is tried again."
    )
    assert after == []


@pytest.mark.parametrize("label", ["Probe now", pytest.param("Reset", marks=pytest.mark.slow)])
async def test_the_breaker_after_a_restart(stage: Stage, people: People, label: str) -> None:
    """Either button lets a sync begin at once; pressed when all is well again, it says so."""
    stage.site.fault = refuse_writes
    slow = {**QUICK, "SYNC_BREAKER_OPEN_S": 900, "SYNC_MAX_FAILING": 1}
    async with stage.bot(**slow, SYNC_BREAKER_THRESHOLD=1):
        await stage.until(lambda: any(e["title"] == OPEN for e in stage.alerts()))
        await stage.run_end()
    stage.site.fault = well
    titles: list[str] = []
    async with stage.bot(**slow):
        await stage.until(lambda: any("withheld" in e["title"] for e in stage.alerts()))
        buttons = people.buttons(OPEN)
        refused = await people.press(people.stranger, OPEN, label)
        pressed = await people.press(people.holder, OPEN, label)
        end = await stage.run_end(2)
        if label == "Probe now":
            await stage.until(lambda: any(e["title"] == "Sync recovered" for e in stage.alerts()))
        await stage.until(lambda: people.buttons(OPEN) == [])
        titles += [e["title"] for e in stage.alerts()]

    assert [buttons, refused.text] == [["Probe now", "Reset"], REFUSAL]
    assert "**Verified** in" in end["description"]
    assert stage.database.stored() == await stage.rows_due()
    alert = next(e for e in stage.alerts() if e["title"] == OPEN)
    assert f"*<@{people.holder}> pressed {label}.*" in alert["description"]
    assert ("has started" in pressed.text, "Sync recovered" in titles) == (
        (True, True) if label == "Probe now" else (False, False)
    )


@pytest.mark.slow
async def test_a_breaker_opened_by_hand_is_reset_by_its_button(
    stage: Stage, people: People
) -> None:
    """Its notice says who ordered it, and its one button ends the order."""
    await stage.fill_site()
    async with stage.bot(**QUICK):
        await stage.run_end()
        await stage.commands_known()
        opened = await people.invoke(people.administrator, "sync breaker open", reason="a move")
        title = "Sync breaker opened by hand"
        await stage.until(lambda: any(e["title"] == title for e in stage.alerts()))
        buttons = people.buttons(title)
        await people.press(people.holder, title, "Reset")
        await stage.run_end(2)
        late = await people.invoke(people.holder, "sync breaker")

    assert [opened.private, buttons] == [False, ["Reset"]]
    assert "Breaker" not in late.text


@pytest.mark.slow
async def test_a_pause_is_ended_by_the_button_of_its_notice(stage: Stage, people: People) -> None:
    """Also by another process than that which posted it."""
    await stage.fill_site()
    async with stage.bot(**QUICK):
        await stage.run_end()
        await stage.commands_known()
        first = await people.invoke(people.administrator, "sync pause")
        second = await people.invoke(people.holder, "sync pause")
        await stage.until(lambda: any(e["title"] == "Sync is paused" for e in stage.alerts()))
    async with stage.bot(**QUICK):
        await stage.until(lambda: any("withheld" in e["title"] for e in stage.alerts()))
        resumed = await people.press(people.holder, "Sync is paused", "Resume")
        again = await people.invoke(people.holder, "sync resume")
        await stage.run_end(2)

    assert [first.text, first.private] == ["Sync\nSync is paused.", False]
    assert second.text.startswith(f"Sync\nSync is already paused: <@{people.administrator}> did")
    assert [resumed.text, again.text, again.private] == [
        "Sync\nSync resumed.",
        "Sync\nSync is not paused.",
        True,
    ]
    assert GUILD in stage.site_roles()


@pytest.mark.slow
async def test_a_killed_runs_message_loses_its_buttons_and_gains_a_link(
    stage: Stage, people: People, tmp_path: Path
) -> None:
    """The next start ends it; the next run, however it began, is linked from there."""
    stage.site.fault = held = Held()
    settings = {**QUICK, "SYNC_FIRST_ITEMS": 10, "SYNC_MAX_ITEMS": 10}
    async with stage.program(tmp_path, **settings) as bot:
        await asyncio.wait_for(held.reached.wait(), 20)
        await stage.until(lambda: "Pause" in people.buttons("Syncing"))
        bot.kill()
        held.opened.set()
        stage.site.fault = well
        await bot.start()
        ended = "Sync of roles and users interrupted"
        await stage.until(lambda: any(e["title"] == ended for e in stage.embeds()))
        between = [people.buttons(ended), description(stage, ended)]
        # Killed once more before any run could follow: what it waits for stands in its own text.
        await stage.until(lambda: bool(bot.events("bot.commands.synced", latest_start=True)))
        bot.kill()
        await bot.start()
        await stage.until(lambda: bool(bot.events("bot.commands.synced", latest_start=True)))
        async with asyncio.timeout(20):
            while (
                "has started" not in (answer := await people.invoke(people.holder, "sync all")).text
            ):
                pass
        await stage.until(lambda: "Followed by run" in description(stage, ended))

    run_id = answer.text.partition("`")[2][:8]
    assert between[0] == []
    assert "Followed by" not in between[1]
    assert f"Followed by run `{run_id}`: https://discord.com/channels/{GUILD}/" in description(
        stage, ended
    )


@pytest.mark.slow
async def test_only_the_process_that_leads_answers_a_press(
    stage: Stage, people: People, tmp_path: Path
) -> None:
    """Another one hears it too, and keeps silent: no press is carried out twice."""
    await stage.fill_site()
    shared = {**QUICK, "SYNC_STATE_URL": f"sqlite:///{tmp_path}/shared.db"}
    async with (
        stage.program(tmp_path / "a", **shared) as first,
        stage.program(tmp_path / "b", **shared) as second,
    ):
        await stage.run_end()
        leader, other = (first, second) if first.events("sync.lease.held") else (second, first)
        await other.wait_for_event("sync.lease.waiting")
        await other.wait_for_event("bot.ready")
        await stage.commands_known()
        await people.invoke(people.holder, "sync pause")
        await stage.until(lambda: any(e["title"] == "Sync is paused" for e in stage.alerts()))
        resumed = await people.press(people.holder, "Sync is paused", "Resume")
        answers = await stage.control.responses(people.asked)
        pressed = await leader.wait_for_event("sync.button.pressed")
        silent = other.events("sync.button.pressed") + other.events("sync.button.unanswered")

    assert [resumed.text, len(answers), silent] == ["Sync\nSync resumed.", 1, []]
    assert [pressed["action"], pressed["user_id"]] == ["resume", people.holder]
