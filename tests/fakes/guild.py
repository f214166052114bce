"""A guild in memory: Discord's truth, and what a process hears of it, in the gateway's order.

`Discord` is the guild. `FakeGuild` is what a process with a member cache knows of it, `PagedFake`
one without. Both hear of it by a stream of messages that keeps its order, may be late, and can be
lost with its session; answers to member requests come by the same stream, pages of REST do not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from bot.exts.backend.sync._clock import wait_first
from bot.exts.backend.sync._core.model.members import Member, Role, RoleId, UserId, holding_only
from bot.exts.backend.sync._core.policy.request_backoff import Failure, FailureKind
from bot.exts.backend.sync._errors import RunStoppedError
from bot.exts.backend.sync._ports import Proof
from tests.fakes.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from bot.exts.backend.sync._ports import Clock

    Message: TypeAlias = Callable[["FakeGuild"], None]

EVERYONE: Final = RoleId(1)
_PROOF_TRIES: Final = 5


class Listener:
    """What a process does about events; the cog's listeners as a test may watch them."""

    def joined(self, id_: UserId) -> None: ...
    def left(self, id_: UserId) -> None: ...
    def updated(self, id_: UserId) -> None: ...
    def role_created(self, id_: RoleId, holders: Sequence[UserId]) -> None: ...
    def role_updated(self, id_: RoleId) -> None: ...
    def role_deleted(self, id_: RoleId) -> None: ...


@dataclass(slots=True, kw_only=True)
class Discord:
    """The guild as it is; every change is told to all that are connected."""

    members: dict[UserId, Member] = field(default_factory=dict)
    roles: dict[RoleId, Role] = field(default_factory=dict)
    connected: list[FakeGuild] = field(default_factory=list)
    loses_requests: bool = False
    rest_fails: bool = False
    available: bool = True
    page_items: int = 1000

    def __post_init__(self) -> None:
        self.roles.setdefault(
            EVERYONE, Role(id=EVERYONE, name="@everyone", colour=0, permissions=0, position=0)
        )

    def of_now(self) -> dict[UserId, Member]:
        """Return the members as rows are due to be: without roles that are gone."""
        return {
            id_: holding_only(member, self.roles.keys()) for id_, member in self.members.items()
        }

    def join(self, id_: int, *, name: str = "", roles: Iterable[int] = ()) -> None:
        """Let somebody join."""
        member = member_of(id_, name=name, roles=roles)
        self.members[member.id] = member
        self._tell(lambda guild: guild.hear_join(member))

    def leave(self, id_: int) -> None:
        """Let somebody leave."""
        if self.members.pop(UserId(id_), None) is not None:
            self._tell(lambda guild: guild.hear_leave(UserId(id_)))

    def change(
        self, id_: int, *, name: str | None = None, roles: Iterable[int] | None = None
    ) -> None:
        """Let something of a member be another."""
        member = self.members.get(UserId(id_))
        if member is None:
            return
        if name is not None:
            member = replace(member, name=name, display_name=name)
        if roles is not None:
            member = replace(member, roles=_roles(roles))
        self.members[member.id] = changed = member
        self._tell(lambda guild: guild.hear_update(changed))

    def create_role(self, id_: int, *, name: str = "") -> None:
        """Make a role that nobody holds yet."""
        role = Role(
            id=RoleId(id_), name=name or f"role{id_}", colour=0, permissions=0, position=id_
        )
        self.roles[role.id] = role
        self._tell(lambda guild: guild.hear_role(role, created=True))

    def rename_role(self, id_: int, name: str) -> None:
        """Let a role have another name."""
        if RoleId(id_) in self.roles:
            self.roles[RoleId(id_)] = role = replace(self.roles[RoleId(id_)], name=name)
            self._tell(lambda guild: guild.hear_role(role, created=False))

    def delete_role(self, id_: int) -> None:
        """Delete a role: nobody is told of those who held it."""
        if self.roles.pop(RoleId(id_), None) is not None:
            self.members = self.of_now()
            self._tell(lambda guild: guild.hear_role_deleted(RoleId(id_)))

    def _tell(self, message: Message) -> None:
        for guild in self.connected:
            guild.receive(message)


def member_of(id_: int, *, name: str = "", roles: Iterable[int] = ()) -> Member:
    """Return a member with these roles and @everyone."""
    name = name or f"user{id_}"
    return Member(
        id=UserId(id_), name=name, display_name=name, discriminator=0, roles=_roles(roles)
    )


def _roles(roles: Iterable[int]) -> tuple[RoleId, ...]:
    return tuple(sorted({EVERYONE, *(RoleId(role) for role in roles)}))


class FakeGuild:
    """What a process with a member cache knows of the guild.

    `delay_s` says how long the next message of the gateway, or a request, takes. Messages come in
    the order in which they were sent, whatever that says.
    """

    def __init__(
        self,
        discord: Discord,
        *,
        clock: Clock,
        renewed: Callable[[], None] = lambda: None,
        delay_s: Callable[[str], float] = lambda _: 0.0,
        idle_s: float = 20.0,
        faults: Faults | None = None,
    ) -> None:
        self.discord = discord
        self.listener = Listener()
        self.faults = faults or Faults()
        self.is_dead = False
        self._clock = clock
        self._renewed = renewed
        self._delay_s = delay_s
        self._idle_s = idle_s
        self._stream: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._changed = asyncio.Event()
        self._proving = asyncio.Lock()
        self._epoch = 0
        self._proof: Proof | None = None
        self._ready = False
        self._members: dict[UserId, Member] = {}
        self._roles: dict[RoleId, Role] = {}
        self._touched: set[UserId] | None = None
        self._requests: set[asyncio.Future[None]] = set()

    # -- the gateway ------------------------------------------------------------------------------

    @property
    def behind(self) -> int:
        """How many messages have been sent and not heard yet."""
        return len(self._stream)

    def connect(self) -> None:
        """Begin a session: a READY, then the guild."""
        self._stream.clear()
        if self not in self.discord.connected:
            self.discord.connected.append(self)
        self.receive(FakeGuild.hear_ready)
        self.receive(FakeGuild.hear_guild)

    def lose_session(self) -> None:
        """Lose the session with all that was under way; nothing more is heard till `connect`."""
        self._stream.clear()
        if self in self.discord.connected:
            self.discord.connected.remove(self)

    def correct_in_silence(self) -> None:
        """Let the cache be as Discord has it, as by a request of somebody else's, unheard of."""
        self._members = dict(self.discord.members)

    def receive(self, message: Message) -> None:
        """Put a message behind all that are under way."""
        self._stream.append(message)
        self._arrived.set()

    async def run_forever(self) -> None:
        """Hear what arrives, in its order."""
        while True:
            if not self._stream:
                self._arrived.clear()
                await self._arrived.wait()
            await self._clock.sleep(self._delay_s("gateway"))
            if self._stream:
                self._stream.popleft()(self)

    def hear_ready(self) -> None:
        """Begin an epoch: nothing is known of the guild yet."""
        self._members.clear()
        self._roles.clear()
        self._ready = False
        self._begin_epoch()

    def hear_guild(self) -> None:
        """Take the guild's first state, which need not hold everybody."""
        if not self.discord.available:
            return
        self._roles = dict(self.discord.roles)
        self._members = dict(list(self.discord.members.items())[:2])
        self._ready = True
        self._begin_epoch()

    def hear_outage(self) -> None:
        """Know nothing of the guild until it is there again."""
        self._ready = False
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        was_proven = self._proof is not None
        self._epoch += 1
        self._proof = None
        for request in self._requests:
            if not request.done():
                request.set_result(None)
        self._changed.set()
        if was_proven:
            self._renewed()

    def hear_join(self, member: Member) -> None:
        """Take in somebody who joined."""
        self._touch(member.id)
        self._members[member.id] = member
        self.listener.joined(member.id)

    def hear_leave(self, id_: UserId) -> None:
        """Forget somebody who left."""
        self._touch(id_)
        self._members.pop(id_, None)
        self.listener.left(id_)

    def hear_update(self, member: Member) -> None:
        """Take in a member's new values, also of one whose join was lost."""
        self._touch(member.id)
        self._members[member.id] = member
        self.listener.updated(member.id)

    def hear_role(self, role: Role, *, created: bool) -> None:
        """Take in a role; an update of one whose creation was lost creates it."""
        created = created or role.id not in self._roles
        self._roles[role.id] = role
        if created:
            holders = [id_ for id_, member in self._members.items() if role.id in member.roles]
            self.listener.role_created(role.id, holders)
        else:
            self.listener.role_updated(role.id)

    def hear_role_deleted(self, id_: RoleId) -> None:
        """Forget a role."""
        if self._roles.pop(id_, None) is not None:
            self.listener.role_deleted(id_)

    def _touch(self, id_: UserId) -> None:
        if self._touched is not None:
            self._touched.add(id_)

    # -- the port ---------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def proof(self) -> Proof | None:
        return self._proof if self._ready else None

    @property
    def is_proven(self) -> bool:
        """Whether it truly may be read, whatever somebody believes."""
        return self._proof is not None and self._ready

    async def members(self, ids: Iterable[UserId]) -> Mapping[UserId, Member]:
        """Return those of these ids whom the cache has."""
        self._check_proven()
        return {
            id_: holding_only(self._members[id_], self._roles.keys())
            for id_ in ids
            if id_ in self._members
        }

    async def look_up(self, ids: Iterable[UserId]) -> None:
        """Do nothing: the cache knows them."""

    def member_ids(self) -> Sequence[UserId]:
        """Return the ids of all cached members."""
        self._check_proven()
        return list(self._members)

    def roles(self) -> Mapping[RoleId, Role]:
        """Return all roles."""
        self._check_proven()
        return dict(self._roles)

    def _check_proven(self) -> None:
        if self._proof is None or not self._ready:
            reason = "the guild's members were not proven when they were needed"
            raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=reason))

    @property
    def trouble(self) -> str | None:
        """What Discord has yet to do before members can be read."""
        return None if self._ready else "Discord says that this server is unavailable"

    async def prove(self) -> Proof:
        """Wait for the guild, request all members and compare."""
        return await self.faults.around("guild.prove", self._prove)

    async def _prove(self) -> Proof:
        async with self._proving:
            for _ in range(_PROOF_TRIES):
                if self.proof is not None:
                    return self.proof
                while not self._ready:
                    self._changed.clear()
                    await self._changed.wait()
                epoch = self._epoch
                proof = await self._request_all()
                if proof is not None and self._epoch == epoch and self._ready:
                    self._proof = proof
                    return proof
            return Proof(complete=False, reason="the guild kept changing", members=0)

    async def _request_all(self) -> Proof | None:
        self._touched = touched = set[UserId]()
        try:
            if not await self._ask(None):
                touched.clear()
                await self._clock.sleep(self._delay_s("rest"))
                if self.discord.rest_fails:
                    reason = "neither the gateway nor REST gave the members"
                    return Proof(complete=False, reason=reason, members=len(self._members))
                page = dict(self.discord.members)
                await self._clock.sleep(self._delay_s("rest"))
                self._absorb(page, but=touched)
            count = len(self.discord.members)
            complete = abs(count - len(self._members)) <= max(10, count // 1000)
            return Proof(complete=complete, reason="by the gateway", members=len(self._members))
        finally:
            self._touched = None

    def _absorb(self, found: Mapping[UserId, Member], *, but: set[UserId]) -> None:
        for id_, member in found.items():
            if id_ not in but:
                self._members[id_] = member
        for id_ in [id_ for id_ in self._members if id_ not in found and id_ not in but]:
            del self._members[id_]

    async def read_anew(self) -> int | None:
        """Request all members once more, and mark whom the cache had wrong."""

        async def call() -> int | None:
            epoch, before = self._epoch, dict(self._members)
            self._touched = touched = set[UserId]()
            try:
                if self.proof is None or not await self._ask(None) or self._epoch != epoch:
                    return None
            finally:
                self._touched = None
            ids = before.keys() | self._members.keys()
            wrong = {i for i in ids - touched if before.get(i) != self._members.get(i)}
            for id_ in sorted(wrong):
                self.listener.updated(id_)
            return len(wrong)

        return await self.faults.around("guild.read_anew", call)

    async def departed(self, ids: Sequence[UserId]) -> frozenset[UserId] | None:
        """Ask Discord which of these ids are not members."""
        return await self.faults.around("guild.departed", lambda: self._departed(ids))

    async def _departed(self, ids: Sequence[UserId]) -> frozenset[UserId] | None:
        epoch = self._epoch
        if self.proof is None or not await self._ask(ids) or self._epoch != epoch:
            return None
        return frozenset(id_ for id_ in ids if id_ not in self._members)

    async def _ask(self, ids: Sequence[UserId] | None) -> bool:
        """Ask about some members, or all; return whether an answer came, or the epoch ended."""
        if self.discord.loses_requests or self not in self.discord.connected:
            await self._clock.sleep(self._idle_s)
            return False
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests.add(answered)
        try:
            await self._clock.sleep(self._delay_s("request"))
            known = self.discord.members
            found = {i: known[i] for i in (known if ids is None else ids) if i in known}

            def answer(guild: FakeGuild) -> None:
                guild.hear_answer(found, asked=ids)
                if not answered.done():
                    answered.set_result(None)

            self.receive(answer)
            return await wait_first({answered}, clock=self._clock, within_s=self._idle_s)
        finally:
            self._requests.discard(answered)

    def hear_answer(
        self, found: Mapping[UserId, Member], *, asked: Sequence[UserId] | None
    ) -> None:
        """Take in an answer to a member request: in the stream's order it is newest."""
        self._members |= found
        if asked is None:
            self._absorb(found, but=self._touched or set())


class PagedFake(FakeGuild):
    """What a process without a member cache knows: what it was just told, until it hears more."""

    def __init__(
        self,
        discord: Discord,
        *,
        clock: Clock,
        renewed: Callable[[], None] = lambda: None,
        delay_s: Callable[[str], float] = lambda _: 0.0,
        idle_s: float = 20.0,
        faults: Faults | None = None,
    ) -> None:
        super().__init__(
            discord, clock=clock, renewed=renewed, delay_s=delay_s, idle_s=idle_s, faults=faults
        )
        self._gone: set[UserId] = set()
        self._watches: dict[int, set[UserId]] = {}

    @property
    def count(self) -> int | None:
        """How many members Discord says that there are."""
        return len(self.discord.members) if self._ready else None

    def _begin_epoch(self) -> None:
        self._members.clear()
        self._gone.clear()
        super()._begin_epoch()

    def hear_join(self, member: Member) -> None:
        """Know somebody who joined."""
        self._hear_of(member.id)
        self._members[member.id] = member
        self.listener.joined(member.id)

    def hear_leave(self, id_: UserId) -> None:
        """Know that somebody left."""
        self._hear_of(id_)
        self._gone.add(id_)
        self.listener.left(id_)

    def hear_update(self, member: Member) -> None:
        """Know a member's new values."""
        self._hear_of(member.id)
        self._members[member.id] = member
        self.listener.updated(member.id)

    def _hear_of(self, id_: UserId) -> None:
        self._members.pop(id_, None)
        self._gone.discard(id_)
        for heard in self._watches.values():
            heard.add(id_)

    async def _request_all(self) -> Proof | None:
        count = len(self.discord.members)
        return Proof(complete=True, reason=f"Discord counts {count} members", members=count)

    async def look_up(self, ids: Iterable[UserId]) -> None:
        """Ask Discord about those of whom nothing is known."""
        await self.members(ids)

    async def members(self, ids: Iterable[UserId]) -> Mapping[UserId, Member]:
        """Return those of these ids who are members; ask if need be."""
        wanted = tuple(dict.fromkeys(ids))
        unknown = list(wanted)
        for _ in range(_PROOF_TRIES):
            unknown = [i for i in wanted if i not in self._members and i not in self._gone]
            if not unknown:
                self._check_proven()
                present = self._roles.keys()
                return {
                    id_: holding_only(self._members[id_], present)
                    for id_ in wanted
                    if id_ in self._members
                }
            await self.prove()
            await self._ask(unknown)
        reason = f"Discord did not say whether {len(unknown):,} ids are members"
        raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=reason))

    def hear_answer(
        self, found: Mapping[UserId, Member], *, asked: Sequence[UserId] | None
    ) -> None:
        """Know who was answered about."""
        for id_ in asked or ():
            self._members.pop(id_, None)
            self._gone.discard(id_)
            if id_ in found:
                self._members[id_] = found[id_]
            else:
                self._gone.add(id_)

    async def _departed(self, ids: Sequence[UserId]) -> frozenset[UserId] | None:
        try:
            present = await self.members(ids)
        except RunStoppedError:
            return None
        return frozenset(ids) - present.keys()

    async def read_anew(self) -> int | None:
        """Do nothing: nobody is cached."""
        return 0

    async def page(self, after: UserId) -> tuple[Member, ...]:
        """Return a page of members, as REST has them at this moment."""

        async def call() -> tuple[Member, ...]:
            await self._clock.sleep(self._delay_s("rest"))
            if self.discord.rest_fails:
                reason = f"Discord's list of members after id {after} could not be read: HTTP 500"
                raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=reason))
            ids = sorted(id_ for id_ in self.discord.members if id_ > after)
            page = [self.discord.members[id_] for id_ in ids[: self.discord.page_items]]
            await self._clock.sleep(self._delay_s("rest"))
            return tuple(holding_only(member, self._roles.keys()) for member in page)

        return await self.faults.around("guild.page", call)

    def watch(self) -> set[UserId]:
        """Return a set to which is added whoever something is heard of."""
        heard: set[UserId] = set()
        self._watches[id(heard)] = heard
        return heard

    def unwatch(self, heard: set[UserId]) -> None:
        """Add nobody more to this set."""
        self._watches.pop(id(heard), None)

    def watched(self) -> Iterator[set[UserId]]:
        """Yield the sets that are being added to."""
        yield from self._watches.values()
