"""`python -m sandbox replay`, as far as its arguments go."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.servers.process import PROJECT


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end in a directory of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replay", "--members", "0"], "--members: at least one is needed"),
        (["replay", "--members", "many"], "--members"),
        (["replay", "--scenario", "flood"], "invalid choice: 'flood'"),
        (["play"], "replay"),
    ],
)
def test_wrong_arguments_start_nothing(tmp_path: Path, arguments: list[str], words: str) -> None:
    """A mistake ends at once with exit code 2 and names what is wrong."""
    done = run(tmp_path, *arguments)

    assert (done.returncode, words in done.stderr, list(tmp_path.iterdir())) == (2, True, [])
