"""Read a store with the code of the checkout that this is run in, and print what it makes of it.

`python read_store.py URL GUILD_ID` is run inside the version before, and speaks only of what that
version has. It loads the store as a start does.
"""

# It is checked by nothing of today: what it calls is that version's.
# mypy: ignore-errors
# ruff: noqa: D103, T201

import asyncio
import json
import sys

from bot.exts.backend.sync._core.breaker import BreakerLimits
from bot.exts.backend.sync._core.state import StateLimits
from bot.exts.backend.sync._ledger import Ledger
from bot.exts.backend.sync._store import open_store

LIMITS = StateLimits(breaker=BreakerLimits(), default_items=1000)


async def main(url: str, guild_id: str) -> None:
    store = open_store(url, guild_id=int(guild_id))
    async with store:
        assert await store.acquire()
        ledger = Ledger(store, limits=LIMITS, secret="http://site/api/ key")
        await ledger.load()
        state = ledger.state
        print(
            json.dumps(
                {
                    "new": store.is_new,
                    "aside": store.kept_aside and str(store.kept_aside),
                    "unreadable": [
                        key for key in await store.scan("") if key.startswith("unreadable/")
                    ],
                    "trusted": ledger.is_trusted,
                    "breaker": state.breaker.state.value,
                    "opened by": state.breaker.opened_by,
                    "paused by": None if state.pause is None else state.pause.by,
                    "ceiling": state.memory.ceiling,
                    "died": None if ledger.died is None else ledger.died.run_id,
                    "parked": sorted(ledger.parked),
                    "lists": sorted(
                        [what.value, list_.decision.value]
                        for what, list_ in ledger.withheld.items()
                    ),
                    "drift": None if ledger.drift is None else ledger.drift.rows,
                    "past": [run.run_id for run in ledger.past_runs()],
                    "through": None if state.bookmark is None else state.bookmark.through,
                    "alerts": sorted(one.notice.title for one in ledger.alerts.values()),
                }
            )
        )


asyncio.run(main(*sys.argv[1:]))
