"""Which rows a write that was given up may still change, and when they are written again.

Theory. A row is known to be in step only by a read that began after every write to it was answered,
or given up and waited out. An answer counts if it is the contract's own; whatever else comes back
(nothing, a cut, a page of a proxy, any 5xx) says only that nobody waits any more: the site may be
at work on the request still, and commit after a newer write. So each id that such a write named is
in doubt. A request that was given up has ended, one way or the other, when it could not have been
answered any more had it been sent at that moment: after the deadline. A read that begins then
counts. A while later still the id is marked, so that its value of that moment is written once more:
that heals what took longer than any request should.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ..model.members import RoleId, UserId


class Doubts:
    """The users and roles in doubt; times are seconds on any clock that never goes back.

    What was given up at a time has ended `deadline_s` later, and is due `recheck_s` later, which is
    at least as long.
    """

    def __init__(self, *, deadline_s: float, recheck_s: float) -> None:
        self._deadline_s = deadline_s
        self._recheck_s = max(recheck_s, deadline_s)
        self._users: dict[UserId, float] = {}
        self._roles: dict[RoleId, float] = {}

    def __len__(self) -> int:
        return len(self._users) + len(self._roles)

    @property
    def roles(self) -> frozenset[RoleId]:
        """The roles in doubt."""
        return frozenset(self._roles)

    def lost(
        self, users: Iterable[UserId] = (), roles: Iterable[RoleId] = (), *, now: float
    ) -> None:
        """Note that a write of these was given up."""
        # Taken out first, so that both stay in the order of their times.
        for id_ in users:
            self._users.pop(id_, None)
            self._users[id_] = now
        for role in roles:
            self._roles.pop(role, None)
            self._roles[role] = now

    def ended_at(self, users: Collection[UserId] = (), roles: Collection[RoleId] = ()) -> float:
        """Return when nothing that was given up can change these any more; -inf if nothing can."""
        given_up = [at for id_, at in self._users.items() if id_ in users]
        given_up += [at for id_, at in self._roles.items() if id_ in roles]
        return max(given_up, default=float("-inf")) + self._deadline_s

    @property
    def due_at(self) -> float | None:
        """When the next of these are due."""
        first = [next(iter(ids.values())) for ids in (self._users, self._roles) if ids]
        return min(first) + self._recheck_s if first else None

    def take_due(self, *, now: float) -> tuple[tuple[UserId, ...], tuple[RoleId, ...]]:
        """Take those that are due: they are to be written as they are by then."""
        users = tuple(id_ for id_, at in self._users.items() if at + self._recheck_s <= now)
        roles = tuple(id_ for id_, at in self._roles.items() if at + self._recheck_s <= now)
        for id_ in users:
            del self._users[id_]
        for role in roles:
            del self._roles[role]
        return users, roles
