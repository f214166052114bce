"""The way between bot and site that these tests make trouble on."""

import asyncio
from dataclasses import dataclass, field

from sandbox.site_proxy import Answer, Call, Fault, Forward, first, lose
from sandbox.site_proxy import SiteProxy as FaultySite

__all__ = ("Answer", "Call", "Fault", "FaultySite", "Forward", "Held", "first", "lose")


@dataclass(slots=True, kw_only=True)
class Held:
    """A fault that holds writes of users back until it is opened."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, call: Call, forward: Forward) -> Answer:
        if call.writes_users:
            self.reached.set()
            await asyncio.wait_for(self.opened.wait(), 20)
        return await forward(call)
