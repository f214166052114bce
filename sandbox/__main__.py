"""`python -m sandbox <command>`: what can be done with a guild and a site of one's own."""

import sys
from collections.abc import Callable, Sequence
from typing import Final

from sandbox.bench.command import bench
from sandbox.chaos.command import chaos, rivals
from sandbox.plain_command import plain_site
from sandbox.playground import command as playground
from sandbox.replay import command as replay

COMMANDS: Final[dict[str, tuple[Callable[[Sequence[str]], int], str]]] = {
    "replay": (replay.main, "replay the incident on real servers, and check every row"),
    "bench": (bench, "measure our way of syncing beside the old one"),
    "chaos": (chaos, "let everything go wrong at random moments, and check what is left"),
    "playground": (playground.main, "look at it in the browser, and try to break it"),
    "plain-site": (plain_site, "serve a stand-in for a plain site, or sync it the old way"),
    "rivals": (rivals, "start and kill two bots on one guild, and check that one works at a time"),
}


def main(arguments: Sequence[str]) -> int:
    """Run the command that is named first; return its exit code."""
    match arguments:
        case [name, *rest] if name in COMMANDS:
            return COMMANDS[name][0](rest)
        case ["-h" | "--help"]:
            print(_usage())
            return 0
        case _:
            print(_usage(), file=sys.stderr)
            return 2


def _usage() -> str:
    lines = [f"  {name:<12}{what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(["usage: python -m sandbox <command> [--help]", "", *lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
