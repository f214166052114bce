"""What is too much to believe waits for a moderator: asked once, decided by list, done as a run."""

import asyncio
from collections.abc import Iterable

import aiohttp
import pytest

from tests.e2e.trouble.harness import GUILD, Stage, fields
from tests.e2e.trouble.people import REFUSAL, ROLE, People

ASKED, ROLES_ASKED = "Departures withheld", "Role deletions withheld"
QUICK = {"SYNC_COMMAND_ROLE_IDS": ROLE, "SYNC_EDIT_INTERVAL_S": 0.05}


async def text_of(file: dict[str, str]) -> str:
    """Return what an attached file holds."""
    async with aiohttp.ClientSession() as http, http.get(file["url"]) as answer:
        return (await answer.read()).decode()


def in_guild(stage: Stage, ids: Iterable[int]) -> list[bool]:
    """Return whether the site has each of these in the guild."""
    stored = stage.database.stored()
    return [stored[id_][4] for id_ in ids]


@pytest.fixture
async def people(stage: Stage) -> People:
    """Make a guild of 1,700 that the site has in step, and choose the people."""
    return await People.of_guild(stage, members=1700)


@pytest.mark.cached_or_not
async def test_departures_are_written_when_somebody_approves_them(
    stage: Stage, people: People
) -> None:
    """The list as it was shown: who is back is skipped, who left later is asked about anew."""
    ids = sorted(await stage.rows_due())
    gone, later = ids[100:700], ids[700:1250]
    back = gone[:10]
    rows = {member["id"]: member async for member in stage.control.members(GUILD)}
    await stage.leave(gone)
    async with stage.bot(**QUICK):
        first = await stage.run_end()
        await stage.until(lambda: ASKED in stage.alert_titles())
        refused = [
            await people.press(people.stranger, ASKED, label) for label in people.buttons(ASKED)
        ]
        who = await people.press(people.holder, ASKED, "Show who")
    listed = await text_of(who.files[0])
    await stage.control.put_members(GUILD, (rows[id_] for id_ in back), silent=True)
    await stage.leave(later)
    # Another process hears the button, and finds the list in the store.
    async with stage.bot(**QUICK):
        second = await stage.run_end(2)
        asked_once = stage.alert_titles().count(ASKED)
        approved = await people.press(people.administrator, ASKED, "Approve")
        third = await stage.run_end(3)
        again = await people.invoke(people.holder, "sync reject")
        buttons = people.buttons(ASKED)
        written = in_guild(stage, [*back, *gone[10:], *later])
    async with stage.bot(**QUICK):
        await stage.run_end(4)
        await stage.until(lambda: stage.alert_titles().count(ASKED) == 2)

    assert [answer.text for answer in refused] == [REFUSAL] * 3
    assert [fields(first).get("Users", ""), asked_once] == ["", 1]
    assert listed.splitlines()[0] == "id,name on the site"
    assert [int(line.split(",")[0]) for line in listed.splitlines()[1:]] == gone
    assert listed.splitlines()[1].split(",")[1] == rows[gone[0]]["name"]
    assert "Departures withheld: 1,140" in fields(second)
    assert approved.text.startswith("Sync\n600 departures are approved")
    assert f"after <@{people.administrator}> approved 600 departures" not in approved.text
    assert "590 departures are written, 10 are back." in fields(third)["Approved"]
    assert "550" in " ".join(fields(third))
    assert written == [*[True] * 10, *[False] * 590, *[True] * 550]
    assert [again.text, buttons] == ["Sync\nNothing is waiting for a decision.", []]
    (decided,) = [e for e in stage.alerts() if e["title"] == "Departures approved"]
    assert decided["description"].startswith(f"<@{people.administrator}> approved list")


async def test_rejected_departures_stay(stage: Stage, people: People) -> None:
    """Nobody is asked again that day, and who pressed what is told."""
    ids = sorted(await stage.rows_due())
    await stage.leave(ids[100:700])
    async with stage.bot(**QUICK) as bot:
        await stage.run_end()
        await stage.until(lambda: ASKED in stage.alert_titles())
        await stage.until(bot.is_ready)
        await stage.commands_known()
        rejected = await people.invoke(people.holder, "sync reject")
        late = await people.press(people.administrator, ASKED, "Reject")
        nothing = await people.invoke(people.holder, "sync reject")
        await people.invoke(people.holder, "sync all")
        second = await stage.run_end(2)

    assert rejected.text.startswith("Sync\n600 departures are rejected (list `")
    assert late.text.startswith(f"Sync\n<@{people.holder}> rejected that list <t:")
    assert nothing.text == "Sync\nNothing is waiting for a decision."
    assert f"<@{people.holder}> rejected list" in fields(second)["Departures withheld: 600"]
    assert [stage.alert_titles().count(ASKED), all(in_guild(stage, ids[100:700]))] == [1, True]


async def test_role_deletions_wait_like_departures(stage: Stage, people: People) -> None:
    """The named roles are deleted after the members were written, and no other."""
    for number in range(10):
        role = await stage.control.create_role(GUILD, f"old {number}")
        stage.add_old_role(role, number)
        await stage.control.delete_role(GUILD, role)
    known = set(stage.site_roles())
    async with stage.bot(**QUICK):
        await stage.run_end()
        await stage.until(lambda: ROLES_ASKED in stage.alert_titles())
        who = await people.press(people.holder, ROLES_ASKED, "Show who")
        kept = set(stage.site_roles())
        await people.press(people.holder, ROLES_ASKED, "Approve")
        end = await stage.run_end(2)

    listed = await text_of(who.files[0])
    assert sorted(line.split(",")[1] for line in listed.splitlines()[1:]) == [
        f"old {number}" for number in range(10)
    ]
    assert kept == known
    assert fields(end)["Roles"] == "0 created, 0 updated, 10 deleted"
    assert set(stage.site_roles()) == {role["id"] for role in await stage.control.roles(GUILD)}


async def test_two_lists_must_be_told_apart(stage: Stage, people: People) -> None:
    """A command that could mean either does neither, and names both."""
    ids = sorted(await stage.rows_due())
    await stage.leave(ids[100:700])
    for number in range(10):
        stage.add_old_role(number + 1, number)
    async with stage.bot(**QUICK):
        await stage.until(lambda: {ASKED, ROLES_ASKED} <= set(stage.alert_titles()))
        await stage.commands_known()
        await stage.run_end()
        which = await people.invoke(people.administrator, "sync approve")
        digest = which.text.partition("sync approve ")[2][:8]
        unknown = await people.invoke(people.administrator, "sync approve", list_id="00000000")
        await people.invoke(people.administrator, "sync approve", list_id=digest)
        await stage.run_end(2)
        async with asyncio.timeout(10):
            while "Approved" not in (await people.invoke(people.holder, "sync status")).text:
                pass

    assert which.text.count("`!sync approve ") == 2
    assert unknown.text.startswith("Sync\nThat list is no longer waiting")
