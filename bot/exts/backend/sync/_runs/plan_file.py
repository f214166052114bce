"""The differences that a plan found, as a file: written as they are found, never too long."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from .._core.messages.listing import (
    MAX_FILE_BYTES,
    PLAN_HEADER,
    File,
    differing,
    line,
)
from .._core.model.members import ALL_FIELDS, without_roles
from .._core.plan.diff import differing_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from .._core.model.members import Member, RoleId, UserId
    from .._core.plan.diff import RoleDiff


class PlanFile:
    """A growing file of CSV, of at most `max_bytes`; lines beyond are counted only."""

    def __init__(self, *, max_bytes: int = MAX_FILE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._file = io.BytesIO()
        self._lines = self._left_out = 0
        self._file.write(line(PLAN_HEADER))

    def compared(
        self,
        rows: Iterable[Member],
        members: Mapping[UserId, Member],
        *,
        lacking: AbstractSet[RoleId] = frozenset(),
        as_stored: bool = False,
    ) -> None:
        """Note in what these rows differ from the members of the same ids.

        Roles that the site is `lacking`, and does not take, make no difference, and their order one
        only `as_stored`.
        """
        for row in rows:
            member = members.get(row.id)
            if member is not None:
                due, kept = without_roles(member, lacking), without_roles(row, lacking)
                fields = differing_fields(due, kept, as_stored=as_stored)
                self._add(differing(due, kept, fields))

    def created(self, members: Iterable[Member]) -> None:
        """Note members that the site has no row of."""
        for member in members:
            self._add(differing(member, None, ALL_FIELDS))

    def departed(self, ids: Iterable[UserId]) -> None:
        """Note members who have left."""
        self._add(line((id_, "departure", "in_guild", True, False)) for id_ in ids)

    def roles(self, diff: RoleDiff, names: Mapping[RoleId, str]) -> None:
        """Note roles that differ."""
        for change, ids in (
            ("create role", diff.create),
            ("update role", diff.update),
            ("delete role", diff.delete),
        ):
            self._add(line((id_, change, "", "", names.get(id_, ""))) for id_ in ids)

    def _add(self, lines: Iterable[bytes]) -> None:
        for one in lines:
            if self._left_out or self._file.tell() + len(one) > self._max_bytes:
                self._left_out += 1
            else:
                self._file.write(one)
                self._lines += 1

    def done(self, name: str) -> File | None:
        """Return the file, or None if nothing differs."""
        if not self._lines:
            return None
        return File(name=name, content=self._file.getvalue(), left_out=self._left_out)
