"""Play worlds until the time is over or something is found."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from tests.simulator.shrink import shrink
from tests.simulator.story import tell
from tests.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let the extension's log say nothing, and collect garbage between worlds only.

    What a dead process left is taken apart when it is collected, which nobody wants to hear of.
    """
    config = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
            gc.collect()
    finally:
        gc.enable()
        sys.unraisablehook = hook
        structlog.configure(**config)


def main() -> int:
    """Play, and return 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to play (60)")
    parser.add_argument("--worlds", type=int, help="how many worlds to play, however long it takes")
    parser.add_argument("--seed", type=int, default=1, help="the first world's seed (1)")
    parser.add_argument("--events", type=int, default=60, help="events in each world (60)")
    parser.add_argument("--keep-going", action="store_true", help="go on after a finding")
    parser.add_argument("--show", action="store_true", help="print the log of the first world")
    parser.add_argument("--no-shrink", action="store_true", help="print findings as they are")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    arguments = parser.parse_args()
    with quiet():
        return play(arguments)


def play(arguments: argparse.Namespace) -> int:
    """Play worlds, and say what was found in them."""
    began = time.monotonic()
    findings: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    worlds = steps = 0
    while True:
        taken = time.monotonic() - began
        if worlds >= arguments.worlds if arguments.worlds else taken >= arguments.seconds:
            break
        seed = arguments.seed + worlds
        world = World(tell(seed, events=arguments.events))
        broken = world.play()
        worlds += 1
        steps += world.loop.steps
        reached.update(world.reached)
        judged.update(world.rules.held)
        if arguments.show:
            print("\n".join(world.log))
        if broken is not None:
            findings[broken.rule] += 1
            print(f"seed {seed}: {broken}", flush=True)
            if not arguments.no_shrink:
                short = shrink(world.story, broken.rule)
                print(f"    after {worlds} worlds, {time.monotonic() - began:.0f} s:\n{short}")
                again = World(short)
                print(f"    {again.play()}")
                print("\n".join(f"    {line}" for line in again.log), flush=True)
            if not arguments.keep_going:
                break
        if worlds % 20 == 0:
            gc.collect()
    taken = time.monotonic() - began
    print(
        f"{worlds} worlds, {steps} steps, {taken:.1f} s, {worlds / taken:.1f} a second; "
        f"findings: {dict(findings) or 'none'}"
    )
    print("reached:", ", ".join(f"{name} {count}" for name, count in sorted(reached.items())))
    print("judged:", ", ".join(f"{name} {count}" for name, count in sorted(judged.items())))
    if arguments.json is not None:
        figures = {
            "seed": arguments.seed,
            "worlds": worlds,
            "steps": steps,
            "seconds": round(taken, 1),
            "worlds_per_s": round(worlds / taken, 1),
            "findings": findings,
            "reached": reached,
            "judged": judged,
        }
        arguments.json.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
