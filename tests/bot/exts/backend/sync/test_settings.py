"""The extension's settings: each that is missing or malformed is named, and no secret is shown."""

from datetime import timedelta
from pathlib import Path

import pytest

from bot.exts.backend.sync._core.policy.pace import PaceLimits
from bot.exts.backend.sync._core.policy.request_backoff import PatienceLimits
from bot.exts.backend.sync._core.policy.rights import Right
from bot.exts.backend.sync._core.policy.state import StateLimits
from bot.exts.backend.sync._core.policy.sync_retries import BreakerLimits
from bot.exts.backend.sync._errors import SettingsError
from bot.exts.backend.sync._settings import SyncSettings

NEEDED = {
    "GUILD_ID": "270988689419665408",
    "SITE_API_URL": "https://site.example/api",
    "SITE_API_TOKEN": "0123456789abcdef0123456789abcdef01234567",
    "MOD_LOG_CHANNEL_ID": "270988689419666308",
}


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Give an environment with what is needed and no other setting, and no `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in SyncSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_needed_ones_are_enough(environment: pytest.MonkeyPatch) -> None:
    """All others have the design's numbers."""
    environment.delenv("BOT_TOKEN", raising=False)
    settings = SyncSettings.load()

    assert (settings.pace, settings.patience, settings.state) == (
        PaceLimits(),
        PatienceLimits(),
        StateLimits(breaker=BreakerLimits(), default_items=1000),
    )
    assert (settings.guild_id, settings.mod_log_channel_id, settings.alert_role_id) == (
        270988689419665408,
        270988689419666308,
        None,
    )
    assert (settings.sync_at_start, settings.sync_command_role_ids) == (True, ())
    assert settings.sync_state_url.get_secret_value() == "sqlite:///var/sync.db"


@pytest.mark.parametrize(
    ("given", "look", "operate", "approve"),
    [
        ({}, set(), set(), set()),
        ({"SYNC_COMMAND_ROLE_IDS": "1,2"}, {1, 2}, {1, 2}, {1, 2}),
        (
            {"SYNC_COMMAND_ROLE_IDS": "1", "SYNC_APPROVE_ROLE_IDS": "2"},
            {1, 2},
            {1},
            {2},
        ),
        (
            {"SYNC_LOOK_ROLE_IDS": "1", "SYNC_OPERATE_ROLE_IDS": "2", "SYNC_APPROVE_ROLE_IDS": "3"},
            {1, 2, 3},
            {2},
            {3},
        ),
    ],
)
def test_each_right_can_be_given_to_other_roles(
    environment: pytest.MonkeyPatch,
    given: dict[str, str],
    look: set[int],
    operate: set[int],
    approve: set[int],
) -> None:
    """One setting gives all three; whoever may do something may look at what it is about."""
    for name, value in given.items():
        environment.setenv(name, value)
    settings = SyncSettings.load()

    assert [settings.roles_that_may(right) for right in Right] == [look, operate, approve]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (dict.fromkeys(NEEDED, ""), [f"{name} is missing" for name in NEEDED]),
        ({"GUILD_ID": "12x"}, ["GUILD_ID should be a valid integer, unable to parse string as an"]),
        ({"GUILD_ID": "0"}, ["GUILD_ID should be greater than 0"]),
        ({"GUILD_ID": str(2**64)}, [f"GUILD_ID should be less than {2**63}"]),
        (
            {"MOD_LOG_CHANNEL_ID": "#mod-log", "GUILD_ID": "-1"},
            ["GUILD_ID should be greater than 0", "MOD_LOG_CHANNEL_ID should be a valid integer"],
        ),
        ({"SITE_API_URL": "site.example/api"}, ["SITE_API_URL should be a valid URL"]),
        ({"SITE_API_URL": "ftp://site.example"}, ["SITE_API_URL URL scheme should be 'http' or"]),
        ({"SITE_API_TOKEN": "two words"}, ["SITE_API_TOKEN must be printable ASCII without"]),
        ({"SITE_API_TOKEN": "naïve"}, ["SITE_API_TOKEN must be printable ASCII without blanks"]),
        ({"SITE_API_TOKEN": "a\nb"}, ["SITE_API_TOKEN must be printable ASCII without blanks"]),
        ({"ALERT_ROLE_ID": "x"}, ["ALERT_ROLE_ID should be a valid integer"]),
        ({"SYNC_COMMAND_ROLE_IDS": "1,x"}, ["SYNC_COMMAND_ROLE_IDS should be a valid integer"]),
        ({"SYNC_AT_START": "maybe"}, ["SYNC_AT_START should be a valid boolean"]),
        ({"SYNC_DEADLINE_S": "0"}, ["SYNC_DEADLINE_S should be greater than 0"]),
        ({"SYNC_MAX_ITEMS": "1000000"}, ["SYNC_MAX_ITEMS should be less than or equal to 100000"]),
        ({"SYNC_MAX_FAILING": "1" * 30}, ["SYNC_MAX_FAILING should be less than or equal to 1000"]),
        *(
            ({name: value}, [f"{name} should be "])
            for name in ("SYNC_DRIFT_EVERY_S", "SYNC_DEADLINE_S", "SYNC_PARKED_PART")
            for value in ("inf", "1e12", "nan", "-1")
        ),
        (
            {"SITE_API_URL": "https://user:s3cret@site.example/api"},
            ["SITE_API_URL must hold no user or password: SITE_API_TOKEN opens the site"],
        ),
        ({"SITE_API_URL": "https://token@site.example/api"}, ["SITE_API_URL must hold no user or"]),
        (
            {"SITE_API_URL": "https://site.example/api?key=1"},
            ["SITE_API_URL must end with its path, like https://host/api/"],
        ),
        ({"SITE_API_URL": "https://site.example/api#x"}, ["SITE_API_URL must end with its path"]),
        ({"SITE_CLIENT_KEY": "k.pem"}, ["SITE_CLIENT_KEY is of no use without SITE_CLIENT_CERT"]),
        (
            {"SITE_API_URL": "http://site.example/api", "SITE_CA_BUNDLE": "ca.pem"},
            ["SITE_CA_BUNDLE and SITE_CLIENT_CERT need a SITE_API_URL of https://"],
        ),
        ({"SYNC_PING_URL": "s3cret"}, ["SYNC_PING_URL must be a URL like https://host/path"]),
        (
            {"SITE_API_TOKEN_FILE": "/x"},
            ["SITE_API_TOKEN and SITE_API_TOKEN_FILE are both set"],
        ),
        (
            {"SITE_API_TOKEN": "", "SITE_API_TOKEN_FILE": "/x"},
            ["SITE_API_TOKEN_FILE /x can't be read: No such file or directory"],
        ),
        (
            {"SYNC_DEADLINE_S": "61"},
            ["SYNC_LEASE_S must be at least 1.5 times SYNC_DEADLINE_S"],
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_each_that_is_wrong_is_named_on_one_line(
    environment: pytest.MonkeyPatch, given: dict[str, str], line: list[str]
) -> None:
    """With the reason, and without the value, which may be a secret that was put there."""
    for name, value in given.items():
        environment.setenv(name, value)

    with pytest.raises(SettingsError) as raised:
        SyncSettings.load()

    told = str(raised.value)
    assert told.startswith("settings: ")
    assert "\n" not in told
    faults = told.removeprefix("settings: ").split("; ")
    assert [fault[: len(due)] for fault, due in zip(faults, line, strict=True)] == line
    assert not [value for value in given.values() if len(value) > 3 and value in told.split()]


NUMBERS = sorted(
    name for name, field in SyncSettings.model_fields.items() if field.annotation in {int, float}
)


@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_is_without_bounds(environment: pytest.MonkeyPatch, name: str) -> None:
    """Neither to infinity nor beyond what its use can bear: it is named, and no traceback."""
    for value in ("1e400", "9" * 40, "-1e400", "nan"):
        environment.setenv(name.upper(), value)
        with pytest.raises(SettingsError, match=f"settings: {name.upper()} should be"):
            SyncSettings.load()


def test_secrets_may_stand_in_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As container platforms hand them out, with the newline that an editor leaves."""
    token, store = tmp_path / "token", tmp_path / "store"
    token.write_text(f"{NEEDED['SITE_API_TOKEN']}\n")
    store.write_text("redis://:word@host/0\r\n")
    environment.delenv("SITE_API_TOKEN")
    environment.setenv("SITE_API_TOKEN_FILE", str(token))
    environment.setenv("SYNC_STATE_URL_FILE", str(store))

    settings = SyncSettings.load()

    assert settings.site_api_token.get_secret_value() == NEEDED["SITE_API_TOKEN"]
    assert settings.sync_state_url.get_secret_value() == "redis://:word@host/0"


def test_a_newline_behind_a_value_is_none_of_it(environment: pytest.MonkeyPatch) -> None:
    """Of secrets as of everything else."""
    for name, value in NEEDED.items():
        environment.setenv(name, f" {value}\n")
    environment.setenv("SYNC_STATE_URL", "redis://:word@host/0\n")

    settings = SyncSettings.load()

    assert settings.site_api_token.get_secret_value() == NEEDED["SITE_API_TOKEN"]
    assert settings.sync_state_url.get_secret_value() == "redis://:word@host/0"


@pytest.mark.parametrize(
    ("url", "shows"),
    [
        ("http://site.example/api", True),
        ("http://93.184.215.14/api", True),
        ("https://site.example/api", False),
        ("http://website:8000/api", False),
        ("http://localhost/api", False),
        ("http://site.internal/api", False),
        ("http://192.168.1.4/api", False),
        ("http://[::1]:8000/api", False),
    ],
)
def test_a_token_in_the_clear_is_known(
    environment: pytest.MonkeyPatch, url: str, *, shows: bool
) -> None:
    """Where others may listen; not within a machine, a compose file or a private network."""
    environment.setenv("SITE_API_URL", url)

    assert SyncSettings.load().shows_token is shows


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://site.example/api", "https://site.example/api/"),
        ("https://site.example/api/", "https://site.example/api/"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/"),
    ],
)
def test_the_sites_address_ends_in_a_slash(
    environment: pytest.MonkeyPatch, url: str, base: str
) -> None:
    """So that a request's path goes below it, whatever the operator wrote."""
    environment.setenv("SITE_API_URL", url)

    assert SyncSettings.load().api_url == base


def test_numbers_reach_what_they_bound(environment: pytest.MonkeyPatch) -> None:
    """A setting under another's name would go unnoticed until the day it matters."""
    given = {
        "SYNC_TARGET_S": "1.5",
        "SYNC_FIRST_ITEMS": "11",
        "SYNC_FLOOR_ITEMS": "12",
        "SYNC_MAX_ITEMS": "13",
        "SYNC_MAX_BYTES": "2048",
        "SYNC_MAX_FAILING": "14",
        "SYNC_STALL_S": "15",
        "SYNC_BACKOFF_S": "16",
        "SYNC_DEADLINE_S": "17",
        "SYNC_PARKED_MIN": "18",
        "SYNC_PARKED_PART": "0.19",
        "SYNC_BREAKER_THRESHOLD": "20",
        "SYNC_FIRST_RETRY_S": "21",
        "SYNC_SECOND_RETRY_S": "22",
        "SYNC_BREAKER_OPEN_S": "23",
        "SYNC_BREAKER_MAX_OPEN_S": "24",
        "SYNC_COMMAND_ROLE_IDS": " 25, 26,",
    }
    for name, value in given.items():
        environment.setenv(name, value)

    settings = SyncSettings.load()

    assert settings.pace == PaceLimits(
        target_s=1.5, first_items=11, floor_items=12, max_items=13, max_bytes=2048
    )
    assert settings.patience == PatienceLimits(
        max_failing=14,
        stall=timedelta(seconds=15),
        backoff=timedelta(seconds=16),
        deadline=timedelta(seconds=17),
        parked_min=18,
        parked_part=0.19,
    )
    assert settings.state == StateLimits(
        breaker=BreakerLimits(
            threshold=20,
            first_retry=timedelta(seconds=21),
            second_retry=timedelta(seconds=22),
            open_for=timedelta(seconds=23),
            max_open=timedelta(seconds=24),
        ),
        default_items=13,
    )
    assert settings.sync_command_role_ids == (25, 26)


def test_no_secret_is_in_what_settings_look_like(environment: pytest.MonkeyPatch) -> None:
    """Whoever logs or prints them shows neither the token nor the store's password."""
    environment.setenv("SYNC_STATE_URL", "redis://bot:redis-word@valkey/0")

    shown = repr(SyncSettings.load())

    assert "redis-word" not in shown
    assert NEEDED["SITE_API_TOKEN"] not in shown


@pytest.mark.parametrize("store", ["redis://:pa%2555word@host/0", "redis://[broken"])
def test_every_secret_is_taken_out_of_what_comes_from_outside(
    environment: pytest.MonkeyPatch, store: str
) -> None:
    """The site's token, the bot's, and the store's password, also as it stands in the URL."""
    environment.setenv("SITE_API_TOKEN", "token-of-site")
    environment.setenv("SYNC_STATE_URL", store)

    redaction = SyncSettings.load().redaction("token-of-bot")
    body = redaction.body(b"token-of-site token-of-bot pa%2555word pa%55word")

    assert body.startswith(b"[redacted] [redacted] ")
    assert (b"word" in body) is (store == "redis://[broken")
