"""A metric as it is declared: what it is called, what it means, and which question it answers.

The table in `docs/metrics.md` is made of these, and a test holds it against what is exposed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prometheus_client.registry import Collector


class MetricType(StrEnum):
    """What kind of series a metric has, as Prometheus names it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A metric before it is made; `name` is that of a counter without its `_total`.

    `labels` names all values that each label can have, which are there from the beginning: a
    series that began with its first event would hide that event from `increase()`. A label whose
    values no list can hold would have no place here. `facts` are labels that never change;
    `initially` is what a gauge says before it knows better.
    """

    name: str
    type: MetricType
    meaning: str
    question: str
    unit: str = ""
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    buckets: Sequence[float] = ()
    initially: float = 0.0

    @property
    def exposed_as(self) -> str:
        """The name under which it is queried; that of a histogram before its suffixes."""
        return f"{self.name}_total" if self.type is MetricType.COUNTER else self.name

    def make(self) -> Collector:
        """Make it, registered nowhere, with all its series."""
        names = (*self.labels, *self.facts)
        options: dict[str, Any] = {"labelnames": names, "registry": None}
        made: Any
        match self.type:
            case MetricType.COUNTER:
                made = Counter(self.name, self.meaning, **options)
            case MetricType.HISTOGRAM:
                made = Histogram(self.name, self.meaning, buckets=self.buckets, **options)
            case MetricType.GAUGE:
                made = Gauge(self.name, self.meaning, **options)
        for values in itertools.product(*self.labels.values()):
            one = made.labels(*values, *self.facts.values()) if names else made
            if self.type is MetricType.GAUGE:
                one.set(self.initially)
        return made  # type: ignore[no-any-return] # one of three classes that share no more than this


def table(metrics: Iterable[Declared]) -> str:
    """Return a table in Markdown, a line a metric, in the order given."""
    lines = [
        "| metric | type | unit | labels | meaning | answers |",
        "|---|---|---|---|---|---|",
    ]
    for one in metrics:
        listed = [
            f"`{name}`: {', '.join(f'`{value}`' for value in values)}"
            for name, values in one.labels.items()
        ]
        labels = "<br>".join([*listed, *(f"`{name}`" for name in one.facts)])
        cells = (f"`{one.exposed_as}`", one.type, one.unit, labels, one.meaning, one.question)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
