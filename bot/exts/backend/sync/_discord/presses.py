"""Buttons that go on working: whatever message of ours carries one, whichever process sent it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeAlias

import discord

from .._core.messages.buttons import TEMPLATE, pressed

if TYPE_CHECKING:
    import re
    from collections.abc import Awaitable, Callable

    from .._core.messages.buttons import Button

    # None: a button of a version that knows more actions than this one.
    Press: TypeAlias = Callable[[discord.Interaction[Any], Button | None], Awaitable[None]]
    Item: TypeAlias = discord.ui.DynamicItem[discord.ui.Item[Any]]


def hearing(press: Press) -> type[Item]:
    """Return the class to register with a bot, so that each press of a button of ours is told.

    A class for each cog, since discord.py makes its instances itself and hands them no context.
    """

    class SyncButton(discord.ui.DynamicItem[discord.ui.Item[Any]], template=TEMPLATE):
        @classmethod
        async def from_custom_id(
            cls,
            _interaction: discord.Interaction[Any],
            item: discord.ui.Item[Any],
            _match: re.Match[str],
            /,
        ) -> Self:
            return cls(item)

        async def callback(self, interaction: discord.Interaction[Any]) -> None:
            await press(interaction, pressed(self.custom_id))

    return SyncButton
