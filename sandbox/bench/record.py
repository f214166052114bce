"""What the repetitions of one way add up to, and where it goes."""

from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console

from sandbox.bench.foreground import Heard
from sandbox.bench.results import Key, Measurement, Origin, Results
from sandbox.bench.sides import Taken

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = {
    "wall_s": "{:.2f} s",
    "discord_s": "Discord {:.1f} s",
    "requests": "{:,.0f} requests",
    "largest_s": "longest {:.2f} s",
    "stall_s": "stall {:.3f} s",
    "bot_mb": "bot {:.0f} MB",
    "foreground_p99_s": "others' p99 {:.3f} s",
    "event_p99_s": "event to row p99 {:.2f} s",
}


@dataclass(slots=True)
class Tally:
    """The figures of one way, repetition by repetition."""

    figures: dict[str, list[float]] = field(default_factory=dict)
    heard: Heard = field(default_factory=Heard)
    said: str = ""

    def add(self, taken: Taken) -> None:
        """Take in a repetition."""
        for name, value in taken.figures.items():
            self.figures.setdefault(name, []).append(value)
        self.said = taken.said
        self.heard += taken.heard


@dataclass(slots=True, kw_only=True)
class Record:
    """Keeps what is measured as soon as it is, and says so; without a `path` it only says so."""

    console: Console
    results: Results
    origin: Origin
    path: Path | None
    began_s: float = field(default_factory=monotonic)

    def keep(self, key: Key, tally: Tally, *, changes: int = 0) -> Measurement:
        """Keep a measurement in place of an earlier one, and print it."""
        figures: dict[str, Iterable[float]] = {**tally.figures, **tally.heard.figures()}
        made = self.origin.measurement(key, changes=changes, figures=figures, said=tally.said)
        self.results.add(made)
        if self.path is not None:
            self.results.save(self.path)
        self.say(f"  {key!s:<38} {shown(made)}")
        return made

    def say(self, text: str) -> None:
        """Print a line, with how long it has been."""
        minutes, seconds = divmod(int(monotonic() - self.began_s), 60)
        self.console.print(
            f"{minutes:3}:{seconds:02} {text}", highlight=False, markup=False, soft_wrap=True
        )


def shown(measurement: Measurement) -> str:
    """Return the figures that say most, medians, with the lowest and highest time."""
    parts = []
    for name, form in _SHOWN.items():
        span = measurement.span(name)
        if span is not None:
            parts.append(form.format(span.median))
        if span is not None and name == "wall_s" and span.low < span.high:
            parts[-1] += f" ({span.low:.2f} to {span.high:.2f})"
    return ", ".join([*parts, measurement.said] if measurement.said else parts)
