"""Whatever ends the playground, SIGKILL included: its processes end too, and its files go.

A guard is a process of its own that outlives the one it guards: it waits for the end of a pipe that
only that one holds, then kills every process that carries its mark and removes what it was told.

    python -m sandbox.playground.guard MARK DIRECTORY
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from sandbox.servers.process import MARK, PROJECT

_CALM_S: Final = 0.2
_PATIENCE_S: Final = 10.0


@contextlib.contextmanager
def guarded(mark: str, directory: Path) -> Iterator[None]:
    """Have all processes of this mark ended and `directory` removed at the end, however it comes.

    From now on whatever `sandbox.servers` starts carries the mark.
    """
    os.environ[MARK] = mark
    # A session of its own: the terminal's Ctrl-C, and a kill of our whole group, pass it by.
    guard = subprocess.Popen(
        [sys.executable, "-m", __name__, mark, str(directory)],
        stdin=subprocess.PIPE,
        cwd=PROJECT,
        env={name: value for name, value in os.environ.items() if name != MARK},
        start_new_session=True,
    )
    try:
        yield
    finally:
        assert guard.stdin is not None  # noqa: S101  it was asked for
        guard.stdin.close()
        guard.wait()
        del os.environ[MARK]


def clear(mark: str, directory: Path) -> None:
    """Kill every process that carries the mark, and remove the directory."""
    deadline_s = time.monotonic() + _PATIENCE_S
    calm_s = time.monotonic()
    # Twice none, with a pause between: one may be starting another as we look.
    while time.monotonic() - calm_s < _CALM_S and time.monotonic() < deadline_s:
        for process in marked(mark):
            with contextlib.suppress(psutil.Error):
                process.kill()
                calm_s = time.monotonic()
        time.sleep(_CALM_S / 4)
    shutil.rmtree(directory, ignore_errors=True)


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes that carry a mark, those that have ended left out."""
    return [process for process in psutil.process_iter() if _carries(process, mark)]


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def main(mark: str, directory: str) -> None:
    """Wait until standard input ends, then clear up."""
    sys.stdin.buffer.read()
    clear(mark, Path(directory))


if __name__ == "__main__":
    main(*sys.argv[1:])
