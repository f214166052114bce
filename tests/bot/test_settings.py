"""Bad settings stop the bot at once, with one line that says what to change."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.settings import BotSettings, ConfigurationError, load_settings

ROOT = Path(__file__).parents[2]
TOKEN = "tok.en-with.secret"


def run_bot(directory: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m bot` to its end in an empty directory with only these settings."""
    return subprocess.run(
        [sys.executable, "-m", "bot"],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | settings,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "BOT_TOKEN is missing: set it in the environment or in .env"),
        ({"BOT_TOKEN": ""}, "BOT_TOKEN is missing: set it in the environment or in .env"),
        ({"BOT_TOKEN": "  "}, "BOT_TOKEN is empty"),
        (
            {"BOT_TOKEN": f"Bot {TOKEN}"},
            'BOT_TOKEN must be the bare token, without spaces or the word "Bot"',
        ),
        (
            {"BOT_TOKEN": "", "METRICS_PORT": "70000"},
            (
                "BOT_TOKEN is missing: set it in the environment or in .env; "
                "METRICS_PORT is malformed: input should be less than or equal to 65535"
            ),
        ),
        (
            {"BOT_TOKEN": TOKEN, "SENTRY_DSN": f"https://{TOKEN}@"},
            "SENTRY_DSN is not a Sentry DSN (https://key@host/project)",
        ),
        (
            {"BOT_TOKEN": TOKEN, "DISCORD_API_URL": "discord.example"},
            "DISCORD_API_URL must be a plain address like https://host/path",
        ),
        (
            {"BOT_TOKEN": TOKEN, "DISCORD_GATEWAY_URL": "https://discord.example"},
            "DISCORD_GATEWAY_URL must be a plain address like wss://host/path",
        ),
        (
            {"BOT_TOKEN": TOKEN, "BOT_EXTENSIONS": "a-b"},
            "BOT_EXTENSIONS must be module names separated by commas, not 'a-b'",
        ),
        (
            {"BOT_TOKEN": TOKEN, "BOT_EXTENSIONS": "a.b,a.c,a.b"},
            "BOT_EXTENSIONS names a.b twice",
        ),
        (
            {"BOT_TOKEN": TOKEN, "BOT_EXTENSIONS": " ,,"},
            "BOT_EXTENSIONS names no module, so the bot would do nothing",
        ),
        (
            {"BOT_TOKEN": TOKEN, "BOT_TOKEN_FILE": "/x"},
            "BOT_TOKEN and BOT_TOKEN_FILE are both set",
        ),
        (
            {"BOT_TOKEN_FILE": "/missing"},
            "BOT_TOKEN_FILE /missing can't be read: No such file or directory",
        ),
    ],
)
def test_what_is_wrong_is_named_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], line: str
) -> None:
    """Every setting that is missing or malformed is named, with the reason, and no secret."""
    monkeypatch.chdir(tmp_path)
    for name in BotSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError) as raised:
        load_settings()

    assert str(raised.value) == line


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting in `.env` counts unless the environment has a value; unknown names are ignored."""
    (tmp_path / ".env").write_text("BOT_TOKEN=from-file\nBOT_PREFIX=?\nLOG_LEVEL=debug\nWHAT=x\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOT_PREFIX", "$")
    monkeypatch.setenv("LOG_LEVEL", "")

    settings = load_settings()

    assert (
        settings.bot_token.get_secret_value(),
        settings.bot_prefix,
        settings.log_level,
        settings.bot_extensions,
    ) == ("from-file", "$", "DEBUG", ("bot.exts.backend.error_handler", "bot.exts.backend.sync"))


def test_the_example_names_every_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`.env.example` mentions each setting, and filled in with a token it is accepted."""
    example = (ROOT / ".env.example").read_text()
    (tmp_path / ".env").write_text(example.replace("BOT_TOKEN=", f"BOT_TOKEN={TOKEN}"))
    monkeypatch.chdir(tmp_path)

    settings = load_settings()

    missing = [
        name
        for name in map(str.upper, BotSettings.model_fields)
        if f"\n{name}=" not in example and not (name.endswith("_FILE") and name in example)
    ]
    assert (missing, settings.bot_token.get_secret_value(), settings.metrics_port) == (
        [],
        TOKEN,
        None,
    )


def test_secrets_are_known_and_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that must never be shown is listed, and printing the settings shows none of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOT_TOKEN", TOKEN)
    monkeypatch.setenv("SITE_API_TOKEN", "site-key")
    monkeypatch.setenv("SENTRY_DSN", "https://public@sentry.example/1")
    monkeypatch.setenv("SYNC_STATE_URL", "redis://bot:redis-word@valkey/0")

    settings = load_settings()

    secrets = (TOKEN, "site-key", "https://public@sentry.example/1", "redis-word")
    assert (settings.secrets(), [s for s in secrets if s in repr(settings)]) == (secrets, [])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "bot: BOT_TOKEN is missing: set it in the environment or in .env\n"),
        (
            {"BOT_TOKEN": TOKEN, "BOT_EXTENSIONS": "no.such_module"},
            "bot: BOT_EXTENSIONS names no.such_module, which is no extension\n",
        ),
        (
            {"BOT_TOKEN": TOKEN, "BOT_EXTENSIONS": "refusing"},
            "bot: GUILD_ID is 12x, and [redacted] is secret\n",
        ),
    ],
)
def test_the_program_refuses_with_one_line(
    tmp_path: Path, settings: dict[str, str], expected: str
) -> None:
    """The process ends at once with code 78, one line on standard error, and no secret anywhere."""
    (tmp_path / "refusing.py").write_text(
        "import os\n"
        "async def setup(bot):\n"
        "    raise ValueError('GUILD_ID is 12x,\\nand ' + os.environ['BOT_TOKEN'] + ' is secret')\n"
    )

    done = run_bot(tmp_path, **settings)

    assert (done.returncode, done.stderr, TOKEN in done.stdout) == (78, expected, False)


def test_a_fault_in_an_extension_is_no_setting(tmp_path: Path) -> None:
    """An extension that fails for another reason ends the program with 1 and a logged traceback."""
    (tmp_path / "failing.py").write_text(
        "import os\nasync def setup(bot):\n    raise RuntimeError(os.environ['BOT_TOKEN'])\n"
    )

    done = run_bot(tmp_path, BOT_TOKEN=TOKEN, BOT_EXTENSIONS="failing")

    assert (
        done.returncode,
        done.stderr,
        "RuntimeError: [redacted]" in done.stdout,
        TOKEN in done.stdout,
    ) == (1, "", True, False)
