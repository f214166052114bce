"""Roles: compared, written one by one, and looked at again where an answer was lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from .._core.messages.progress import Phase
from .._core.plan.diff import RoleDiff, diff_roles
from .._core.policy.request_backoff import Failure, FailureKind
from .._errors import RunStoppedError
from .progress import AT_WORK

if TYPE_CHECKING:
    from collections.abc import Collection

    from .._core.model.members import Role, RoleId
    from .progress import Progress
    from .requester import Services
    from .runner import Runner
    from .site_reader import SiteReader

log = structlog.get_logger(__name__)


class RoleSync:
    """The roles of one run."""

    def __init__(
        self, services: Services, runner: Runner, reader: SiteReader, progress: Progress
    ) -> None:
        self._services = services
        self._runner = runner
        self._reader = reader
        self._progress = progress

    async def compare(self) -> tuple[RoleDiff, tuple[Role, ...]]:
        """Read the site's roles; return how they differ from the guild's, and them."""
        site_roles = await self._reader.roles()
        self._services.writes.has(role.id for role in site_roles)
        await self._runner.requests.prove()
        return diff_roles(self._services.guild.roles(), site_roles), site_roles

    async def write(self, diff: RoleDiff) -> None:
        """Create and update roles."""
        if not diff.create and not diff.update:
            return
        self._progress.show(phase=Phase.ROLES)
        refused = await self._runner.roles.write(diff.create, known=False)
        tally = replace(self._progress.view.roles, created=len(diff.create) - len(refused))
        refused_updates = await self._runner.roles.write(diff.update, known=True)
        tally = replace(tally, updated=len(diff.update) - len(refused_updates))
        self._progress.show(roles=tally, parked_roles=(*refused, *refused_updates))

    async def delete(self, ids: Collection[RoleId]) -> None:
        """Delete roles that the guild still does not have."""
        deleted, refused = 0, list(self._progress.view.parked_roles)
        for id_ in ids:
            await self._runner.requests.prove()
            if id_ in self._services.guild.roles():
                continue
            fault = await self._runner.roles.delete(id_)
            if fault is None:
                deleted += 1
            else:
                refused.append(f"role {id_}, which is to be deleted: {fault}")
        tally = replace(self._progress.view.roles, deleted=deleted)
        self._progress.show(roles=tally, parked_roles=tuple(refused))

    async def verify(self) -> None:
        """Look again at the roles of which a write was not answered; send what differs once more.

        A role whose write was answered needs no second look: the answer is about that one role.
        """
        roles = self._runner.roles
        doubtful = roles.written & self._services.writes.roles_in_doubt
        doubtful -= roles.refused  # they differ, and mod-log names them
        if not doubtful:
            return
        self._progress.show(phase=Phase.VERIFYING)
        await self._wait_out(doubtful)
        differing = await self._differing(doubtful)
        if not differing.total:
            return
        log.warning("sync.verify.differs", roles=differing.total)
        await roles.write(differing.create, known=False)
        await roles.write(differing.update, known=True)
        await self.delete(differing.delete)
        await self._wait_out(doubtful)
        rest = await self._differing(doubtful - roles.refused)
        if rest.total:
            reason = f"{rest.total:,} roles"
            raise RunStoppedError(Failure(kind=FailureKind.UNVERIFIED, reason=reason))

    async def _wait_out(self, roles: Collection[RoleId]) -> None:
        """Read nothing back before every write of these was answered, or has ended unanswered."""
        if self._services.writes.ends_in_s(roles=roles):
            self._progress.show(slow=AT_WORK)
            await self._runner.requests.waited_out(roles=roles)
            self._progress.show(slow=None)

    async def _differing(self, among: Collection[RoleId]) -> RoleDiff:
        site_roles = await self._reader.roles()
        await self._runner.requests.prove()
        diff = diff_roles(self._services.guild.roles(), site_roles)
        return RoleDiff(
            create=tuple(id_ for id_ in diff.create if id_ in among),
            update=tuple(id_ for id_ in diff.update if id_ in among),
            delete=tuple(id_ for id_ in diff.delete if id_ in among),
        )
