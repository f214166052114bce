"""The first meeting of a guild and a site, and departures found by comparing the two."""

import pytest
from aiohttp import web

from tests.e2e.trouble.faulty_site import Answer, Call, Forward
from tests.e2e.trouble.harness import GUILD, Stage, fields

pytestmark = pytest.mark.cached_or_not


async def test_an_empty_site_is_filled(stage: Stage) -> None:
    """Every role and every member reaches the site, and the run ends verified."""
    await stage.guild(300)
    async with stage.bot():
        end = await stage.run_end()

    assert [end["title"], fields(end)] == [
        "Sync of roles and users finished",
        {
            "Users": "301 created, 0 updated, 0 left",
            "Roles": "4 created, 0 updated, 0 deleted",
        },
    ]
    assert "**Verified** in" in end["description"]
    assert stage.database.stored() == await stage.rows_due()
    assert stage.site_roles() == {r["id"]: r["name"] for r in await stage.control.roles(GUILD)}


async def plain(call: Call, forward: Forward) -> Answer:
    """Offer nothing beyond the contract, as the site of an older syncer."""
    if call.path == "bot/sync/capabilities":
        return web.json_response({"detail": "Not found."}, status=404)
    return await forward(call)


async def test_what_an_older_syncer_left_in_step_is_left_alone(stage: Stage) -> None:
    """Roles in another order or twice, names stripped, old rows of the departed: no change."""
    stage.site.fault = plain
    ids = await stage.guild(30)
    await stage.control.rename(GUILD, ids[1], " \t spaced ", silent=True)
    await stage.control.nick(GUILD, ids[2], "\u2003wide\u00a0 ", silent=True)
    await stage.control.set_roles(GUILD, ids[3], [GUILD + 2, GUILD + 1], silent=True)
    await stage.fill_site()
    rows = stage.database.stored()
    another_order = {
        id_: [*row[:3], [*reversed(row[3]), GUILD], row[4]] for id_, row in rows.items()
    }
    departed = {5: ["left long ago", "", 1234, [GUILD, 77, 78], False]}
    stage.database.query("DELETE FROM api_user")
    stage.add_rows(another_order | departed)
    async with stage.bot():
        end = await stage.run_end()

    assert [end["description"].partition("\n")[0], stage.site.writes()] == [
        "Nothing to change: 32 rows agree with the guild.",
        [],
    ]
    assert stage.database.stored() == another_order | departed


async def test_roles_are_put_in_order_once_where_they_are_hashed(
    stage: Stage, member_cache: str
) -> None:
    """Their digests would differ for ever. Without a member cache there are none to compare."""
    await stage.guild(30)
    await stage.fill_site()
    due = stage.database.stored()
    stage.database.query("DELETE FROM api_user")
    another_order = {
        id_: [*row[:3], [*reversed(row[3]), *row[3]], row[4]] for id_, row in due.items()
    }
    stage.add_rows(another_order)
    async with stage.bot():
        end = await stage.run_end()

    is_cached = member_cache == "on"
    assert ("roles put in order" in end["description"]) is is_cached
    assert stage.database.stored() == (due if is_cached else another_order)


async def test_too_many_departures_at_once_are_withheld(stage: Stage) -> None:
    """600 of 1,000 gone without an event are not believed; what else changed goes out."""
    ids = await stage.guild(1000)
    await stage.fill_site()
    before = stage.database.stored()
    gone = ids[400:]
    await stage.leave(gone)
    await stage.control.rename(GUILD, ids[7], "renamed", silent=True)
    async with stage.bot():
        end = await stage.run_end()

    withheld = fields(end)["Departures withheld: 600"]
    assert withheld.startswith("Too many to accept without a moderator, who was asked <t:")
    assert stage.database.stored() == before | await stage.rows_due()


async def test_few_departures_are_confirmed_and_written(stage: Stage) -> None:
    """Each of 300 who left is asked for by id, then marked as gone, and nothing else of them."""
    ids = await stage.guild(1000)
    await stage.fill_site()
    before = stage.database.stored()
    gone = ids[700:]
    await stage.leave(gone)
    async with stage.bot():
        end = await stage.run_end()

    assert fields(end) == {"Users": "0 created, 0 updated, 300 left"}
    left = {id_: [*before[id_][:4], False] for id_ in gone}
    assert stage.database.stored() == before | left
