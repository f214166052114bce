"""Slash commands and buttons: sent to the bot, and what it answers."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from .state import Edit, Message

if TYPE_CHECKING:
    from .faults import Faults
    from .state import Channel, Guild, Json, Member, State

COMMAND, COMPONENT, AUTOCOMPLETE = 2, 3, 4
_EPHEMERAL, _LOADING = 1 << 6, 1 << 7
_OPTION_TYPES: Final = {str: 3, int: 4, bool: 5, float: 10}
_USER_OPTION, _ROLE_OPTION = 6, 8
_SUBCOMMAND, _GROUP = 1, 2
_RESPONSE_S: Final = 3.0
_TOKEN_S: Final = 15 * 60.0


@dataclass(slots=True)
class Interaction:
    """One interaction: who, where, and each message or answer that came back for it."""

    id: int
    token: str
    guild: Guild
    channel: Channel
    member: Member
    sent_s: float  # by the clock of `Interactions`
    message: Message | None = None
    original: Message | None = None
    acknowledged: bool = False
    messages: list[Message] = field(default_factory=list)
    answers: list[Message | Json] = field(default_factory=list)


class Interactions:
    """All interactions of this Discord, by id and by token."""

    def __init__(self, state: State, faults: Faults) -> None:
        self._state = state
        self._faults = faults
        self._by_id: dict[int, Interaction] = {}
        self._by_token: dict[str, Interaction] = {}

    def by_token(self, token: str) -> Interaction | None:
        return self._by_token.get(token)

    def is_forgotten(self, interaction: Interaction) -> bool:
        """Say whether the time is over in which the first response must come."""
        return not interaction.acknowledged and self._age_s(interaction) > _RESPONSE_S

    def is_expired(self, interaction: Interaction) -> bool:
        """Say whether its token is no longer valid, whatever was answered."""
        return self._age_s(interaction) > _TOKEN_S

    def _now_s(self) -> float:
        return time.monotonic() + self._faults.ahead_s

    def _age_s(self, interaction: Interaction) -> float:
        return self._now_s() - interaction.sent_s

    def get(self, id_: int) -> Interaction | None:
        return self._by_id.get(id_)

    def responses(self, id_: int) -> list[Json]:
        """Return what the bot answered: messages as they are now, modals, autocompletions."""
        interaction = self._by_id.get(id_)
        answers = [] if interaction is None else interaction.answers
        return [_answer(each) if isinstance(each, Message) else each for each in answers]

    def invoke(
        self,
        guild: Guild,
        channel: Channel,
        member: Member,
        name: str,
        options: Json,
        *,
        focused: str | None = None,
    ) -> int:
        """Send a slash command; its group and subcommand stand in `name` after blanks.

        With `focused` it is not sent yet: the option of that name is being typed.
        """
        root, *subs = name.split()
        command = next(
            (
                command
                for commands in self._state.commands.values()
                for command in commands
                if command["name"] == root
            ),
            None,
        )
        if command is None:
            raise KeyError(f"no command named {root} is registered")
        values, resolved = self._options(guild, options)
        for value in values:
            if value["name"] == focused:
                value["focused"] = True
        payload: Json = {
            "id": command["id"],
            "name": root,
            "type": 1,
            "guild_id": str(guild.id),
            "options": _nest(subs, values),
        }
        if resolved:
            payload["resolved"] = resolved
        kind = COMMAND if focused is None else AUTOCOMPLETE
        return self._send(kind, guild, channel, member, data=payload)

    def press(
        self, guild: Guild, channel: Channel, message: Message, member: Member, custom_id: str
    ) -> int:
        """Press a button."""
        payload = {"custom_id": custom_id, "component_type": 2}
        return self._send(COMPONENT, guild, channel, member, data=payload, message=message)

    def _options(self, guild: Guild, options: Json) -> tuple[list[Json], Json]:
        values: list[Json] = []
        resolved: Json = {}
        for name, value in options.items():
            if isinstance(value, dict) and "role_id" in value:
                role = guild.roles[int(value["role_id"])]
                resolved.setdefault("roles", {})[str(role.id)] = role.payload()
                values.append({"name": name, "type": _ROLE_OPTION, "value": str(role.id)})
            elif isinstance(value, dict) and "user_id" in value:
                user = guild.members[int(value["user_id"])]
                member = user.payload()
                del member["user"]
                member["permissions"] = str(self._state.permissions(guild, user))
                resolved.setdefault("users", {})[str(user.id)] = user.user()
                resolved.setdefault("members", {})[str(user.id)] = member
                values.append({"name": name, "type": _USER_OPTION, "value": str(user.id)})
            else:
                values.append({"name": name, "type": _OPTION_TYPES[type(value)], "value": value})
        return values, resolved

    def _send(
        self,
        kind: int,
        guild: Guild,
        channel: Channel,
        member: Member,
        *,
        data: Json,
        message: Message | None = None,
    ) -> int:
        interaction = Interaction(
            id=self._state.snowflake(),
            token=secrets.token_urlsafe(32),
            guild=guild,
            channel=channel,
            member=member,
            sent_s=self._now_s(),
            message=message,
        )
        self._by_id[interaction.id] = interaction
        self._by_token[interaction.token] = interaction
        person = member.payload() | {"permissions": str(self._state.permissions(guild, member))}
        payload: Json = {
            "id": str(interaction.id),
            "application_id": str(self._state.application_id),
            "type": kind,
            "token": interaction.token,
            "version": 1,
            "guild_id": str(guild.id),
            "channel_id": str(channel.id),
            "channel": channel.payload() | {"permissions": str((1 << 50) - 1)},
            "guild": {"id": str(guild.id), "features": [], "locale": "en-US"},
            "member": person,
            "data": data,
            "app_permissions": str((1 << 50) - 1),
            "locale": "en-US",
            "guild_locale": "en-US",
            "entitlements": [],
            "authorizing_integration_owners": {},
            "context": 0,
            "attachment_size_limit": 10_485_760,
        }
        if message is not None:
            payload["message"] = self._state.message_payload(guild, message)
        self._state.emit(guild.id, "INTERACTION_CREATE", payload)
        return interaction.id

    def answer(self, interaction: Interaction, body: Json, *, original: bool) -> Message:
        """Add a message of the bot's that answers an interaction, in its channel or ephemeral."""
        flags = int(body.get("flags") or 0)
        message = Message(
            id=self._state.snowflake(),
            channel_id=interaction.channel.id,
            author=self._state.bot.user(),
            edits=[Edit(at=datetime.now(UTC), body=body)],
            interaction={"id": str(interaction.id), "user": interaction.member.user()},
            visible_to=interaction.member.id if flags & _EPHEMERAL else None,
        )
        if message.visible_to is None:
            interaction.channel.messages[message.id] = message
        interaction.messages.append(message)
        if original:
            interaction.original = message
        interaction.answers.append(message)
        self._state.note(message)
        return message

    def is_awaited(self, message: Message | None) -> bool:
        """Say whether a message still shows that the bot is thinking."""
        return message is not None and bool(int(message.body.get("flags") or 0) & _LOADING)

    def edited(self, message: Message, body: Json) -> None:
        """Note a new state of an answer."""
        ephemeral = int(message.body.get("flags") or 0) & _EPHEMERAL
        others = int(body.get("flags") or 0) & ~(_EPHEMERAL | _LOADING)
        merged = message.body | body | {"flags": ephemeral | others}
        message.edits.append(Edit(at=datetime.now(UTC), body=merged))
        self._state.note(message)

    def acknowledge(self, interaction: Interaction) -> None:
        """Note that the bot has answered for the first time, in whatever way."""
        interaction.acknowledged = True
        self._state.note({"interaction": interaction.id, "acknowledged": True})


def _nest(subs: list[str], values: list[Json]) -> list[Json]:
    """Put a command's options into its subcommand, and that into its group."""
    options = values
    for kind, sub in zip((_SUBCOMMAND, _GROUP), reversed(subs), strict=False):
        options = [{"name": sub, "type": kind, "options": options}]
    return options


def _answer(message: Message) -> Json:
    return {
        "id": message.id,
        "ephemeral": message.visible_to is not None,
        "visible_to": message.visible_to,
        "deleted": message.deleted,
        "body": message.body,
        "edits": len(message.edits) - 1,
    }
