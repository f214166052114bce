"""The commands, typed and as slash commands: who may use them, and what they answer."""

import re

import pytest

from tests.e2e.trouble.faulty_site import Held
from tests.e2e.trouble.harness import GUILD, Stage
from tests.e2e.trouble.people import REFUSAL, ROLE, Room

pytestmark = pytest.mark.cached_or_not(fast="on")


@pytest.fixture(params=[pytest.param(False, marks=pytest.mark.slow), True], ids=["text", "slash"])
async def room(stage: Stage, request: pytest.FixtureRequest) -> Room:
    """Open a channel beside mod-log, in a guild of 20 that the site has in step."""
    await stage.guild()
    await stage.fill_site()
    channel = await stage.control.create_channel(GUILD, "bots")
    return Room(stage=stage, channel=channel, slash=request.param)


async def test_each_command_does_what_it_says(stage: Stage, room: Room) -> None:
    """Plan writes nothing; users, roles and all write what they cover; status shows the last."""
    ids = [id_ for id_ in stage.database.stored() if id_ != 900_000_000_000_000_001]
    owner = stage.discord.state.guilds[GUILD].owner_id
    async with stage.bot():
        await stage.ready()
        stage.database.query("UPDATE api_user SET name = 'old' WHERE id = %s", ids[3])
        stage.database.query("UPDATE api_role SET name = 'old' WHERE id = %s", ROLE)
        plan = await room.say(owner, "sync plan")
        written = list(stage.site.writes())
        started = []
        for number, command in enumerate(("sync roles", "sync users", "sync all"), start=2):
            started.append(await room.say(owner, command))
            await stage.run_end(number)
        status = await room.say(owner, "sync status")

    assert "**1** changes of users, **1** of roles." in plan
    assert written == []
    assert [re.sub(r"`\w{8}`", "`…`", text) for text in started] == [
        f"Sync: Run `…` has started; <#{stage.mod_log}> shows it."
    ] * 3
    assert [embed["title"] for embed in stage.ended()] == [
        "Sync of roles and users finished",
        "Sync of roles finished",
        "Sync of users finished",
        "Sync of roles and users finished",
    ]
    assert status.startswith("Sync of roles and users finished: Nothing to change")
    assert stage.site_roles()[ROLE] == "role3"
    assert stage.database.stored() == await stage.rows_due()


async def test_a_run_can_be_cancelled(stage: Stage, room: Room) -> None:
    """While a run is on no second one starts; cancel ends it after the chunk in flight."""
    stage.database.query("DELETE FROM api_user")
    stage.site.fault = held = Held()
    owner = stage.discord.state.guilds[GUILD].owner_id
    async with stage.bot(SYNC_FIRST_ITEMS=10):
        await stage.until(held.reached.is_set)
        await stage.commands_known()
        busy = await room.say(owner, "sync all")
        live = await room.say(owner, "sync status")
        cancelled = await room.say(owner, "sync cancel")
        held.opened.set()
        end = await stage.run_end()
        idle = await room.say(owner, "sync cancel")

    run = end["footer"]["text"].removeprefix("run ")
    assert [busy, live.partition("\n")[0], cancelled, idle] == [
        f"Sync: Run `{run}` is already running; `!sync status` shows it, `!sync cancel` stops it.",
        "Syncing roles and users: **Writing users**, at start-up",
        f"Sync: Run `{run}` is being stopped.",
        "Sync: No sync is running.",
    ]
    assert [
        end["title"],
        end["description"].splitlines()[0],
        end["description"].splitlines()[-1],
    ] == [
        "Sync of roles and users cancelled",
        "Stopped at **10** of **21** changes.",
        f"Cancelled by <@{owner}>.",
    ]
    assert len(stage.database.stored()) == 10


async def test_only_administrators_and_configured_roles_may(stage: Stage, room: Room) -> None:
    """A stranger is refused in one sentence and starts nothing."""
    ids = sorted(stage.database.stored())
    stranger, administrator, holder = ids[10:13]
    await stage.control.set_roles(GUILD, stranger, [GUILD + 1], silent=True)
    await stage.control.set_roles(GUILD, holder, [ROLE], silent=True)
    await stage.control.make_administrator(GUILD, administrator)
    async with stage.bot(SYNC_COMMAND_ROLE_IDS=f"5,{ROLE}"):
        await stage.ready()
        refused = await room.answer(stranger, "sync all")
        allowed = [await room.say(person, "sync cancel") for person in (administrator, holder)]

    assert refused == (room.slash, REFUSAL)
    assert allowed == ["Sync: No sync is running."] * 2
    assert len(stage.ended()) == 1


async def test_rights_can_be_given_apart_and_orders_are_on_record(stage: Stage, room: Room) -> None:
    """One role looks, one operates, and one approves; `audit` tells who ordered what."""
    ids = sorted(stage.database.stored())
    looks, operates, approves = ids[10:13]
    roles = (GUILD + 1, GUILD + 2, GUILD + 3)
    for person, role in zip((looks, operates, approves), roles, strict=True):
        await stage.control.set_roles(GUILD, person, [role], silent=True)
    names = ("SYNC_LOOK_ROLE_IDS", "SYNC_OPERATE_ROLE_IDS", "SYNC_APPROVE_ROLE_IDS")
    async with stage.bot(**dict(zip(names, map(str, roles), strict=True))):
        await stage.ready()
        everybody = (looks, operates, approves)
        asked = [("sync status", person) for person in everybody]
        asked += [("sync cancel", person) for person in everybody]
        # Who has just been refused in public hears nothing more for a while.
        asked += [("sync approve", person) for person in (operates, approves)]
        answers = {(command, who): await room.say(who, command) for command, who in asked}
        # A reason is somebody's own words, and may name anybody.
        await room.say(operates, "sync pause" if room.slash else "sync breaker open Zaphod")
        audit = await room.say(looks, "sync audit")

    refusals = {key: answer for key, answer in answers.items() if "Only administrators" in answer}
    operate = "Only administrators and the roles that may operate the sync may use this."
    assert refusals == {
        ("sync cancel", looks): operate,
        ("sync cancel", approves): operate,
        ("sync approve", operates): (
            "Only administrators and the roles that may approve may use this."
        ),
    }
    way = "slash command" if room.slash else "typed"
    assert re.findall(r"<@.*", audit) == [
        f"<@{operates}> `{'pause' if room.slash else 'breaker open'}`, {way}",
        f"<@{approves}> `approve`, {way}",
        f"<@{operates}> `cancel`, {way}",
    ]
