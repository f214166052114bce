"""A bot's extension that has the members cached and does no more: what discord.py itself takes.

Loaded in place of the sync, into the same bot.
"""

import json
import sys

from discord.ext import commands

from sandbox.bench.inside import CACHED


async def setup(bot: commands.Bot) -> None:
    """Ask for the members of every guild as soon as the bot is connected."""

    async def ask() -> None:
        for guild in bot.guilds:
            await guild.chunk()
        line = {"event": CACHED, "members": sum(len(guild.members) for guild in bot.guilds)}
        sys.stdout.write(json.dumps(line) + "\n")

    bot.add_listener(ask, "on_ready")
