"""However the command ends, none of its processes is left, and no file outside `var/`."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from sandbox.servers.process import PROJECT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_after(number: signal.Signals) -> None:
    """It is ready in good time, says how it is stopped, and ends with all that it started."""
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox", "playground", "--no-browser", "--members", "20"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    ) as command:
        try:
            assert command.stdout is not None
            lines = iter(command.stdout.readline, "")
            said = "".join(itertools.takewhile(lambda line: "Stop it with" not in line, lines))
            family = psutil.Process(command.pid).children(recursive=True)
            made = [path for path in _scratches() if _is_of(path, family)]
            command.send_signal(number)
            code = command.wait(30)
        finally:
            command.kill()

    assert re.search(r"Ready after \d+ s: http://127\.0\.0\.1:\d+/\?token=\S+", said)
    assert len(family) > 5  # the guard, PostgreSQL and its own, Discord, the website, the bot
    assert made
    assert code == (-number if number == signal.SIGKILL else 0)
    _, alive = psutil.wait_procs(family, timeout=15)
    assert alive == []
    assert [path for path in made if path.exists()] == []


def _is_of(path: Path, family: list[psutil.Process]) -> bool:
    """Say whether it is theirs: other tests have playgrounds of their own at the same time."""
    traces = [" ".join([*one.cmdline(), one.cwd(), *one.environ().values()]) for one in family]
    return any(str(path) in trace for trace in traces)


def _scratches() -> list[Path]:
    places = {Path(tempfile.gettempdir()), Path("/tmp")}  # noqa: S108  where it may make its own
    return [path for place in places for path in place.glob("playground-*")]
