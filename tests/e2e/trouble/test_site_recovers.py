"""What the site can do that a run survives: it ends verified, and one bad row costs no other."""

import json

import pytest
from aiohttp import web

from tests.e2e.trouble.faulty_site import Answer, Call, Forward, first, lose
from tests.e2e.trouble.harness import GUILD, Stage, fields


async def verified(stage: Stage, **settings: object) -> dict[str, str]:
    """Run a bot until its first run has ended verified; return the summary's fields."""
    async with stage.bot(**settings):
        end = await stage.run_end()
    assert "**Verified** in" in end["description"], end
    return fields(end)


async def test_unknown_fields_are_ignored(stage: Stage) -> None:
    """A newer site may tell more of everything than the contract knows."""
    ids = await stage.guild(40)
    await stage.fill_site()
    await stage.control.rename(GUILD, ids[3], "renamed", silent=True)

    async def add_fields(call: Call, forward: Forward) -> Answer:
        answer = await forward(call)
        if call.method != "GET":
            return answer
        value = json.loads(answer.text or "")
        for item in [value] if isinstance(value, dict) else value:
            item["novelty"] = {"since": 2027}
            for row in item.get("results", ()):
                row["novelty"] = [1, None]
        return web.json_response(value)

    stage.site.fault = add_fields

    assert (await verified(stage))["Users"] == "0 created, 1 updated, 0 left"
    assert stage.database.stored() == await stage.rows_due()


@pytest.mark.slow
async def test_an_overloaded_site_is_given_the_time_it_asks_for(stage: Stage) -> None:
    """After a 503 with Retry-After nothing is sent before, then the smallest chunk; all arrives."""
    await stage.guild(60)

    async def overloaded(_call: Call, _forward: Forward) -> Answer:
        return web.Response(status=503, headers={"Retry-After": "1"})

    stage.site.fault = first(1, overloaded, when=lambda call: call.writes_users)

    assert await verified(stage) == {
        "Users": "61 created, 0 updated, 0 left",
        "Roles": "4 created, 0 updated, 0 deleted",
    }
    assert [len(call.rows) for call in stage.site.writes()][:2] == [61, 10]
    assert stage.database.stored() == await stage.rows_due()


async def test_answers_lost_after_they_were_applied_do_no_harm(stage: Stage) -> None:
    """The site did what was asked but could not say so, twice: halves of it are sent again."""
    await stage.guild(60)

    async def apply_and_lose(call: Call, forward: Forward) -> Answer:
        await forward(call)
        return lose(call)

    stage.site.fault = first(2, apply_and_lose, when=lambda call: call.writes_users)

    await verified(stage, SYNC_DEADLINE_S=0.3)
    assert [len(call.rows) for call in stage.site.writes()] == [61, 31, 25, 5, 16, 15]
    assert stage.database.stored() == await stage.rows_due()


async def test_a_chunk_that_is_too_large_is_halved(stage: Stage) -> None:
    """A site that takes at most 50 rows is never again sent as many as it refused."""
    await stage.guild(299)

    async def refuse_large(call: Call, forward: Forward) -> Answer:
        if len(call.rows) > 50:
            return web.json_response({"detail": "Too large."}, status=413)
        return await forward(call)

    stage.site.fault = refuse_large

    await verified(stage)
    assert [len(call.rows) for call in stage.site.writes()] == [100, *[50] * 6]
    assert stage.database.stored() == await stage.rows_due()


@pytest.mark.slow
async def test_a_row_on_which_the_site_fails_is_parked_alone(stage: Stage) -> None:
    """One row makes the site answer 500: all others arrive, and mod-log names the one."""
    ids = await stage.guild(60)
    poison = ids[41]

    async def fail_on_it(call: Call, forward: Forward) -> Answer:
        if any(row["id"] == poison for row in call.rows):
            return web.Response(status=500, text="<h1>Server Error (500)</h1>")
        return await forward(call)

    stage.site.fault = fail_on_it

    summary = await verified(stage)
    due = await stage.rows_due()
    del due[poison]
    assert summary["Parked: 1 rejected by the site"] == (
        f"`{poison}` the site fails on this row alone, and is well otherwise"
    )
    assert stage.database.stored() == due


async def test_a_role_that_the_site_lost_is_brought_back(stage: Stage) -> None:
    """A role row that vanishes between reading and writing is created again; no row is parked."""
    ids = await stage.guild(60)
    await stage.fill_site()
    for id_ in ids[:30]:
        await stage.control.set_roles(GUILD, id_, [GUILD + 2], silent=True)

    async def lose_the_role(call: Call, forward: Forward) -> Answer:
        stage.database.query("DELETE FROM api_role WHERE id = %s", GUILD + 2)
        return await forward(call)

    stage.site.fault = first(1, lose_the_role, when=lambda call: call.writes_users)

    summary = await verified(stage)
    assert [name for name in summary if name.startswith("Parked")] == []
    assert GUILD + 2 in stage.site_roles()
    assert stage.database.stored() == await stage.rows_due()
