"""What some rounds of chaos found: the figures that `--json` writes, and what was wrong."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.chaos.plan import KILLS, Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOutcome:
    """One round: what befell it, what was counted, and each thing that was wrong, by its check."""

    number: int
    seconds: float
    struck: Mapping[Fault, int]
    rows_checked: int
    rows_lost: Sequence[str]
    parked: frozenset[int]
    poisoned: frozenset[int]
    misparked: Sequence[str]
    writes_while_open: Sequence[str]
    runs_overlapping: Sequence[str]
    alerts_lost: Sequence[str]
    alerts_doubled: Sequence[str]
    others: Sequence[str] = ()

    @property
    def faults(self) -> list[str]:
        """Return everything that was wrong."""
        return [
            *self.rows_lost,
            *self.misparked,
            *self.writes_while_open,
            *self.runs_overlapping,
            *self.alerts_lost,
            *self.alerts_doubled,
            *self.others,
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosOutcome:
    """All rounds of a seed."""

    seed: int
    rounds: Sequence[RoundOutcome]
    faults: Sequence[str] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` writes."""
        struck: Counter[Fault] = Counter()
        for each in self.rounds:
            struck.update(each.struck)
        return {
            "rounds": len(self.rounds),
            "seed": self.seed,
            "kills_survived": sum(kills_survived(each) for each in self.rounds),
            "faults_by_kind": {fault.value: struck[fault] for fault in Fault},
            "rows_checked": sum(each.rows_checked for each in self.rounds),
            "rows_lost": _count(each.rows_lost for each in self.rounds),
            "rows_parked": _count(each.parked for each in self.rounds),
            "rows_poisoned": _count(each.poisoned for each in self.rounds),
            "writes_while_open": _count(each.writes_while_open for each in self.rounds),
            "runs_overlapping": _count(each.runs_overlapping for each in self.rounds),
            "alerts_lost": _count(each.alerts_lost for each in self.rounds),
            "alerts_doubled": _count(each.alerts_doubled for each in self.rounds),
        }


# From here on every kind of fault must have occurred.
ROUNDS_FOR_ALL = 20


def kills_survived(outcome: RoundOutcome) -> int:
    """Count the kills of a round after which all came well; none, if something did not."""
    return 0 if outcome.faults else sum(outcome.struck.get(fault, 0) for fault in KILLS)


def shortcomings(rounds: Sequence[RoundOutcome]) -> list[str]:
    """Say what the rounds together did not show, though no single one was wrong."""
    found = []
    survived = sum(kills_survived(each) for each in rounds)
    if survived < len(rounds):
        found.append(f"{survived} kills were survived in {len(rounds)} rounds")
    if len(rounds) >= ROUNDS_FOR_ALL:
        struck = {fault for each in rounds for fault, count in each.struck.items() if count}
        found += [f"{fault.value} never occurred" for fault in Fault if fault not in struck]
    return found


def _count(parts: Iterable[Sequence[str] | frozenset[int]]) -> int:
    return sum(len(part) for part in parts)
