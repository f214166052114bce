"""The replay's world on real servers, its judgement, and the program as people start it."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
import pytest
import pytest_asyncio

from sandbox.__main__ import main
from sandbox.replay.audit import SiteAudit
from sandbox.replay.checks import ModLogMessage
from sandbox.replay.chronicle import Key
from sandbox.replay.first_run import EndedRun, judge
from sandbox.replay.world import World
from tests.sandbox.replaying import KEYS, ROOT, figures_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Start the servers that the tests of this module share."""
    async with World(tmp_path_factory.mktemp("world"), durable=False) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(servers: World, tmp_path: Path) -> AsyncIterator[World]:
    """Give a world of 40 members beside the bot, both sides in step."""
    async with servers.renewed(tmp_path) as fresh:
        await fresh.make_guild(members=40)
        await fresh.fill_site()
        yield fresh


def verified_run() -> EndedRun:
    """Return a run of which log and mod-log say that it ended well."""
    body = {
        "embeds": [
            {
                "title": "Sync of users finished",
                "description": "Verified",
                "footer": {"text": "run abc"},
            }
        ]
    }
    message = ModLogMessage(id=1, author_id=2, states=((datetime(2021, 1, 12, tzinfo=UTC), body),))
    return EndedRun(
        line={"run_id": "abc", "ending": "verified"}, message=message, mod_log=(message,)
    )


async def test_both_sides_are_filled_in_step(world: World) -> None:
    """After filling nothing differs, and every member, the bot included, has a row."""
    differences = await world.differences()

    assert (differences, len(await world.tables.users())) == ([], 41)
    assert await judge(world, verified_run()) == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "UPDATE api_user SET display_name = 'eve' WHERE id = %s",
            "user {id}: display_name is 'eve' on the site and {shown!r} in the guild",
        ),
        ("DELETE FROM api_user WHERE id = %s", "user {id}: the site lacks it"),
    ],
)
async def test_one_wrong_row_is_the_one_fault(world: World, statement: str, told: str) -> None:
    """A run that calls itself verified is judged by the rows: one changed by SQL is named."""
    row = (await world.tables.users())[7]
    await world.tables.execute(statement, row.id)

    assert await judge(world, verified_run()) == [told.format(id=row.id, shown=row.display_name)]


async def test_a_deleted_role_differs_in_every_holder(world: World) -> None:
    """Deleting the shared role in the guild leaves the site wrong in it and in each holder."""
    await world.control.delete_role(world.ids.guild, world.ids.shared_role)

    found = [(difference.what, difference.field) for difference in await world.differences()]
    assert found == [("role", "row"), *[("user", "roles")] * 40]


async def test_the_audit_tells_each_row_as_it_was_written(world: World) -> None:
    """Made, changed, deleted, of users and roles alike, once each; but nothing before `begin`."""
    audit = SiteAudit(database_url=world.tables.database_url)
    await audit.begin()
    await audit.begin()
    first, second, *_ = await world.tables.users()
    role = (await world.tables.roles())[3]
    before = datetime.now(UTC)
    await world.tables.execute("UPDATE api_user SET in_guild = false WHERE id = %s", first.id)
    await world.tables.execute("DELETE FROM api_role WHERE id = %s", role.id)
    news = await audit.news()
    await world.tables.execute("UPDATE api_user SET name = 'eve' WHERE id = %s", second.id)
    later = await audit.news()

    moments = [before, *(write.at for write in [*news, *later])]
    assert moments == sorted(moments)
    assert [(write.key, write.row) for write in news] == [
        (Key("user", first.id), replace(first, in_guild=False)),
        (Key("role", role.id), None),
    ]
    assert [(write.key, write.row) for write in later] == [
        (Key("user", second.id), replace(second, name="eve"))
    ]
    assert await audit.news() == []


async def test_a_write_under_way_is_told_of_once_it_is_there(world: World) -> None:
    """An open transaction holds back what began after it, so that nothing is ever passed over."""
    audit = SiteAudit(database_url=world.tables.database_url)
    await audit.begin()
    first, second, *_ = await world.tables.users()
    statement = "UPDATE api_user SET name = 'eve' WHERE id = %s"
    connection = await psycopg.AsyncConnection.connect(world.tables.database_url)
    async with connection:
        await connection.execute(statement, (first.id,))
        await world.tables.execute(statement, second.id)
        meanwhile = await audit.news()

    assert meanwhile == []
    assert {write.key.id for write in await audit.news()} == {first.id, second.id}


async def test_a_failed_run_is_a_fault_even_if_all_rows_are_right(world: World) -> None:
    """Rows alone don't converge: the run must have ended verified."""
    ended = verified_run()
    failed = EndedRun(
        line={"run_id": "abc", "ending": "failed"}, message=ended.message, mod_log=ended.mod_log
    )

    assert await judge(world, failed) == ["the run ended failed, not verified"]


async def test_the_harness_own_requests_are_not_the_bots(world: World) -> None:
    """Warming the site changes no row and is not counted among what a bot asked."""
    await world.warm_site()

    assert (world.site_requests(), await world.differences()) == ([], [])


async def test_the_program_replays_and_writes_its_figures(tmp_path: Path) -> None:
    """`python -m sandbox replay` ends with 0, converged, its figures in the promised order."""
    figures = figures_of(tmp_path, "--members", "300")

    assert list(figures) == KEYS
    assert [figures[key] for key in ("members", "changes", "applied", "converged")] == [
        300,
        300,
        300,
        True,
    ]
    assert any("finished" in text for text in figures["mod_log"])


async def test_a_site_can_hide_its_digests(tmp_path: Path) -> None:
    """`--no-digests`: the same end, by rows that are read."""
    logs = tmp_path / "logs"
    figures = figures_of(tmp_path, "--members", "300", "--no-digests", "--keep-logs", str(logs))
    log = next(logs.glob("*/website/*.log")).read_text()

    assert figures["converged"]
    assert "bot/sync/capabilities" in log
    assert "bot/sync/digests" not in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_replay_leaves_nothing_running(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Told to stop in the middle, the replay ends all it started and says where the logs are."""
    with subprocess.Popen(  # noqa: ASYNC220  nothing else runs on this loop
        [sys.executable, "-m", "sandbox", "replay", "--members", "300", "--keep-logs", tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as replay:
        assert replay.stdout is not None
        for line in replay.stdout:
            if "starting the bot" in line:
                break
        family = psutil.Process(replay.pid).children(recursive=True)
        replay.send_signal(number)
        last_words = replay.stdout.read()

    left = [process for process in family if process.is_running()]
    assert (replay.returncode, len(family) >= 3, left) == (130, True, [])
    assert "Stopped; every server has ended." in last_words


async def test_an_unknown_command_is_refused_with_the_list(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever mistypes learns what there is."""
    code = main(["reply"])

    assert (code, "replay" in capsys.readouterr().err) == (2, True)
