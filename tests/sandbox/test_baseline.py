"""The version before can be had wherever this repository's history is."""

import subprocess
from pathlib import Path

import pytest

from sandbox import baseline
from sandbox.baseline import COMMIT, BaselineError, take_out
from tests.baseline.history import need_history


def test_the_version_before_is_taken_out_whole(tmp_path: Path) -> None:
    """As a directory of its own, with its own requirements, and as it was."""
    need_history()

    made = take_out(tmp_path / "version")

    assert (made / "requirements/dev.txt").is_file()
    # Time became a port after it.
    extension = made / "bot/exts/backend/sync"
    assert (extension / "_control.py").is_file()
    assert not (extension / "_clock.py").exists()


@pytest.mark.parametrize("taken", ["a file", "a directory"])
def test_what_is_in_use_is_left_alone(tmp_path: Path, taken: str) -> None:
    """Nothing of it is written over."""
    (tmp_path / "mine").touch()
    into = tmp_path if taken == "a directory" else tmp_path / "mine"

    with pytest.raises(BaselineError, match="is not an empty directory"):
        take_out(into)

    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_clone_without_history_says_what_to_do(tmp_path: Path) -> None:
    """A shallow clone is one command away from having it; nothing is left half done."""
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    made, clone = tmp_path / "made", tmp_path / "clone"
    subprocess.run(["git", "init", "--quiet", made], check=True)
    for message in ("first", "second"):
        commit = ["commit", "--quiet", "--allow-empty", "--message", message]
        subprocess.run([*git, "-C", made, *commit], check=True)
    subprocess.run(["git", "clone", "--quiet", "--depth=1", made.as_uri(), clone], check=True)

    with pytest.raises(BaselineError, match=rf"\A.*clone .*{COMMIT[:7]}.*unshallow`\Z"):
        take_out(tmp_path / "version", repository=clone)

    assert not (tmp_path / "version").exists()


def test_a_machine_without_git_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, too."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BaselineError, match=r"\Av0\.1\.0 can't be taken out of .* without git\Z"):
        take_out(tmp_path / "version")


def test_the_command_says_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends well where it was taken out."""
    need_history()

    code = baseline.main([str(tmp_path / "version")])

    assert (code, *capsys.readouterr()) == (0, f"v0.1.0 is in {tmp_path}/version\n", "")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["one", "two"]])
def test_the_command_says_how_it_is_called(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is taken out by a guess."""
    code = baseline.main(arguments)

    usage = "usage: python -m sandbox.baseline INTO\n"
    assert (code, *capsys.readouterr()) == (2, "", usage)


def test_the_command_says_why_it_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, without a traceback."""
    (tmp_path / "mine").touch()

    code = baseline.main([str(tmp_path)])

    assert (code, *capsys.readouterr()) == (1, "", f"{tmp_path} is not an empty directory\n")
