"""A bot that caches no members goes round guild and site, a stretch at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.trouble.faulty_site import Answer, Call, Forward, Held
from tests.e2e.trouble.harness import BOT, GUILD, QuickBot, Stage, fields, footer

# A window has ten of the site's rows, and a stretch ends as soon as it has ten members to write.
SMALL = {"SYNC_PAGE_ITEMS": 10, "SYNC_FIRST_ITEMS": 10, "SYNC_MAX_ITEMS": 10}


@pytest.fixture
def member_cache() -> str:
    """Let no bot of these tests cache members."""
    return "off"


async def by_number(call: Call, forward: Forward) -> Answer:
    """Answer as a site that has the contract and nothing else."""
    if call.path == "bot/sync/capabilities":
        return web.Response(status=404, text="<h1>Not Found</h1>")
    return await forward(call)


async def by_id(call: Call, forward: Forward) -> Answer:
    """Answer as a site that has pages by id."""
    return await forward(call)


class HeldAt(Held):
    """Hold back one write of users, the one of this number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number

    async def __call__(self, call: Call, forward: Forward) -> Answer:
        if call.writes_users:
            self._left -= 1
            if not self._left:
                return await super().__call__(call, forward)
        return await forward(call)


async def fill_with_old_names(stage: Stage) -> None:
    """Give the site every member, each under an older name."""
    await stage.fill_site()
    stage.database.query("UPDATE api_user SET name = 'old'")


def written(calls: Sequence[Call], id_: int) -> list[Any]:
    """Return the names that writes gave to a member, oldest first; False if they marked a leave."""
    rows = [row for call in calls for row in call.rows if row["id"] == id_]
    return [row.get("name", row.get("in_guild")) for row in rows]


def cached(bot: QuickBot) -> list[int]:
    """Return the ids of the members that discord.py has cached."""
    guild = bot.get_guild(GUILD)
    assert guild is not None
    return [member.id for member in guild.members]


@pytest.mark.parametrize("site", [by_number, by_id])
async def test_both_sides_are_brought_in_step(stage: Stage, site: Any) -> None:
    """Members of three pages; rows that are old, missing (700 in a row), too many: all come right.

    Rows that are created push others onto later pages, where they go by number.
    """
    ids = await stage.guild(2500)
    await stage.fill_site()
    stage.database.query("UPDATE api_user SET name = 'old' WHERE id > %s", ids[2300])
    stage.database.query("DELETE FROM api_user WHERE id > %s AND id < %s", ids[299], ids[1000])
    gone = {id_: ["gone", "gone", 0, [GUILD], True] for id_ in (7, ids[1500] + 1)}
    stage.add_rows(gone)
    stage.site.fault = site
    async with stage.bot(SYNC_PAGE_ITEMS=100, SYNC_MAX_ITEMS=200):
        end = await stage.run_end()

    due = await stage.rows_due()
    assert stage.database.stored() == due | {i: [*row[:4], False] for i, row in gone.items()}
    assert fields(end)["Users"] == "700 created, 200 updated, 2 left"
    assert (
        end["description"].splitlines()[0] == "**902** changes written. Main cause: joined (700)."
    )


async def test_only_the_pages_of_what_was_written_are_looked_at_again(stage: Stage) -> None:
    """Thirty rows of one page cost one more page, wherever it stands."""
    ids = await stage.guild(2500)
    await stage.fill_site()
    stage.database.query(
        "UPDATE api_user SET name = 'old' WHERE id >= %s AND id < %s", ids[2100], ids[2130]
    )
    async with stage.bot(SYNC_PAGE_ITEMS=100):
        await stage.run_end()

    pages = [int(c.query["after"]) for c in stage.site.calls if "after" in c.query]
    assert pages == [0, *ids[99:2500:100], ids[2100] - 1]
    assert stage.database.stored() == await stage.rows_due()


async def test_discord_py_caches_nobody(stage: Stage) -> None:
    """Neither those of a small guild, nor who joins, changes, speaks, or was asked about."""
    ids = await stage.guild(30)
    async with stage.bot() as bot:
        await stage.run_end()
        await stage.control.join(GUILD, {"id": 42, "name": "novel"})
        await stage.control.rename(GUILD, ids[3], "renamed")
        await stage.control.post(stage.mod_log, ids[4], "hello")
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)
        cog: Any = bot.get_cog("Sync")
        gone = await cog._app.guild.departed([*ids, 7])
        left = cached(bot)

    assert (gone, left) == ({7}, [BOT])


async def test_what_is_heard_is_never_overwritten_by_a_page(stage: Stage) -> None:
    """A page was read before the event, and is written after it: the older value is left out.

    All members stand on one page of Discord's, of which each stretch writes ten.
    """
    ids = await stage.guild(60)
    await fill_with_old_names(stage)
    stage.site.fault = held = HeldAt(2)
    async with stage.bot(**SMALL):
        await stage.until(held.reached.is_set)
        before = len(stage.site.writes())
        for id_ in (ids[15], ids[25], ids[55]):
            await stage.control.rename(GUILD, id_, "newer")
        await stage.control.leave(GUILD, ids[56])
        await stage.control.leave(GUILD, ids[57])
        await stage.control.join(GUILD, {"id": ids[57], "name": "again"})
        held.opened.set()
        await stage.run_end()
        due = await stage.rows_due()
        await stage.until(lambda: {i: r for i, r in stage.database.stored().items() if r[4]} == due)

    after = stage.site.writes()[before:]
    assert [{*written(after, id_)} for id_ in (ids[15], ids[25], ids[55], ids[57])] == [
        {"newer"},
        {"newer"},
        {"newer"},
        {"again"},
    ]
    assert True not in written(after, ids[56])
    assert written(after, ids[56])[-1] is False


@contextlib.asynccontextmanager
async def cut_off(stage: Stage) -> AsyncIterator[None]:
    """Let a bot write two stretches of ten, and stop it in the third."""
    stage.site.fault = held = HeldAt(3)
    async with stage.bot(**SMALL) as bot:
        await stage.until(held.reached.is_set)
        closing = asyncio.create_task(bot.close())
        held.opened.set()
        await closing
    stage.site.fault = by_id
    yield


async def test_a_round_goes_on_where_the_last_one_was_cut_off(stage: Stage) -> None:
    """And ends where it began: what changed behind it while nobody listened is found too."""
    ids = await stage.guild(60)
    await fill_with_old_names(stage)
    async with cut_off(stage):
        read = len(stage.site.calls)
        await stage.control.rename(GUILD, ids[3], "meanwhile", silent=True)
        async with stage.bot(**SMALL):
            end = await stage.run_end(2)

    pages = [int(c.query["after"]) for c in stage.site.calls[read:] if "after" in c.query]
    assert pages[0] == ids[19]
    assert 0 in pages
    assert "**Verified** in" in end["description"]
    assert stage.database.stored() == await stage.rows_due()


async def test_a_round_that_came_round_is_followed_by_one_from_the_beginning(stage: Stage) -> None:
    """The place of an older round is forgotten."""
    await stage.guild(60)
    await fill_with_old_names(stage)
    async with cut_off(stage), stage.bot(**SMALL):
        await stage.run_end(2)
    read = len(stage.site.calls)
    async with stage.bot(**SMALL):
        end = await stage.run_end(3)

    pages = [int(c.query["after"]) for c in stage.site.calls[read:] if "after" in c.query]
    assert pages[0] == 0
    assert end["description"].startswith("Nothing to change: 61 rows agree with the guild.")


@pytest.mark.slow
async def test_a_new_session_begins_the_round_anew(stage: Stage) -> None:
    """What no event told of, behind the reader too, is right before the run calls itself verified.

    From where it is it goes round once more, all in one epoch. Values of the old one that it has in
    hand are not written any more.
    """
    ids = await stage.guild(60)
    await fill_with_old_names(stage)
    stage.site.fault = held = HeldAt(3)  # the first half of the second stretch
    async with stage.bot(**SMALL | {"SYNC_FIRST_ITEMS": 5, "SYNC_MAX_ITEMS": 5}):
        await stage.until(held.reached.is_set)
        before = len(stage.site.writes())
        await stage.control.rename(GUILD, ids[3], "behind", silent=True)
        await stage.control.rename(GUILD, ids[17], "in hand", silent=True)
        await stage.control.rename(GUILD, ids[55], "ahead", silent=True)
        await stage.control.drop(resumable=False)
        await stage.until(lambda: stage.discord.gateway.counters["identify"] == 2)
        held.opened.set()
        end = await stage.run_end()

    run_id = footer(end).removeprefix("run ")
    own = [call for call in stage.site.writes() if call.request_id.startswith(f"{run_id}-")]
    assert [written(own, id_)[-1] for id_ in (ids[3], ids[55])] == ["behind", "ahead"]
    assert {*written(stage.site.writes()[before:], ids[17])} == {"in hand"}
    assert "**Verified** in" in end["description"]
    assert stage.database.stored() == await stage.rows_due()


async def test_a_resumed_session_goes_on(stage: Stage) -> None:
    """It has missed nothing: no page is read twice."""
    await stage.guild(60)
    await fill_with_old_names(stage)
    stage.site.fault = held = HeldAt(3)
    async with stage.bot(**SMALL):
        await stage.until(held.reached.is_set)
        await stage.control.drop(resumable=True)
        await stage.until(lambda: stage.discord.gateway.counters["resume"] == 1)
        held.opened.set()
        await stage.run_end()

    assert (await stage.control.counters())["rest GET guilds"] == 2  # all members, then nobody
    assert stage.database.stored() == await stage.rows_due()


async def test_departures_need_a_list_that_is_whole(stage: Stage) -> None:
    """Discord counts many more members than its pages hold: nobody is marked as gone."""
    ids = await stage.guild(300)
    await stage.fill_site()
    before = stage.database.stored()
    await stage.control.leave(GUILD, ids[5], silent=True)
    await stage.control.rename(GUILD, ids[6], "renamed", silent=True)
    await stage.control.tell_member_count(GUILD, 400)
    async with stage.bot():
        end = await stage.run_end()
        await stage.until(lambda: bool(stage.alerts()))

    assert fields(end)["Departures withheld: 1"] == (
        "The member list could not be proven whole: 300 members from REST, but Discord counts 400."
    )
    assert stage.alert_titles() == ["Member list incomplete"]
    assert stage.database.stored() == before | await stage.rows_due()


async def test_a_guild_that_cant_be_read_is_not_the_sites_fault(stage: Stage) -> None:
    """The run fails and is tried again by itself; the breaker counts nothing."""
    await stage.guild(30)
    await stage.fill_site()
    await stage.control.rest_fault("GET /guilds/*/members*", status=403)
    async with stage.bot() as bot:
        end = await stage.run_end()
        await stage.until(lambda: bool(stage.alerts()))
        cog: Any = bot.get_cog("Sync")
        failures = cog._app.service.repository.state.breaker.failures

    said = end["description"].splitlines()
    assert said[0].startswith(
        "**The guild's members could not be read in full** (HTTP 403): Discord's list of members "
        r"after id 0 could not be read\: HTTP 403\: "
    )
    assert [line[:29] for line in said if "Next" in line] == ["**Next:** it is tried again <"]
    assert (failures, stage.alert_titles()) == (
        0,
        ["Sync of roles and users failed"],
    )


@pytest.mark.slow
async def test_discords_rate_limits_are_kept(stage: Stage) -> None:
    """One page in 0.3 s, and refusals that ask to wait: the round takes longer, that is all."""
    await stage.guild(2500)
    await stage.control.rate_limit("GET guilds", 1, 0.3)
    await stage.control.rest_fault("GET /guilds/*/members*", status=429, count=2)
    async with stage.bot():
        end = await stage.run_end()

    assert "**Verified** in" in end["description"]
    assert stage.database.stored() == await stage.rows_due()
    assert (await stage.control.counters())["rest_rate_limited"] == 0


async def test_rows_parked_in_several_stretches_are_told_together(stage: Stage) -> None:
    """Each counts once, and the next run leaves it alone."""
    ids = await stage.guild(60)
    await fill_with_old_names(stage)
    old = stage.database.stored()
    bad = [ids[5], ids[25], ids[45]]
    for id_ in bad:
        await stage.control.rename(GUILD, id_, "nul\0", silent=True)
    async with stage.bot(**SMALL) as bot:
        end = await stage.run_end()
        cog: Any = bot.get_cog("Sync")
        tries = {int(id_): row.tries for id_, row in cog._app.service.repository.parked.items()}
    async with stage.bot(**SMALL):
        again = await stage.run_end(2)

    assert fields(again)["Parked before"] == "3 rows, not tried again yet"
    assert [name for name in fields(again) if name.startswith("Parked:")] == []
    assert fields(end)["Parked: 3 rejected by the site"].splitlines() == [
        f"`{id_}` name holds a NUL character" for id_ in bad
    ]
    assert tries == dict.fromkeys(bad, 1)
    assert stage.database.stored() == await stage.rows_due() | {id_: old[id_] for id_ in bad}


async def test_a_cancelled_round_that_has_found_nothing_is_no_failure(stage: Stage) -> None:
    """A bot may be restarted while it reads a large guild that is in step."""
    await stage.guild(60)
    await stage.fill_site()
    reached, opened = asyncio.Event(), asyncio.Event()

    async def hold_third_page(call: Call, forward: Forward) -> Answer:
        if int(call.query.get("after", 0)) > 0:
            reached.set()
            await opened.wait()
        return await forward(call)

    stage.site.fault = hold_third_page
    async with stage.bot(SYNC_PAGE_ITEMS=20) as bot:
        await stage.until(reached.is_set)
        cog: Any = bot.get_cog("Sync")
        closing = asyncio.create_task(bot.close())
        opened.set()
        await closing
        state = cog._app.service.repository.state

    assert (state.breaker.failures, state.attempt) == (0, None)
