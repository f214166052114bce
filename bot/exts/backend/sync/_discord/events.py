"""Events of the gateway, heard before discord.py parses them; what can't be read is passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .._core.model.members import UserId
from .._supervision import Faults
from .private import parsers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from discord.ext import commands

    Hear = Callable[[Any], bool]

# Events that only a member can cause, or be the subject of.
SIGNS: Final = (
    "INTERACTION_CREATE",
    "MESSAGE_CREATE",
    "MESSAGE_REACTION_ADD",
    "PRESENCE_UPDATE",
    "TYPING_START",
    "VOICE_STATE_UPDATE",
)


class Hearing:
    """What the extension hears of a bot's gateway; `passed_over` is called for what it can't read.

    `attach` puts it before discord.py's parsers, `detach` gives those back.
    """

    def __init__(self, bot: commands.Bot, *, passed_over: Callable[[str], None]) -> None:
        self._bot = bot
        self._passed_over = passed_over
        self._faults = Faults()
        self._before: dict[str, Callable[[Any], None]] = {}

    def attach(self, heard: Mapping[str, Hear], after: Mapping[str, Callable[[Any], None]]) -> None:
        """Hear these events; one is kept from discord.py where `heard` says so by False.

        `after` is called when discord.py has parsed the event.
        """
        current = parsers(self._bot)
        self._before = dict(current)
        for event, hear in heard.items():
            current[event] = _hearing(hear, current.get(event), after.get(event))
        for event, parse in current.items():
            if event != "READY":  # without which the session is none
                current[event] = self._guarding(event, parse)

    def attach_before(self, heard: Mapping[str, Callable[[Any], None]]) -> None:
        """Hear these events, too, before whatever hears them already."""
        current = parsers(self._bot)
        for event, hear in heard.items():
            current[event] = self._guarding(event, _before(current[event], hear))

    def detach(self) -> None:
        """Give discord.py its own parsers back."""
        current = parsers(self._bot)
        if "RATE_LIMITED" not in self._before:
            current.pop("RATE_LIMITED", None)
        current.update(self._before)

    def _guarding(self, event: str, parse: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a parser that passes over what it can't read.

        discord.py lets such an exception end the connection and the bot with it, though Discord
        sends what it has not documented now and then.
        """

        def guarded(payload: Any) -> None:
            try:
                parse(payload)
            except Exception as exc:  # noqa: BLE001 - Discord can send anything; it is told
                self._faults.tell("sync.event.passed_over", exc, task=f"event {event}")
                self._passed_over(event)

        return guarded


def acting(payload: Any, guild_id: int) -> UserId | None:
    """Return who an event of the guild shows to be its member, if it does."""
    if str(payload.get("guild_id")) != str(guild_id):
        return None
    match payload:
        case {"member": {"user": {"id": id_}}}:
            pass
        case {"member": {}, "author": {"id": id_}} | {"member": {}, "user_id": id_}:
            pass
        # Whoever leaves goes offline, too.
        case {"status": status, "user": {"id": id_}} if status != "offline":
            pass
        case _:
            return None
    return UserId(int(id_)) if str(id_).isdecimal() else None


def _before(parse: Callable[[Any], None], hear: Callable[[Any], None]) -> Callable[[Any], None]:
    def heard(payload: Any) -> None:
        hear(payload)
        parse(payload)

    return heard


def _hearing(
    hear: Hear,
    inner: Callable[[Any], None] | None,
    after: Callable[[Any], None] | None,
) -> Callable[[Any], None]:
    def parse(payload: Any) -> None:
        if hear(payload) and inner is not None:
            inner(payload)
        if after is not None:
            after(payload)

    return parse
