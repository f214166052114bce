"""The configured guild: discord.py's objects as values, and proof that its cache is whole.

discord.py's own chunking can't serve as proof. `Guild.chunk()` has no timeout, joins a request that
was lost, is resolved by a READY with a partial list as if whole, and never refreshes a member that
is cached: a `Member` built from a newer payload even shares the older `User`. So this module sends
the member request itself, with a nonce of its own, and reads the answer where it arrives, in the
order of the gateway: there every payload is newer than what the cache holds.

While the connection is down nothing is asked, and no silence counts: it ends with a RESUMED, after
which Discord replays what was missed, or with a READY, which begins a new epoch.

All uses of discord.py's private names stand in this module, for the pinned 2.7.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import discord
import structlog

from .._clock import give_way, wait_first
from .._core.model.members import (
    Member,
    Role,
    RoleId,
    UserId,
)
from .._core.policy.patience import Failure, FailureKind
from .._errors import RunStoppedError
from .._ports import Proof
from .._supervision import Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from discord.ext import commands

    from .._ports import Clock

log = structlog.get_logger(__name__)

_QUERY_IDS: Final = 100  # Discord's bound of `user_ids` in one request
_QUERY_S: Final = 10.0
_QUERY_TRIES: Final = 3
# Of the 120 messages that Discord takes of a connection in a minute; the rest is for the others.
_QUERIES_A_MINUTE: Final = 60
_MINUTE_S: Final = 60.0
_PROOF_TRIES: Final = 5
_UNPROVEN_S: Final = 300.0  # so long one unproven answer stands before the members are read anew
_REST_PAGE: Final = 1000
# Events that only a member can cause, or be the subject of.
_SIGNS: Final = (
    "INTERACTION_CREATE",
    "MESSAGE_CREATE",
    "MESSAGE_REACTION_ADD",
    "PRESENCE_UPDATE",
    "TYPING_START",
    "VOICE_STATE_UPDATE",
)


@dataclass(slots=True, kw_only=True)
class _Request:
    """A member request of ours that is under way, until it is `done` or its epoch is over."""

    nonce: str
    done: asyncio.Future[float | None]  # None: answered in full; a float: wait so many seconds
    absorb: bool
    wrong: set[UserId] | None = None  # whom the cache had wrong, if that is to be known
    seen: set[int] = field(default_factory=set)
    chunks: set[int] = field(default_factory=set)
    corrected: int = 0
    heard_at: float = 0.0


class DiscordGuild:
    """The guild `guild_id` of a bot; `idle_s` is how long a member request may stay silent.

    `renewed` is called when an epoch ends in which the guild was proven: nobody was told of what
    changed between the last event of the old session and the first of the new one. `changed` is
    called with whoever an event shows to be another than the cache has them: an update, or any sign
    of a member whose join was lost, of whom discord.py would tell nobody.
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
        self._clock = clock
        self._bot = bot
        self._id = guild_id
        self._idle_s = idle_s
        self._renewed = renewed
        self.changed: Callable[[UserId], None] = _ignore
        self.passed_over: Callable[[str], None] = _ignore_event
        self._faults = Faults()
        self._epoch = 0
        self._proof: Proof | None = None
        self._proof_until = float("inf")
        self._proven: discord.Guild | None = None
        self._proving = asyncio.Lock()
        self._changed = asyncio.Event()
        self._linked = asyncio.Event()
        self._queried_at: deque[float] = deque(maxlen=_QUERIES_A_MINUTE)
        self._requests: dict[str, _Request] = {}
        self._touched: set[int] | None = None
        self._parsers: dict[str, Callable[[Any], None]] = {}

    # -- lifetime ---------------------------------------------------------------------------------

    def attach(self) -> None:
        """Hear what the gateway says before discord.py does: `parsers` is a plain dict."""
        parsers = self._bot._connection.parsers
        if isinstance(self._bot, discord.AutoShardedClient):
            self._bot.add_listener(self._on_shard_disconnect, "on_shard_disconnect")
        else:
            self._bot.add_listener(self._on_disconnect, "on_disconnect")
        if self._bot.is_ready():  # loaded late: the READY came before
            self._linked.set()
        self._parsers = dict(parsers)
        for event, hear in (
            ("READY", self._on_ready),
            ("RESUMED", self._on_resumed),
            ("GUILD_CREATE", self._on_guild),
            ("GUILD_DELETE", self._on_guild),
            ("GUILD_MEMBERS_CHUNK", self._on_chunk),
            ("GUILD_MEMBER_ADD", self._on_member),
            ("GUILD_MEMBER_UPDATE", self._on_update),
            ("GUILD_MEMBER_REMOVE", self._on_member),
            ("GUILD_ROLE_CREATE", self._on_new_role),
            ("GUILD_ROLE_UPDATE", self._on_role),
            ("USER_UPDATE", self._on_own_update),
            ("RATE_LIMITED", self._on_rate_limited),
            *((event, self._on_sign) for event in _SIGNS),
        ):
            after = self._after_join if event == "GUILD_MEMBER_ADD" else None
            parsers[event] = _hearing(hear, parsers.get(event), after)
        for event, parse in parsers.items():
            if event != "READY":  # without which the session is none
                parsers[event] = self._guarding(event, parse)

    def detach(self) -> None:
        """Give discord.py its own parsers back, and let nobody wait for answers any more."""
        self._bot.remove_listener(self._on_disconnect, "on_disconnect")
        self._bot.remove_listener(self._on_shard_disconnect, "on_shard_disconnect")
        parsers = self._bot._connection.parsers
        if "RATE_LIMITED" not in self._parsers:
            parsers.pop("RATE_LIMITED", None)
        parsers.update(self._parsers)
        self._begin_epoch()

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
                self.passed_over(event)

        return guarded

    # -- what the guild is ------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def proof(self) -> Proof | None:
        guild = self._guild()
        if guild is None or guild is not self._proven:
            return None
        return self._proof if self._clock.monotonic() < self._proof_until else None

    @property
    def trouble(self) -> str | None:
        """What Discord has yet to do before members can be read, for people; None: nothing."""
        if not self._linked.is_set():
            return "the connection to Discord is down"
        if self._guild() is None:
            return "Discord says that this server is unavailable"
        return None if self.proof is not None else "Discord has yet to send its list of members"

    async def members(self, ids: Iterable[UserId]) -> Mapping[UserId, Member]:
        """Return those of these ids whom the cache has, with their values of now."""
        guild = self._proven_guild()
        known = frozenset(guild._roles)
        found = {}
        for id_ in ids:
            member = guild.get_member(id_)
            if member is not None:
                found[id_] = to_member(member, known)
        return found

    async def look_up(self, ids: Iterable[UserId]) -> None:
        """Do nothing: the cache knows them."""

    def member_ids(self) -> Sequence[UserId]:
        """Return the ids of all cached members."""
        return [UserId(id_) for id_ in self._proven_guild()._members]

    def roles(self) -> Mapping[RoleId, Role]:
        """Return all roles, @everyone included."""
        return {RoleId(role.id): to_role(role) for role in self._proven_guild().roles}

    def _guild(self) -> discord.Guild | None:
        """Return the guild if it may be read at all: looked up anew each time, never kept."""
        guild = self._bot.get_guild(self._id)
        if guild is None or guild.unavailable or guild.get_role(guild.id) is None:
            return None
        return guild

    def _proven_guild(self) -> discord.Guild:
        guild = self._guild()
        if guild is None or guild is not self._proven:
            reason = "the guild's members were not proven when they were needed"
            raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=reason))
        return guild

    # -- proof ------------------------------------------------------------------------------------

    async def prove(self) -> Proof:
        """Wait for the guild, request all its members and compare; return at once if proven."""
        async with self._proving:
            reason = "the guild kept changing"
            for _ in range(_PROOF_TRIES):
                if self.proof is not None:
                    return self.proof
                guild = await self._available()
                if guild is None:
                    reason = f"the bot is not a member of guild {self._id} (GUILD_ID)"
                    return Proof(complete=False, reason=reason, members=0)
                epoch = self._epoch
                renews = self._proven is guild  # it was proven before, but not wholly
                proof = await self._request_all(guild)
                if self._epoch == epoch and self._guild() is guild:
                    self._proof, self._proven = proof, guild
                    if renews and (proof.complete or proof.corrected):
                        self._renewed()
                    lasts_s = float("inf") if proof.complete else _UNPROVEN_S
                    self._proof_until = self._clock.monotonic() + lasts_s
                    log.info(
                        "sync.guild.proven" if proof.complete else "sync.guild.unproven",
                        members=proof.members,
                        corrected=proof.corrected,
                        reason=proof.reason,
                        epoch=epoch,
                    )
                    return proof
                reason = "Discord reconnected while the members were being read"
            return Proof(complete=False, reason=reason, members=0)

    async def _available(self) -> discord.Guild | None:
        """Wait until the guild may be read; None if the bot is no member of it."""
        await self._bot.wait_until_ready()
        while True:
            self._changed.clear()
            guild = self._guild()
            if guild is not None:
                return guild
            if self._bot.is_ready() and self._bot.get_guild(self._id) is None:
                return None
            await self._changed.wait()

    async def _request_all(self, guild: discord.Guild) -> Proof:
        """Ask for all members, and correct the cache by the answer and what came meanwhile."""
        self._touched = touched = set[int]()
        try:
            epoch = self._epoch
            request = await self._ask(
                guild, absorb=True, idle_s=self._idle_s, query="", limit=0, user_ids=None
            )
            if self._epoch != epoch:
                return Proof(complete=False, reason="a new epoch began", members=0)
            if request is None:
                log.warning("sync.members.lost", idle_s=self._idle_s)
                return await self._read_all(guild, touched)
            corrected = request.corrected + len(_remove_others(guild, request.seen | touched))
            return _judge(guild, corrected=corrected, source="the gateway")
        finally:
            self._touched = None

    async def read_anew(self) -> int | None:
        """Request all proven members once more; see the port.

        What is proven stays so meanwhile: an answer only makes the cache more right.
        """
        async with self._proving:
            guild, epoch = self._guild(), self._epoch
            if guild is None or guild is not self._proven:
                return None
            self._touched = touched = set[int]()
            wrong: set[UserId] = set()
            try:
                request = await self._ask(
                    guild,
                    absorb=True,
                    idle_s=self._idle_s,
                    query="",
                    limit=0,
                    user_ids=None,
                    wrong=wrong,
                )
                if request is None or self._epoch != epoch or self._guild() is not guild:
                    return None
                # Whether they have left is for whoever brings them to the site to ask.
                gone = {UserId(id_) for id_ in _remove_others(guild, request.seen | touched)}
            finally:
                self._touched = None
            for id_ in gone:
                self.changed(id_)
            log.info("sync.guild.read_anew", members=len(guild._members), wrong=len(wrong | gone))
            return len(wrong | gone)

    async def _read_all(self, guild: discord.Guild, touched: set[int]) -> Proof:
        """Read all members by REST: the independent check when the gateway's answer was lost."""
        touched.clear()
        seen: set[int] = set()
        corrected = 0
        after: int | None = None
        try:
            while True:
                rows: list[Any] = list(
                    await self._bot.http.get_members(guild.id, _REST_PAGE, after)
                )
                for row in rows:
                    id_ = int(row["user"]["id"])
                    seen.add(id_)
                    after = max(after or 0, id_)
                    # An event since then is newer than this page, which has no place in its order.
                    if id_ not in touched:
                        corrected += _absorb(guild, row)
                if len(rows) < _REST_PAGE or self._guild() is not guild:
                    break
        except discord.HTTPException as exc:
            reason = f"neither the gateway nor REST gave the members: HTTP {exc.status}"
            return Proof(complete=False, reason=reason, members=len(guild._members))
        except (OSError, TimeoutError) as exc:
            reason = f"neither the gateway nor REST gave the members: {type(exc).__name__}"
            return Proof(complete=False, reason=reason, members=len(guild._members))
        corrected += len(_remove_others(guild, seen | touched))
        return _judge(guild, corrected=corrected, source="REST")

    async def departed(self, ids: Sequence[UserId]) -> frozenset[UserId] | None:
        """Ask Discord which of these ids are not members; None if the answer can't count."""
        gone: set[UserId] = set()
        for start in range(0, len(ids), _QUERY_IDS):
            part = ids[start : start + _QUERY_IDS]
            guild = self._proven_guild() if self.proof is not None else None
            epoch = self._epoch
            if guild is None:
                return None
            request = await self._query(guild, part)
            if request is None or self._epoch != epoch or self._guild() is not guild:
                return None
            gone.update(
                id_ for id_ in part if id_ not in request.seen and guild.get_member(id_) is None
            )
        return frozenset(gone)

    async def _query(self, guild: discord.Guild, ids: Sequence[UserId]) -> _Request | None:
        epoch = self._epoch
        for _ in range(_QUERY_TRIES):
            await self._query_turn()
            request = await self._ask(
                guild,
                absorb=True,
                idle_s=_QUERY_S,
                query=None,
                limit=0,
                user_ids=[int(id_) for id_ in ids],
            )
            if request is not None or self._epoch != epoch:
                return request
            log.warning("sync.query.lost", ids=len(ids))
        return None

    async def _query_turn(self) -> None:
        """Wait until one more query is within what a minute may have."""
        while len(self._queried_at) == _QUERIES_A_MINUTE:
            wait_s = self._queried_at[0] + _MINUTE_S - self._clock.monotonic()
            if wait_s <= 0:
                break
            await self._clock.sleep(wait_s)
        self._queried_at.append(self._clock.monotonic())

    async def _ask(
        self,
        guild: discord.Guild,
        *,
        absorb: bool,
        idle_s: float,
        query: str | None,
        limit: int,
        user_ids: list[int] | None,
        wrong: set[UserId] | None = None,
    ) -> _Request | None:
        """Send a member request until Discord takes it; None when no answer came in time."""
        epoch = self._epoch
        while True:
            request = _Request(
                nonce=os.urandom(16).hex(), done=asyncio.Future(), absorb=absorb, wrong=wrong
            )
            self._requests[request.nonce] = request
            try:
                await self._while_linked(request)
                if self._epoch != epoch:
                    return None
                websocket = self._bot._connection._get_websocket(guild.id)
                if websocket is None:
                    return None
                with _in_turns(websocket):
                    await websocket.request_chunks(
                        guild.id, query=query, limit=limit, user_ids=user_ids, nonce=request.nonce
                    )
                    # Not before: discord.py holds requests back that would be too many.
                    request.heard_at = self._clock.monotonic()
                    retry_after = await self._answered(request, idle_s)
            except (discord.ConnectionClosed, ConnectionError, TimeoutError):
                return None
            finally:
                del self._requests[request.nonce]
            if retry_after is not None:
                log.info("sync.members.rate_limited", retry_after_s=retry_after)
                await self._clock.sleep(retry_after)
            if self._epoch != epoch:
                return None
            if retry_after is None:
                return request

    async def _answered(self, request: _Request, idle_s: float) -> float | None:
        """Wait while chunks keep coming; raise `TimeoutError` after `idle_s` of silence.

        A silence while the connection is down is none.
        """
        while not request.done.done():
            await self._while_linked(request)
            left = request.heard_at + idle_s - self._clock.monotonic()
            if left <= 0:
                raise TimeoutError
            await wait_first({request.done}, clock=self._clock, within_s=left)
        return request.done.result()

    async def _while_linked(self, request: _Request) -> None:
        """Wait until the connection is up, or the request has ended with its epoch."""
        if self._linked.is_set() or request.done.done():
            return
        linked = asyncio.ensure_future(self._linked.wait())
        try:
            await wait_first({linked, request.done}, clock=self._clock)
        finally:
            linked.cancel()
        request.heard_at = self._clock.monotonic()

    # -- what the gateway says --------------------------------------------------------------------

    def _begin_epoch(self) -> None:
        self._epoch += 1
        self._proof = self._proven = None
        for request in self._requests.values():
            if not request.done.done():
                request.done.set_result(None)
        self._changed.set()

    def _renew(self) -> None:
        was_proven = self._proof is not None
        self._begin_epoch()
        if was_proven:
            self._renewed()

    def _on_ready(self, payload: Any) -> bool:
        shard_id, shards = payload.get("shard") or (0, 1)
        if self._is_on(shard_id, shards):
            self._renew()
            self._linked.set()
        return True

    def _is_on(self, shard_id: int, shards: int) -> bool:
        """Say whether the guild's events come by this shard; the others' are none of its affairs.

        Source: Discord's documentation of the gateway, sharding.
        """
        return (self._id >> 22) % shards == shard_id

    def _on_resumed(self, payload: Any) -> bool:
        # discord.py adds the id; it is None without shards.
        if not self._is_on(payload.get("__shard_id__") or 0, self._bot.shard_count or 1):
            return True
        self._linked.set()
        now = self._clock.monotonic()
        for request in self._requests.values():
            request.heard_at = now
        return True

    async def _on_disconnect(self) -> None:
        self._linked.clear()

    async def _on_shard_disconnect(self, shard_id: int) -> None:
        if self._is_on(shard_id, self._bot.shard_count or 1):
            self._linked.clear()

    def _on_guild(self, payload: Any) -> bool:
        if int(payload["id"]) == self._id:
            self._renew()
            # discord.py has yet to parse it: whoever waits looks again after that.
            asyncio.get_running_loop().call_soon(self._changed.set)  # noqa: TID251 - it schedules, and reads no clock
        return True

    def _on_rate_limited(self, payload: Any) -> bool:
        meta = payload.get("meta") or {}
        request = self._requests.get(str(meta.get("nonce")))
        if request is None and int(meta.get("guild_id") or 0) == self._id:
            request = next((r for r in self._requests.values() if not r.chunks), None)
        if request is not None and not request.done.done():
            request.done.set_result(float(payload.get("retry_after", 30)))
        return True

    def _on_member(self, payload: Any) -> bool:
        if self._touched is not None and int(payload.get("guild_id", 0)) == self._id:
            self._touched.add(int(payload["user"]["id"]))
        return True

    def _on_update(self, payload: Any) -> bool:
        """Tell of an update also where discord.py tells of none: that of an uncached member."""
        if int(payload["guild_id"]) == self._id:
            self.changed(UserId(int(payload["user"]["id"])))
        return self._on_member(payload)

    def _on_own_update(self, payload: Any) -> bool:
        """Tell that the bot itself has another name."""
        self.changed(UserId(int(payload["id"])))
        return True

    def _on_sign(self, payload: Any) -> bool:
        """Tell of somebody who acts as a member and is not cached: their join was lost."""
        id_ = None if self.proof is None else _acting(payload, self._id)
        if id_ is not None and self._proven_guild().get_member(id_) is None:
            log.info("sync.member.discovered", user_id=id_)
            self.changed(id_)
        return True

    def _on_new_role(self, _payload: Any) -> bool:
        """Do nothing: discord.py tells of it, and the cache knows who holds it."""
        return True

    def _on_role(self, payload: Any) -> bool:
        """Take the update of a role that is not cached for its creation, which was lost."""
        guild = self._bot.get_guild(self._id)
        if guild is None or int(payload["guild_id"]) != self._id:
            return True
        if guild.get_role(int(payload["role"]["id"])) is not None:
            return True
        self._bot._connection.parsers["GUILD_ROLE_CREATE"](payload)
        return False

    def _after_join(self, payload: Any) -> None:
        """Give who joined the names that they have now.

        discord.py 2.7 builds the member around a `User` that it still holds, with the names of
        then, and passes over somebody whose leave it has missed.
        """
        guild = self._bot.get_guild(self._id)
        if guild is not None and int(payload["guild_id"]) == self._id:
            _absorb(guild, payload)

    def _on_chunk(self, payload: Any) -> bool:
        """Take an answer to one of our own requests; return False, since no one else waits."""
        request = self._requests.get(str(payload.get("nonce")))
        if request is None:
            return True
        guild = self._bot.get_guild(self._id)
        if guild is None or request.done.done():
            return False
        request.heard_at = self._clock.monotonic()
        request.chunks.add(int(payload.get("chunk_index", 0)))
        for row in payload.get("members", ()):
            id_ = int(row["user"]["id"])
            request.seen.add(id_)
            if not request.absorb:
                continue
            is_new = guild.get_member(id_) is None
            is_wrong = _absorb(guild, row)
            request.corrected += is_wrong
            if request.wrong is not None and (is_wrong or is_new):
                request.wrong.add(UserId(id_))
                self.changed(UserId(id_))
        if len(request.chunks) >= int(payload.get("chunk_count", 1)):
            request.done.set_result(None)
        return False


@contextmanager
def _in_turns(websocket: Any) -> Iterator[None]:
    """Let others have the loop between any two frames of a websocket while this is entered.

    discord.py reads what has arrived already without once giving way, and chunks arrive faster than
    they are read: a burst of dozens would keep the loop for half a second.
    """
    if "poll_event" in vars(websocket):
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


def _hearing(
    hear: Callable[[Any], bool],
    inner: Callable[[Any], None] | None,
    after: Callable[[Any], None] | None,
) -> Callable[[Any], None]:
    def parse(payload: Any) -> None:
        if hear(payload) and inner is not None:
            inner(payload)
        if after is not None:
            after(payload)

    return parse


def _acting(payload: Any, guild_id: int) -> UserId | None:
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


def _ignore(_id: UserId) -> None:
    return


def _ignore_event(_event: str) -> None:
    return


def _absorb(guild: discord.Guild, row: Any) -> bool:
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


def _remove_others(guild: discord.Guild, ids: set[int]) -> list[int]:
    """Take everybody else out of the cache; return who that was.

    `ids` have to hold whom events spoke of since the request: an answer made before somebody joined
    doesn't name them, and discord.py keeps the object of whom it still had cached.
    """
    others = [member for id_, member in guild._members.items() if id_ not in ids]
    for member in others:
        guild._remove_member(member)
    return [member.id for member in others]


def _judge(guild: discord.Guild, *, corrected: int, source: str) -> Proof:
    """Compare the cache with the count that Discord gives; churn may make them differ a little."""
    held, told = len(guild._members), guild.member_count
    complete = told is not None and abs(held - told) <= max(10, told // 1000)
    reason = f"{held:,} members from {source}"
    if not complete:
        reason += (
            f", but Discord counts {told}" if told is not None else ", and Discord gives no count"
        )
    return Proof(complete=complete, reason=reason, members=held, corrected=corrected)


def to_role(role: discord.Role) -> Role:
    """Return a role as the site's row shows it."""
    return Role(
        id=RoleId(role.id),
        name=role.name.strip(),
        colour=role.colour.value,
        permissions=role.permissions.value,
        position=role.position,
    )


def to_member(member: discord.Member, known_roles: frozenset[int]) -> Member:
    """Return a member as the site's row shows it; `known_roles` are the guild's role ids.

    The site strips names of white space at both ends before it keeps them, as its forms do; a name
    compared unstripped would differ for ever. `_roles` is read instead of `roles`, which sorts
    objects by their position and takes most of a comparison's time.
    """
    everyone = member.guild.id
    roles = [role for role in member._roles if role in known_roles]
    if everyone not in roles:
        roles.append(everyone)
    roles.sort()
    return Member(
        id=UserId(member.id),
        name=member.name.strip(),
        display_name=member.display_name.strip(),
        discriminator=int(member.discriminator or 0),
        roles=tuple(RoleId(role) for role in roles),
    )
