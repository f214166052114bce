"""A process with a store of its own: takes a command a line, answers a line of JSON.

python store_process.py URL GUILD_ID LEASE_S
"""

import asyncio
import itertools
import json
import sys

from bot.exts.backend.sync._store import open_store


def say(value: object) -> None:
    """Answer at once."""
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


async def main(url: str, guild_id: str, lease_s: str) -> None:
    """Obey until standard input ends or somebody kills this."""
    async with open_store(url, guild_id=int(guild_id), lease_s=float(lease_s)) as store:
        say("open")
        for line in sys.stdin:
            match line.strip():
                case "acquire":
                    say(await store.acquire())
                case "release":
                    await store.release()
                    say("released")
                case "count":  # until killed
                    for i in itertools.count(1):
                        await store.put(
                            {"left": i, "right": i, f"only/{i}": i, f"only/{i - 1}": None}
                        )
                        say(i)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
