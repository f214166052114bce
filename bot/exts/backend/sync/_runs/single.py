"""One member on demand: compared, shown, written through the gate, and read back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import structlog

from .._clock import deadline
from .._core.delivery import chunks
from .._core.messages.single import Comparison, Result
from .._core.model.members import Member, without_roles
from .._core.policy.pace import Pace
from .._core.policy.request_backoff import FailureKind
from .._core.site import requests
from .._core.site.outcome import Applied, Outcome
from .._errors import RunStoppedError, StoreError
from .runner import Runner

if TYPE_CHECKING:
    from .._core.model.changes import Group
    from .._core.model.members import Role, UserId
    from .._core.policy.pace import PaceLimits
    from .._state.parking import Parking
    from .requester import Services

log = structlog.get_logger(__name__)

_LIMIT_S: Final = 120.0  # somebody waits for the answer


class Single:
    """Bringing one member in step; `compare` comes first."""

    def __init__(
        self, services: Services, id_: UserId, *, run_id: str, pace: PaceLimits, parking: Parking
    ) -> None:
        self._services = services
        self._id = id_
        self._run_id = run_id
        self._pace = pace
        self._parking = parking
        self._runner = Runner(services, run_id, attempt=False)

    async def compare(self) -> Comparison:
        """Read both sides. Raises `RunStoppedError`, and `TimeoutError` if it takes too long."""
        async with deadline(self._services.clock, _LIMIT_S):
            outcome = await self._runner.requests.ask(lambda _: requests.user(self._id))
            row = _row(outcome)
            await self._runner.requests.prove()
            guild = self._services.guild
            member = (await guild.members((self._id,))).get(self._id)
            left = False
            if member is None:
                left = self._id in (await guild.departed((self._id,)) or ())
            kept = await self._runner.requests.ask(lambda _: requests.roles())
            await self._runner.requests.prove()
            names = {role.id: role.name for role in (*_roles(kept), *guild.roles().values())}
        lacking = self._services.writes.lacking
        member = member and without_roles(member, lacking)
        row = row and without_roles(row, lacking)
        return Comparison(id=self._id, member=member, row=row, left=left, role_names=names)

    async def write(self, group: Group) -> Result:
        """Bring what differs to the site, and read it back."""
        try:
            async with deadline(self._services.clock, _LIMIT_S):
                return await self._write(group)
        except RunStoppedError as exc:
            if exc.failure.kind is FailureKind.REFUSED:
                # Where it can't be kept now, the next write is refused, too.
                with contextlib.suppress(StoreError):
                    await self._services.repository.refuse(exc.failure.reason)
            return Result(verified=False, reason=str(exc))
        except StoreError as exc:
            return Result(verified=False, reason=str(exc))
        except TimeoutError:
            return Result(verified=False, reason=f"It took longer than {_LIMIT_S:.0f} s.")

    async def _write(self, group: Group) -> Result:
        delivery = chunks.start(
            (group,),
            pace=Pace.start(self._pace),
            patience=self._runner.requests.patience,
            witness=None,
            known_parked=self._parking.known,
        )
        delivery = await self._runner.deliver(delivery)
        # What is read before a lost write has ended says nothing of what the row will be.
        await self._runner.requests.waited_out((self._id,))
        taken = () if delivery.parked else (self._id,)
        await self._parking.settle(delivery.parked, taken=taken, run_id=self._run_id)
        if delivery.parked:
            return Result(verified=False, reason=f"The site says: {delivery.parked[0].reason}")
        after = await self.compare()
        log.info("sync.member.written", run_id=self._run_id, user_id=self._id, kind=group.kind)
        if after.group is None:
            return Result(verified=True)
        fields = ", ".join(after.group.fields)
        return Result(verified=False, reason=f"The site took it, but still differs in {fields}.")


def _roles(outcome: Outcome) -> tuple[Role, ...]:
    if isinstance(outcome, Applied) and isinstance(outcome.value, tuple):
        return outcome.value
    return ()


def _row(outcome: Outcome) -> Member | None:
    if isinstance(outcome, Applied) and isinstance(outcome.value, Member):
        return outcome.value
    return None
