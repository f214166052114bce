"""The programs of chaos in their short form, as people start them; `make prove` has the full one.

They mostly wait, each on servers of its own, so they run at the same time.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from sandbox.chaos.plan import Fault, Store

ROOT: Final = Path(__file__).parents[2]
TIMEOUT_S: Final = 180
PROGRAMS: Final = {
    "chaos": ["chaos", "--rounds", "5", "--seed", "1", "--members", "120"],
    "restart-loop": ["replay", "--scenario", "restart-loop", "--restarts", "8", "--members", "300"],
    "rivals": ["rivals", "--starts", "4"],
}

Figures = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Figures]:
    """Start all programs; give a function that waits for one and returns what it wrote."""
    directory = tmp_path_factory.mktemp("programs")
    running = {}
    for name, arguments in PROGRAMS.items():
        with (directory / f"{name}.log").open("wb") as log:
            running[name] = subprocess.Popen(
                [sys.executable, "-m", "sandbox", *arguments, "--json", directory / f"{name}.json"],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(name: str) -> dict[str, Any]:
        exit_code = running[name].wait(timeout=TIMEOUT_S)
        assert exit_code == 0, (directory / f"{name}.log").read_text()
        found: dict[str, Any] = json.loads((directory / f"{name}.json").read_text())
        return found

    yield wait
    for program in running.values():
        program.terminate()
        program.wait(timeout=TIMEOUT_S)


def test_five_rounds_of_chaos_are_survived(figures: Figures) -> None:
    """Every kind of fault occurs, and nothing is lost, doubled, written in vain or left wrong."""
    found = figures("chaos")

    kinds = found.pop("faults_by_kind")
    survived, checked = found.pop("kills_survived"), found.pop("rows_checked")
    parked, poisoned = found.pop("rows_parked"), found.pop("rows_poisoned")
    assert [kind.value for kind in Fault if not kinds[kind.value]] == []
    assert (survived >= 5, checked >= 5 * 120, parked == poisoned > 0) == (True, True, True)
    assert found == {
        "rounds": 5,
        "seed": 1,
        "rows_lost": 0,
        "writes_while_open": 0,
        "runs_overlapping": 0,
        "alerts_lost": 0,
        "alerts_doubled": 0,
    }


def test_eight_restarts_harm_the_site_three_times(figures: Figures) -> None:
    """Three attempts, then nothing but probes; when the site is well, all is right by itself."""
    found = figures("restart-loop")

    told = {kind: found["notices"].get(f"Sync {kind}") for kind in ("breaker opened", "recovered")}
    keys = ("converged", "changes", "restarts", "attempts_before_open", "writes_while_open")
    assert told == {"breaker opened": 1, "recovered": 1}
    assert [found[key] for key in keys] == [True, 300, 8, 3, 0]


def test_of_two_bots_one_is_at_the_site(figures: Figures) -> None:
    """On one file as on one Valkey, over four starts, the work changes hands and never overlaps."""
    found = figures("rivals")

    for store in Store:
        kept = found[store.value]
        assert (kept.pop("writes") > 0, kept.pop("lives_that_wrote") > 1) == (True, True)
        assert (kept.pop("runs") > 0, kept.pop("rows_checked") > 200) == (True, True)
        assert kept == {
            "starts": 4,
            "rows_lost": 0,
            "writes_overlapping": 0,
            "runs_overlapping": 0,
            "rivals_writing": 0,
        }
