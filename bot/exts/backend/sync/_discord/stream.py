"""The configured guild of a bot that caches no members: read by REST, asked about few by gateway.

What is known of a member is known from an event, an answer or a page, and only until the next thing
is heard of them. So a handful of members is as current as all of them are in discord.py's cache:
both hold what the gateway has said so far. But a page of REST has no place in the gateway's order,
so nothing is taken from it about those of whom something was heard since it was asked for.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
import discord
import structlog

from .._clock import deadline
from .._core.model.members import (
    Member,
    RoleId,
    UserId,
    holding_only,
)
from .._core.plan.diff import as_kept
from .._core.policy.request_backoff import Failure, FailureKind
from .._core.site.wire import shown
from .._errors import RunStoppedError, SettingsError
from .._ports import Proof
from .guild import DiscordGuild
from .private import (
    caches_members,
    chunks_at_startup,
    role_ids,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from discord.ext import commands

    from .._ports import Clock
    from .member_requests import MemberRequest

    _K = TypeVar("_K")
    _V = TypeVar("_V")

log = structlog.get_logger(__name__)

_PAGE: Final = 1000  # Discord's bound of `limit` for a guild's members
_PAGE_S: Final = 120.0  # discord.py waits in it for the end of a rate limit
_PAGE_TRIES: Final = 5
_ASKED: Final = 100  # Discord's bound of `user_ids` in one request
_TRIES: Final = 5
_KNOWN: Final = 10_000  # members, about 6 MB
_GONE: Final = 100_000  # ids alone, about 8 MB


class StreamedGuild(DiscordGuild):
    """The guild `guild_id` of a bot without a member cache.

    What it has of `DiscordGuild` is how the gateway is heard; it overrides what a cache would do.
    """

    def __init__(
        self,
        bot: commands.Bot,
        guild_id: int,
        *,
        clock: Clock,
        idle_s: float,
        renewed: Callable[[], None],
    ) -> None:
        super().__init__(bot, guild_id, clock=clock, idle_s=idle_s, renewed=renewed)
        self._known: dict[UserId, Member] = {}
        self._gone: dict[UserId, None] = {}
        self._watches: dict[int, set[UserId]] = {}
        self._paging: str | None = None
        self._holders: dict[tuple[RoleId, UserId], None] = {}  # of roles that are not known yet

    def attach(self) -> None:
        """Hear of members before anybody else does."""
        super().attach()
        self._hearing.attach_before(
            {
                "GUILD_MEMBER_ADD": self._on_values,
                "GUILD_MEMBER_UPDATE": self._on_values,
                "GUILD_MEMBER_REMOVE": self._on_leave,
            }
        )

    # -- the port ---------------------------------------------------------------------------------

    @property
    def count(self) -> int | None:
        """How many members Discord says that there are, kept up by the events."""
        guild = self._guild()
        return None if guild is None else guild.member_count

    @property
    def trouble(self) -> str | None:
        """What Discord has yet to do before members can be read, for people; None: nothing."""
        return super().trouble or self._paging

    def member_ids(self) -> Sequence[UserId]:
        """Return the ids of those few whose values are known at this moment."""
        return tuple(self._known)

    async def look_up(self, ids: Iterable[UserId]) -> None:
        """Ask Discord about those of these ids of whom nothing is known."""
        await self.members(ids)

    async def members(self, ids: Iterable[UserId]) -> Mapping[UserId, Member]:
        """Return those of these ids who are members, with their values of now; ask if need be.

        It returns only when Discord has said of each one whether they are a member. Raise
        `RunStoppedError` if it doesn't.
        """
        wanted = tuple(dict.fromkeys(ids))
        found: dict[UserId, Member | None] = {}
        unknown: Sequence[UserId] = wanted
        epoch = self._epoch
        with self._watching() as heard:
            for _ in range(_TRIES):
                if self._epoch != epoch:
                    epoch = self._epoch
                    found.clear()
                for id_ in heard:
                    found.pop(id_, None)
                heard.clear()
                found |= self._remembered(id_ for id_ in wanted if id_ not in found)
                unknown = [id_ for id_ in wanted if id_ not in found]
                if not unknown:
                    return self._of_now(found)
                for start in range(0, len(unknown), _ASKED):
                    part = unknown[start : start + _ASKED]
                    await self._ask_about(part)
                    found |= self._remembered(part)
        reason = f"Discord did not say whether {len(unknown):,} ids are members"
        raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=reason))

    async def departed(self, ids: Sequence[UserId]) -> frozenset[UserId] | None:
        """Ask Discord which of these ids are not members; None if it doesn't say."""
        try:
            members = await self.members(ids)
        except RunStoppedError:
            return None
        return frozenset(ids) - members.keys()

    async def _request_all(self, guild: discord.Guild) -> Proof:
        """Say that the guild may be read; whether all of it was is seen at the end of a round."""
        count = guild.member_count
        if count is None:
            return Proof(complete=False, reason="Discord gives no member count", members=0)
        return Proof(complete=True, reason=f"Discord counts {count:,} members", members=count)

    async def read_anew(self) -> int | None:
        """Do nothing: nobody is cached, and every sync reads all members anew."""
        return 0

    # -- pages ------------------------------------------------------------------------------------

    async def page(self, after: UserId) -> tuple[Member, ...]:
        """Return the members whose ids come after one, ascending as Discord gives them.

        At most 1,000; none if there are no more. Raise `RunStoppedError` if Discord doesn't say.
        """
        self._paging = "Discord has yet to answer with its list of members"
        try:
            rows = await self._page_rows(after)
        finally:
            self._paging = None
        roles = self._roles_by_text()
        return tuple(self._read(row, roles) for row in rows)

    async def _page_rows(self, after: UserId) -> Sequence[Any]:
        reason, status = "", None
        for tries in range(_PAGE_TRIES):
            if tries:
                log.warning("sync.members.page_failed", after=after, reason=reason, status=status)
                self._paging = f"Discord does not give its list of members: {reason}; tried again"
                await self._clock.sleep(2.0**tries)
            try:
                async with deadline(self._clock, _PAGE_S):
                    return await self._bot.http.get_members(self._id, _PAGE, after or None)
            except discord.DiscordServerError as exc:
                reason, status = f"HTTP {exc.status}", exc.status
            except discord.HTTPException as exc:
                reason, status = f"HTTP {exc.status}: {shown(exc.text)}", exc.status
                break
            except (aiohttp.ClientError, OSError, TimeoutError) as exc:
                reason, status = type(exc).__name__, None
        reason = f"Discord's list of members after id {after} could not be read: {reason}"
        raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=reason, status=status))

    # -- asking about few -------------------------------------------------------------------------

    async def _ask_about(self, ids: Sequence[UserId]) -> None:
        """Ask whether these ids, 100 at most, are members; what is answered is remembered."""
        await self.prove()
        if self.proof is None:
            return
        epoch = self._epoch
        with self._watching() as heard:
            request = await self._requests.query(ids)
            if request is None or self._epoch != epoch:
                return
            for id_ in ids:
                if id_ not in request.seen and id_ not in heard:
                    _remember(self._gone, id_, None, at_most=_GONE)

    def _remembered(self, ids: Iterable[UserId]) -> dict[UserId, Member | None]:
        return {id_: self._known.get(id_) for id_ in ids if id_ in self._known or id_ in self._gone}

    def _of_now(self, found: Mapping[UserId, Member | None]) -> dict[UserId, Member]:
        present = self.roles().keys() if found else frozenset()
        return {
            id_: holding_only(member, present)
            for id_, member in found.items()
            if member is not None
        }

    def _roles_by_text(self) -> dict[str, RoleId]:
        guild = self._guild()
        return {} if guild is None else {str(id_): RoleId(id_) for id_ in role_ids(guild)}

    # -- what is heard ----------------------------------------------------------------------------

    def watch(self) -> set[UserId]:
        """Return a set to which is added whoever something is heard of, until `unwatch`."""
        heard: set[UserId] = set()
        self._watches[id(heard)] = heard
        return heard

    def unwatch(self, heard: set[UserId]) -> None:
        """Add nobody more to this set."""
        self._watches.pop(id(heard), None)

    @contextmanager
    def _watching(self) -> Iterator[set[UserId]]:
        heard = self.watch()
        try:
            yield heard
        finally:
            self.unwatch(heard)

    def _begin_epoch(self) -> None:
        self._known.clear()
        self._gone.clear()
        self._holders.clear()
        super()._begin_epoch()

    def _on_values(self, payload: Any) -> None:
        """Take a member's values out of an event, if it holds all of them."""
        id_ = self._hear_of(payload)
        if id_ is not None and _is_complete(payload):
            member = self._read(payload, self._roles_by_text())
            _remember(self._known, id_, member, at_most=_KNOWN)

    def _read(self, row: Any, roles: Mapping[str, RoleId]) -> Member:
        """Return a member of a payload, and note which of the roles are still to be heard of."""
        member = _to_member(row, self._id, roles)
        for text in row["roles"]:
            if roles and text not in roles:
                key = RoleId(int(text)), member.id
                _remember(self._holders, key, None, at_most=_KNOWN)
        return member

    def _on_new_role(self, payload: Any) -> bool:
        """Tell of those who hold a role that was unknown when they were read, without it."""
        role_id = RoleId(int(payload["role"]["id"]))
        for key in [key for key in self._holders if key[0] == role_id]:
            del self._holders[key]
            self._known.pop(key[1], None)
            self.changed(key[1])
        return super()._on_new_role(payload)

    def _on_own_update(self, payload: Any) -> bool:
        self._known.pop(UserId(int(payload["id"])), None)
        return super()._on_own_update(payload)

    def _on_sign(self, payload: Any) -> bool:  # noqa: ARG002 - the cache's, which is of use there
        """Do nothing: nobody is cached, and every sync reads all members anew."""
        return True

    def _on_leave(self, payload: Any) -> None:
        id_ = self._hear_of(payload)
        if id_ is not None:
            _remember(self._gone, id_, None, at_most=_GONE)

    def _hear_of(self, payload: Any) -> UserId | None:
        """Forget what was known of the member of an event; None if it is another guild's."""
        if int(payload["guild_id"]) != self._id:
            return None
        id_ = UserId(int(payload["user"]["id"]))
        self._known.pop(id_, None)
        self._gone.pop(id_, None)
        for heard in self._watches.values():
            heard.add(id_)
        return id_

    def _after_join(self, payload: Any) -> None:
        """Leave discord.py's cache empty."""

    def _on_chunk(self, payload: Any) -> bool:
        if self._requests.by(payload.get("nonce")) is not None:
            roles = self._roles_by_text()
            for row in payload.get("members", ()):
                member = self._read(row, roles)
                self._gone.pop(member.id, None)
                _remember(self._known, member.id, member, at_most=_KNOWN)
        return super()._on_chunk(payload)

    def _take(self, _request: MemberRequest, _row: Any) -> None:
        """Leave discord.py's cache empty."""


def open_guild(
    bot: commands.Bot,
    guild_id: int,
    *,
    cached: bool,
    clock: Clock,
    idle_s: float,
    renewed: Callable[[], None],
) -> DiscordGuild:
    """Return the guild as this bot can show it; `cached` says which way the operator chose.

    Raise `SettingsError` if the bot was not built for that way.
    """
    _check_flags(bot, cached=cached)
    if cached:
        return DiscordGuild(bot, guild_id, clock=clock, idle_s=idle_s, renewed=renewed)
    return StreamedGuild(bot, guild_id, clock=clock, idle_s=idle_s, renewed=renewed)


def _check_flags(bot: commands.Bot, *, cached: bool) -> None:
    if cached and not caches_members(bot):
        raise SettingsError(
            "SYNC_MEMBER_CACHE is on, but this bot caches no members: set it to off, or build the "
            "bot with member_cache_flags=discord.MemberCacheFlags.from_intents(intents)"
        )
    if not cached and (caches_members(bot) or chunks_at_startup(bot)):
        raise SettingsError(
            "SYNC_MEMBER_CACHE is off, but this bot caches members: set it to on, or build the bot "
            "with member_cache_flags=discord.MemberCacheFlags.none() and "
            "chunk_guilds_at_startup=False"
        )


def _to_member(row: Any, guild_id: int, roles: Mapping[str, RoleId]) -> Member:
    """Return a member of a payload as the site's row shows it, like `private.to_member`."""
    user = row["user"]
    name: str = user["username"]
    shown: str = row.get("nick") or user.get("global_name") or name
    held = {roles[role] for role in row["roles"] if role in roles}
    return Member(
        id=UserId(int(user["id"])),
        name=as_kept(name),
        display_name=as_kept(shown),
        discriminator=int(user.get("discriminator") or 0),
        roles=tuple(sorted(held | {RoleId(guild_id)})),
    )


def _is_complete(payload: Any) -> bool:
    """Say whether an event holds all that a row needs; an update may leave some of it out."""
    return all(name in payload for name in ("nick", "roles")) and all(
        name in payload["user"] for name in ("username", "global_name", "discriminator")
    )


def _remember(store: dict[_K, _V], key: _K, value: _V, *, at_most: int) -> None:
    store.pop(key, None)
    while len(store) >= at_most:
        del store[next(iter(store))]
    store[key] = value
