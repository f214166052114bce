"""The record of orders: in the log at once, and in the store as soon as it takes them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from .._core.policy.orders import Order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._core.policy.orders import Way
    from .._ports import Clock
    from .repository import StateRepository

log = structlog.get_logger(__name__)

_MOST_UNKEPT: Final = 100


class Audit:
    """Who ordered what. No order waits for its record: whoever wants to stop a sync stops it."""

    def __init__(self, repository: StateRepository, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock
        self._unkept: list[Order] = []
        self._noted = asyncio.Event()

    @property
    def orders(self) -> Sequence[Order]:
        """The orders that are known, oldest first."""
        return [*self._repository.orders(), *self._unkept]

    def note(self, by: int, what: str, way: Way) -> None:
        """Note an order, which is about to be carried out."""
        order = Order(at=self._clock.now(), by=by, what=what, way=way.value)
        log.info("sync.order.given", user_id=by, order=what, way=way.value)
        self._unkept = [*self._unkept, order][-_MOST_UNKEPT:]
        self._noted.set()

    async def run_forever(self) -> None:
        """Keep what was noted, for as long as this process leads."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            orders = self._unkept
            try:
                await self._repository.keep_orders(orders)
            except BaseException:
                self._noted.set()  # whoever leads next keeps them
                raise
            self._unkept = [order for order in self._unkept if order not in orders]
