"""What a change does to a row of the site, and the ids that are sent alike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .members import Field, UserId


class Kind(StrEnum):
    """What a change does to the site's row."""

    CREATE = "create"
    UPDATE = "update"
    DEPARTURE = "departure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Ids that are sent alike; `fields` are the changed ones, in the order of `Field`.

    The site writes the union of the fields in a request to every row of it, so rows with different
    changed fields never share a request. Ids that stand in another group, too, are `counted` there.
    Many are `Ids`, few a tuple.
    """

    kind: Kind
    fields: tuple[Field, ...]
    ids: Sequence[UserId]
    counted: bool = True
