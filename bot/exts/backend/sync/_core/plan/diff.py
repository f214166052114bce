"""Compare the guild with the site's rows: who differs, and in which fields; never the values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model.members import Field, without_roles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from ..model.members import Member, Role, RoleId


def as_kept(name: str) -> str:
    """Return a name as the site keeps it, so that it can be compared.

    The site strips names of white space at both ends, as its forms do; one that is compared
    unstripped would differ for ever.
    """
    return name.strip()


def differing_fields(
    member: Member,
    row: Member,
    *,
    lacking: AbstractSet[RoleId] = frozenset(),
    as_stored: bool = False,
) -> tuple[Field, ...]:
    """Name the fields in which the site's `row` differs from `member`, in the order of `Field`.

    Roles that the site is `lacking`, and does not take, make no difference, on whichever side. The
    order in which a row has its roles makes one only `as_stored`, which is for a site that hashes
    them so.
    """
    if lacking:
        member, row = without_roles(member, lacking), without_roles(row, lacking)
    if member == row:
        return ()
    fields = []
    if member.name != row.name:
        fields.append(Field.NAME)
    if member.display_name != row.display_name:
        fields.append(Field.DISPLAY_NAME)
    if member.discriminator != row.discriminator:
        fields.append(Field.DISCRIMINATOR)
    if member.roles != (row.roles if as_stored else tuple(sorted({*row.roles}))):
        fields.append(Field.ROLES)
    if member.in_guild != row.in_guild:
        fields.append(Field.IN_GUILD)
    return tuple(fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleDiff:
    """The role ids to create and update before users are written, and to delete after them.

    Each is ascending by id.
    """

    create: tuple[RoleId, ...] = ()
    update: tuple[RoleId, ...] = ()
    delete: tuple[RoleId, ...] = ()

    @property
    def total(self) -> int:
        return len(self.create) + len(self.update) + len(self.delete)


def diff_roles(guild: Mapping[RoleId, Role], site: Iterable[Role]) -> RoleDiff:
    """Compare the guild's roles with all roles of the site."""
    rows = {role.id: role for role in site}
    return RoleDiff(
        create=tuple(sorted(id_ for id_ in guild if id_ not in rows)),
        update=tuple(
            sorted(id_ for id_, role in guild.items() if id_ in rows and rows[id_] != role)
        ),
        delete=tuple(sorted(id_ for id_ in rows if id_ not in guild)),
    )
