"""Live changes: events only mark who changed; one worker brings their state of now to the site."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from ._core import run
from ._core.models import ALL_FIELDS, Field
from ._core.pace import Pace
from ._core.patience import FailureKind
from ._core.plan import Group, Kind
from ._errors import CancelledByPersonError, RunStoppedError, StoreError
from ._runner import Runner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from ._core.models import RoleId, UserId
    from ._core.pace import PaceLimits
    from ._parking import Parking
    from ._runner import Parts

log = structlog.get_logger(__name__)

_SETTLE_S: Final = 0.25  # what happens together is sent together: at most four writes a second
_BACKOFF_S: Final = 5.0
_TRIES: Final = 3


@dataclass(slots=True)
class Dirty:
    """Ids whose state on the site may be old; `left` were seen leaving, which is proof.

    `noted` collects every id marked since a run began, so that the run does not judge what is
    changing under its eyes.
    """

    users: set[UserId] = field(default_factory=set)
    joined: set[UserId] = field(default_factory=set)
    left: set[UserId] = field(default_factory=set)
    roles: set[RoleId] = field(default_factory=set)
    noted: set[UserId] = field(default_factory=set)
    _marked: asyncio.Event = field(default_factory=asyncio.Event)

    def __len__(self) -> int:
        return len(self.users) + len(self.roles)

    def mark(self, ids: Iterable[UserId]) -> None:
        """Mark members whose values changed, or whose state is not known."""
        ids = tuple(ids)
        self.users.update(ids)
        self.noted.update(ids)
        if ids:
            self._marked.set()

    def mark_joined(self, id_: UserId) -> None:
        """Mark a member whom the site may not know yet."""
        self.joined.add(id_)
        self.left.discard(id_)
        self.mark((id_,))

    def mark_left(self, id_: UserId) -> None:
        """Mark a member who was seen leaving."""
        self.left.add(id_)
        self.joined.discard(id_)
        self.mark((id_,))

    def mark_role(self, id_: RoleId) -> None:
        """Mark a role that was created or changed."""
        self.roles.add(id_)
        self._marked.set()

    async def wait(self) -> None:
        """Wait until something is marked."""
        while not self:
            self._marked.clear()
            await self._marked.wait()


class LiveUpdates:
    """The worker that drains the dirty ids, for as long as the extension is loaded."""

    def __init__(
        self,
        parts: Parts,
        dirty: Dirty,
        *,
        pace: PaceLimits,
        new_run_id: Callable[[], str],
        parking: Parking,
        give_up: Callable[[], Awaitable[None]],
        doubted: Callable[[Collection[UserId]], None],
    ) -> None:
        self._parts = parts
        self._dirty = dirty
        self._pace = Pace.start(pace)
        self._new_run_id = new_run_id
        self._parking = parking
        self._give_up = give_up
        self._doubted = doubted

    async def run_forever(self) -> None:
        """Drain whenever something is marked; after three failures in a row, ask for a run."""
        failures = 0
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_SETTLE_S)
            try:
                await self._drain()
            except RunStoppedError as exc:
                if exc.failure.kind is FailureKind.REFUSED:
                    await self._parts.ledger.refuse(exc.failure.reason)
                failures += 1
                log.warning("sync.drain.failed", error=str(exc), failures=failures)
                if failures == _TRIES:
                    await self._give_up()
                    failures = 0
                await asyncio.sleep(_BACKOFF_S * failures)
            else:
                failures = 0

    async def _drain(self) -> None:
        """Bring every marked id's state of now to the site; what fails is marked again."""
        await self._parts.guild.prove()
        await self._parts.gate.admitted(None)
        dirty = self._dirty
        users, joined, left = set(dirty.users), set(dirty.joined), set(dirty.left)
        roles = set(dirty.roles)
        for marked in (dirty.users, dirty.joined, dirty.left, dirty.roles):
            marked.clear()
        self._parts.telemetry.dirty.set(len(users))
        run_id = self._new_run_id()
        runner = Runner(self._parts, run_id, attempt=False)
        try:
            known_roles = self._parts.guild.roles()
            refused = await runner.write_roles(
                (known_roles[id_] for id_ in roles if id_ in known_roles), known=True
            )
            held = await self._parking.held()
            groups = await self._groups(users - held, joined - held, left - held)
            delivery = run.start(
                groups,
                pace=self._pace,
                patience=runner.patience,
                witness=None,
                known_parked=self._parking.known,
            )
            delivery = await runner.deliver(delivery)
            refused_ids = {row.id for row in delivery.parked}
            taken = users - held - refused_ids - set(delivery.left_out)
            await self._parking.settle(delivery.parked, taken=taken, run_id=run_id)
        except (RunStoppedError, CancelledByPersonError, StoreError, asyncio.CancelledError):
            dirty.users |= users
            dirty.joined |= joined - dirty.left
            dirty.left |= left - dirty.joined
            dirty.roles |= roles
            raise
        self._pace = delivery.pace
        self._doubted(delivery.doubtful)
        if delivery.left_out:
            # They changed between being grouped and being sent: look again.
            dirty.mark(delivery.left_out)
        self._parts.telemetry.dirty.set(len(dirty))
        log.info(
            "sync.drain.finished",
            users=len(users),
            roles=len(roles),
            updated=delivery.tally.updated,
            created=delivery.tally.created,
            departed=delivery.tally.departed,
            parked=[{"id": row.id, "reason": row.reason} for row in delivery.parked],
            refused_roles=refused,
        )

    async def _groups(
        self, users: set[UserId], joined: set[UserId], left: set[UserId]
    ) -> tuple[Group, ...]:
        guild = self._parts.guild
        present = (await guild.members(users)).keys()
        absent = users - present
        gone = absent & left
        unknown = tuple(sorted(absent - left))
        if unknown:
            gone |= await guild.departed(unknown) or frozenset()
        return (
            Group(kind=Kind.CREATE, fields=ALL_FIELDS, ids=tuple(sorted(joined & present))),
            Group(kind=Kind.UPDATE, fields=ALL_FIELDS, ids=tuple(sorted(present))),
            Group(kind=Kind.DEPARTURE, fields=(Field.IN_GUILD,), ids=tuple(sorted(gone))),
        )
