"""What holds for all tests."""

from collections.abc import Generator

import pytest
import structlog
from coverage import Coverage


def pytest_configure() -> None:
    """Write logs on plain lines: structlog's default draws a picture of every traceback."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(sort_keys=False, bool_as_flag=False),
        ]
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure no coverage in a test that is marked so: it would take more than twice as long."""
    measured = Coverage.current() if item.get_closest_marker("unmeasured") else None
    if measured is not None:
        measured.stop()
    try:
        return (yield)
    finally:
        if measured is not None:
            measured.start()
