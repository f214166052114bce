"""Whether the version before can be had here at all."""

import subprocess

import pytest

from sandbox.baseline import ROOT


def need_history() -> None:
    """Skip the test where this copy is an export or a shallow clone, and only there.

    A whole repository that does not hold the version before is a fault, which the test will show.
    """
    asked = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--is-shallow-repository"],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.stdout.strip() != "false":
        pytest.skip("this copy has not the whole history, and thus not the version before")
