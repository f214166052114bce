"""docs/metrics.md lists every metric that is exposed, and no series appears only with its event."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

import bot.metrics
from bot.exts.backend.sync._telemetry.declared import MetricType
from bot.exts.backend.sync._telemetry.metrics import METRICS, Metrics
from bot.exts.backend.sync._version import VERSION
from tests.metrics_table import PAGE, renewed, tables

if TYPE_CHECKING:
    from bot.exts.backend.sync._telemetry.declared import Declared

ALL = (*METRICS, *bot.metrics.METRICS)


@pytest.fixture(scope="module")
def exposed() -> CollectorRegistry:
    """Register all that is declared, as at a start, before anything has happened."""
    registry = CollectorRegistry()
    Metrics().register(registry)
    for declared in bot.metrics.METRICS:
        registry.register(declared.make())
    return registry


def test_the_page_lists_every_metric() -> None:
    """`python -m tests.metrics_table` renews it."""
    page = PAGE.read_text("utf-8")

    assert renewed(page, tables()) == page
    assert all(table in page for table in tables().values())


def test_a_block_of_somebody_elses_is_left() -> None:
    """The website's metrics stand on the same page."""
    page = "<!-- metrics: site -->\nx\n<!-- end -->\n<!-- metrics: bot -->\n<!-- end -->\n"

    assert renewed(page, {"bot": "t"}) == page.replace("bot -->\n", "bot -->\nt\n")


@pytest.mark.parametrize("declared", ALL, ids=lambda one: one.name)
def test_each_series_is_there_before_its_first_event(
    declared: Declared, exposed: CollectorRegistry
) -> None:
    """Of every value that a label can have: `increase()` would miss what begins with 1."""
    suffix = "_count" if declared.type is MetricType.HISTOGRAM else ""
    wanted = [
        dict(zip(declared.labels, values, strict=True)) | dict(declared.facts)
        for values in itertools.product(*declared.labels.values())
    ]
    values = [
        exposed.get_sample_value(f"{declared.exposed_as}{suffix}", labels) for labels in wanted
    ]

    assert None not in values
    if declared.type is not MetricType.GAUGE:
        assert set(values) == {0.0}


def test_what_is_exposed_is_declared_and_bounded(exposed: CollectorRegistry) -> None:
    """Each says what it means, in which unit, and what it answers; all are a few hundred lines."""
    families = {family.name for family in exposed.collect()}
    lines = sum(len(family.samples) for family in exposed.collect())

    assert families == {declared.name for declared in ALL}
    assert [one.name for one in ALL if not one.meaning or "?" not in one.question] == []
    assert lines < 500
    assert {declared.name.split("_")[0] for declared in ALL} == {"sync", "bot"}


def test_the_versions_are_one() -> None:
    """The extension may be copied without its package's metadata, so it says its own."""
    pyproject = (PAGE.parents[1] / "pyproject.toml").read_text("utf-8")

    assert bot.__version__ == VERSION
    assert f'\nversion = "{VERSION}"\n' in pyproject
