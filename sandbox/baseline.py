"""The version before: what upgrades, benchmarks and stores are measured and tried against.

It is named by its commit, since a tag need not reach every clone, and taken out of this
repository's own history where it is run: `python -m sandbox.baseline INTO`.
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
_ROOT: Final = Path(__file__).parents[1]


class BaselineError(Exception):
    """The version before can't be had; the message is one line and says why."""


def take_out(into: Path, *, repository: Path = _ROOT) -> Path:
    """Write the files of the version before into a new directory, and return it.

    Raise `BaselineError` where the repository does not hold it, as a shallow clone does not.
    """
    if into.exists() and any(into.iterdir()):
        raise BaselineError(f"{into} is not empty")
    made = subprocess.run(
        ["git", "-C", str(repository), "archive", "--format=tar", COMMIT],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        raise BaselineError(
            f"{repository} does not hold {VERSION} ({COMMIT[:7]}); "
            "a shallow clone needs `git fetch --unshallow`"
        )
    into.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        archive.extractall(into, filter="data")
    return into


def main() -> int:
    """Take the version before out into the directory that is named."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and one argument
        print("usage: python -m sandbox.baseline INTO")
        return 2
    try:
        print(f"{VERSION} is in {take_out(Path(sys.argv[1]))}")
    except BaselineError as exc:
        print(exc)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
