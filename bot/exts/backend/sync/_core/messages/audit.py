"""What `audit` says: who ordered what, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..policy.orders import KEPT_ORDERS
from .notice import Notice, Tone, code, fit, when

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..policy.orders import Order

_SHOWN: Final = 20


def audit(orders: Sequence[Order]) -> Notice:
    """List orders, the latest first; `orders` are oldest first."""
    lines = [
        f"{when(order.at)}: <@{order.by}> {code(order.what)}, {order.way}"
        for order in reversed(orders[-_SHOWN:])
    ]
    if len(orders) > _SHOWN:
        lines.append(f"The latest {KEPT_ORDERS} are kept; older ones are in the bot's log.")
    return fit(
        Notice(
            title="Latest orders" if orders else "Nobody has ordered anything yet",
            description="\n".join(lines),
            tone=Tone.RUNNING,
        )
    )
