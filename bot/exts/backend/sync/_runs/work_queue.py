"""The queue of ids that events have marked and the site may not know yet."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from .._core.model.changes import Group, Kind
from .._core.model.members import ALL_FIELDS, Field
from .._core.plan.waiting import Waiting
from .._core.policy.request_backoff import Failure, FailureKind
from .._errors import RunStoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from .._core.model.members import RoleId, UserId
    from .._core.plan.waiting import Claim
    from .._core.policy.departures import DepartureLimits
    from .._ports import Clock, Guild

log = structlog.get_logger(__name__)

_MOST_STALE: Final = 20_000


class WorkQueue:
    """The ids that wait to be written, and the roles.

    `noted` collects every id marked since a run began: the run does not judge rows that change
    while it compares. `overflow` is called when only a full sync can bring a change to the site, as
    when more than `limit` ids would have to wait.
    """

    def __init__(
        self, *, clock: Clock, limit: int, overflow: Callable[[], None], in_order: bool
    ) -> None:
        self._clock = clock
        self.waiting = Waiting(limit=limit, in_order=in_order)
        self.roles: set[RoleId] = set()
        self._roles_on_their_way: frozenset[RoleId] = frozenset()
        self.noted: set[UserId] = set()
        self._stale: set[UserId] | None = None
        self._watching: list[set[UserId]] = []
        self.overflow = overflow
        self._marked = asyncio.Event()

    def __len__(self) -> int:
        return len(self.waiting) + len(self.roles | self._roles_on_their_way)

    @property
    def users(self) -> AbstractSet[UserId]:
        """The members who wait or are on their way."""
        return self.waiting.unsettled

    def mark(self, ids: Iterable[UserId]) -> None:
        """Mark members whose values changed, or whose state is not known."""
        ids = tuple(ids)
        self._heard_of(ids)
        self._note(all_wait=self.waiting.changed(ids, now=self._clock.monotonic()))

    def mark_joined(self, id_: UserId) -> None:
        """Mark a member whom the site may not know yet."""
        self._heard_of((id_,))
        self._note(all_wait=self.waiting.joined(id_, now=self._clock.monotonic()))

    def mark_created(self, taken: Claim, ids: Collection[UserId]) -> None:
        """Mark those of a claim's ids who were created, unless they had a row already."""
        self._heard_of(ids)
        self._note(all_wait=self.waiting.created(taken, ids))

    def mark_left(self, id_: UserId) -> None:
        """Mark a member who was seen leaving."""
        self._heard_of((id_,))
        self._note(all_wait=self.waiting.left(id_, now=self._clock.monotonic()))

    def take_stale(self) -> set[UserId] | None:
        """Return the ids marked since the last call; None if there were too many to keep."""
        stale, self._stale = self._stale, set()
        return stale

    def is_stale(self, id_: UserId) -> bool:
        """Say whether somebody was marked since `take_stale`."""
        return self._stale is None or id_ in self._stale

    def watch(self) -> set[UserId]:
        """Return a set to which is added whoever is marked, until `unwatch`."""
        heard: set[UserId] = set()
        self._watching.append(heard)
        return heard

    def unwatch(self, heard: set[UserId]) -> None:
        """Add nobody more to this set."""
        self._watching = [other for other in self._watching if other is not heard]

    def _heard_of(self, ids: Collection[UserId]) -> None:
        self.noted.update(ids)
        for heard in self._watching:
            heard.update(ids)
        if self._stale is not None:
            self._stale.update(ids)
            if len(self._stale) > _MOST_STALE:
                self._stale = None

    def mark_role(self, id_: RoleId) -> None:
        """Mark a role that was created or changed."""
        self.roles.add(id_)
        self._marked.set()

    @contextmanager
    def taking_roles(self) -> Iterator[frozenset[RoleId]]:
        """Take all roles that wait, to be written in here; they wait again if that fails."""
        taken = self._roles_on_their_way = frozenset(self.roles)
        self.roles.clear()
        try:
            yield taken
        except BaseException:
            self.roles |= taken
            raise
        finally:
            self._roles_on_their_way = frozenset()

    def put_back(self, taken: Claim) -> None:
        """Let ids wait again that were taken and could not be sent."""
        self._note(all_wait=self.waiting.put_back(taken))

    def _note(self, *, all_wait: bool) -> None:
        self._marked.set()
        if not all_wait:
            log.warning("sync.dirty.overflowed", limit=self.waiting.limit)
            self.overflow()

    async def wait(self) -> None:
        """Wait until something is marked."""
        while not len(self):
            self._marked.clear()
            await self._marked.wait()


async def look_after(
    ids: Collection[UserId], *, kind: Kind, guild: Guild, queue: WorkQueue, limits: DepartureLimits
) -> None:
    """Mark again the ids that were left out of a request because the guild had changed by then.

    Raises `RunStoppedError` if Discord does not say who of them has left. If they are too many,
    Discord is not asked: that many departures take a full sync, and a moderator.
    """
    present = await guild.members(ids)
    queue.mark(present)
    unknown = queue.waiting.unknown(ids, kind=kind, present=present)
    if not unknown:
        return
    if len(unknown) > limits.minimum:
        log.warning("sync.members.unknown", ids=len(unknown))
        queue.overflow()
        return
    gone = await guild.departed(unknown)
    if gone is None:
        reason = "Discord did not answer who has left"
        raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=reason))
    for id_ in gone:
        queue.mark_left(id_)
    queue.mark(set(unknown) - gone)


def group_of(kind: Kind, ids: tuple[UserId, ...]) -> Group:
    """Return ids as one group that sends every field, whichever changed."""
    fields = (Field.IN_GUILD,) if kind is Kind.DEPARTURE else ALL_FIELDS
    return Group(kind=kind, fields=fields, ids=ids)
