"""`python -m sandbox.discord`: a local Discord, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal

from .server import DiscordServer


async def _serve(*, token: str, host: str, port: int, seed: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with DiscordServer(token=token, host=host, port=port, seed=seed) as server:
        print(json.dumps({"event": "sandbox.discord.started", "port": server.port}), flush=True)
        await stop.wait()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.discord")
    parser.add_argument("--token", default="sandbox-token", help="the bot's token")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on; 0.0.0.0 lets containers and other machines in",
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=0, help="decides names and roles of members")
    arguments = parser.parse_args()
    asyncio.run(
        _serve(
            token=arguments.token,
            host=arguments.host,
            port=arguments.port,
            seed=arguments.seed,
        )
    )


if __name__ == "__main__":
    main()
