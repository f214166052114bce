"""Keep a website's copy of a guild in step with Discord: `await bot.load_extension(...)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from discord.ext import commands


async def setup(bot: commands.Bot) -> None:
    """Load the extension, or raise a `SettingsError` of one line that names what is missing."""
    # Imported here so that the pure core can be imported without discord.py.
    from ._app import App  # noqa: PLC0415
    from ._cog import Sync  # noqa: PLC0415
    from ._settings import SyncSettings  # noqa: PLC0415

    await bot.add_cog(Sync(bot, App(bot, SyncSettings.load())))
