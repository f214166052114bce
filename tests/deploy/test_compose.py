"""docker-compose.yml and the image as far as they can be looked at without Docker."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

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


SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_limits_of_its_own(name: str) -> None:
    """Whatever grows takes down nobody else: no container is without a limit, or may swap."""
    service = SERVICES[name]

    assert service["mem_limit"] == service["memswap_limit"]
    assert {"cpus", "pids_limit", "restart", "security_opt", "logging"} <= service.keys()


def test_what_is_mounted_is_there() -> None:
    """Docker would make a directory in the place of a file that is missing."""
    mounted = re.findall(r"\./(deploy/[\w/.-]+):", COMPOSE)

    assert len(mounted) == 4
    assert [path for path in mounted if not (ROOT / path).exists()] == []


def test_monitoring_is_for_those_who_ask_for_it() -> None:
    """Its three services belong to a profile; the ports that it opens are the loopback's."""
    monitoring = {"prometheus", "alertmanager", "grafana"}
    ports = [port for one in SERVICES.values() for port in one.get("ports", ())]

    assert {name for name, one in SERVICES.items() if one.get("profiles")} == monitoring
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_prometheus_asks_the_ports_that_are_served() -> None:
    """Its jobs are named as the rules call them, and look where each service listens."""
    text = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8")
    jobs = {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}
    asked = {
        name: (jobs[name]["dns_sd_configs"][0]["names"], jobs[name]["dns_sd_configs"][0]["port"])
        for name in ("bot", "website")
    }
    served = {
        name: ([name], SERVICES[name]["environment"]["METRICS_PORT"]) for name in ("bot", "website")
    }

    assert asked == served
    assert set(SERVICES["prometheus"]["networks"]) & set(SERVICES["bot"]["networks"])
    assert set(SERVICES["prometheus"]["networks"]) & set(SERVICES["website"]["networks"])


def test_grafana_finds_what_is_provisioned() -> None:
    """The dashboards are where the provider looks, and ask the data source by its name."""
    grafana = ROOT / "deploy" / "grafana"
    provider = yaml.safe_load((grafana / "provisioning/dashboards/guild-sync.yml").read_text())
    source = yaml.safe_load((grafana / "provisioning/datasources/prometheus.yml").read_text())
    place = provider["providers"][0]["options"]["path"]
    uids = {
        panel["datasource"]["uid"]
        for file in grafana.glob("dashboards/*.json")
        for panel in json.loads(file.read_text("utf-8"))["panels"]
        if "datasource" in panel
    }

    assert f"./deploy/grafana/dashboards:{place}:ro" in SERVICES["grafana"]["volumes"]
    assert uids == {source["datasources"][0]["uid"]}
