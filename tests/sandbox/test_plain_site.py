"""The stand-in for a plain site: what it answers, what it costs, and who can be kept in step."""

import asyncio
import functools
import itertools
import json
import math
import signal
import statistics
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest
import pytest_asyncio

from sandbox.__main__ import main
from sandbox.old_syncer import OldSyncer
from sandbox.plain_site.costs import Queue
from sandbox.plain_site.memory_limit import EXCEEDED
from sandbox.replay.checks import RoleRow, UserRow
from sandbox.replay.site_tables import PlainSiteTables
from sandbox.replay.world import World
from sandbox.servers import PlainSite, Website
from sandbox.servers.plain_site import FIRST_USER
from tests.site_contract.exchanges import (
    EXCHANGES,
    ROLES,
    SHOWN_USERS,
    USERS,
    in_its_form,
    send,
    shortened,
)

pytestmark = pytest.mark.slow
in_module = pytest.mark.asyncio(loop_scope="module")

_HTML: Final = "text/html; charset=utf-8"
_ANSWERED: Final = "website.request.finished"
_TIMEOUT_S: Final = 60.0
_MOST_ROWS: Final = 2_500
_EVERYONE: Final = RoleRow(id=1, name="@everyone", colour=0, permissions=0, position=0)


def _user(number: int) -> UserRow:
    return UserRow(
        id=1 + number,
        name=f"user{number}",
        display_name=f"User {number}",
        discriminator=0,
        roles=(_EVERYONE.id,),
        in_guild=True,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Start PostgreSQL, a plain site with its costs, and a local Discord for all tests here."""
    async with World(tmp_path_factory.mktemp("world"), durable=False, plain=True) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(servers: World, tmp_path: Path) -> AsyncIterator[World]:
    """Give a world of 300 members beside the bot, both sides in step."""
    async with servers.renewed(tmp_path) as fresh:
        await fresh.make_guild(members=300)
        await fresh.fill_site()
        yield fresh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    servers: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PlainSite]:
    """Start a site without costs on a database of its own; what is in it is anybody's."""
    database_url = await servers.postgres.create_database("free_site")
    directory = tmp_path_factory.mktemp("site")
    async with PlainSite(directory, database_url=database_url, costs=0) as running:
        yield running


async def _fill(site: PlainSite) -> None:
    """Bring the site's database to the state before the first sample."""
    await site.seed(rows=USERS, roles=1)
    url = site.settings["DATABASE_URL"]
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("DELETE FROM api_role")
        cursor = connection.cursor()
        await cursor.executemany(
            "INSERT INTO api_role (id, name, colour, permissions, position)"
            " VALUES (%(id)s, %(name)s, %(colour)s, %(permissions)s, %(position)s)",
            ROLES,
        )
        await cursor.executemany(
            "UPDATE api_user SET roles = %(roles)s WHERE id = %(id)s", SHOWN_USERS
        )


def _in_form(response: httpx.Response, like: dict[str, Any]) -> dict[str, Any]:
    answer = in_its_form(response)
    if answer["content_type"] == _HTML and answer["text"].strip().startswith("<!doctype html>"):
        return {**answer, "text": "(an HTML error page)"}
    return shortened(answer, like)


@in_module
async def test_every_sample_is_answered_byte_for_byte(site: PlainSite) -> None:
    """In order, from the state of that day, the two pages of status 500 included.

    The samples are kept as values; their bytes are the compact ones that DRF writes.
    """
    await _fill(site)

    with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
        responses = [send(sample, client, url=site.url, token=site.token) for sample in EXCHANGES]

    wanted = [sample["response"] for sample in EXCHANGES]
    assert [
        (sample["name"], _in_form(response, sample["response"]))
        for sample, response in zip(EXCHANGES, responses, strict=True)
    ] == [(sample["name"], sample["response"]) for sample in EXCHANGES]
    whole = [
        (response.content, _compact(like["json"]))
        for response, like in zip(responses, wanted, strict=True)
        if like["json"] is not None and "(the rest left out)" not in like["json"]
    ]
    assert len(whole) == 43
    assert [content for content, _ in whole] == [like for _, like in whole]


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@in_module
async def test_nothing_is_offered_and_no_wish_is_heard(site: PlainSite) -> None:
    """No capabilities; the rows are answered whoever prefers none; no header tells of times."""
    await site.seed(rows=1)
    wish = {"Prefer": "return=minimal", "X-Request-ID": "mine"}
    change = [{"id": FIRST_USER, "name": "renamed"}]

    async with _client(site) as client:
        offered = await client.get("bot/sync/capabilities")
        written = await client.patch("bot/users/bulk_patch", json=change, headers=wish)

    assert offered.status_code == 404
    assert written.json() == [
        {
            "id": FIRST_USER,
            "name": "renamed",
            "display_name": "User 0",
            "discriminator": 0,
            "roles": [1],
            "in_guild": True,
        }
    ]
    assert {name.lower() for name in written.headers} & {
        *("preference-applied", "server-timing", "x-request-id")
    } == set()


@in_module
async def test_bulk_patch_answers_what_it_was_sent(site: PlainSite) -> None:
    """What a trigger makes of a row on its way to the disk is not in the answer."""
    await site.seed(rows=1)
    tables = PlainSiteTables(database_url=site.settings["DATABASE_URL"])
    await tables.execute(
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.name = upper(NEW.name); RETURN NEW; END $$"
    )
    await tables.execute(
        "CREATE TRIGGER shout BEFORE UPDATE ON api_user FOR EACH ROW EXECUTE FUNCTION shout()"
    )
    change = [{"id": FIRST_USER, "name": "quiet"}]

    async with _client(site) as client:
        (answered,) = (await client.patch("bot/users/bulk_patch", json=change)).json()

    (stored,) = await tables.users()
    await tables.execute("DROP FUNCTION shout CASCADE")
    assert (answered["name"], stored.name) == ("quiet", "QUIET")


def _client(site: Website) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=site.api_url,
        headers={"Authorization": f"Token {site.token}"},
        timeout=_TIMEOUT_S,
        trust_env=False,
    )


@in_module
async def test_costs_grow_with_the_rows_as_on_the_real_site(world: World) -> None:
    """Each kind of request holds the site for its declared cost, and for little more.

    The times are the site's own, the shortest of two; only a busy machine makes them longer.
    """
    site = world.website
    await world.tables.replace(
        roles=[_EVERYONE], users=[_user(number) for number in range(_MOST_ROWS)]
    )
    before = len(site.events(_ANSWERED))

    async with _client(site) as client:
        for rows in (1, 1, 100, 100, 1_000):
            change = [{"id": 1 + number, "in_guild": True} for number in range(rows)]
            (await client.patch("bot/users/bulk_patch", json=change)).raise_for_status()
        for rows in (1, 1, 2_500, 2_500):
            (await client.get("bot/users", params={"page_size": rows})).raise_for_status()
        for path in ("bot/roles", "bot/users/1", "healthcheck", "bot/users/0"):
            await client.get(path)
        await client.patch("bot/users/bulk_patch", json=[{"id": 1, "roles": [0]}] * 10)

    lines = site.events(_ANSWERED)[before:]
    writes, pages, others, refused = lines[:5], lines[5:9], lines[9:13], lines[13]
    assert all(line["held_ms"] >= line["floor_ms"] for line in lines)
    assert [line["floor_ms"] for line in others] == [25.0] * 4
    assert (refused["status"], refused["floor_ms"]) == (400, 45.0)
    write_s, write_row_s = _fitted(writes)
    page_s, page_row_s = _fitted(pages)
    assert (write_s, write_row_s) == (_near(0.025, within=0.06), _near(0.002, within=0.0005))
    assert (page_s, page_row_s) == (_near(0.120, within=0.06), _near(0.000_015, within=0.000_05))


def _fitted(lines: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return what a request costs by itself and for each row (s), by least squares."""
    shortest: dict[int, float] = {}
    for line in lines:
        shortest[line["rows"]] = min(shortest.get(line["rows"], math.inf), line["held_ms"] / 1_000)
    row_s, request_s = statistics.linear_regression([*shortest], [*shortest.values()])
    return request_s, row_s


def _near(value: float, *, within: float) -> Any:
    return pytest.approx(value, abs=within)


@in_module
async def test_requests_wait_for_one_another(world: World) -> None:
    """Of four that come at once each holds the site alone: it begins when the last has ended."""
    before = len(world.website.events(_ANSWERED))

    async with _client(world.website) as client:
        await asyncio.gather(*(client.get("healthcheck") for _ in range(4)))

    held = [_held(line) for line in world.website.events(_ANSWERED)[before:]]
    rounding_s = 0.002
    assert len(held) == 4
    assert all(later[0] >= end - rounding_s for (_, end), later in itertools.pairwise(held))


def _held(line: Mapping[str, Any]) -> tuple[float, float]:
    """Return when a request began and ceased to hold the site, in seconds of the day's clock."""
    came_s = datetime.fromisoformat(line["started_at"]).timestamp()
    begin_s = came_s + line["waited_ms"] / 1_000
    return begin_s, begin_s + line["held_ms"] / 1_000


def test_the_queue_is_first_come_first_served() -> None:
    """Threads have their turns in the order in which they asked, one at a time."""
    queue = Queue()
    turns: list[int] = []
    inside: list[int] = []

    def ask(number: int) -> None:
        with queue.turn():
            inside.append(number)
            turns.append(number)
            assert inside == [number]
            inside.clear()

    with queue.turn():
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for count, thread in enumerate(threads, start=1):
            thread.start()
            while len(queue.waiting) < count:
                time.sleep(0.001)
    for thread in threads:
        thread.join()

    assert turns == list(range(8))


@in_module
async def test_the_old_syncer_leaves_no_difference(world: World) -> None:
    """Roles and users that are new, changed or gone are brought in step, in chunks as told."""
    members = await world.expected_users()
    roles = await world.expected_roles()
    execute, changed = world.tables.execute, members[200].id
    await execute("UPDATE api_user SET name = 'eve', roles = '{}' WHERE id = %s", changed)
    await execute("DELETE FROM api_user WHERE id < %s", changed)
    await execute("INSERT INTO api_user VALUES (7, 'gone', '', 0, '{9}', true)")
    await execute("UPDATE api_role SET name = 'old' WHERE id = %s", roles[3].id)
    await execute("DELETE FROM api_role WHERE id = %s", roles[4].id)
    await execute("INSERT INTO api_role VALUES (8, 'gone', 0, 0, 0)")
    site = world.website
    syncer = OldSyncer(api_url=site.api_url, token=site.token, page_rows=100, chunk_rows=150)

    first = await syncer.sync(roles=roles, members=members)
    differences = await world.differences()
    second = await syncer.sync(roles=roles, members=members)

    assert differences == []
    # Roles and 2 pages of those that are left; then 200 users in two chunks, and two changes.
    assert (first.roles, first.created, first.updated, first.requests) == (3, 200, 2, 1 + 3 + 2 + 3)
    # Roles and four pages: 301 members and who is gone.
    assert (second.roles, second.created, second.updated, second.requests) == (0, 0, 0, 5)
    assert 0.025 < first.largest_request_s <= first.seconds["writing"] < first.wall_s
    assert second.seconds["writing"] < second.seconds["reading"] / 10
    assert second.sent_bytes == 0 < second.received_bytes


@in_module
async def test_our_own_extension_keeps_it_in_step(world: World) -> None:
    """The incident on a site that offers nothing: verified, and every row is right."""
    await world.control.delete_role(world.ids.guild, world.ids.shared_role)
    bot = world.bot()
    await bot.start()

    ended = await bot.wait_for_event("sync.run.finished")
    await bot.stop()

    assert ended["ending"] == "verified"
    assert await world.differences() == []
    assert sum(line.rows or 0 for line in world.site_requests() if line.bulk) == 300


@in_module
async def test_one_request_for_all_is_what_the_memory_does_not_hold(site: PlainSite) -> None:
    """The incident the old way: killed in mid-request by a limit that chunks keep below."""
    await site.restart()  # with the memory of a site that has done nothing yet
    await site.seed(rows=2_000)
    tables = PlainSiteTables(database_url=site.settings["DATABASE_URL"])
    roles, before = await tables.roles(), await tables.users()
    way = functools.partial(OldSyncer, api_url=site.api_url, token=site.token, page_rows=500)
    in_chunks, at_once = way(chunk_rows=250), way(chunk_rows=None)

    members = [replace(row, roles=(2, 3)) for row in before]
    await in_chunks.sync(roles=roles, members=members)
    site.settings["MEMORY_LIMIT_MB"] = str(math.ceil(site.peak_rss_mb()) + 3)
    await site.restart()
    with pytest.raises(httpx.RemoteProtocolError):
        await at_once.sync(roles=roles, members=before)

    assert (await site.wait_ended(), len(site.events(EXCEEDED))) == (-signal.SIGKILL, 1)
    assert (in_chunks.run.updated, at_once.run.updated) == (2_000, 0)
    assert await tables.users() == members


def test_the_command_syncs_the_old_way(capsys: pytest.CaptureFixture[str]) -> None:
    """With a database of its own: it prints what the sync took, and leaves nothing running."""
    code = main(["plain-site", "--rows", "50", "--change", "20", "--costs", "0"])

    figures = json.loads(capsys.readouterr().out)
    assert (code, figures["updated"], figures["requests"], figures["differences"]) == (0, 20, 3, 0)
    assert figures["site_cpu_s"] > 0
