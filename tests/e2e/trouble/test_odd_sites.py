"""Sites that keep the contract and no more, or keep it in their own way."""

import json

from aiohttp import web

from tests.e2e.trouble.faulty_site import Answer, Call, Forward, first
from tests.e2e.trouble.harness import GUILD, Stage, fields


async def contract_alone(call: Call, forward: Forward) -> Answer:
    """Answer as the production site does: it offers nothing, and knows no page by id."""
    if call.path == "bot/sync/capabilities":
        return web.Response(status=404, text="<h1>Not Found</h1>", content_type="text/html")
    assert "after" not in call.query
    return await forward(call.with_header("Prefer", ""))


async def forward_all(call: Call, forward: Forward) -> Answer:
    """Let nothing go wrong."""
    return await forward(call)


async def test_the_contract_alone_is_enough(stage: Stage) -> None:
    """Without any capability every change arrives and is verified, in pages by number."""
    ids = await stage.guild(60)
    await stage.fill_site()
    await stage.control.delete_role(GUILD, GUILD + 1, silent=True)
    await stage.control.leave(GUILD, ids[2], silent=True)
    await stage.control.join(GUILD, {"id": 11, "name": "new"}, silent=True)
    gone = stage.database.stored()[ids[2]]
    stage.database.query("UPDATE api_user SET name = 'old'")
    stage.site.fault = contract_alone
    async with stage.bot(SYNC_PAGE_ITEMS=20):
        end = await stage.run_end()

    pages = [call.page for call in stage.site.calls if call.page is not None]
    assert "**Verified** in" in end["description"], end
    assert pages[:4] == ["1", "2", "3", "4"]
    left = {ids[2]: ["old", *gone[1:4], False]}
    assert stage.database.stored() == await stage.rows_due() | left
    assert GUILD + 1 not in stage.site_roles()


async def test_a_page_in_the_sites_place_is_no_success(stage: Stage) -> None:
    """A proxy that answers writes with 200 and a page of its own does not make a run verified."""
    await stage.guild(60)

    async def pretend(call: Call, forward: Forward) -> Answer:
        if call.writes_users:
            return web.Response(text="<title>Thanks</title>", content_type="text/html")
        return await forward(call)

    stage.site.fault = pretend
    async with stage.bot():
        end = await stage.run_end()

    reason = r"not JSON\: Expecting value\: line 1 column 1 \(char 0\)\: page\: …"
    assert [end["title"], end["description"].partition("\n")[0], stage.database.stored()] == [
        "Sync of roles and users failed",
        f"**The site kept failing** (HTTP 200): {reason}",
        {},
    ]


async def test_a_site_that_only_says_that_it_wrote_is_found_out(stage: Stage) -> None:
    """Whoever answers writes in the contract's words, and keeps nothing, has verified nothing."""
    await stage.guild(60)

    async def pretend(call: Call, forward: Forward) -> Answer:
        return web.json_response([]) if call.writes_users else await forward(call)

    stage.site.fault = pretend
    async with stage.bot():
        end = await stage.run_end()

    assert [end["title"], end["description"].partition("\n")[0], stage.database.stored()] == [
        "Sync of roles and users failed",
        "**Too much still differs after sending it twice**: 61 of 61 rows",
        {},
    ]


async def test_rows_that_the_site_alters_are_sent_twice_and_then_parked(stage: Stage) -> None:
    """A site that keeps names in its own way is in step in all else: the run is verified."""
    ids = await stage.guild(60)
    own = set(ids[10:15])
    names = ", ".join(map(str, own))

    async def alter(call: Call, forward: Forward) -> Answer:
        answer = await forward(call)
        if call.writes_users:
            stage.database.query(f"UPDATE api_user SET name = 'censored' WHERE id IN ({names})")  # noqa: S608 - ids
        return answer

    stage.site.fault = alter
    async with stage.bot():
        end = await stage.run_end()

    sent = [row["id"] for call in stage.site.writes() for row in call.rows]
    due = await stage.rows_due()
    for id_ in own:
        due[id_][0] = "censored"
    assert "**Verified** in" in end["description"], end
    assert fields(end)["Parked: 5 rejected by the site"].splitlines() == [
        f"`{id_}` the site alters it" for id_ in sorted(own)
    ]
    assert sorted(id_ for id_ in ids if sent.count(id_) != 1) == sorted(own)
    assert {sent.count(id_) for id_ in own} == {2}
    assert stage.database.stored() == due


async def test_rows_that_the_site_names_are_parked_with_its_reason(stage: Stage) -> None:
    """A rule of the site's own costs the rows that break it, and no other, in two requests."""
    ids = await stage.guild(60)
    own = {ids[3], ids[40]}

    async def reject(call: Call, forward: Forward) -> Answer:
        faults = [{"title": ["Not this one."]} if row["id"] in own else {} for row in call.rows]
        if any(faults):
            return web.json_response(faults, status=400)
        return await forward(call)

    stage.site.fault = reject
    async with stage.bot():
        end = await stage.run_end()

    due = await stage.rows_due()
    for id_ in own:
        del due[id_]
    assert "**Verified** in" in end["description"], end
    assert fields(end)["Parked: 2 rejected by the site"].splitlines() == [
        f"`{id_}` title\\: Not this one." for id_ in sorted(own)
    ]
    assert [len(call.rows) for call in stage.site.writes()] == [61, 59]
    assert stage.database.stored() == due


async def test_one_bad_row_that_the_site_does_not_name_is_searched_for(stage: Stage) -> None:
    """A rejection without a name is cut in two until the row stands alone."""
    ids = await stage.guild(60)

    async def reject(call: Call, forward: Forward) -> Answer:
        if any(row["id"] == ids[40] for row in call.rows):
            return web.json_response({"detail": "No."}, status=422)
        return await forward(call)

    stage.site.fault = reject
    async with stage.bot():
        end = await stage.run_end()

    due = await stage.rows_due()
    del due[ids[40]]
    assert fields(end)["Parked: 1 rejected by the site"] == f"`{ids[40]}` 422\\: detail\\: No."
    assert len(stage.site.writes()) <= 13
    assert stage.database.stored() == due


async def test_too_many_rejections_blame_the_site(stage: Stage) -> None:
    """Of rows that are all rejected none is parked: once the site is mended, all of them arrive."""
    await stage.guild(60)
    owner = stage.discord.state.guilds[GUILD].owner_id

    async def reject(call: Call, forward: Forward) -> Answer:
        if call.writes_users:
            return web.json_response([{"title": ["Required."]} for _ in call.rows], status=400)
        return await forward(call)

    stage.site.fault = reject
    async with stage.bot():
        end = await stage.run_end()
        await stage.until(lambda: bool(stage.alerts()))
        stage.site.fault = forward_all
        await stage.control.post(stage.mod_log, owner, "!sync all force")
        again = await stage.run_end(2)

    assert [end["title"], end["description"].partition("\n")[0]] == [
        "Sync of roles and users failed",
        r"**The site rejects too many rows**: 61 of 61 rows; the last\: title\: Required.",
    ]
    assert [name for name in fields(end) if name.startswith("Parked")] == []
    assert stage.alert_titles() == [
        "Sync of roles and users failed",
        "Sync works again",
    ]
    assert fields(again) == {"Users": "61 created, 0 updated, 0 left"}
    assert stage.database.stored() == await stage.rows_due()


async def test_rows_that_vanished_are_created_again(stage: Stage) -> None:
    """An update of rows that were deleted meanwhile costs two requests, however many they are."""
    ids = await stage.guild(60)
    await stage.fill_site()
    stage.database.query("UPDATE api_user SET name = 'old'")

    async def delete_some(call: Call, forward: Forward) -> Answer:
        for id_ in ids[10:30]:
            stage.database.query("DELETE FROM api_user WHERE id = %s", id_)
        return await forward(call)

    stage.site.fault = first(1, delete_some, when=lambda call: call.writes_users)
    async with stage.bot():
        end = await stage.run_end()

    assert fields(end) == {"Users": "0 created, 61 updated, 0 left"}
    assert [repr(call) for call in stage.site.writes()] == [
        "PATCH bot/users/bulk_patch (61)",
        "POST bot/users (61)",
        "PATCH bot/users/bulk_patch (61)",
    ]
    assert stage.database.stored() == await stage.rows_due()


async def test_a_redirect_is_not_followed(stage: Stage) -> None:
    """The token goes to the configured site only, and mod-log says what was answered."""
    await stage.guild()

    async def elsewhere(_call: Call, _forward: Forward) -> Answer:
        location = {"Location": "http://127.0.0.1:9/"}
        return web.json_response({"detail": "Moved."}, status=302, headers=location)

    stage.site.fault = elsewhere
    async with stage.bot():
        end = await stage.run_end()

    assert end["description"].partition("\n")[0] == (
        r"**The site's answer is not its contract's** (HTTP 302): detail\: Moved."
    )


async def test_an_answer_without_end_is_given_up(stage: Stage) -> None:
    """A page beyond the limit is not read to its end, and counts as a failing answer."""
    await stage.guild(60)  # which the site does not have, or digests would do

    async def swell(call: Call, forward: Forward) -> Answer:
        answer = await forward(call)
        if call.path != "bot/users":
            return answer
        body = json.loads(answer.text or "")
        return web.json_response(body | {"padding": "x" * 20_000})

    stage.site.fault = swell
    async with stage.bot(SYNC_MAX_ANSWER_BYTES=16_384):
        end = await stage.run_end()

    assert end["description"].partition("\n")[0] == (
        "**The site kept failing**: the answer is longer than the limit"
    )
