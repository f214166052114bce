"""docker-compose.yml and the image as far as they can be looked at without Docker."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text("utf-8")
SETTINGS = (ROOT / "deploy" / "settings.env").read_text("utf-8")
EXAMPLE = (ROOT / ".env.example").read_text("utf-8")


@pytest.mark.parametrize("name", re.findall(r"^([A-Z][A-Z_]+)=", EXAMPLE, re.MULTILINE))
def test_each_documented_variable_reaches_a_container(name: str) -> None:
    """By its own name in a service's environment, or as what another value is made of."""
    given = re.search(rf"^      {name}: ", COMPOSE, re.MULTILINE)

    assert given or f"${{{name}:" in COMPOSE or f"{name}=${{{name}:-}}\n" in SETTINGS


def test_what_an_older_deployment_set_still_holds() -> None:
    """`deploy/bot.env` was once the only way for most settings; it comes after those of `.env`."""
    files = "env_file: [deploy/settings.env, {path: deploy/bot.env, required: false}]"
    assert files in COMPOSE
    fixed = COMPOSE[: COMPOSE.index("  website:\n")]
    assert [n for n in re.findall(r"^(\w+)=", SETTINGS, re.MULTILINE) if f" {n}:" in fixed] == []


def test_nothing_is_fetched_to_read_the_image_s_own_file() -> None:
    """A `# syntax=` line asks a registry for a parser before anything is built."""
    assert "syntax=" not in (ROOT / "Dockerfile").read_text("utf-8")


def test_the_database_is_not_well_before_it_listens() -> None:
    """While its first start makes the database, it hears its socket alone."""
    assert "pg_isready, --host=127.0.0.1" in COMPOSE


def test_a_bot_that_only_an_operator_can_help_waits_to_be_stopped(tmp_path: Path) -> None:
    """Ending would be followed by another start, and that by another, each with the same end."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "deploy" / "bot.py"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = [process.stderr.readline() for _ in range(2)]
    waits = process.poll() is None
    process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=20)
    process.stderr.close()

    assert said[0].startswith("bot: BOT_TOKEN is missing")
    assert said[1].startswith("bot: nothing is done until that is changed")
    assert (waits, code) == (True, os.EX_CONFIG)
