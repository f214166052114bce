"""Prometheus, Alertmanager and their tools, which no Python package has.

They are looked for on the PATH, then where `.ci/tools` unpacks Debian's packages of them. A test
that needs one and finds none is skipped with one line, and fails where CI is set: a machine that
proves things must have them.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, Literal

import pytest

ROOT: Final = Path(__file__).parents[1]
_UNPACKED: Final = ROOT / "var" / "tools" / "usr" / "bin"
_TEMPLATES: Final = Path("/usr/share/prometheus/alertmanager/default.tmpl")  # built in by Debian
_DEADLINE_S: Final = 60.0

Tool = Literal["prometheus", "promtool", "alertmanager", "amtool"]


def tool(name: Tool) -> str:
    """Return the program's path; skip the test where there is none, or fail it in CI."""
    for program in (name, f"prometheus-{name}"):  # as Debian calls alertmanager
        found = shutil.which(program) or shutil.which(program, path=_UNPACKED)
        if found and (program != "prometheus-alertmanager" or _TEMPLATES.exists()):
            return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not here: .ci/tools fetches it", pytrace=False)
    pytest.skip("no Prometheus or Alertmanager here: .ci/tools fetches them")


def run(name: Tool, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a tool until it ends; its output is text."""
    return subprocess.run(
        [tool(name), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=False,
    )


def complaints(exposition: str) -> str:
    """Return what `promtool check metrics` has to say of a page of metrics; nothing if it is well.

    It exits with 3 for what is bad style, and with 1 for what can't be read.
    """
    checked = run("promtool", "check", "metrics", stdin=exposition)
    return checked.stdout + checked.stderr
