"""The dashboards: as their code makes them, their queries asked of a Prometheus that saw a sync."""

import asyncio
import contextlib
import json
import math
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from sandbox.replay.world import World
from sandbox.servers import until
from sandbox.servers.ports import PortReservation
from tests.deploy.dashboards import ANSWERS, BOARDS, WINDOW, Board, built, file_of
from tests.deploy.test_alertmanager import wait_until_ready
from tests.deploy.test_alerts import ALERTS, RULES, unknown_names
from tests.monitoring_tools import tool
from website import cgroup

MEMBERS: Final = 400
SCRAPE_S: Final = 1
LIMIT_BYTES: Final = 1 << 30
V1_LIMITS: Final = {
    "memory": ("memory.limit_in_bytes", str(LIMIT_BYTES)),
    "cpu": ("cpu.cfs_quota_us", "150000"),
}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_the_files_are_what_the_code_makes(board: Board) -> None:
    """`python -m tests.deploy.dashboards` renews them."""
    assert file_of(board).read_text("utf-8") == built(board)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_grafana_s_own_types_can_read_them(board: Board) -> None:
    """Nothing is lost or altered on the way through the schema; ids are one a panel."""
    given = json.loads(file_of(board).read_text("utf-8"))
    through = json.loads(JSONEncoder().encode(dashboard.Dashboard.from_json(given)))
    ids = [panel["id"] for panel in given["panels"]]

    assert through == given
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_the_queries_are_of_metrics_that_exist(board: Board) -> None:
    """Those of docs/metrics.md."""
    unknown = {title: unknown_names(query.expr) for title, query in board.queries()}

    assert {title: names for title, names in unknown.items() if names} == {}


# -- against a Prometheus ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A Prometheus that scrapes a bot and a website through a run."""

    url: str
    since_s: float
    limited: bool  # whether the website is in a control group with limits

    def ask(self, path: str, **parameters: object) -> Any:
        """Ask Prometheus; return the data of its answer."""
        given = {name: str(value) for name, value in parameters.items()}
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=given, trust_env=False).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, expr: str) -> list[float]:
        """Return every value of every series that a query has, second by second until now."""
        data = self.ask("query_range", query=expr, start=self.since_s, end=time.time(), step="1s")
        found = [float(value) for one in data["result"] for _, value in one["values"]]
        return [value for value in found if math.isfinite(value)]

    async def wait_for(self, expr: str) -> None:
        """Return once a query has a result."""
        assert await until(lambda: bool(self.ask("query", query=expr)["result"]), timeout_s=30), (
            expr
        )


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Play a run with all that the panels show, and give the Prometheus that has seen it."""
    tool("prometheus")  # skips before anything is started
    directory = tmp_path_factory.mktemp("monitored")
    with ExitStack() as stack:
        yield asyncio.run(play(directory, stack))


async def play(directory: Path, stack: ExitStack) -> Seen:
    """Play a deleted role, a broken constraint and a live change; Prometheus runs on after it."""
    ports = {job: PortReservation() for job in ("bot", "website", "prometheus")}
    for port in ports.values():
        stack.callback(port.release)
    numbers = {job: port.number for job, port in ports.items()}
    # First: it takes five seconds to look for its targets.
    url = stack.enter_context(prometheus(directory, numbers))
    settings = {"METRICS_PORT": str(numbers["website"])}
    async with World(directory, durable=False, site_settings=settings) as world:
        ids = await world.make_guild(members=MEMBERS)
        await world.fill_site()
        await world.control.delete_role(ids.guild, ids.shared_role)
        limited = stack.enter_context(limits(world.website.pid))
        seen = Seen(url=url, since_s=time.time(), limited=limited)
        await seen.wait_for('up{job="website"} == 1')
        await break_a_constraint(world)
        bot = world.bot(
            SYNC_MAX_ITEMS="40", SYNC_FIRST_ITEMS="20", METRICS_PORT=str(numbers["bot"])
        )
        await bot.start()
        await bot.wait_for_event("sync.run.finished")
        await seen.wait_for('sync_runs_total{ending="verified"} > 0')
        member = (await world.expected_users())[0]
        await world.control.rename(ids.guild, member.id, "renamed")
        await bot.wait_for_event("sync.drain.finished")
        await asyncio.sleep(3 * SCRAPE_S)
        await bot.stop()
    return seen


async def break_a_constraint(world: World) -> None:
    """Have the database refuse a row, and the website answer 500."""
    member = (await world.expected_users())[0]
    url = world.website.settings["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE api_user ADD CONSTRAINT odd CHECK (name <> 'odd')")
        async with world.site_session() as session:
            row = {"id": member.id, "name": "odd"}
            async with session.patch("bot/users/bulk_patch", json=[row]) as answer:
                assert answer.status == 500
        connection.execute("ALTER TABLE api_user DROP CONSTRAINT odd")


@contextlib.contextmanager
def limits(pid: int) -> Iterator[bool]:
    """Put a process into a control group with limits; yield False where that can't be done."""
    try:
        groups = [(kind, limited_group(kind, pid)) for kind in ("memory", "cpu", "cpuacct")]
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        for _, group in groups:
            while (group / "cgroup.procs").read_text():
                time.sleep(0.01)  # until the process has ended
            group.rmdir()


def limited_group(kind: str, pid: int) -> Path:
    """Make a group below our own with a limit that nobody will reach, and move the process there.

    With v1 only, where each kind is a tree: with v2 a group with processes can't have limited ones.
    """
    own = next(iter(cgroup._groups(kind, cgroup.ROOT, cgroup.OWN)))
    group = own / f"guild-sync-{os.getpid()}"
    group.mkdir()
    if kind in V1_LIMITS:
        file, text = V1_LIMITS[kind]
        (group / file).write_text(text)
    (group / "cgroup.procs").write_text(str(pid))
    return group


@contextlib.contextmanager
def prometheus(directory: Path, targets: dict[str, int]) -> Iterator[str]:
    """Run a Prometheus with our rules that scrapes these ports each second; yield its address."""
    configuration = {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
        "rule_files": [str(file) for file in RULES],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for job, port in targets.items()
        ],
    }
    file = directory / "prometheus.json"  # which is YAML too
    file.write_text(json.dumps(configuration), "utf-8")
    port = targets["prometheus"]
    process = subprocess.Popen(
        [
            tool("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={directory}/prometheus",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
    )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/-/ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def test_what_prometheus_has_seen(seen: Seen) -> None:
    """Each query has data, each rule can be evaluated, and both sides counted the run.

    One test, so that it is played once, however tests are spread over processes.
    """
    assert [found for board in BOARDS for found in empty(seen, board)] == []
    rules = [rule for group in seen.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule["health"] for rule in rules} == {one.name: "ok" for one in ALERTS}
    writes = f'{ANSWERS}{{status="200",view="bulk_patch"}}'
    assert max(seen.values(writes)) >= MEMBERS / 40
    assert max(seen.values("website_constraint_violations_total")) == 1
    assert max(seen.values('sum(sync_runs_total{ending="verified"})')) == 1
    if seen.limited:
        assert max(seen.values("website_cgroup_memory_limit_bytes")) == LIMIT_BYTES
        assert 0 < max(seen.values("website_cgroup_memory_bytes")) < LIMIT_BYTES


def empty(seen: Seen, board: Board) -> list[tuple[str, str]]:
    """Return the panels and queries without data; what is not limited has no limit to show."""
    return [
        (title, query.expr)
        for title, query in board.queries()
        if (seen.limited or "website_cgroup_" not in query.expr)
        and not seen.values(query.expr.replace(WINDOW, "10s"))
    ]
