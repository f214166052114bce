"""The configured guild: discord.py's objects as values, and proof that its cache is whole.

discord.py's own chunking can't serve as proof. `Guild.chunk()` has no timeout, joins a request that
was lost, is resolved by a READY with a partial list as if whole, and never refreshes a member that
is cached: a `Member` built from a newer payload even shares the older `User`. So this module sends
the member request itself, with a nonce of its own, and reads the answer where it arrives, in the
order of the gateway: there every payload is newer than what the cache holds.

A READY begins a new epoch: what was proven in the one before counts no more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

import discord
import structlog

from .._core.model.members import (
    Member,
    Role,
    RoleId,
    UserId,
)
from .._core.plan.diff import as_kept
from .._core.policy.request_backoff import Failure, FailureKind
from .._errors import RunStoppedError
from .._ports import Proof
from .events import SIGNS, Hearing, acting
from .member_requests import MemberRequests
from .private import (
    absorb,
    cached_ids,
    parsers,
    remove_others,
    role_ids,
    to_member,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from discord.ext import commands

    from .._ports import Clock
    from .member_requests import MemberRequest

log = structlog.get_logger(__name__)

_QUERY_IDS: Final = 100  # Discord's bound of `user_ids` in one request
_PROOF_TRIES: Final = 5
_UNPROVEN_S: Final = 300.0  # so long one unproven answer stands before the members are read anew
_REST_PAGE: Final = 1000


class DiscordGuild:
    """The guild `guild_id` of a bot; `idle_s` is how long a member request may stay silent.

    `renewed` is called when an epoch ends in which the guild was proven: nobody was told of what
    changed between the last event of the old session and the first of the new one. `changed` is
    called with whoever an event shows to be another than the cache has them: an update, or any sign
    of a member whose join was lost, of whom discord.py would tell nobody.

    It has a method for each event that is heard and for each call of the port: both are needed to
    prove the cache, since only their order says what is newer.
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
        self._epoch = 0
        self._proof: Proof | None = None
        self._proof_until = float("inf")
        self._proven: discord.Guild | None = None
        self._proving = asyncio.Lock()
        self._changed = asyncio.Event()
        self._requests = MemberRequests(bot, guild_id, clock=clock)
        self._hearing = Hearing(bot, passed_over=self._pass_over)
        self._touched: set[int] | None = None

    # -- lifetime ---------------------------------------------------------------------------------

    def attach(self) -> None:
        """Hear what the gateway says before discord.py does: `parsers` is a plain dict."""
        if isinstance(self._bot, discord.AutoShardedClient):
            self._bot.add_listener(self._on_shard_disconnect, "on_shard_disconnect")
        else:
            self._bot.add_listener(self._on_disconnect, "on_disconnect")
        if self._bot.is_ready():  # loaded late: the READY came before
            self._requests.linked.set()
        self._hearing.attach(
            {
                "READY": self._on_ready,
                "RESUMED": self._on_resumed,
                "GUILD_CREATE": self._on_guild,
                "GUILD_DELETE": self._on_guild,
                "GUILD_MEMBERS_CHUNK": self._on_chunk,
                "GUILD_MEMBER_ADD": self._on_member,
                "GUILD_MEMBER_UPDATE": self._on_update,
                "GUILD_MEMBER_REMOVE": self._on_member,
                "GUILD_ROLE_CREATE": self._on_new_role,
                "GUILD_ROLE_UPDATE": self._on_role,
                "USER_UPDATE": self._on_own_update,
                "RATE_LIMITED": self._on_rate_limited,
                **dict.fromkeys(SIGNS, self._on_sign),
            },
            {"GUILD_MEMBER_ADD": self._after_join},
        )

    def detach(self) -> None:
        """Give discord.py its own parsers back, and let nobody wait for answers any more."""
        self._bot.remove_listener(self._on_disconnect, "on_disconnect")
        self._bot.remove_listener(self._on_shard_disconnect, "on_shard_disconnect")
        self._hearing.detach()
        self._begin_epoch()

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
        if not self._requests.linked.is_set():
            return "the connection to Discord is down"
        if self._guild() is None:
            return "Discord says that this server is unavailable"
        return None if self.proof is not None else "Discord has yet to send its list of members"

    async def members(self, ids: Iterable[UserId]) -> Mapping[UserId, Member]:
        """Return those of these ids whom the cache has, with their values of now."""
        guild = self._proven_guild()
        known = frozenset(role_ids(guild))
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
        return cast("list[UserId]", list(cached_ids(self._proven_guild())))

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
            request = await self._requests.ask(idle_s=self._idle_s)
            if self._epoch != epoch:
                return Proof(complete=False, reason="a new epoch began", members=0)
            if request is None:
                log.warning("sync.members.lost", idle_s=self._idle_s)
                return await self._read_all(guild, touched)
            corrected = request.corrected + len(remove_others(guild, request.seen | touched))
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
                request = await self._requests.ask(idle_s=self._idle_s, wrong=wrong)
                if request is None or self._epoch != epoch or self._guild() is not guild:
                    return None
                # Whether they have left is for whoever brings them to the site to ask.
                gone = {UserId(id_) for id_ in remove_others(guild, request.seen | touched)}
            finally:
                self._touched = None
            for id_ in gone:
                self.changed(id_)
            log.info(
                "sync.guild.read_anew", members=len(cached_ids(guild)), wrong=len(wrong | gone)
            )
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
                        corrected += absorb(guild, row)
                if len(rows) < _REST_PAGE or self._guild() is not guild:
                    break
        except discord.HTTPException as exc:
            reason = f"neither the gateway nor REST gave the members: HTTP {exc.status}"
            return Proof(complete=False, reason=reason, members=len(cached_ids(guild)))
        except (OSError, TimeoutError) as exc:
            reason = f"neither the gateway nor REST gave the members: {type(exc).__name__}"
            return Proof(complete=False, reason=reason, members=len(cached_ids(guild)))
        corrected += len(remove_others(guild, seen | touched))
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
            request = await self._requests.query(part)
            if request is None or self._epoch != epoch or self._guild() is not guild:
                return None
            gone.update(
                id_ for id_ in part if id_ not in request.seen and guild.get_member(id_) is None
            )
        return frozenset(gone)

    # -- what the gateway says --------------------------------------------------------------------

    def _pass_over(self, event: str) -> None:
        self.passed_over(event)

    def _begin_epoch(self) -> None:
        self._epoch += 1
        self._proof = self._proven = None
        self._requests.begin_epoch()
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
            self._requests.linked.set()
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
        self._requests.resumed()
        return True

    async def _on_disconnect(self) -> None:
        self._requests.linked.clear()

    async def _on_shard_disconnect(self, shard_id: int) -> None:
        if self._is_on(shard_id, self._bot.shard_count or 1):
            self._requests.linked.clear()

    def _on_guild(self, payload: Any) -> bool:
        if int(payload["id"]) == self._id:
            self._renew()
            # discord.py has yet to parse it: whoever waits looks again after that.
            asyncio.get_running_loop().call_soon(self._changed.set)  # noqa: TID251 - it schedules, and reads no clock
        return True

    def _on_rate_limited(self, payload: Any) -> bool:
        self._requests.rate_limited(payload)
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
        id_ = None if self.proof is None else acting(payload, self._id)
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
        parsers(self._bot)["GUILD_ROLE_CREATE"](payload)
        return False

    def _after_join(self, payload: Any) -> None:
        """Give who joined the names that they have now.

        discord.py 2.7 builds the member around a `User` that it still holds, with the names of
        then, and passes over somebody whose leave it has missed.
        """
        guild = self._bot.get_guild(self._id)
        if guild is not None and int(payload["guild_id"]) == self._id:
            absorb(guild, payload)

    def _on_chunk(self, payload: Any) -> bool:
        """Take an answer to one of our own requests; return False, since no one else waits."""
        request = self._requests.by(payload.get("nonce"))
        if request is None:
            return True
        if self._bot.get_guild(self._id) is None or request.is_over:
            return False
        self._requests.hear(request, payload)
        for row in payload.get("members", ()):
            request.seen.add(int(row["user"]["id"]))
            self._take(request, row)
        self._requests.answered(request, payload)
        return False

    def _take(self, request: MemberRequest, row: Any) -> None:
        """Take a member of an answer into discord.py's cache."""
        guild, id_ = self._bot.get_guild(self._id), UserId(int(row["user"]["id"]))
        if guild is None:
            return
        is_new = guild.get_member(id_) is None
        is_wrong = absorb(guild, row)
        request.corrected += is_wrong
        if request.wrong is not None and (is_wrong or is_new):
            request.wrong.add(id_)
            self.changed(id_)


def _ignore(_id: UserId) -> None:
    return


def _ignore_event(_event: str) -> None:
    return


def _judge(guild: discord.Guild, *, corrected: int, source: str) -> Proof:
    """Compare the cache with the count that Discord gives; churn may make them differ a little."""
    held, told = len(cached_ids(guild)), guild.member_count
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
        name=as_kept(role.name),
        colour=role.colour.value,
        permissions=role.permissions.value,
        position=role.position,
    )
