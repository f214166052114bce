"""One member by itself: how the site's row differs, and what became of bringing it in step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model.changes import Group, Kind
from ..model.members import ALL_FIELDS, Field
from ..plan.diff import differing_fields
from .notice import (
    Notice,
    Tone,
    fit,
    quote,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.members import Member, RoleId, UserId

_MAX_ROLES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A member as the guild has them (None if it does not) and their row (None if there is none).

    `left` says that Discord was asked and does not have them; without it, somebody who is not in
    the cache is unknown, not gone. `role_names` are of all roles that either side speaks of.
    """

    id: UserId
    member: Member | None
    row: Member | None
    left: bool
    role_names: Mapping[RoleId, str]

    @property
    def group(self) -> Group | None:
        """What is to be sent; None if nothing is."""
        if self.member is not None and self.row is not None:
            return self._group(Kind.UPDATE, differing_fields(self.member, self.row))
        if self.member is not None:
            return self._group(Kind.CREATE, ALL_FIELDS)
        due = self.left and self.row is not None and self.row.in_guild
        return self._group(Kind.DEPARTURE, (Field.IN_GUILD,) if due else ())

    def _group(self, kind: Kind, fields: tuple[Field, ...]) -> Group | None:
        return Group(kind=kind, fields=fields, ids=(self.id,)) if fields else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of writing it: `verified` if it was read back right, else why not."""

    verified: bool
    reason: str = ""


def told(comparison: Comparison, result: Result | None) -> Notice:
    """Say what differs, old and new, and what becomes of it; `result` is None before it is known.

    Nothing is written where nothing differs.
    """
    group = comparison.group
    lines = [f"<@{comparison.id}> `{comparison.id}`"]
    tone = Tone.GOOD
    if group is None:
        lines.append(_why_nothing(comparison))
    elif result is None:
        lines.append(f"{_what(group)}: writing it now.")
        tone = Tone.RUNNING
    elif result.verified:
        lines.append(f"{_what(group)}: **written** and verified.")
    else:
        lines.append(f"{_what(group)}: **not written**. {quote(result.reason)}")
        tone = Tone.WARNING
    fields = () if group is None else tuple(_field(comparison, name) for name in group.fields)
    return fit(Notice(title="One member", description="\n".join(lines), tone=tone, fields=fields))


def _why_nothing(comparison: Comparison) -> str:
    if comparison.member is not None:
        return "The site is in step: nothing to write."
    if not comparison.left:
        return "Discord did not say whether they are in this server: nothing is written."
    if comparison.row is None:
        return "They are not in this server, and the site does not know them: nothing to write."
    return "They are not in this server, and the site knows that: nothing to write."


def _what(group: Group) -> str:
    if group.kind is Kind.CREATE:
        return "The site has no row for them"
    if group.kind is Kind.DEPARTURE:
        return "They have left, but the site does not know"
    one = len(group.fields) == 1
    return "1 field differs" if one else f"{len(group.fields)} fields differ"


def _field(comparison: Comparison, name: Field) -> tuple[str, str]:
    ours = None if comparison.member is None else getattr(comparison.member, name.value)
    theirs = None if comparison.row is None else getattr(comparison.row, name.value)
    if name is Field.IN_GUILD and comparison.member is None:
        ours = False
    if name is not Field.ROLES:
        return name.value, f"{_value(theirs)} → {_value(ours)}"
    held, kept = frozenset(ours or ()), frozenset(theirs or ())
    parts = [f"{_role(comparison, id_)} added" for id_ in sorted(held - kept)]
    parts += [f"{_role(comparison, id_)} removed" for id_ in sorted(kept - held)]
    if len(parts) > _MAX_ROLES:
        parts = [*parts[:_MAX_ROLES], f"and {len(parts) - _MAX_ROLES} more"]
    return name.value, "\n".join(parts)


def _role(comparison: Comparison, id_: RoleId) -> str:
    name = quote(comparison.role_names.get(id_, ""))
    return f"*{name}* `{id_}`" if name else f"`{id_}`"


def _value(value: object) -> str:
    return "nothing" if value is None else quote(str(value)) or "(empty)"
