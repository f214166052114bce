"""Names, roles and ids at the edges of what Discord may give and the site may take."""

from typing import Any

import pytest

from tests.e2e.trouble.harness import GUILD, Stage, fields

pytestmark = pytest.mark.cached_or_not

MAX_ID = 2**63 - 1
ASTRAL = "\U0001f9d1" * 32  # 32 characters, 128 bytes, 64 UTF-16 units
NAMES = {
    1: "👩‍👩‍👧 family",
    2: "*bold* _it_ ~~no~~ `code` ||spoil|| [x](http://y) > # -",
    3: "@everyone",
    4: "  both ends\t",
    5: ASTRAL,
    6: "<@&123> <#4> </sync:5>",
    7: "null\\u0000?",
    8: "\u202eright to left",
    9: "'; DROP TABLE api_user; --",
}


def member(id_: int, name: str, **given: Any) -> dict[str, Any]:
    """Return a member as the control API takes one; the names fit Discord's 32 characters."""
    return {"id": id_, "name": name[:32], **given}


async def test_names_arrive_as_they_are_but_for_space_at_their_ends(stage: Stage) -> None:
    """Whatever a name holds, the row holds it too, and a second sync finds nothing to do."""
    await stage.guild(5)
    await stage.control.put_members(
        GUILD, [member(id_, f"user{id_}", nick=name[:32]) for id_, name in NAMES.items()]
    )
    await stage.control.put_members(
        GUILD, [member(100 + id_, name, global_name=name[:32]) for id_, name in NAMES.items()]
    )
    owner = stage.discord.state.guilds[GUILD].owner_id
    async with stage.bot():
        await stage.run_end()
        await stage.control.post(stage.mod_log, owner, "!sync all")
        again = await stage.run_end(2)

    assert again["description"].startswith("Nothing to change: 24 rows agree with the guild.")
    assert stage.database.stored() == await stage.rows_due()


async def test_rows_that_no_site_can_take_are_parked_unsent(stage: Stage) -> None:
    """A NUL, a name of white space, an id of 2^63: named in mod-log; every other row arrives."""
    await stage.guild(5)
    bad = [
        member(21, "nul\0inside"),
        member(22, " \t "),
        member(2**63, "beyond"),
    ]
    await stage.control.put_members(GUILD, [*bad, member(MAX_ID, "last", roles=[GUILD + 1])])
    async with stage.bot():
        end = await stage.run_end()

    due = await stage.rows_due()
    for row in bad:
        del due[row["id"]]
    assert "**Verified** in" in end["description"]
    assert fields(end)["Parked: 3 rejected by the site"].splitlines() == [
        "`21` name holds a NUL character",
        "`22` name is empty",
        f"`{2**63}` id {2**63} is not between 0 and 2^63\\-1",
    ]
    assert stage.database.stored() == due
    sent = {row["id"] for call in stage.site.writes() for row in call.rows}
    assert sent.isdisjoint({21, 22, 2**63})


async def test_a_member_may_have_250_roles(stage: Stage) -> None:
    """All of Discord's 250 roles, one of them with the last id, stand in their holders' rows."""
    await stage.guild(4, roles=249)
    every_role = [GUILD + place for place in range(1, 250)]
    await stage.control.create_role(GUILD, "the last", id=MAX_ID)
    every_role.append(MAX_ID)
    await stage.fill_site()
    await stage.control.put_members(
        GUILD, [member(id_, f"holder {id_}", roles=every_role) for id_ in range(31, 61)]
    )
    async with stage.bot():
        end = await stage.run_end()

    assert "**Verified** in" in end["description"]
    assert len(stage.database.stored()[31][3]) == 251
    assert stage.database.stored() == await stage.rows_due()


@pytest.mark.slow
async def test_a_role_that_no_site_can_take_is_left_out_of_its_holders(stage: Stage) -> None:
    """A role id of 2^63: it is named in mod-log, its holder is written without it."""
    await stage.guild(20)
    beyond = await stage.control.create_role(GUILD, "beyond", id=2**63)
    await stage.control.put_members(GUILD, [member(31, "holder", roles=[GUILD + 1, beyond])])
    async with stage.bot():
        end = await stage.run_end()

    due = await stage.rows_due()
    due[31][3].remove(beyond)
    assert "**Verified** in" in end["description"], end
    assert fields(end)["Parked: 1 rejected by the site"] == (
        f"role beyond\\: id {2**63} is not between 0 and 2^63\\-1 "
        r"\(its holders are written without it\)"
    )
    assert stage.database.stored() == due
    assert beyond not in stage.site_roles()


async def test_a_name_in_mod_log_neither_pings_nor_formats(stage: Stage) -> None:
    """A role's name is told as it is, and no message mentions anybody."""
    ids = await stage.guild(20)
    name = "@everyone **x** <@&1> `y`"
    role = await stage.control.create_role(GUILD, name)
    for id_ in ids[:5]:
        await stage.control.set_roles(GUILD, id_, [role])
    await stage.fill_site()
    await stage.control.delete_role(GUILD, role, silent=True)
    async with stage.bot():
        end = await stage.run_end()

    assert end["description"].partition("\n")[0] == (
        "**5** changes written. "
        "Cause: role *\\@\u200beveryone \\*\\*x\\*\\* \\<\\@\u200b&1\\> \\`y\\`* removed."
    )
    said = [
        (body["content"], body["mention_everyone"], body["mentions"], body["mention_roles"])
        for body in stage.bodies()
    ]
    assert said == [("", False, [], [])] * 2
