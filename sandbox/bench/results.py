"""What was measured, and the file that keeps it: each measurement until it is made anew."""

import json
import os
import statistics
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
DIRECTORY: Final = ROOT / "bench" / "results"


class Key(NamedTuple):
    """Whose figures they are: on which site, of what, with how many members, by which way."""

    site: str
    case: str
    members: int
    way: str

    def __str__(self) -> str:
        return f"{self.site}/{self.case}/{self.members}/{self.way}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A figure over all repetitions."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Figures by name, each once for every repetition.

    Seconds end in `_s`, memory in MiB in `_mb`, sizes in `_bytes`; `page.COLUMNS` says what each
    is. `said` is what "verified" rests on, or how it ended else; `changes` are rows that differed.
    `at` is when it was made (ISO 8601), `commit` of what, `load` how many processes contended for
    the machine's `cores`.
    """

    key: Key
    changes: int
    figures: Mapping[str, tuple[float, ...]]
    said: str = ""
    at: str = ""
    commit: str = ""
    cores: int = 0
    load: float = 0.0

    def span(self, name: str) -> Span | None:
        """Return a figure over all repetitions; None if it has none."""
        values = self.figures.get(name)
        if not values:
            return None
        return Span(low=min(values), median=statistics.median(values), high=max(values))

    def as_json(self) -> dict[str, Any]:
        """Return what is kept of it."""
        return {**asdict(self), "key": str(self.key)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Measurement":
        """Return what was kept."""
        site, case, members, way = kept["key"].split("/")
        figures = {name: tuple(values) for name, values in kept["figures"].items()}
        key = Key(site, case, int(members), way)
        return cls(**{**kept, "key": key, "figures": figures})


@dataclass(slots=True)
class Results:
    """All that was measured, by key; later ones replace earlier ones."""

    by_key: dict[Key, Measurement] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read the file; without one there is nothing."""
        if not path.exists():
            return cls()
        kept = json.loads(path.read_text("utf-8"))
        return cls.of(Measurement.from_json(one) for one in kept["measured"])

    @classmethod
    def of(cls, measured: Iterable[Measurement]) -> "Results":
        """Return these."""
        made = cls()
        for one in measured:
            made.add(one)
        return made

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.by_key.values())

    def add(self, measurement: Measurement) -> None:
        """Take it in, in place of an earlier one of the same key."""
        self.by_key[measurement.key] = measurement

    def save(self, path: Path) -> None:
        """Write the file, a line each in the order of keys: only what is made anew moves in it.

        It is written beside and put in its place whole.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps(self.by_key[key].as_json(), ensure_ascii=False)
            for key in sorted(self.by_key)
        ]
        text = '{"measured": [\n' + ",\n".join(lines) + "\n]}\n"
        beside = path.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)

    def get(self, site: str, case: str, members: int, way: str) -> Measurement | None:
        """Return a measurement, if it was made."""
        return self.by_key.get(Key(site, case, members, way))

    def figure(self, site: str, case: str, members: int, way: str, name: str) -> float | None:
        """Return a figure's median, if it was measured."""
        found = self.get(site, case, members, way)
        span = None if found is None else found.span(name)
        return None if span is None else span.median

    def highest(self, site: str, case: str, members: int, way: str, name: str) -> float | None:
        """Return a figure's highest, if it was measured."""
        found = self.get(site, case, members, way)
        span = None if found is None else found.span(name)
        return None if span is None else span.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Of what, and on what, measurements are made."""

    commit: str
    cores: int

    @classmethod
    def here(cls) -> "Origin":
        """Return the commit that is checked out, and whether what is measured was changed since."""
        commit = _said("git", "rev-parse", "--short=10", "HEAD")
        changed = _said("git", "status", "--porcelain", "--", "bot", "website", "sandbox")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return cls(commit=commit + (" and changes" if changed else ""), cores=cores or 1)

    def measurement(
        self, key: Key, *, changes: int, figures: Mapping[str, Iterable[float]], said: str = ""
    ) -> Measurement:
        """Return a measurement that was made just now, rounded to what can be told apart."""
        return Measurement(
            key=key,
            changes=changes,
            figures={name: tuple(_rounded(v) for v in found) for name, found in figures.items()},
            said=said,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=self.commit,
            cores=self.cores,
            load=round(os.getloadavg()[0], 1),
        )


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else round(value, 4)


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # an export, on a machine without git
        return ""
    return done.stdout.strip()
