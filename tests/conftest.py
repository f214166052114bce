"""What holds for all tests."""

import importlib
import os
import pkgutil
import sys
from collections.abc import Generator
from typing import Any

import pytest
import structlog

from bot.exts.backend import sync

_TRACE: pytest.StashKey[Any] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Write logs on plain lines: structlog's default draws a picture of every traceback."""
    if "FAST_TESTS" in os.environ:
        _measure_tests_alone(config)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(sort_keys=False, bool_as_flag=False),
        ]
    )


def _measure_tests_alone(config: pytest.Config) -> None:
    """Measure coverage of the extension's import and of tests, not while pytest collects them."""
    trace = sys.gettrace()
    if trace is not None:
        for module in pkgutil.walk_packages(sync.__path__, f"{sync.__name__}."):
            importlib.import_module(module.name)
        config.stash[_TRACE] = trace
        sys.settrace(None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure the fast tests, but for those marked: they would take more than twice as long."""
    trace = item.config.stash.get(_TRACE, None)
    if trace is None or item.get_closest_marker("unmeasured"):
        return (yield)
    sys.settrace(trace)
    try:
        return (yield)
    finally:
        sys.settrace(None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave what measures coverage as it was."""
    if _TRACE in config.stash:
        sys.settrace(config.stash[_TRACE])
