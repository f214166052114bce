"""The version before: what upgrades, benchmarks and stores are measured and tried against.

It is named by its commit, since a tag need not reach every clone, and taken out of this
repository's own history where it is run: `python -m sandbox.baseline INTO`. Upgrades begin at it
and may go back to it, benchmarks must not be slower than it, and the stores that it wrote
(`tests/baseline/stores`) must be read by every version after it.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

VERSION: Final = "v0.1.0"
COMMIT: Final = "8017367c18658e329e3dbeaaa63131c8db58ce06"
ROOT: Final = Path(__file__).parents[1]


class BaselineError(Exception):
    """The version before can't be had; the message is one line and says why."""


def take_out(into: Path, *, repository: Path = ROOT) -> Path:
    """Write the files of the version before into a new or empty directory, and return it.

    Raise `BaselineError` where the repository does not hold it, as a shallow clone does not.
    """
    if into.exists() and not (into.is_dir() and not any(into.iterdir())):
        raise BaselineError(f"{into} is not an empty directory")
    try:
        made = subprocess.run(
            ["git", "-C", str(repository), "archive", "--format=tar", COMMIT],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as exc:
        raise BaselineError(f"{VERSION} can't be taken out of {repository} without git") from exc
    if made.returncode:
        raise BaselineError(
            f"{repository} does not hold {VERSION} ({COMMIT[:7]}); "
            "a shallow clone needs `git fetch --unshallow`"
        )
    into.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        # An argument of `extractall` only since 3.11.4; before that the attribute is passed over.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(into)  # noqa: S202 - our own history, and filtered where that can be
    return into


def main(arguments: list[str]) -> int:
    """Take the version before out into the directory that is named; return the exit code."""
    match arguments:
        case [into] if not into.startswith("-"):
            pass
        case _:
            print("usage: python -m sandbox.baseline INTO", file=sys.stderr)
            return 2
    try:
        print(f"{VERSION} is in {take_out(Path(into))}")
    except BaselineError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
