"""The commands that look closer: one member, a plan as a file, past runs, the pace of a run."""

import asyncio
import csv
import io
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bot.exts.backend.sync._picture import AVAILABLE
from tests.e2e.trouble.faulty_site import Answer, Call, Fault, Forward, Held
from tests.e2e.trouble.harness import GUILD, Stage
from tests.e2e.trouble.people import REFUSAL, ROLE, People, Room, text_of

QUICK = {"SYNC_COMMAND_ROLE_IDS": ROLE, "SYNC_EDIT_INTERVAL_S": 0.05}
# Every command, with options that do no harm to a sync that is in step.
COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("sync status", {}),
    ("sync plan", {}),
    ("sync parked", {}),
    ("sync retry", {}),
    ("sync history", {}),
    ("sync history", {"run": "none"}),
    ("sync audit", {}),
    ("sync set", {"name": "target", "value": 1.0}),
    ("sync cancel", {}),
    ("sync approve", {}),
    ("sync reject", {}),
    ("sync breaker open", {"reason": "a move"}),
    ("sync breaker reset", {}),
    ("sync pause", {}),
    ("sync resume", {}),
]


@pytest.fixture
async def people(stage: Stage) -> People:
    """Make a guild of 30 that the site has in step, and choose the people."""
    return await People.of_guild(stage, members=30)


async def content_of(file: dict[str, Any]) -> bytes:
    """Return what an attached file holds."""
    async with aiohttp.ClientSession() as http, http.get(file["url"]) as answer:
        return await answer.read()


def typed(command: str, options: dict[str, Any]) -> str:
    """Return a slash command as it is typed."""
    return " ".join(["!" + command, *map(str, options.values())])


@pytest.mark.slow
async def test_every_command_serves_who_may_and_refuses_who_may_not(
    stage: Stage, people: People
) -> None:
    """An administrator, a configured role and a stranger, by slash command."""
    async with stage.bot(**QUICK):
        await stage.ready()
        refused, answered = [], []
        for command, options in COMMANDS:
            refused.append(await people.invoke(people.stranger, command, **options))
            for person in (people.administrator, people.holder):
                answer = await people.invoke(person, command, **options)
                answered.append((command, answer.text))

    assert [(answer.text, answer.private) for answer in refused] == [(REFUSAL, True)] * len(
        COMMANDS
    )
    assert [command for command, text in answered if text == REFUSAL] == []
    assert [text for command, text in answered if command == "sync set"] == [
        "Sync\nNo sync is running: this setting applies to the current run only."
    ] * 2


async def test_every_command_can_be_typed(stage: Stage, people: People) -> None:
    """As text, with the bot's prefix, which is also the one that the texts name."""
    channel = await stage.control.create_channel(GUILD, "bots")
    async with stage.bot(**QUICK, BOT_PREFIX="?"):
        await stage.ready()
        texts = []
        for command, options in COMMANDS:
            known = len(stage.bodies(channel))
            line = typed(command, options).replace("!", "?", 1)
            await stage.control.post(channel, people.holder, line)
            await stage.until(lambda known=known: len(stage.bodies(channel)) > known)  # type: ignore[misc]
            texts.append(str(stage.bodies(channel)[known]["embeds"][0]))

    assert len(texts) == len(COMMANDS)
    assert "`?sync history <run>` shows the details of one." in texts[4]
    assert [text for text in texts if "`!sync" in text] == []
    assert "`?sync resume`" in str(stage.alerts())


@pytest.mark.cached_or_not(fast="on")
@pytest.mark.parametrize(
    "slash", [pytest.param(False, marks=pytest.mark.slow), True], ids=["text", "slash"]
)
async def test_one_member_is_compared_shown_written_and_read_back(
    stage: Stage, people: People, *, slash: bool
) -> None:
    """Old and new of each field that differs; then the row is right, and no other was written."""
    odd = sorted(await stage.rows_due())[5]
    await stage.control.rename(GUILD, odd, "n_w", silent=True)
    channel = await stage.control.create_channel(GUILD, "bots")
    room = Room(stage=stage, channel=channel, slash=False)
    async with stage.bot(**QUICK):
        await stage.ready()
        stage.database.query(
            "UPDATE api_user SET name = '*old*', roles = '[1, 270988689419665408]' WHERE id = %s",
            odd,
        )
        known = len(stage.site.writes())
        if slash:
            await people.invoke(people.holder, "sync user", member={"user_id": odd})
            answer = await people.answer_saying("**written**")
            text, private = answer.text, answer.private
        else:
            await room.say(people.holder, f"sync user {odd}")
            await stage.until(lambda: "**written**" in str(stage.bodies()))
            assert "names members" in text_of(stage.bodies(channel)[-1])
            text, private = text_of(stage.bodies()[-1]), False
        writes = [row for call in stage.site.writes()[known:] for row in call.rows]

    lines = text.splitlines()[0 if slash else 1 :]  # in mod-log it says first who asked
    assert lines[:3] == [
        "One member",
        f"<@{odd}> `{odd}`",
        "2 fields differ: **written** and verified.",
    ]
    assert "name: \\*old\\* → n\\_w" in lines
    assert any(line.endswith("`1` removed") for line in lines)
    assert private is slash
    assert [row["id"] for row in writes] == [odd]
    assert stage.database.stored() == await stage.rows_due()


@pytest.mark.slow
async def test_a_member_who_is_in_step_costs_no_write(stage: Stage, people: People) -> None:
    """Who has left and is known to have left neither; who is unknown to both is no error."""
    ids = sorted(await stage.rows_due())
    async with stage.bot(**QUICK):
        await stage.ready()
        same = await people.invoke(people.holder, "sync user", member={"user_id": ids[5]})
        await stage.control.invoke(stage.mod_log, people.holder, "sync pause")
        await stage.until(lambda: "Sync is paused" in str(stage.alerts()))
        held = await people.invoke(people.holder, "sync user", member={"user_id": ids[5]})

    assert "The site is in step: nothing to write." in same.text
    assert held.text.startswith("Sync\nSync is paused by")
    assert stage.site.writes() == []


@pytest.mark.parametrize("slash", [False, True], ids=["text", "slash"])
async def test_who_is_a_member_is_not_forgotten(
    stage: Stage, people: People, *, slash: bool
) -> None:
    """It says why; whom somebody wanted to be forgotten is not in the record of orders."""
    channel = await stage.control.create_channel(GUILD, "bots")
    room = Room(stage=stage, channel=channel, slash=False)
    async with stage.bot(**QUICK):
        await stage.ready()
        if slash:
            member = {"user_id": people.stranger}
            said = (await people.invoke(people.holder, "sync forget", member=member)).text
        else:
            said = await room.say(people.holder, f"sync forget {people.stranger}")
        audit = (await people.invoke(people.holder, "sync audit")).text

    assert f"<@{people.stranger}> is a member of this server" in said
    assert f"<@{people.holder}> `forget`" in audit
    assert str(people.stranger) not in audit


async def told_of(stage: Stage, people: People, id_: int, fault: Fault) -> str:
    """Have a member synced whom the site then does not take, and return what is said of it."""
    stage.database.query("UPDATE api_user SET name = 'old' WHERE id = %s", id_)
    stage.site.fault = fault
    await people.invoke(people.holder, "sync user", member={"user_id": id_})
    return (await people.answer_saying("**not written**")).text.splitlines()[2]


@pytest.mark.slow
async def test_a_member_whom_the_site_refuses_is_parked(stage: Stage, people: People) -> None:
    """The answer says what the site said."""
    ids = sorted(await stage.rows_due())

    async def refuse(call: Call, forward: Forward) -> Answer:
        if call.writes_users:
            return web.json_response([{"name": ["Not *that*."]}], status=400)
        return await forward(call)

    async with stage.bot(**QUICK):
        await stage.ready()
        told = await told_of(stage, people, ids[5], refuse)
        parked = await people.invoke(people.holder, "sync parked")

    assert told == "1 field differs: **not written**. The site says\\: name\\: Not \\*that\\*."
    assert str(ids[5]) in parked.text


@pytest.mark.slow
async def test_a_member_whom_the_site_does_not_keep_so_is_told(
    stage: Stage, people: People
) -> None:
    """An answer of 200 is no proof: the row is read back."""
    ids = sorted(await stage.rows_due())

    async def pretend(call: Call, forward: Forward) -> Answer:
        return web.json_response([]) if call.writes_users else await forward(call)

    async with stage.bot(**QUICK):
        await stage.ready()
        told = await told_of(stage, people, ids[5], pretend)

    assert told == (
        "1 field differs: **not written**. The site took it, but still differs in name."
    )


@pytest.mark.cached_or_not(fast="on")
async def test_a_plan_is_attached_as_a_file(stage: Stage, people: People) -> None:
    """Every difference with both values, no cell a formula; and nothing is written."""
    ids = sorted(await stage.rows_due())
    rows = await stage.rows_due()
    await stage.control.leave(GUILD, ids[20], silent=True)
    stage.database.query("UPDATE api_user SET name = '=1+1' WHERE id = %s", ids[5])
    stage.database.query("DELETE FROM api_user WHERE id = %s", ids[6])
    stage.database.query("UPDATE api_role SET name = 'old' WHERE id = %s", ROLE)
    async with stage.bot(**QUICK, SYNC_AT_START=False):
        # Before it holds the lease it begins nothing; then it says where its state is kept.
        await stage.until(lambda: bool(stage.embeds()))
        await stage.commands_known()
        plan = await people.invoke(people.holder, "sync plan")
        found = (await content_of(plan.files[0])).decode()

    lines = list(csv.reader(io.StringIO(found)))
    assert lines[0] == ["id", "change", "field", "site", "guild"]
    assert [str(ids[5]), "update", "name", "'=1+1", rows[ids[5]][0]] in lines
    assert [str(ids[6]), "create", "name", "", rows[ids[6]][0]] in lines
    assert [str(ids[20]), "departure", "in_guild", "True", "False"] in lines
    assert [str(ROLE), "update role", "", "", "role3"] in lines
    assert len(lines) == 1 + 1 + 5 + 1 + 1
    assert [plan.private, stage.site.writes()] == [True, []]


@pytest.mark.slow
async def test_history_tells_of_runs_that_have_ended(stage: Stage, people: People) -> None:
    """Those of an earlier process too; of one run all figures, and how long its requests took."""
    async with stage.bot(**QUICK):
        end = await stage.run_end()
    run_id = end["footer"]["text"].removeprefix("run ")
    async with stage.bot(**QUICK):
        await stage.run_end(2)
        await stage.commands_known()
        listed = await people.invoke(people.holder, "sync history")
        told = await people.invoke(people.holder, "sync history", run=run_id)

    assert listed.text.count("**verified** after") == 2
    assert f"Run {run_id} has ended: verified" in told.text
    assert "s a request" in told.text
    pictures = [await content_of(file) for file in told.files]
    assert [picture[:4] for picture in pictures] == [b"\x89PNG"] * (AVAILABLE)


@pytest.mark.slow
async def test_the_pace_of_a_run_is_set_while_it_is_on(stage: Stage, people: People) -> None:
    """The next chunk obeys, the message says who did it, and a figure out of bounds is refused."""
    stage.database.query("DELETE FROM api_user")
    stage.site.fault = held = Held()
    async with stage.bot(**QUICK, SYNC_FIRST_ITEMS=10, SYNC_MAX_ITEMS=10):
        await stage.until(held.reached.is_set)
        await stage.commands_known()
        large = await people.invoke(people.holder, "sync set", name="max-items", value=11.0)
        rows = await people.invoke(people.holder, "sync set", name="max-items", value=3.0)
        target = await people.invoke(people.holder, "sync set", name="target", value=2.5)
        await stage.until(lambda: "2.5 s a request is the target" in str(stage.embeds()))
        held.opened.set()
        await stage.run_end()

    assert large.text == "Sync\n`max-items` must be between 1 and 10 rows."
    assert rows.text.endswith(f"Set by <@{people.holder}>: at most 3 rows a request.")
    assert [rows.private, "2.5 s a request is the target" in target.text] == [False, True]
    assert [len(call.rows) for call in stage.site.writes()] == [10, *[3] * 7]
    assert stage.database.stored() == await stage.rows_due()


async def test_ids_are_completed_while_they_are_typed(stage: Stage, people: People) -> None:
    """Runs that are kept, the latest first, for whoever may use the command; nothing to others."""

    async def offered_runs() -> list[str]:
        return await people.complete(people.holder, "sync history", "run", "")

    async with stage.bot(**QUICK):
        await stage.ready()
        await people.invoke(people.holder, "sync all")
        await stage.run_end(2)
        ids = [embed["footer"]["text"].removeprefix("run ") for embed in reversed(stage.ended())]
        async with asyncio.timeout(10):  # a run is kept a moment after it was shown to have ended
            while (offered := await offered_runs()) != ids:  # noqa: ASYNC110 - asked of Discord
                await asyncio.sleep(0.05)
        fitting = await people.complete(people.holder, "sync history", "run", ids[1][:7].upper())
        lists = await people.complete(people.holder, "sync approve", "list_id", "")
        rejectable = await people.complete(people.holder, "sync reject", "list_id", "")
        nothing = await people.complete(people.stranger, "sync history", "run", "")

    assert [offered, fitting, lists, rejectable, nothing] == [ids, [ids[1]], [], [], []]
