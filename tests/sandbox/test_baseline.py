"""The version before can be had wherever this repository's history is."""

import subprocess
from pathlib import Path

import pytest

from sandbox.baseline import COMMIT, BaselineError, take_out


def test_the_version_before_is_taken_out_whole(tmp_path: Path) -> None:
    """As a directory of its own, with its own requirements."""
    made = take_out(tmp_path / "version")

    assert (made / "bot/exts/backend/sync/_control.py").is_file()
    assert (made / "requirements/dev.txt").is_file()


def test_a_directory_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    """Nothing of it is written over."""
    (tmp_path / "mine").touch()

    with pytest.raises(BaselineError, match="is not empty"):
        take_out(tmp_path)


def test_a_repository_without_it_says_what_to_do(tmp_path: Path) -> None:
    """A clone without the history is one command away from having it."""
    subprocess.run(["git", "init", "--quiet", tmp_path / "other"], check=True)

    with pytest.raises(BaselineError, match=f"{COMMIT[:7]}.*unshallow"):
        take_out(tmp_path / "version", repository=tmp_path / "other")
