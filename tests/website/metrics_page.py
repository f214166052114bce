"""The website's table in docs/metrics.md, which `python -m tests.metrics_table` renews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from website.declared import METRICS, Declared

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD: Final = (
    "| metric | type | unit | labels | meaning | answers |",
    "|---|---|---|---|---|---|",
)


def table() -> str:
    """Return the table, a line a metric, in the order in which they are declared."""
    return "\n".join((*_HEAD, *(f"| {' | '.join(_cells(one))} |" for one in METRICS)))


def _cells(one: Declared) -> tuple[str, ...]:
    labels = "<br>".join(f"`{name}`: {_values(values)}" for name, values in one.labels.items())
    return (f"`{one.name}`", one.type, one.unit, labels, one.meaning, one.question)


def _values(values: Sequence[str] | str) -> str:
    return values if isinstance(values, str) else ", ".join(f"`{value}`" for value in values)
