"""The site as a program: its start and end, its log, its limits, its worst days."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.website.harness import (
    DEADLINE_S,
    MakeDatabase,
    StartWebsite,
    Vendor,
    Website,
    add_roles,
    add_users,
    environment,
    run_site,
    user_id,
)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"PORT": "http"}, "PORT: 'http' is not a whole number from 0 to 65535"),
        ({"PORT": "70000"}, "PORT: '70000' is not a whole number from 0 to 65535"),
        (
            {"ADMIN": "maybe"},
            "ADMIN: 'maybe' is neither on nor off",
        ),
        (
            {"MAX_REQUEST_ITEMS": "-1"},
            "MAX_REQUEST_ITEMS: '-1' is not a whole number from 1 to 10000000",
        ),
        (
            {"DATABASE_URL": "mysql://user:secret@host/name"},
            "DATABASE_URL: must begin with sqlite:/// or postgresql://, not 'mysql'",
        ),
        ({"DATABASE_URL": "postgresql://host"}, "DATABASE_URL: names no database"),
        (
            {"DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/name"},
            "DATABASE_URL: the database cannot be used (connection failed",
        ),
        (
            {"DATABASE_URL": "sqlite:////dev/null/site.sqlite3"},
            "DATABASE_URL: the database cannot be used ([Errno 17] File exists: '/dev/null')",
        ),
        ({"HOST": "no.such.host.invalid"}, "HOST: cannot listen on no.such.host.invalid:0"),
        (
            {"CSRF_TRUSTED_ORIGINS": "site.example"},
            "CSRF_TRUSTED_ORIGINS: 'site.example' must begin with https:// or http://",
        ),
        (
            {"EXTRA_MIDDLEWARE": "django.middleware.gzip.GZipMiddleware,brake"},
            "EXTRA_MIDDLEWARE: 'brake' is not a dotted name like module.Class",
        ),
        (
            {"EXTRA_MIDDLEWARE": "no.such.Middleware"},
            "EXTRA_MIDDLEWARE: No module named 'no'",
        ),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(
    tmp_path: Path, settings: dict[str, str], complaint: str
) -> None:
    """The program ends at once, with one line that begins with the setting and has no secret."""
    ended = run_site(tmp_path, **environment("sqlite:///var/site.sqlite3") | settings)

    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert ended.stderr.startswith(f"website: {complaint}")
    assert "secret" not in ended.stderr


def test_extra_middleware_is_loaded(
    start_website: StartWebsite, make_database: MakeDatabase
) -> None:
    """What EXTRA_MIDDLEWARE names has its way with the site's answers."""
    site = start_website(
        make_database("sqlite"), EXTRA_MIDDLEWARE="django.middleware.gzip.GZipMiddleware"
    )
    add_users(site.database, 100)
    with site.client() as client:
        encodings = [
            client.get("bot/users", headers=accept).headers.get("Content-Encoding")
            for accept in ({"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"})
        ]

    assert encodings == ["gzip", None]


def test_a_taken_port_is_named_in_one_line(tmp_path: Path) -> None:
    """A port that another program listens on is a wrong setting too."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        ended = run_site(tmp_path, **environment("sqlite:///site.sqlite3", PORT=str(port)))

    assert (ended.returncode, ended.stderr) == (
        1,
        f"website: PORT: cannot listen on 127.0.0.1:{port} (Address already in use)\n",
    )


def test_the_migrations_are_those_of_the_models(tmp_path: Path) -> None:
    """Nothing in the models waits for a migration."""
    checked = subprocess.run(
        [sys.executable, "-m", "django", "makemigrations", "--check", "--dry-run"],
        cwd=tmp_path,
        env=environment("sqlite:///site.sqlite3", DJANGO_SETTINGS_MODULE="website.settings"),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert (checked.returncode, checked.stdout) == (0, "No changes detected\n")


def test_each_request_is_one_line_in_the_log(website: Website) -> None:
    """The line has what happened, what it cost, and which ids were written."""
    add_users(website.database, 10)
    rows = [{"id": user_id(index), "name": "x"} for index in (2, 9, 5)]
    with website.client() as client:
        answer = client.patch(
            "bot/users/bulk_patch", json=rows, headers={"X-Request-ID": 'run 1;"-3' + "x" * 200}
        )
    request_id = answer.headers["X-Request-ID"]
    line = website.wait_for_request(request_id)

    assert request_id == "run1-3" + "x" * 122
    assert answer.headers["Server-Timing"] == f"total;dur={line['duration_ms']}"
    assert {key: line[key] for key in line if key not in MEASURED} == {
        "event": "website.request.finished",
        "level": "info",
        "method": "PATCH",
        "path": "/api/bot/users/bulk_patch",
        "status": 200,
        "request_id": request_id,
        "rows": 3,
        "ids_first": user_id(2),
        "ids_last": user_id(9),
        "ids_count": 3,
    }
    assert {key: type(line[key]) for key in MEASURED} == MEASURED


MEASURED = {"timestamp": str, "started_at": str, "duration_ms": float, "peak_memory_mb": float}


def test_what_is_no_http_is_logged_too(postgres_website: Website) -> None:
    """A request that the server refuses before Django sees it leaves its line as well."""
    host, _, port = postgres_website.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as connection:
        connection.sendall(b"GET /api/healthcheck HTTP/1.1\r\nno header\r\n\r\n")
        answer = connection.recv(100)
    line = postgres_website.wait_for(lambda line: "request_id" in line and not line["request_id"])

    assert (answer[:12], line["event"], line["status"]) == (
        b"HTTP/1.0 400",
        "website.request.finished",
        400,
    )


def test_a_write_is_logged_though_its_client_is_gone(postgres_website: Website) -> None:
    """Who hangs up before the answer does not keep an applied write out of the log."""
    site = postgres_website
    add_users(site.database, 1)
    with closing(site.database.connect()) as other, site.client(timeout_s=0.2) as client:
        other.execute("BEGIN")
        other.execute("SELECT id FROM api_user FOR UPDATE")
        with pytest.raises(httpx.ReadTimeout):
            client.patch(
                f"bot/users/{user_id(0)}", json={"name": "x"}, headers={"X-Request-ID": "gone"}
            )
        other.execute("COMMIT")
    line = site.wait_for_request("gone")

    assert (line["status"], line["ids_first"], line["ids_count"]) == (200, user_id(0), 1)


def test_the_healthcheck_answers_while_all_else_is_stuck(postgres_website: Website) -> None:
    """Six requests may wait for the database; the next hears 503 at once, the healthcheck 200."""
    site = postgres_website
    add_users(site.database, 1)

    def write(number: int) -> int:
        with site.client() as client:
            row = {"name": f"name{number}"}
            return client.patch(f"bot/users/{user_id(0)}", json=row).status_code

    with closing(site.database.connect()) as other, ThreadPoolExecutor(6) as pool:
        other.execute("BEGIN")
        other.execute("SELECT id FROM api_user FOR UPDATE")
        stuck = [pool.submit(write, number) for number in range(6)]
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: site.database.query(waiting) == [(6,)])
        with site.client(timeout_s=1) as client:
            answers = [client.get("bot/users/1"), client.get("healthcheck")]
        other.execute("COMMIT")

    assert [(answer.status_code, answer.headers.get("Retry-After")) for answer in answers] == [
        (503, "1"),
        (200, None),
    ]
    assert [each.result() for each in stuck] == [200] * 6


def wait_until(is_so: object) -> None:
    """Return once the condition holds."""
    assert callable(is_so)
    deadline_s = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while not is_so():
        assert time.monotonic() < deadline_s
        pause.wait(0.02)


def test_sigterm_lets_what_is_under_way_finish(
    start_website: StartWebsite, make_database: MakeDatabase
) -> None:
    """After SIGTERM a stuck write and a slow reader get their whole answers, others nothing."""
    site = start_website(make_database("postgresql"))
    add_users(site.database, 10_000, roles=[10**17] * 40)

    def write() -> int:
        with site.client() as client:
            return client.patch(f"bot/users/{user_id(0)}", json={"name": "last"}).status_code

    with (
        closing(site.database.connect()) as other,
        ThreadPoolExecutor(1) as pool,
        site.client() as client,
        client.stream("GET", "bot/users", params={"page_size": 10_000}) as slow,
    ):
        other.execute("BEGIN")
        other.execute("SELECT id FROM api_user FOR UPDATE")
        status = pool.submit(write)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: site.database.query(waiting) == [(1,)])
        site.process.send_signal(signal.SIGTERM)
        stopping = site.wait_for(lambda line: line["event"] == "website.stopping")
        wait_until(lambda: is_refused(site.url))
        other.execute("COMMIT")
        statuses = [status.result(), slow.status_code]
        slow_bytes = len(slow.read())
    site.process.wait(DEADLINE_S)

    assert (stopping["under_way"], statuses) == (2, [200, 200])
    assert slow_bytes == int(slow.headers["Content-Length"])
    assert (site.process.returncode, site.lines[-1]["event"], site.lines[-1]["abandoned"]) == (
        0,
        "website.stopped",
        0,
    )


def is_refused(url: str) -> bool:
    """Tell whether nobody listens there."""
    try:
        httpx.get(f"{url}/api/healthcheck", trust_env=False, timeout=1)
    except httpx.TransportError:
        return True
    return False


@pytest.mark.parametrize("vendor", ["sqlite", "postgresql"])
def test_the_request_of_the_incident_is_survived(
    vendor: Vendor, start_website: StartWebsite, make_database: MakeDatabase
) -> None:
    """One PATCH of 80,000 rows, let through, is applied within 20 s and 150 MB over idle.

    The healthcheck answers within a second all the while: the time limits are the clients'.
    """
    site = start_website(
        make_database(vendor), MAX_REQUEST_BYTES="50000000", MAX_REQUEST_ITEMS="100000"
    )
    roles = [10**17 + index for index in range(6)]
    add_roles(site.database, roles)
    add_users(site.database, 80_000, roles=roles)
    ids = [user_id(index) for index in range(80_000)]
    with site.client(timeout_s=20) as client:
        client.get("bot/users")
        client.patch("bot/users/bulk_patch", json=[{"id": ids[0], "roles": roles}])
        idle_mb = site.memory_mb("VmRSS")
        body = json.dumps([{"id": one, "roles": roles[:5]} for one in ids])
        done = threading.Event()

        def check_health() -> set[int]:
            statuses = set()
            with site.client(timeout_s=1) as prober:
                while not done.wait(0.02):
                    statuses.add(prober.get("healthcheck").status_code)
            return statuses

        with ThreadPoolExecutor(1) as pool:
            health = pool.submit(check_health)
            try:
                response = client.patch(
                    "bot/users/bulk_patch",
                    content=body,
                    headers={"Content-Type": "application/json"},
                )
            finally:
                done.set()  # the pool waits for it, whatever came of the request
        answered = [(row["id"], row["roles"]) for row in response.json()]

    assert (response.status_code, health.result()) == (200, {200})
    assert answered == [(one, roles[:5]) for one in ids]
    assert site.memory_mb("VmHWM") - idle_mb < 150


def test_a_database_that_comes_back_is_used_again(postgres_website: Website) -> None:
    """While the database refuses, requests answer 503 with a time to wait; later they work."""
    site = postgres_website
    name = site.database.query("SELECT current_database()")[0][0]
    server = f"{site.database.url.rpartition('/')[0]}/postgres"
    admin = type(site.database)(vendor="postgresql", url=server)
    with site.client() as client:
        before = client.get("bot/roles")
        admin.query(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        admin.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name
        )
        during = client.get("bot/roles")
        admin.query(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
        after = client.get("bot/roles")

    assert [before.status_code, during.status_code, after.status_code] == [200, 503, 200]
    assert (during.json(), during.headers["Retry-After"]) == (
        {"detail": "The database is not available."},
        "5",
    )


def test_capabilities_tell_the_limits(website: Website) -> None:
    """A client may learn the limits that the 413 answers enforce."""
    with website.client() as client:
        answer = client.get("bot/sync/capabilities").json()

    assert answer == {
        "max_items": 2_500,
        "max_bytes": 1_048_576,
        "minimal_responses": True,
        "pages_by_id": True,
        "digests": 128,
        "version": 1,
    }


def test_roles_rank_as_on_discord_and_survive_odd_requests(website: Website) -> None:
    """The highest role comes first, of equals the older one; errors keep the usual shapes."""
    role = {"id": 1, "name": " r ", "colour": 0, "permissions": 0, "position": 2}
    with website.client() as client:
        answers = [
            client.post("bot/roles", json=role),
            client.post("bot/roles", json=role | {"id": 2**63}),
            client.post("bot/roles", json=[role]),
            client.put("bot/roles/1", json=role | {"id": 4}),
            client.get("bot/roles/99999999999999999999"),
            client.post("bot/roles", json={**role, "id": 5, "colour": 2**31}),
            client.post("bot/roles", json={**role, "id": 5, "position": -(2**31) - 1}),
            client.post("bot/roles", json={}),
            client.patch("bot/roles/1", json={"position": 3}),
            client.get("bot/roles?name=r"),
            client.get("bot/nothing"),
        ]
        order = [row["id"] for row in client.get("bot/roles").json()]

    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (201, role | {"name": "r"}),
        (400, {"id": ["Ensure this value is less than or equal to 9223372036854775807."]}),
        (400, {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}),
        (400, {"id": ["The ID cannot be changed."]}),
        (404, {"detail": "No Role matches the given query."}),
        (400, {"colour": ["Ensure this value is less than or equal to 2147483647."]}),
        (400, {"position": ["Ensure this value is greater than or equal to -2147483648."]}),
        (400, {key: ["This field is required."] for key in role}),
        (200, role | {"name": "r", "position": 3}),
        (400, {"name": ["This query parameter is not known."]}),
        (404, {"detail": "Not found."}),
    ]
    assert order == [1, 13, 12, 11]


def test_an_unknown_host_name_is_told_with_its_setting(website: Website) -> None:
    """Who calls the site by a name it does not know learns which setting to change."""
    with website.client() as client:
        answer = client.get("bot/roles", headers={"Host": "site.example"})

    assert (answer.status_code, answer.json()) == (
        400,
        {
            "detail": "Invalid HTTP_HOST header: 'site.example'."
            " You may need to add 'site.example' to ALLOWED_HOSTS."
        },
    )


def test_the_admin_shows_both_tables(website: Website, tmp_path: Path) -> None:
    """An account made by Django's own command can log in and see users and roles, styled."""
    add_users(website.database, 1)
    subprocess.run(
        [sys.executable, "-m", "django", "createsuperuser", "--noinput", "--email", "a@b.example"],
        cwd=tmp_path,
        env=environment(
            website.database.url,
            DJANGO_SETTINGS_MODULE="website.settings",
            DJANGO_SUPERUSER_USERNAME=(name := f"admin-{os.urandom(4).hex()}"),
            DJANGO_SUPERUSER_PASSWORD=(password := os.urandom(12).hex()),
        ),
        timeout=DEADLINE_S,
        check=True,
    )
    with httpx.Client(base_url=website.url, trust_env=False, follow_redirects=True) as client:
        login = client.get("/admin/login/")
        client.post(
            "/admin/login/",
            data={
                "username": name,
                "password": password,
                "csrfmiddlewaretoken": client.cookies["csrftoken"],
            },
        )
        pages = [
            client.get(path)
            for path in (
                "/admin/api/user/",
                f"/admin/api/user/{user_id(0)}/change/",
                "/admin/api/role/",
                "/static/admin/css/base.css",
            )
        ]

    assert [login.status_code, *(page.status_code for page in pages)] == [200] * 5
    assert ["User 0" in pages[0].text, "role 13" in pages[2].text] == [True, True]
