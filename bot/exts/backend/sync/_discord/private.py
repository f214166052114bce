"""discord.py's private names: all that the extension uses of them, for the pinned 2.7.

What breaks with another release of discord.py breaks here, and in no other module.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import discord

from .._clock import give_way
from .._core.model.members import Member, RoleId, UserId
from .._core.plan.diff import as_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from discord.ext import commands


def parsers(bot: commands.Bot) -> dict[str, Callable[[Any], None]]:
    """Return what is called with each event of the gateway, by the event's name; a plain dict."""
    return bot._connection.parsers


async def request_members(
    bot: commands.Bot,
    guild_id: int,
    *,
    query: str | None,
    limit: int,
    user_ids: list[int] | None,
    nonce: str,
) -> None:
    """Send a member request. Raises `ConnectionError` where there is no connection."""
    websocket = bot._connection._get_websocket(guild_id)
    if websocket is None:
        raise ConnectionError("no connection to the gateway")
    await websocket.request_chunks(
        guild_id, query=query, limit=limit, user_ids=user_ids, nonce=nonce
    )


@contextmanager
def in_turns(bot: commands.Bot, guild_id: int) -> Iterator[None]:
    """Let others have the loop between any two frames of the guild's connection.

    discord.py reads what has arrived already without once giving way, and chunks arrive faster than
    they are read: a burst of dozens would keep the loop for half a second.
    """
    websocket = bot._connection._get_websocket(guild_id)
    with _in_turns(websocket):
        yield


@contextmanager
def _in_turns(websocket: Any) -> Iterator[None]:
    if websocket is None or "poll_event" in vars(websocket):
        yield  # another request of ours sees to it
        return
    poll_event = websocket.poll_event

    async def poll_event_in_turn() -> None:
        await give_way()
        await poll_event()

    websocket.poll_event = poll_event_in_turn
    try:
        yield
    finally:
        del websocket.poll_event


def caches_members(bot: commands.Bot) -> bool:
    """Say whether the bot caches who joins."""
    return bot._connection.member_cache_flags.joined


def chunks_at_startup(bot: commands.Bot) -> bool:
    """Say whether the bot asks for all members at its start."""
    return bot._connection._chunk_guilds


def cached_ids(guild: discord.Guild) -> Collection[int]:
    """Return the ids of the cached members."""
    return guild._members.keys()


def role_ids(guild: discord.Guild) -> Collection[int]:
    """Return the ids of the guild's roles."""
    return guild._roles.keys()


def absorb(guild: discord.Guild, row: Any) -> bool:
    """Bring a member's cached state to that of a payload; return whether the cache was wrong."""
    cached = guild.get_member(int(row["user"]["id"]))
    if cached is None:
        member = discord.Member(data=row, guild=guild, state=guild._state)
        member._update_inner_user(row["user"])
        guild._add_member(member)
        return False
    row.setdefault("nick", None)
    before = (cached.nick, tuple(cached._roles))
    cached._update(row)
    user_changed = cached._update_inner_user(row["user"]) is not None
    return user_changed or before != (cached.nick, tuple(cached._roles))


def remove_others(guild: discord.Guild, ids: set[int]) -> Sequence[int]:
    """Take everybody else out of the cache; return who that was.

    `ids` have to hold whom events spoke of since the request: an answer made before somebody joined
    doesn't name them, and discord.py keeps the object of whom it still had cached.
    """
    others = [member for id_, member in guild._members.items() if id_ not in ids]
    for member in others:
        guild._remove_member(member)
    return [member.id for member in others]


def to_member(member: discord.Member, known_roles: frozenset[int]) -> Member:
    """Return a member as the site's row shows it; `known_roles` are the guild's role ids.

    `_roles` is read instead of `roles`, which sorts objects by their position, and `_user` instead
    of the properties that look there: a sync makes each member's row three times.
    """
    user, discriminator = member._user, member._user.discriminator
    held = {member.guild.id, *known_roles.intersection(member._roles)}
    return Member(
        id=cast("UserId", user.id),
        name=as_kept(user.name),
        display_name=as_kept(member.nick or user.global_name or user.name),
        discriminator=0 if discriminator == "0" else int(discriminator or 0),
        roles=cast("tuple[RoleId, ...]", tuple(sorted(held))),
    )
