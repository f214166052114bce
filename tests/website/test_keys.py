"""Keys to the API: made, kept as hashes, ended, and carried over from older versions."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.website.harness import (
    DEADLINE_S,
    Database,
    MakeDatabase,
    StartWebsite,
    Vendor,
    Website,
    add_account,
    add_key,
    environment,
    run_site,
)

FORBIDDEN = (403, {"detail": "You do not have permission to perform this action."})


def contents(directory: Path) -> bytes:
    """Return all that stands in the files of a directory and those below."""
    return b"".join(file.read_bytes() for file in directory.rglob("*") if file.is_file())


def test_a_key_is_printed_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    """`token` migrates by itself and prints 40 hexadecimal digits alone, which stand nowhere."""
    variables = environment("sqlite:///new/folder/site.sqlite3")

    first, second = (run_site(tmp_path, "token", **variables) for _ in range(2))

    assert [(run.returncode, run.stderr, len(run.stdout)) for run in (first, second)] == [
        (0, "", 41)
    ] * 2
    assert (int(first.stdout, 16) > 0, first.stdout != second.stdout) == (True, True)
    kept = contents(tmp_path)
    assert [run.stdout.strip().encode() in kept for run in (first, second)] == [False, False]


def test_nobody_else_on_the_machine_can_read_the_site_s_files(tmp_path: Path) -> None:
    """Files are made 0600 and directories 0700; a database that an older version left is closed."""
    older = tmp_path / "older.sqlite3"
    older.touch(mode=0o644)
    variables = environment("sqlite:///new/folder/site.sqlite3")

    run_site(tmp_path, "token", **variables)
    run_site(tmp_path, "token", **environment(f"sqlite:///{older}"))

    modes = {
        str(path.relative_to(tmp_path)): oct(path.stat().st_mode & 0o777)
        for path in tmp_path.rglob("*")
    }
    assert modes == {
        "new": "0o700",
        "new/folder": "0o700",
        "new/folder/site.sqlite3": "0o600",
        "new/folder/site.sqlite3.migrating": "0o600",
        "older.sqlite3": "0o600",
        "older.sqlite3.migrating": "0o600",
        "var": "0o700",
        "var/website-secret-key": "0o600",
    }


def test_two_first_starts_at_once_agree(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Programs that start together on an empty database all make a key for the one bot."""
    database = make_database("postgresql")
    variables = environment(database.url)
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda _: run_site(tmp_path, "token", **variables), range(3)))

    assert [(run.returncode, run.stderr) for run in made] == [(0, "")] * 3
    assert database.query("SELECT username FROM auth_user") == [("bot",)]
    assert database.query("SELECT count(*) FROM api_key") == [(3,)]


def test_only_the_bot_s_key_opens_the_api(website: Website) -> None:
    """A key of any other account, a superuser's too, answers 403 and writes nothing."""
    database = website.database
    before = database.query("SELECT count(*) FROM auth_user")[0][0]
    others = [
        add_account(database, f"other{before}"),
        add_account(database, f"superuser{before}", is_superuser=True),
    ]
    answers = []
    for account in others:
        with website.client(token=add_key(database, account)) as client:
            answers += [
                client.get("bot/users"),
                client.get("bot/sync/capabilities"),
                client.get("bot/sync/digests?bounds=0,1"),
                client.post("bot/users", json=[{"id": 1, "name": "n", "discriminator": 0}]),
                client.patch("bot/users/bulk_patch", json=[{"id": 1, "name": "x"}]),
                client.delete("bot/roles/11"),
            ]
    with website.client() as client:
        roles = client.get("bot/roles").json()
        held = database.query(
            "SELECT count(*) FROM auth_user_user_permissions JOIN auth_user ON auth_user.id ="
            " auth_user_user_permissions.user_id WHERE username = 'bot'"
        )

    assert [(answer.status_code, answer.json()) for answer in answers] == [FORBIDDEN] * 12
    assert (len(roles), website.database.stored(), held) == (3, {}, [(1,)])


def test_revoke_ends_all_keys_but_the_newest(
    start_website: StartWebsite, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A new key can be handed out before the old one ends, so the bot need not be without one."""
    site = start_website(make_database("sqlite"), ADMIN="off")
    variables = environment(site.database.url)
    newest = run_site(tmp_path, "token", **variables).stdout.strip()
    with site.client() as old, site.client(token=newest) as new:
        before = [old.get("bot/roles").status_code, new.get("bot/roles").status_code]
        ended = run_site(tmp_path, "revoke", **variables)
        after = [old.get("bot/roles").status_code, new.get("bot/roles").status_code]
        admin = [new.get(f"{site.url}{path}") for path in ("/admin/", "/static/admin/css/base.css")]

    assert (before, ended.returncode, after) == ([200, 200], 0, [401, 200])
    # The admin is left out by its setting, its files too.
    assert [answer.status_code for answer in admin] == [404, 404]


@pytest.mark.parametrize("vendor", ["sqlite", "postgresql"])
def test_keys_of_older_versions_go_on_working(
    vendor: Vendor, start_website: StartWebsite, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The bot's key is carried over as a hash, and the key itself goes; others' open nothing."""
    database = make_database(vendor)
    keys = {name: name.encode().hex().rjust(40, "a") for name in ("bot", "other")}
    older_version(database, keys, tmp_path)

    run_django(tmp_path, database, 'call_command("migrate", verbosity=0)')
    may_use_api = database.query(
        "SELECT username FROM auth_user JOIN auth_user_user_permissions"
        " ON auth_user.id = auth_user_user_permissions.user_id"
    )
    site = start_website(database)
    statuses = []
    for key in keys.values():
        with site.client(token=key) as client:
            statuses.append(client.get("bot/roles").status_code)

    assert (may_use_api, statuses) == ([("bot",)], [200, 403])
    assert database.query("SELECT key FROM authtoken_token") == []
    if vendor == "sqlite":
        directory = Path(database.url.removeprefix("sqlite:///")).parent
        assert keys["bot"].encode() not in contents(directory)


def older_version(database: Database, keys: dict[str, str], directory: Path) -> None:
    """Bring the database to what the version before left, with a key for each account."""
    run_django(
        directory,
        database,
        'call_command("migrate", "api", "0001", verbosity=0)',
        'call_command("migrate", "auth", verbosity=0)',
    )
    # As Django REST framework's own migrations make it.
    database.query(
        "CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, created timestamp NOT NULL,"
        " user_id integer NOT NULL UNIQUE REFERENCES auth_user (id))"
    )
    for name, key in keys.items():
        database.query(
            "INSERT INTO authtoken_token VALUES (%s, CURRENT_TIMESTAMP, %s)",
            *(key, add_account(database, name)),
        )


def run_django(directory: Path, database: Database, *lines: str) -> None:
    """Run some of Django's commands on the database, in a process of their own."""
    head = "import django; from django.core.management import call_command; django.setup()"
    subprocess.run(
        [sys.executable, "-c", "\n".join([head, *lines])],
        cwd=directory,
        env=environment(database.url, DJANGO_SETTINGS_MODULE="website.settings"),
        timeout=DEADLINE_S,
        check=True,
    )
