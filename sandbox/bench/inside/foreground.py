"""Somebody who asks a site for single users at a steady rate, and writes down how long it takes.

    python -m sandbox.bench.inside.foreground

A process of its own, so that what else measures does not make it late. Told by the environment:
`API_URL`, `API_TOKEN`, `USER_IDS` (separated by commas, asked for in turn), `PER_S`, and
`BY_CHANCE` (1: at random moments, so many a second on average). It is silent until SIGUSR1, and
again from SIGUSR2 on. It asks on before it is answered: a slow site does not make the rate lower.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from itertools import cycle
from typing import Final

import aiohttp

from sandbox.bench.asked import FOREGROUND
from sandbox.bench.inside import FOREGROUND_ANSWERED, FOREGROUND_STARTED

_TIMEOUT_S: Final = 60.0


async def main() -> None:
    """Ask until SIGTERM."""
    loop, on, ended = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, on.set)
    loop.add_signal_handler(signal.SIGUSR2, on.clear)
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    headers = {
        "Authorization": f"Token {os.environ['API_TOKEN']}",
        "X-Request-ID": f"{FOREGROUND}-{os.getpid()}",
    }
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(
        base_url=os.environ["API_URL"],
        headers=headers,
        timeout=timeout,
        connector=aiohttp.TCPConnector(limit=0),
    ) as session:
        asking = asyncio.create_task(_ask_on(session, on))
        _say(FOREGROUND_STARTED)
        await asyncio.wait(
            {asking, asyncio.create_task(ended.wait())}, return_when="FIRST_COMPLETED"
        )
        if asking.done():
            asking.result()


async def _ask_on(session: aiohttp.ClientSession, on: asyncio.Event) -> None:
    """Ask at the times that are due, and not at those that passed in silence."""
    ids = cycle(os.environ["USER_IDS"].split(","))
    per_s, by_chance = float(os.environ["PER_S"]), os.environ.get("BY_CHANCE") == "1"
    chance, tasks = random.Random(1), set[asyncio.Task[None]]()
    due_s = time.monotonic()
    while True:
        if not on.is_set():
            await on.wait()
            due_s = time.monotonic()
        due_s += chance.expovariate(per_s) if by_chance else 1 / per_s
        await asyncio.sleep(due_s - time.monotonic())
        if not on.is_set():
            continue
        task = asyncio.create_task(_ask(session, next(ids)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _ask(session: aiohttp.ClientSession, id_: str) -> None:
    at_s, began_s = time.time(), time.perf_counter()
    try:
        async with session.get(f"bot/users/{id_}") as answer:
            await answer.read()
        status = answer.status
    except (aiohttp.ClientError, TimeoutError):
        status = 0
    _say(
        FOREGROUND_ANSWERED,
        at_s=at_s,
        seconds=round(time.perf_counter() - began_s, 5),
        status=status,
    )


def _say(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
