"""`python -m sandbox chaos` and `rivals`: faults on real servers, from nothing to their figures."""

import argparse
import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sandbox.chaos.outcome import ChaosOutcome, RoundOutcome, shortcomings
from sandbox.chaos.plan import Round, Store, rounds
from sandbox.chaos.program import at_least_one, run
from sandbox.chaos.rivals import Rivals, RivalsOutcome
from sandbox.chaos.round import Chaos
from sandbox.replay.world import World
from sandbox.servers import Valkey

_ROUND_TIMEOUT_S: Final = 240.0
_STARTS_TIMEOUT_S: Final = 120.0
_START_TIMEOUT_S: Final = 30.0
_SHOWN_FAULTS: Final = 15


def chaos(arguments: Sequence[str]) -> int:
    """Play rounds, show and judge them; return 0 only if nothing was wrong in any."""
    options = _chaos_parser().parse_args(arguments)

    async def play(directory: Path, tell: Callable[[str], None]) -> ChaosOutcome:
        planned = rounds(options.only or options.rounds, options.seed)
        if options.only:
            planned = planned[-1:]
        done: list[RoundOutcome] = []
        async with (
            World(directory, seed=options.seed, durable=False, digests=options.digests) as world,
            Valkey(directory / "valkey") as valkey,
        ):
            servers = Chaos(world=world, valkey=valkey, members=options.members)
            for plan in planned:
                async with asyncio.timeout(_ROUND_TIMEOUT_S):
                    done.append(await servers.play(plan, directory / f"round-{plan.number}"))
                _tell_round(tell, plan, done[-1])
        again = "python -m sandbox chaos" + ("" if options.digests else " --no-digests")
        faults = [
            f"round {each.number} of seed {options.seed}: {len(each.faults)} faults; again with"
            f" {again} --seed {options.seed} --members {options.members} --only {each.number}"
            for each in done
            if each.faults
        ]
        return ChaosOutcome(seed=options.seed, rounds=done, faults=[*faults, *shortcomings(done)])

    return run("chaos", play, json_path=options.json)


def rivals(arguments: Sequence[str]) -> int:
    """Let two bots compete on each store, show and judge; return 0 only if nothing was wrong."""
    options = _rivals_parser().parse_args(arguments)

    async def play(directory: Path, tell: Callable[[str], None]) -> _Stores:
        found: dict[Store, RivalsOutcome] = {}
        async with (
            World(directory, seed=options.seed, durable=False) as world,
            Valkey(directory / "valkey") as valkey,
        ):
            servers = Rivals(world=world, valkey=valkey, seed=options.seed)
            for store in Store:
                async with asyncio.timeout(_STARTS_TIMEOUT_S + _START_TIMEOUT_S * options.starts):
                    found[store] = await servers.compete(
                        store, starts=options.starts, directory=directory / store.value
                    )
                word = "FAILED" if found[store].faults else "well"
                tell(f"{options.starts} starts on one {store.value} {word}")
        return _Stores(seed=options.seed, starts=options.starts, found=found)

    return run("rivals", play, json_path=options.json)


class _Stores:
    """What two bots did on each store."""

    def __init__(self, *, seed: int, starts: int, found: dict[Store, RivalsOutcome]) -> None:
        self._seed, self._starts, self._found = seed, starts, found

    @property
    def faults(self) -> list[str]:
        return [f"{store}: {fault}" for store, one in self._found.items() for fault in one.faults]

    def as_json(self) -> dict[str, object]:
        parts = {store.value: one.as_json() for store, one in self._found.items()}
        return {"starts": self._starts, "seed": self._seed, **parts}


def _tell_round(tell: Callable[[str], None], plan: Round, outcome: RoundOutcome) -> None:
    befell = ", ".join(moment.fault.value for moment in plan.moments)
    word = "FAILED" if outcome.faults else "well"
    tell(
        f"round {plan.number:2} {word} after {outcome.seconds:4.1f} s"
        f" ({plan.store.value}: {befell}; {len(plan.poison)} poisoned)"
    )
    for fault in outcome.faults[:_SHOWN_FAULTS]:
        tell(f"   {fault}")
    if len(outcome.faults) > _SHOWN_FAULTS:
        tell(f"   and {len(outcome.faults) - _SHOWN_FAULTS} more")


def _chaos_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox chaos",
        description="Let a guild and a site fall out of step, and everything go wrong meanwhile.",
    )
    parser.add_argument("--rounds", type=at_least_one, default=20, metavar="N", help="%(default)s")
    parser.add_argument("--seed", type=int, default=0, help="decides what befalls whom, and when")
    parser.add_argument("--only", type=at_least_one, metavar="N", help="play round N alone")
    parser.add_argument(
        "--members", type=at_least_one, default=300, metavar="N", help="of each guild; %(default)s"
    )
    parser.add_argument(
        "--no-digests",
        dest="digests",
        action="store_false",
        help="on a site that does not offer them, so that rows are read",
    )
    _add_json(parser)
    return parser


def _rivals_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox rivals",
        description="Start and kill two bots on one guild and one store, on Valkey and on a file.",
    )
    parser.add_argument(
        "--starts", type=at_least_one, default=20, metavar="N", help="on each; %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides who is killed, and when")
    _add_json(parser)
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the figures are written")
