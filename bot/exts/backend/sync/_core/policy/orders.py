"""What somebody ordered, and when: kept in the order in which it was, and never changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from ..model.stored import Stored, as_stored

if TYPE_CHECKING:
    from datetime import datetime

KEPT_ORDERS: Final = 500


class Way(StrEnum):
    """How an order was given."""

    TEXT = "typed"
    SLASH = "slash command"
    BUTTON = "button"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order that somebody gave who may; `by` is their id, `what` the command's own words.

    Nothing that they typed freely is in it: a reason may name anybody.
    """

    at: datetime
    by: int
    what: str
    way: str


def to_json(order: Order) -> dict[str, object]:
    """Return the order as `json.dumps` takes it."""
    return as_stored(order)


def from_json(value: object) -> Order:
    """Return the order that was written; raise `ValueError` naming the field at fault."""
    record = Stored.of(value, what="the order")
    return Order(
        at=record.time("at"),
        by=record.integer("by"),
        what=record.text("what"),
        way=record.text("way"),
    )
