"""What this Discord knows: guilds, members, roles, channels, messages; and its events.

Records are kept small (a member is under 1 KB, so that a million fit), payloads are built when they
are sent. Every change goes through a method that also emits the gateway event real Discord sends
for it, unless it is made silently, as if the gateway had missed it.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

EPOCH_MS: Final = 1_420_070_400_000
_JOINED: Final = "2020-05-04T12:00:00.000000+00:00"
ADMINISTRATOR: Final = 1 << 3
_VIEW_CHANNEL: Final = 1 << 10

_AWKWARD_EVERY: Final = 25
_AWKWARD_NAMES: Final = (
    "🦆 quack 🦆",
    "👩\u200d👩\u200d👧\u200d👦",  # one family: seven code points
    "\U0001d54f" * 32,  # as long as a name can be, and all beyond the basic plane
    "**bold** _and_ `code`",
    "```",
    "||hidden|| [a](https://example.com)",
    "@everyone",
    "<@&1> <#2> <@3>",
    "  both ends  ",
    "\u2003wide\u2003",
    "zero\u200bwidth\u2060",
    "\u202ereversed",
    "e\u0301 is not \u00e9",
    "'; DROP TABLE api_user; --",
    "<script>alert(1)</script>",
    "\\",
)

BOT_ID: Final = 900_000_000_000_000_001

Json = dict[str, Any]
Emit = Callable[[int, str, Json], bool]  # whether there is anybody to tell


@dataclass(slots=True)
class Role:
    """A role of a guild."""

    id: int
    name: str
    position: int
    permissions: int = 0
    colour: int = 0

    def row(self) -> Json:
        """Return the record as the control API gives it."""
        return {
            "id": self.id,
            "name": self.name,
            "position": self.position,
            "permissions": self.permissions,
            "colour": self.colour,
        }

    def payload(self) -> Json:
        return {
            "id": str(self.id),
            "name": self.name,
            "color": self.colour,
            "colors": {
                "primary_color": self.colour,
                "secondary_color": None,
                "tertiary_color": None,
            },
            "hoist": False,
            "icon": None,
            "unicode_emoji": None,
            "position": self.position,
            "permissions": str(self.permissions),
            "managed": False,
            "mentionable": False,
            "flags": 0,
        }


@dataclass(slots=True)
class Member:
    """A member of a guild, with the user's own names; `roles` leaves @everyone out."""

    id: int
    name: str
    global_name: str | None = None
    nick: str | None = None
    roles: tuple[int, ...] = ()
    discriminator: str = "0"
    bot: bool = False

    def user(self) -> Json:
        return {
            "id": str(self.id),
            "username": self.name,
            "global_name": self.global_name,
            "discriminator": self.discriminator,
            "avatar": None,
            "avatar_decoration_data": None,
            "bot": self.bot,
            "public_flags": 0,
        }

    def payload(self) -> Json:
        return {
            "user": self.user(),
            "nick": self.nick,
            "roles": [str(role) for role in self.roles],
            "joined_at": _JOINED,
            "premium_since": None,
            "deaf": False,
            "mute": False,
            "flags": 0,
            "pending": False,
            "avatar": None,
            "banner": None,
            "communication_disabled_until": None,
        }

    def is_called(self, start: str) -> bool:
        """Say whether a name of theirs starts so; `start` is case-folded."""
        names = (self.name, self.global_name, self.nick)
        return any(name.casefold().startswith(start) for name in names if name is not None)

    def row(self) -> Json:
        """Return the record as the control API gives it."""
        return {
            "id": self.id,
            "name": self.name,
            "global_name": self.global_name,
            "nick": self.nick,
            "roles": list(self.roles),
            "discriminator": self.discriminator,
            "bot": self.bot,
        }


@dataclass(slots=True)
class Channel:
    """A text channel; `forbidden` answers 403 as for missing permissions.

    `viewers` are the roles whose holders may see it, beside administrators and the bot; None: all
    may.
    """

    id: int
    guild_id: int
    name: str
    forbidden: bool = False
    messages: dict[int, Message] = field(default_factory=dict)
    viewers: frozenset[int] | None = None

    def payload(self) -> Json:
        return {
            "id": str(self.id),
            "type": 0,
            "guild_id": str(self.guild_id),
            "name": self.name,
            "position": 0,
            "permission_overwrites": self._overwrites(),
            "nsfw": False,
            "parent_id": None,
            "topic": None,
            "last_message_id": None,
            "rate_limit_per_user": 0,
        }

    def _overwrites(self) -> list[Json]:
        """Hide the channel from everybody but those who may see it."""
        if self.viewers is None:
            return []
        hidden = {"id": str(self.guild_id), "type": 0, "allow": "0", "deny": str(_VIEW_CHANNEL)}
        shown = {"allow": str(_VIEW_CHANNEL), "deny": "0"}
        return [
            hidden,
            *({"id": str(role), "type": 0, **shown} for role in sorted(self.viewers)),
            {"id": str(BOT_ID), "type": 1, **shown},
        ]


@dataclass(slots=True)
class Edit:
    """A state that a message had, and since when (aware UTC)."""

    at: datetime
    body: Json


@dataclass(slots=True)
class Message:
    """A message with every state it had; the last one is what people see."""

    id: int
    channel_id: int
    author: Json
    edits: list[Edit]
    nonce: str | None = None
    interaction: Json | None = None
    deleted: bool = False
    visible_to: int | None = None

    @property
    def body(self) -> Json:
        return self.edits[-1].body

    @property
    def created_at(self) -> datetime:
        return self.edits[0].at


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to a member or a role, named as the control API's operations are, and when.

    `row` is what it is since then, None if it is gone; `told` says whether the gateway had anybody
    to tell and was to tell it.
    """

    at: datetime
    op: str
    id: int
    row: Json | None
    told: bool


@dataclass(slots=True)
class Guild:
    """A guild; `told_count` overrides the member count that is told.

    `history` holds what was done to it since somebody asked for that; None: nobody did.
    """

    id: int
    name: str
    roles: dict[int, Role]
    members: dict[int, Member]
    channels: dict[int, Channel]
    owner_id: int
    unavailable: bool = False
    told_count: int | None = None
    history: list[Change] | None = None
    _order: list[int] | None = None

    @property
    def member_count(self) -> int:
        return len(self.members) if self.told_count is None else self.told_count

    def after(self, id_: int, limit: int) -> list[Member]:
        """Return up to `limit` members whose ids are above `id_`, ascending."""
        if self._order is None:
            self._order = sorted(self.members)
        start = bisect_right(self._order, id_)
        return [self.members[found] for found in self._order[start : start + limit]]

    def put(self, member: Member) -> bool:
        """Add a member, or replace the one of that id; return whether there was one."""
        known = member.id in self.members
        self.members[member.id] = member
        if self._order is not None and not known:
            insort(self._order, member.id)
        return known

    def remove(self, id_: int) -> Member:
        """Take a member out."""
        if self._order is not None:
            del self._order[bisect_left(self._order, id_)]
        return self.members.pop(id_)

    def payload(self, members: Iterable[Member], *, large: bool = True) -> Json:
        return {
            "id": str(self.id),
            "name": self.name,
            "icon": None,
            "owner_id": str(self.owner_id),
            "afk_channel_id": None,
            "afk_timeout": 300,
            "verification_level": 0,
            "default_message_notifications": 1,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "premium_tier": 0,
            "premium_subscription_count": 0,
            "preferred_locale": "en-US",
            "system_channel_id": None,
            "system_channel_flags": 0,
            "rules_channel_id": None,
            "public_updates_channel_id": None,
            "features": [],
            "emojis": [],
            "stickers": [],
            "roles": [role.payload() for role in self.roles.values()],
            "channels": [channel.payload() for channel in self.channels.values()],
            "threads": [],
            "voice_states": [],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
            "members": [member.payload() for member in members],
            "member_count": self.member_count,
            "large": large,
            "joined_at": _JOINED,
            "unavailable": False,
        }


class State:
    """Everything, and the way to change it; `emit` is set by the gateway."""

    def __init__(self, *, token: str, seed: int = 0) -> None:
        self.token = token
        self.random = random.Random(seed)
        self.bot = Member(id=BOT_ID, name="sync-bot", bot=True)
        self.application_id = self.bot.id
        self.intents_allowed = True
        self.guilds: dict[int, Guild] = {}
        self.commands: dict[int | None, list[Json]] = {}
        self.emit: Emit = lambda _guild, _event, _payload: False
        self.files: dict[int, bytes] = {}
        # Each is called with what came to be: a message in its new state, or an interaction's end.
        self.watchers: set[Callable[[Message | Json], None]] = set()
        self._sequence = 0

    def snowflake(self) -> int:
        """Return a new id, above every one given before."""
        self._sequence += 1
        ms = int(datetime.now(UTC).timestamp() * 1000) - EPOCH_MS
        return (ms << 22) + (self._sequence & 0x3FFFFF)

    # -- guilds -----------------------------------------------------------------------------------

    def create_guild(
        self,
        *,
        guild_id: int,
        members: int,
        roles: int,
        everyone_holds: str | None,
        awkward_names: bool = False,
    ) -> Guild:
        """Make a guild of so many members beside the bot and its owner; the seed decides it all."""
        rng = self.random
        all_roles = {guild_id: Role(id=guild_id, name="@everyone", position=0)}
        for place in range(1, roles + 1):
            all_roles[guild_id + place] = Role(
                id=guild_id + place,
                name=f"role{place}",
                position=place,
                colour=rng.randrange(2**24),
            )
        shared: tuple[int, ...] = ()
        if everyone_holds is not None:
            id_ = guild_id + roles + 1
            all_roles[id_] = Role(id=id_, name=everyone_holds, position=roles + 1)
            shared = (id_,)
        choices = [(), *[(guild_id + place,) for place in range(1, roles + 1)]]
        pairs = [
            tuple(sorted({*rng.choice(choices), *rng.choice(choices), *shared}))
            for _ in range(1000)
        ]
        people: dict[int, Member] = {}
        id_ = 100_000_000_000_000_000
        for number in range(members):
            id_ += rng.randrange(1, 15_000_000_000)
            member = Member(
                id=id_,
                name=f"user{number}",
                global_name=f"User {number}" if number % 3 else None,
                nick=f"Nick {number}" if number % 11 == 0 else None,
                roles=pairs[rng.randrange(1000)],
            )
            people[id_] = member
            if awkward_names and number % _AWKWARD_EVERY == 0:
                turn = number // _AWKWARD_EVERY
                member.global_name = _AWKWARD_NAMES[turn % len(_AWKWARD_NAMES)]
                if turn % 2:
                    member.nick = _AWKWARD_NAMES[(turn + 5) % len(_AWKWARD_NAMES)]
        people[self.bot.id] = self.bot
        channel = Channel(id=guild_id + 900, guild_id=guild_id, name="mod-log")
        guild = Guild(
            id=guild_id,
            name=f"Guild {guild_id}",
            roles=all_roles,
            members=people,
            channels={channel.id: channel},
            owner_id=next(iter(people)),
        )
        self.guilds[guild_id] = guild
        return guild

    def channel(self, channel_id: int) -> Channel | None:
        for guild in self.guilds.values():
            if channel_id in guild.channels:
                return guild.channels[channel_id]
        return None

    def permissions(self, guild: Guild, member: Member) -> int:
        """Return a member's permissions in a guild, as interactions and messages carry them."""
        if member.id in {guild.owner_id, self.bot.id}:
            return (1 << 50) - 1
        held = guild.roles[guild.id].permissions | 0x400 | 0x800 | 0x10000
        for role in member.roles:
            if role in guild.roles:
                held |= guild.roles[role].permissions
        return held

    def may_see(self, guild: Guild, channel: Channel, member: Member) -> bool:
        """Say whether a member may see a channel, as Discord has it."""
        if channel.viewers is None or not channel.viewers.isdisjoint(member.roles):
            return True
        return bool(self.permissions(guild, member) & ADMINISTRATOR)

    def note(self, news: Message | Json) -> None:
        """Tell whoever watches this Discord from outside of a message, or of an interaction."""
        for watcher in self.watchers:
            watcher(news)

    # -- changes, each with the event that real Discord sends -------------------------------------

    def put_role(self, guild: Guild, role: Role, *, silent: bool = False) -> None:
        event = "GUILD_ROLE_UPDATE" if role.id in guild.roles else "GUILD_ROLE_CREATE"
        guild.roles[role.id] = role
        payload = None if silent else {"role": role.payload()}
        self._done(guild, "put_role", role.id, role.row(), event=event, payload=payload)

    def delete_role(self, guild: Guild, role_id: int, *, silent: bool = False) -> None:
        """Delete a role: its holders lose it without an event of their own."""
        del guild.roles[role_id]
        for member in guild.members.values():
            if role_id in member.roles:
                member.roles = tuple(role for role in member.roles if role != role_id)
        payload = None if silent else {"role_id": str(role_id)}
        self._done(guild, "delete_role", role_id, None, event="GUILD_ROLE_DELETE", payload=payload)

    def put_member(self, guild: Guild, member: Member, *, silent: bool = False) -> None:
        """Let somebody join, or change who is there."""
        event = "GUILD_MEMBER_UPDATE" if guild.put(member) else "GUILD_MEMBER_ADD"
        payload = None if silent else member.payload()
        self._done(guild, "put", member.id, member.row(), event=event, payload=payload)

    def remove_member(self, guild: Guild, member_id: int, *, silent: bool = False) -> None:
        member = guild.remove(member_id)
        payload = None if silent else {"user": member.user()}
        self._done(guild, "leave", member_id, None, event="GUILD_MEMBER_REMOVE", payload=payload)

    def _done(
        self, guild: Guild, op: str, id_: int, row: Json | None, *, event: str, payload: Json | None
    ) -> None:
        """Note a change, and tell the gateway, unless there is no payload for it."""
        at = datetime.now(UTC)  # before anybody can hear of it
        told = payload is not None and self.emit(
            guild.id, event, payload | {"guild_id": str(guild.id)}
        )
        if guild.history is not None:
            guild.history.append(Change(at=at, op=op, id=id_, row=row, told=told))

    # -- messages ---------------------------------------------------------------------------------

    def message_payload(self, guild: Guild, message: Message) -> Json:
        edited = message.edits[-1].at.isoformat() if len(message.edits) > 1 else None
        return {
            "id": str(message.id),
            "channel_id": str(message.channel_id),
            "guild_id": str(guild.id),
            "author": message.author,
            "content": "",
            "timestamp": message.created_at.isoformat(),
            "edited_timestamp": edited,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
            "components": [],
            "pinned": False,
            "type": 0,
            "flags": 0,
            **({"nonce": message.nonce} if message.nonce is not None else {}),
            **message.body,
        }

    def post(
        self,
        guild: Guild,
        channel: Channel,
        author: Member,
        body: Json,
        *,
        nonce: str | None = None,
    ) -> Message:
        """Add a message and tell the gateway."""
        message = Message(
            id=self.snowflake(),
            channel_id=channel.id,
            author=author.user(),
            edits=[Edit(at=datetime.now(UTC), body=body)],
            nonce=nonce,
        )
        channel.messages[message.id] = message
        payload = self.message_payload(guild, message)
        if author.id in guild.members:
            member = author.payload()
            del member["user"]
            payload["member"] = member
        self.emit(guild.id, "MESSAGE_CREATE", payload)
        self.note(message)
        return message

    def delete_message(self, channel: Channel, message: Message) -> None:
        """Mark a message as deleted, so that what it said can still be looked at."""
        message.deleted = True
        payload = {"id": str(message.id), "channel_id": str(channel.id)}
        self.emit(channel.guild_id, "MESSAGE_DELETE", payload | {"guild_id": str(channel.guild_id)})
        self.note(message)
