"""Roles on their way to the site: one request each, and none is to blame for another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.model.members import role_faults
from .._core.policy.suspect import Suspect
from .._core.site import requests
from .._core.site.outcome import (
    AlreadyThere,
    Applied,
    Blocked,
    Failing,
    NotFound,
    Outcome,
    ProtocolError,
    RejectedRows,
    RejectedWhole,
    TooLarge,
    Trouble,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._core.model.members import Role, RoleId
    from .._core.site.requests import Request
    from .requester import Requester, Services


class RoleWrites:
    """The roles that a run writes; `refused` are those that the site did not take, of `written`."""

    def __init__(self, services: Services, requests_: Requester) -> None:
        self._services = services
        self._requests = requests_
        self.written: set[RoleId] = set()
        self.refused: set[RoleId] = set()

    async def write(self, ids: Iterable[RoleId], *, known: bool) -> list[str]:
        """Bring these roles to the site, thought known there or not; return what it refuses.

        Each goes as it is when its turn comes, and not at all once the guild has it no more.
        """
        refused = []
        for id_ in sorted(ids):
            await self._requests.prove()
            role = self._services.guild.roles().get(id_)
            if role is None:
                continue
            fault = role_faults(role)
            if fault is None:
                fault = await self._write_role(id_, known=known)
            elif not known:
                self._services.writes.lacks(id_)
            self.refused.discard(id_)
            if fault is not None:
                self.refused.add(id_)
                without = id_ in self._services.writes.lacking
                left_out = " (its holders are written without it)" if without else ""
                refused.append(f"role {role.name}: {fault}{left_out}")
        return refused

    async def delete(self, id_: RoleId) -> str | None:
        """Delete a role from the site; one that is gone already is as good.

        Return why the site refuses, None if it doesn't.
        """
        self.written.add(id_)
        outcome = await self._ask(lambda: requests.delete_role(id_), of=id_)
        fault = None if isinstance(outcome, NotFound) else _role_fault(outcome)
        if fault is not None:
            self.refused.add(id_)
        return fault

    async def _write_role(self, id_: RoleId, *, known: bool) -> str | None:
        def made_by(build: Callable[[Role], Request]) -> Callable[[], Request | None]:
            def make() -> Request | None:
                role = self._services.guild.roles().get(id_)
                return None if role is None else build(role)

            return make

        update, create = made_by(requests.update_role), made_by(requests.create_role)
        self.written.add(id_)
        outcome = await self._ask(update if known else create, of=id_)
        creating = not known
        if isinstance(outcome, NotFound):
            creating, outcome = True, await self._ask(create, of=id_)
        elif isinstance(outcome, AlreadyThere):
            creating, outcome = False, await self._ask(update, of=id_)
        fault = _role_fault(outcome)
        if fault is not None and creating:
            self._services.writes.lacks(id_)
        elif outcome is not None:
            self._services.writes.has((id_,))
        return fault

    async def _ask(
        self, make: Callable[[], Request | None], *, of: RoleId
    ) -> Outcome | Trouble | None:
        """Ask for a write of a role as `ask` does; None once there is nothing to ask for.

        It is built inside the gate, at each try anew. What alone is to blame for the site's failing
        answers is given up: the last of them is returned.
        """
        suspect = Suspect()
        while True:
            await self._requests.check_patience(None)
            asked, outcome = await self._ask_gated(make)
            if not asked:
                return None
            if outcome is None:
                continue  # the gate has closed before it left
            if not isinstance(outcome, Trouble):
                self._requests.applied(outcome)
                return self._requests.progressed(outcome)
            await self._requests.back_off(outcome)
            suspect = suspect.failed(outcome)
            if suspect.wants_witness:
                suspect = suspect.witnessed(passed=await self._witness_passes(of))
            if suspect.guilty:
                return outcome

    async def _ask_gated(self, make: Callable[[], Request | None]) -> tuple[bool, Outcome | None]:
        """Ask for a write once; say first whether there is anything to ask for."""
        async with self._requests.admitted():
            request = make()
            if request is None:
                return False, None
            return True, await self._requests.ask_once(request)

    async def _witness_passes(self, suspect: RoleId) -> bool:
        """Write another role as it is, and say whether that got the site's own answer."""

        def make() -> Request | None:
            lacking = self._services.writes.lacking | {suspect}
            others = [r for id_, r in self._services.guild.roles().items() if id_ not in lacking]
            return requests.update_role(min(others, key=lambda r: r.id)) if others else None

        await self._requests.check_patience(None)
        _, outcome = await self._ask_gated(make)
        if outcome is None:
            return False
        if isinstance(outcome, Trouble):
            await self._requests.back_off(outcome)
            return False
        self._requests.progressed(outcome)
        return True


def _role_fault(outcome: Outcome | None) -> str | None:
    """Say why the site does not take a role, None if it does or there is nothing to take."""
    match outcome:
        case Applied() | None:
            return None
        case RejectedWhole(reason=reason):
            return reason
        case RejectedRows(faults=faults):
            return faults[0].reason
        case Blocked(status=status, reason=reason) | ProtocolError(status=status, reason=reason):
            return f"{status}: {reason}"
        case Failing(reason=reason):
            return f"the site fails on it alone: {reason}"
        case TooLarge():
            return "413: it is larger than the site takes"
        case _:
            return f"the site contradicts itself about it ({type(outcome).__name__})"
