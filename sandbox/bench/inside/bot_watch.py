"""A bot's extension that says in its log whenever the event loop was kept from running.

`bot.loop_watch` keeps the longest stall since READY, the reading of the members included. This one
says when each was, so that those of a sync can be told from others.
"""

import asyncio
import json
import sys
import time
from typing import Final

from discord.ext import commands

from sandbox.bench.inside import STALLED, TICK_S

_TOLD_ABOVE_S: Final = 0.015


async def setup(bot: commands.Bot) -> None:
    """Begin to tick; the interval of 10 ms is part of each gap, as in the bot's own metric."""
    loop = asyncio.get_running_loop()
    last_s = loop.time()

    def tick() -> None:
        nonlocal last_s
        now_s = loop.time()
        gap_s, last_s = now_s - last_s, now_s
        if gap_s > _TOLD_ABOVE_S:
            line = {"event": STALLED, "at_s": time.time(), "seconds": round(gap_s, 4)}
            sys.stdout.write(json.dumps(line) + "\n")
        if not bot.is_closed():
            loop.call_later(TICK_S, tick)

    tick()
