"""What the local Discord makes of messages: limits, pings, files, answers that take their time."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import discord
import pytest
from discord import app_commands

from tests.sandbox.conftest import GUILD, Client

if TYPE_CHECKING:
    from sandbox.discord.client import DiscordControl

_ROLE = GUILD + 1  # the first role that a new guild has


def _view(*buttons: dict[str, Any]) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(discord.ui.Button(**button))
    return view


def _fields(count: int, *, name: str = "n", value: str = "v") -> discord.Embed:
    embed = discord.Embed()
    for _ in range(count):
        embed.add_field(name=name, value=value)
    return embed


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({"content": "x" * 2001}, "content"),
        ({"embed": discord.Embed(title="x" * 257)}, "embeds"),
        ({"embed": discord.Embed(description="x" * 4097)}, "embeds"),
        ({"embed": discord.Embed(title="t").set_footer(text="x" * 2049)}, "embeds"),
        ({"embed": _fields(26)}, "embeds"),
        ({"embed": _fields(1, name="x" * 257)}, "embeds"),
        ({"embed": _fields(1, value="x" * 1025)}, "embeds"),
        ({"embed": _fields(1, value="")}, "embeds"),
        ({"embeds": [discord.Embed(description="x" * 3001)] * 2}, "embeds"),
        ({"view": _view({"label": "x" * 81})}, "components"),
        ({"view": _view({"custom_id": "same"}, {"custom_id": "same"})}, "components"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
async def test_a_message_beyond_the_limits_is_refused(
    client: Client, control: DiscordControl, wrong: dict[str, Any], part: str
) -> None:
    """With 400, code 50035 and the part that is wrong; nothing is posted."""
    with pytest.raises(discord.HTTPException) as refusal:
        await client.mod_log.send(**wrong)

    assert (refusal.value.status, refusal.value.code) == (400, 50035)
    assert f"In {part}" in refusal.value.text
    assert await control.messages(client.mod_log.id) == []


async def test_an_embed_at_its_limits_is_taken(client: Client, control: DiscordControl) -> None:
    """Exactly 6,000 characters in 25 fields are no error."""
    embed = discord.Embed(title="x" * 256, description="x" * 3994)
    for _ in range(25):
        embed.add_field(name="n" * 10, value="v" * 60)

    await client.mod_log.send(embed=embed)

    (kept,) = await control.messages(client.mod_log.id)
    assert len(embed) == 6000
    assert kept["edits"][0]["body"]["embeds"][0]["fields"] == embed.to_dict()["fields"]


_PING = f"@everyone <@&{_ROLE}> <@%d>"
_NONE, _ALL = discord.AllowedMentions.none(), discord.AllowedMentions.all()
_THIS_ROLE, _ANOTHER = (
    discord.AllowedMentions(everyone=False, users=False, roles=[discord.Object(id_)])
    for id_ in (_ROLE, 5)
)


@pytest.mark.parametrize(
    ("allowed", "everyone", "roles", "users"),
    [
        (_NONE, False, 0, 0),
        (_ALL, True, 1, 1),
        (_THIS_ROLE, False, 1, 0),
        (_ANOTHER, False, 0, 0),
    ],
    ids=["nobody", "everybody", "this role", "another role"],
)
async def test_a_message_pings_whom_it_allows(
    client: Client,
    control: DiscordControl,
    allowed: discord.AllowedMentions,
    *,
    everyone: bool,
    roles: int,
    users: int,
) -> None:
    """The record says who was pinged, which is not whom the text names."""
    member, *_ = [row["id"] async for row in control.members(GUILD)]
    await client.mod_log.send(_PING % member, allowed_mentions=allowed)

    (kept,) = await control.messages(client.mod_log.id)

    body = kept["edits"][0]["body"]
    assert body["mention_everyone"] is everyone
    assert body["mention_roles"] == [str(_ROLE)] * roles
    assert [user["id"] for user in body["mentions"]] == [str(member)] * users


async def test_an_edit_empties_keeps_and_adds(client: Client) -> None:
    """A part that is null goes, one that is not named stays; files join those that are kept."""
    sent = await client.mod_log.send(
        "text",
        embed=discord.Embed(title="t"),
        files=[discord.File(BytesIO(b"1"), "a.csv"), discord.File(BytesIO(b"2"), "b.csv")],
    )
    edited = await sent.edit(
        content=None, attachments=[sent.attachments[1], discord.File(BytesIO(b"3"), "c.csv")]
    )

    assert (edited.content, [embed.title for embed in edited.embeds]) == ("", ["t"])
    assert [await each.read() for each in edited.attachments] == [b"2", b"3"]


async def test_a_message_that_is_old_is_edited_no_more(
    client: Client, control: DiscordControl
) -> None:
    """Discord limits edits of messages older than an hour, with code 30046."""
    sent = await client.mod_log.send("old")
    await control.fault("max_edit_age_s", -1.0)
    client.http.max_ratelimit_timeout = 0.001  # else discord.py waits and tries again

    with pytest.raises(discord.RateLimited):
        await sent.edit(content="new")

    (kept,) = await control.messages(client.mod_log.id)
    assert len(kept["edits"]) == 1


async def test_history_is_read_from_all_sides(client: Client, control: DiscordControl) -> None:
    """The newest, those before, after and around a message: as Discord gives them."""
    await control.rate_limit("message create", 50, 1.0)
    ids = [(await client.mod_log.send(str(number))).id for number in range(6)]
    middle = discord.Object(ids[3])
    sides = {
        "newest": client.mod_log.history(limit=2),
        "before": client.mod_log.history(limit=2, before=middle),
        "after": client.mod_log.history(limit=2, after=middle),
        "around": client.mod_log.history(limit=3, around=middle),
    }

    found = {side: [ids.index(each.id) async for each in told] for side, told in sides.items()}
    assert found == {"newest": [5, 4], "before": [2, 1], "after": [4, 5], "around": [4, 3, 2]}


async def test_the_limit_of_a_route_can_be_set(client: Client, control: DiscordControl) -> None:
    """The client learns it from the headers and waits by itself: no request is refused."""
    await control.rate_limit("message create", 2, 0.05)

    for number in range(6):
        await client.mod_log.send(str(number))

    counters = await control.counters()
    assert (counters["rest message create"], counters["rest_rate_limited"]) == (6, 0)


async def test_the_first_follow_up_takes_the_place_of_thinking(
    client: Client, control: DiscordControl
) -> None:
    """It stays for the one who asked; the second is a message of its own."""
    tree = app_commands.CommandTree(client)
    group = app_commands.Group(name="sync", description="keep in step")
    breaker = app_commands.Group(name="breaker", description="guards the site", parent=group)
    tree.add_command(group)

    @breaker.command(description="close it")
    async def reset(interaction: discord.Interaction[Client], role: discord.Role) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await interaction.followup.send(f"by {role.name}")
        second = await interaction.followup.send("done", ephemeral=True, wait=True)
        await second.delete()
        client.dispatch("answered")

    await tree.sync()
    caller = [row["id"] async for row in control.members(GUILD)][50]
    options = {"role": {"role_id": _ROLE}}
    id_ = await control.invoke(client.mod_log.id, caller, "sync breaker reset", options)
    await client.hear("answered")

    told = [
        (each["body"]["content"], each["visible_to"], each["body"]["flags"], each["deleted"])
        for each in await control.responses(id_)
    ]
    assert told == [("by role1", caller, 64, False), ("done", caller, 64, True)]


async def test_commands_come_and_go(client: Client, control: DiscordControl) -> None:
    """One that is registered again keeps its id; one that is deleted is gone."""
    application = client.application_id or 0
    payload: Any = {"name": "sync", "description": "d"}
    made = await client.http.upsert_global_command(application, payload)
    again = await client.http.bulk_upsert_global_commands(application, [payload])
    await client.http.delete_global_command(application, int(made["id"]))

    assert again[0]["id"] == made["id"]
    assert await control.commands() == {"global": []}
    with pytest.raises(discord.NotFound):
        await client.http.delete_global_command(application, int(made["id"]))


def _plain(row: dict[str, Any]) -> bool:
    return row["global_name"] in {None, f"User {row['name'][4:]}"}


async def test_awkward_names_reach_the_client_as_they_are(
    client: Client, control: DiscordControl
) -> None:
    """Emoji, markdown, odd white space: every 25th member of such a guild, and any put there."""
    await control.create_guild(GUILD + 1000, members=500, awkward_names=True, seed=3)
    nul = {"id": 5, "name": "nul\0byte", "nick": " \u2003both ends\t", "roles": []}
    many = {"id": 6, "name": "many", "roles": list(range(100, 350))}
    await control.put_members(GUILD + 1000, [nul, many])
    await client.hear("member_join", "member_join")
    guild = client.get_guild(GUILD + 1000)
    assert guild is not None
    await guild.chunk()

    known = {m.id: (m.name, m.global_name, m.nick, len(m._roles)) for m in guild.members}
    rows = [row async for row in control.members(GUILD + 1000)]
    assert known == {
        row["id"]: (row["name"], row["global_name"], row["nick"], len(row["roles"])) for row in rows
    }
    awkward = {row["global_name"] for row in rows if not _plain(row)}
    assert {"@everyone", "  both ends  ", "\U0001d54f" * 32} < awkward
