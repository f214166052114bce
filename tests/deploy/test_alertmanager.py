"""Alertmanager's configuration, and an Alertmanager that posts by it."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
import pytest
import yaml

from sandbox.servers.ports import PortReservation
from tests.deploy.webhook import Webhook
from tests.monitoring_tools import ROOT, run, tool

CONFIGURATION: Final = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"


def test_alertmanager_takes_its_configuration() -> None:
    """As its own tool says."""
    checked = run("amtool", "check-config", CONFIGURATION)

    assert checked.returncode == 0, checked.stderr


def completed(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run what docker-compose.yml runs in Alertmanager's container, up to Alertmanager itself."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    script = compose["services"]["alertmanager"]["command"][0].replace("$$", "$")
    before, _, after = script.partition("exec /bin/alertmanager")
    assert "--config.file=/tmp/alertmanager.yml" in after
    script = f"{before}:".replace("> /tmp/", f"> {directory}/")
    return subprocess.run(
        ["/bin/sh", "-c", script.replace("/etc/alertmanager/", f"{CONFIGURATION.parent}/")],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def configured(directory: Path, webhook: str) -> Path:
    """Return the configuration as docker-compose.yml completes it, but for its patience."""
    assert completed(directory, ALERT_WEBHOOK_URL=webhook).returncode == 0
    file = directory / "alertmanager.yml"
    text = re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", file.read_text("utf-8"))
    file.write_text(text, "utf-8")
    return file


def test_without_a_webhook_it_says_what_is_missing(tmp_path: Path) -> None:
    """An Alertmanager that posts to nowhere would look as if all were well."""
    ended = completed(tmp_path, ALERT_WEBHOOK_URL="")

    assert ended.returncode != 0
    assert "ALERT_WEBHOOK_URL" in ended.stderr
    assert "put it into .env" in ended.stderr


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """Give a webhook."""
    with Webhook() as webhook:
        yield webhook


@pytest.fixture
def alertmanager(tmp_path: Path, webhook: Webhook) -> Iterator[str]:
    """Start an Alertmanager that posts to the webhook; give its address."""
    file = configured(tmp_path, webhook.url)
    port = PortReservation()
    url = f"http://127.0.0.1:{port.number}"
    with ExitStack() as stack:
        stack.callback(port.release)
        process = stack.enter_context(
            subprocess.Popen(
                [
                    tool("alertmanager"),
                    f"--config.file={file}",
                    f"--storage.path={tmp_path}",
                    f"--web.listen-address=127.0.0.1:{port.number}",
                    "--cluster.listen-address=",
                    "--log.level=error",
                ]
            )
        )
        stack.callback(process.terminate)
        wait_until_ready(f"{url}/-/ready")
        yield url


def wait_until_ready(url: str, *, deadline_s: float = 20.0) -> None:
    """Return once the address answers 200."""
    end_s = time.monotonic() + deadline_s
    while time.monotonic() < end_s:
        try:
            if httpx.get(url, trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise TimeoutError(url)


def add(alertmanager: str, name: str, *, severity: str = "page", ended: bool = False) -> None:
    """Have Prometheus' alert told to Alertmanager, as amtool can."""
    now = datetime.now(UTC)
    ends = now if ended else now + timedelta(hours=1)
    added = run(
        "amtool",
        *("alert", "add", name, f"severity={severity}", "job=bot"),
        "--annotation=summary=Syncs fail.",
        "--annotation=description=3 in a row failed.",
        f"--annotation=runbook_url=docs/runbook.md#{name.lower()}",
        f"--start={(now - timedelta(minutes=1)).isoformat()}",
        f"--end={ends.isoformat()}",
        f"--alertmanager.url={alertmanager}",
    )
    assert added.returncode == 0, added.stderr


def test_an_alert_is_posted_and_its_end_too(alertmanager: str, webhook: Webhook) -> None:
    """What fires is one embed in Discord: how urgent, what it is, and where to read on."""
    add(alertmanager, "SyncFailing")
    fired = webhook.next()
    add(alertmanager, "SyncFailing", ended=True)
    over = webhook.next()

    assert fired["path"] == "/api/webhooks/1/marked-secret"
    assert [embed["title"] for embed in fired["embeds"] + over["embeds"]] == [
        "🔴 Syncs fail.",
        "🟢 Over: Syncs fail.",
    ]
    assert fired["embeds"][0]["description"].split("\n") == [
        "3 in a row failed.",
        "`SyncFailing` · what to do: docs/runbook.md#syncfailing",
    ]


def test_what_follows_from_another_alert_is_not_posted(alertmanager: str, webhook: Webhook) -> None:
    """While the breaker is open nobody is told besides that syncs fail; what can wait is yellow."""
    add(alertmanager, "SyncBreakerOpen")
    first = webhook.next()
    add(alertmanager, "SyncFailing")
    add(alertmanager, "SyncDrift", severity="look")
    second = webhook.next()

    assert "`SyncBreakerOpen`" in first["embeds"][0]["description"]
    assert second["embeds"][0]["title"] == "🟡 Syncs fail."
    assert "`SyncDrift`" in second["embeds"][0]["description"]
