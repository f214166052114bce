"""What the site shows Prometheus, and that it shows it to nobody else."""

import socket
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.monitoring_tools import complaints
from tests.website.harness import (
    KNOWN_ROLES,
    ROOT,
    MakeDatabase,
    StartWebsite,
    Website,
    add_roles,
    add_users,
    environment,
    run_site,
    user_id,
)
from tests.website.test_service import wait_until
from website import __version__
from website.declared import METRICS

# Of a container alone.
LIMITED = {one.name for one in METRICS if one.name.startswith("website_cgroup_")}


@pytest.fixture(scope="module")
def site(start_website: StartWebsite, make_database: MakeDatabase) -> Iterator[Website]:
    """Give a site on PostgreSQL that serves metrics, and has served a request of each kind."""
    site = start_website(make_database("postgresql"), METRICS_PORT="0")
    add_roles(site.database, KNOWN_ROLES)
    add_users(site.database, 3)
    with site.client() as client:
        client.get("bot/users")
        client.patch("bot/users/bulk_patch", json=[{"id": user_id(0), "name": "x"}])
        client.get("nothing")
        client.get("/admin/login/")
    break_a_constraint(site)
    yield site
    site.end()


def break_a_constraint(site: Website) -> None:
    """Have the database refuse a row that is right by the contract."""
    site.database.query("ALTER TABLE api_user ADD CONSTRAINT not_nobody CHECK (name <> 'nobody')")
    with site.client() as client:
        answer = client.patch("bot/users/bulk_patch", json=[{"id": user_id(1), "name": "nobody"}])
    site.database.query("ALTER TABLE api_user DROP CONSTRAINT not_nobody")
    assert answer.status_code == 500


def page_of(site: Website) -> str:
    """Read the site's metrics as Prometheus would."""
    at = site.wait_for(lambda line: line["event"] == "website.metrics.listening")
    return httpx.get(f"http://127.0.0.1:{at['port']}/metrics", trust_env=False).text


def families(page: str) -> dict[str, Metric]:
    """Return what is on the page, by the name under which it is queried."""
    return {
        f"{one.name}_total" if one.type == "counter" else one.name: one
        for one in text_string_to_metric_families(page)
    }


def value(page: str, name: str, **labels: str) -> float:
    """Return the sum of the series of this name with at least these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def labels_of(metric: Metric) -> set[str]:
    """Return the names of a metric's labels."""
    return {name for sample in metric.samples for name in sample.labels if name != "le"}


def test_what_is_declared_is_what_is_exposed(site: Website) -> None:
    """Each metric has its entry, of its type and with its labels, and the other way about."""
    exposed = families(page_of(site))
    declared = {one.name: (one.type, set(one.labels)) for one in METRICS}

    assert {name: (one.type, labels_of(one)) for name, one in exposed.items()} == {
        name: what for name, what in declared.items() if name in exposed or name not in LIMITED
    }


def test_a_label_has_the_values_that_are_listed(site: Website) -> None:
    """Where all values are listed, there are no others."""
    exposed = families(page_of(site))
    unlisted = [
        (one.name, name, sample.labels[name])
        for one in METRICS
        for name, values in one.labels.items()
        for sample in (exposed[one.name].samples if one.name in exposed else ())
        if not isinstance(values, str) and sample.labels[name] not in values
    ]

    assert unlisted == []


def test_prometheus_finds_no_fault(site: Website) -> None:
    """Names, types and help are as its own linter wants them."""
    assert complaints(page_of(site)) == ""


def test_first_faults_can_be_seen(site: Website) -> None:
    """A series that began with the first 500 would hide it from `increase()`."""
    zero = {
        (sample.labels["status"], sample.labels["view"], sample.labels["method"])
        for sample in families(page_of(site))[
            "django_http_responses_total_by_status_view_method_total"
        ].samples
        if sample.name.endswith("_total") and sample.value == 0
    }

    assert {
        ("500", "users", "GET"),
        ("503", "users", "POST"),
        ("503", "bulk_patch", "PATCH"),
        ("500", "role", "DELETE"),
        ("503", "healthcheck", "GET"),
    } <= zero


def test_a_constraint_that_is_broken_is_counted(site: Website) -> None:
    """A row that the database refuses is no silent matter."""
    page = page_of(site)

    assert value(page, "website_constraint_violations_total") == 1
    assert value(page, "django_db_errors_total", type="CheckViolation") == 1


def test_a_client_can_t_make_series(site: Website) -> None:
    """Methods, paths and hosts that somebody invents add one series each, not one a word."""

    def invent(client: httpx.Client, word: str) -> None:
        client.request(word.upper(), f"{word}/{word}", headers={"Authorization": f"Token {word}"})
        client.request(word.upper(), "bot/users", params={word: word})
        client.get("bot/users", headers={"Host": f"{word}.example"})

    with site.client() as client:
        invent(client, "first")
        before = page_of(site)
        for number in range(10):
            invent(client, f"word{'x' * number}")

    assert page_of(site).count("\n") == before.count("\n")
    assert "first" not in before


def test_who_waits_for_the_database_is_in_flight(site: Website) -> None:
    """While six requests are stuck and a seventh is refused, the metrics say so, and go on."""

    def write(number: int) -> None:
        with site.client() as client:
            client.patch(f"bot/users/{user_id(0)}", json={"name": f"name{number}"})

    with closing(site.database.connect()) as other, ThreadPoolExecutor(6) as pool:
        other.execute("BEGIN")
        other.execute("SELECT id FROM api_user FOR UPDATE")
        for number in range(6):
            pool.submit(write, number)
        wait_until(lambda: value(page_of(site), "website_requests_in_flight", share="api") == 6)
        write(7)
        page = page_of(site)
        other.execute("COMMIT")

    assert value(page, "website_requests_refused_total") == 1
    assert value(page, "website_database_up") == 1
    assert value(page, "website_connections") >= 6
    assert (
        0
        < value(page, "website_database_connections")
        < value(page, "website_database_connections_allowed")
    )


def test_four_processes_are_four_targets(
    start_website: StartWebsite, make_database: MakeDatabase
) -> None:
    """Each has a port and counts its own requests, so that their sum is what was asked of all."""
    database = make_database("postgresql")
    sites = [start_website(database, METRICS_PORT="0") for _ in range(4)]
    for number, one in enumerate(sites, start=1):
        with one.client() as client:
            for _ in range(number):
                client.get("bot/roles")
    pages = [page_of(one) for one in sites]
    for one in sites:
        one.end()
    counted = [
        value(page, "django_http_requests_latency_seconds_by_view_method_count", view="roles")
        for page in pages
    ]

    assert counted == [1, 2, 3, 4]
    assert len({value(page, "process_start_time_seconds") for page in pages}) == 4


def test_the_public_port_has_no_metrics(postgres_website: Website, site: Website) -> None:
    """Neither where they are served on another port nor where they aren't at all."""
    statuses = []
    for one in (postgres_website, site):
        with one.client() as client:
            paths = ("/metrics", "/metrics/", "/api/metrics", "/prometheus/metrics")
            statuses += [client.get(path).status_code for path in paths]
    off = [line for line in postgres_website.lines if "metrics" in line["event"]]

    assert (statuses, off) == ([404] * 8, [])


@pytest.mark.parametrize(
    ("port", "complaint"),
    [
        ("x", "METRICS_PORT: 'x' is not a whole number from 0 to 65535"),
        ("{taken}", "METRICS_PORT: cannot listen on 127.0.0.1:{taken} (Address already in use)"),
    ],
)
def test_a_wrong_port_is_named_in_one_line(tmp_path: Path, port: str, complaint: str) -> None:
    """The public one, or any that another program has, is a wrong setting."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        taken = str(other.getsockname()[1])
        settings = environment("sqlite:///site.sqlite3", METRICS_PORT=port.format(taken=taken))
        ended = run_site(tmp_path, **settings)

    said = f"website: {complaint.format(taken=taken)}\n"
    assert (ended.returncode, ended.stderr) == (1, said)


def test_the_version_is_the_project_s() -> None:
    """One number for all that is released together."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert __version__ == project["version"]
