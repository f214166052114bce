"""Slash commands and buttons of the local Discord, judged by the real discord.py client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
import pytest
from discord import app_commands

from sandbox.discord.client import ControlError
from tests.sandbox.conftest import GUILD, Client

if TYPE_CHECKING:
    from sandbox.discord.client import DiscordControl


async def _somebody(control: DiscordControl) -> int:
    """Return the id of a member who is neither the bot nor the owner."""
    rows = [row["id"] async for row in control.members(GUILD)]
    return int(rows[50])


class Press(discord.ui.View):
    """A button that answers whoever presses it, and edits the message it is on."""

    @discord.ui.button(label="Stop", custom_id="stop")
    async def stop_run(
        self, interaction: discord.Interaction[Client], _button: discord.ui.Button[Press]
    ) -> None:
        await interaction.response.edit_message(content="stopped", view=None)
        await interaction.followup.send(f"by {interaction.user.name}", ephemeral=True)
        interaction.client.dispatch("answered")


async def test_a_button_goes_to_the_bot_and_back(client: Client, control: DiscordControl) -> None:
    """The message changes for all, the follow-up is for who pressed."""
    message = await client.mod_log.send("running", view=Press(timeout=None))
    id_ = await control.press(client.mod_log.id, message.id, await _somebody(control), "stop")
    await client.hear("answered")

    (kept,) = await control.messages(client.mod_log.id)
    (answer,) = await control.responses(id_)

    assert [edit["body"]["content"] for edit in kept["edits"]] == ["running", "stopped"]
    assert kept["edits"][-1]["body"]["components"] == []
    assert (answer["body"]["content"], answer["ephemeral"]) == ("by user50", True)


async def test_a_subcommand_brings_its_options(client: Client, control: DiscordControl) -> None:
    """A member as an option arrives resolved; the caller's permissions come along."""
    tree = app_commands.CommandTree(client)
    heard: list[tuple[int, bool, bool]] = []
    group = app_commands.Group(name="sync", description="keep in step")
    tree.add_command(group)

    @group.command(description="one member")
    async def user(
        interaction: discord.Interaction[Client], member: discord.Member, *, dry: bool
    ) -> None:
        heard.append((member.id, dry, interaction.permissions.administrator))
        await interaction.response.send_message("done", ephemeral=True)
        client.dispatch("answered")

    await tree.sync()
    caller = await _somebody(control)
    await control.make_administrator(GUILD, caller)
    options = {"member": {"user_id": caller}, "dry": True}
    id_ = await control.invoke(client.mod_log.id, caller, "sync user", options)
    await client.hear("answered")

    (answer,) = await control.responses(id_)

    assert heard == [(caller, True, True)]
    assert (answer["body"]["content"], answer["ephemeral"], answer["edits"]) == ("done", True, 0)
    assert await control.messages(client.mod_log.id) == []
    assert [command["name"] for command in (await control.commands())["global"]] == ["sync"]


async def test_an_answer_can_take_its_time(client: Client, control: DiscordControl) -> None:
    """A command is deferred, then answered by an edit."""
    tree = app_commands.CommandTree(client)

    @tree.command(description="how it stands")
    async def status(interaction: discord.Interaction[Client]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await interaction.edit_original_response(content="in step")
        client.dispatch("answered")

    await tree.sync(guild=None)
    id_ = await control.invoke(client.mod_log.id, await _somebody(control), "status")
    await client.hear("answered")

    (answer,) = await control.responses(id_)

    assert (answer["body"]["content"], answer["ephemeral"], answer["edits"]) == ("in step", True, 1)


async def test_what_is_not_there_cannot_be_used(client: Client, control: DiscordControl) -> None:
    """Unknown commands, members and faults are refused in words."""
    channel = client.mod_log.id
    caller = await _somebody(control)
    with pytest.raises(ControlError, match="no command named nothing is registered"):
        await control.invoke(channel, caller, "nothing")
    with pytest.raises(ControlError, match=f"no member 5 in guild {GUILD}"):
        await control.post(channel, 5, "hello")
    with pytest.raises(ControlError, match="no fault rain; there are"):
        await control.fault("rain")
