"""Run what proves more slowly, one after the other, and write down when, on what, and how it ended.

`python -m tests.prove` runs all of it, further arguments those whose names hold one of them. The
worlds of the simulator, an hour of a core's time, are played beside the rest, as idly as the
machine lets them. Figures go to `docs/proofs/`, and to `run.json` there the date, the commit and
each one's exit code: 0 if it held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PROOFS: Final = ROOT / "docs" / "proofs"
CORES: Final = len(os.sched_getaffinity(0))
WORLDS_S: Final = 3600  # of a core's time
SCENARIOS: Final = (
    "role-deleted-live", "burst", "partial-chunk", "ready-mid-chunk", "ready-mid-run",
    "guild-outage", "rate-limited-chunk", "mass-departure", "site-down-10-min",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Proof:
    """A command, whose figures go to a file of its name."""

    name: str
    arguments: tuple[str, ...]
    beside: bool = False

    @property
    def command(self) -> list[str]:
        """The command line."""
        line = [sys.executable, "-m", *self.arguments, "--json", str(PROOFS / f"{self.name}.json")]
        return ["nice", "-n", "19", *line] if self.beside else line


CHAOS: Final = Proof("chaos", ("sandbox", "chaos", "--rounds", "20", "--seed", "1"))


def replay(name: str, *more: str) -> Proof:
    """Return the proof of a scenario."""
    return Proof(name, ("sandbox", "replay", *more))


def worlds(number: int, *, seed: int) -> Proof:
    """Return the proof that one core plays of the simulator's hour."""
    seconds = str(WORLDS_S // CORES)
    arguments = ("tests.simulator", "--seconds", seconds, "--seed", str(seed), "--keep-going")
    return Proof(f"worlds-{number}", arguments, beside=True)


def proofs() -> list[Proof]:
    """Return all of them, in their order."""
    seed = time.time_ns() // 10**9 % 10**8 * 10  # other worlds each time
    return [
        *(worlds(number, seed=seed + number * 10**8) for number in range(1, CORES + 1)),
        replay("replay-80000"),
        replay("replay-5000", "--members", "5000"),
        *(replay(scenario, "--scenario", scenario) for scenario in SCENARIOS),
        replay("steady-50", "--scenario", "steady", "--events-per-s", "50"),
        replay("steady-500", "--scenario", "steady", "--events-per-s", "500"),
        replay("restart-loop", "--scenario", "restart-loop"),
        CHAOS,
        Proof("rivals", ("sandbox", "rivals", "--starts", "20")),
        replay("streaming-1000000", "--scenario", "streaming", "--members", "1000000"),
        # On a site that offers no digests, so that rows are read: the plain contract's way.
        replay("replay-80000-by-rows", "--no-digests"),
        *(
            replay(f"{scenario}-by-rows", "--scenario", scenario, "--no-digests")
            for scenario in SCENARIOS
        ),
        Proof("chaos-by-rows", (*CHAOS.arguments, "--no-digests")),
    ]


def said(*command: str) -> str:
    """Return what a command prints, without the end of its line."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def main() -> int:
    """Run them; return 1 if one did not hold."""
    PROOFS.mkdir(exist_ok=True)
    wanted = sys.argv[1:] or [""]
    chosen = [proof for proof in proofs() if any(word in proof.name for word in wanted)]
    began = datetime.now(UTC)
    changed = said("git", "status", "--porcelain", "--", "bot", "website", "sandbox", "tests")
    commit = said("git", "rev-parse", "HEAD")
    beside = [(one, time.monotonic(), _begin(one)) for one in chosen if one.beside]
    ended: dict[str, dict[str, float]] = {}

    def note(proof: Proof, since_s: float, code: int) -> None:
        ended[proof.name] = {"exit": code, "seconds": round(time.monotonic() - since_s, 1)}
        print(f"-- {proof.name}: {'held' if code == 0 else f'exit code {code}'}", flush=True)

    for proof in chosen:
        if not proof.beside:
            print(f"-- {proof.name}", flush=True)
            since_s = time.monotonic()
            note(proof, since_s, _begin(proof).wait())
    for proof, since_s, process in beside:
        note(proof, since_s, process.wait())
    record = {
        "commit": commit + (" and changes" if changed else ""),
        "began": began.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": CORES,
        "in_one_go": wanted == [""],
        "held": all(one["exit"] == 0 for one in ended.values()),
        "proofs": ended,
    }
    (PROOFS / "run.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))
    return 0 if record["held"] else 1


def _begin(proof: Proof) -> subprocess.Popen[bytes]:
    return subprocess.Popen(proof.command, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
