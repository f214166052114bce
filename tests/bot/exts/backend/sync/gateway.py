"""discord.py's client without Discord: its guild, and the events that its gateway would send."""

from typing import Any

import discord
from discord.ext import commands

GUILD = 270_988_689_419_665_408
CACHING = discord.MemberCacheFlags.from_intents(discord.Intents.all())
NOBODY = discord.MemberCacheFlags.none()


def build(flags: discord.MemberCacheFlags, *, chunks: bool = False, **more: Any) -> commands.Bot:
    """Return a bot that caches these members and asks for all of them at start-up, or doesn't."""
    return commands.Bot(
        "?",
        intents=discord.Intents.all(),
        member_cache_flags=flags,
        chunk_guilds_at_startup=chunks,
        **more,
    )


async def with_guild(bot: commands.Bot) -> commands.Bot:
    """Let a bot be in its guild, which has the role @everyone and no members yet."""
    await bot._async_setup_hook()
    send(
        bot,
        "GUILD_CREATE",
        {
            "id": str(GUILD),
            "name": "guild",
            "member_count": 0,
            "unavailable": False,
            "roles": [role(GUILD)],
            "members": [],
        },
    )
    return bot


def send(bot: commands.Bot, event: str, payload: dict[str, Any]) -> None:
    """Let the gateway send an event."""
    bot._connection.parsers[event](payload)


def member(id_: int, **more: Any) -> dict[str, Any]:
    """Return what an event tells of a member."""
    user = {
        "id": str(id_),
        "username": f"user{id_}",
        "global_name": None,
        "discriminator": "0",
        "avatar": None,
    }
    return {
        "guild_id": str(GUILD),
        "user": user,
        "roles": [],
        "nick": None,
        "joined_at": None,
        "flags": 0,
        **more,
    }


def role(id_: int, **more: Any) -> dict[str, Any]:
    """Return a role as Discord sends it."""
    return {"id": str(id_), "name": f"role{id_}", "permissions": "0", "position": 0, **more}
