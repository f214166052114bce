"""Which of these tests start a process: those on a server, and those that have another beside."""

import inspect

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them slow, as every test is that starts one."""
    for item in items:
        if not isinstance(item, pytest.Function) or item.module.__name__.rpartition(".")[2] != (
            "test_store"
        ):
            continue
        served = {"hosted", "server"} & {*item.fixturenames} or "valkey" in item.name
        starts = any(
            word in inspect.getsource(item.function)
            for word in (".other(", "killed_amid_writing", "valkey(", "subprocess")
        )
        if served or starts:
            item.add_marker(pytest.mark.slow)
