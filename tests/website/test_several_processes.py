"""Four processes of the site on one database, behind one address that takes them in turn."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.website.harness import (
    DEADLINE_S,
    KNOWN_ROLES,
    Database,
    MakeDatabase,
    StartWebsite,
    Website,
    add_account,
    add_key,
    add_roles,
    add_users,
    user_id,
)
from tests.website.round_robin import in_turn
from tests.website.test_service import wait_until

PROCESSES = 4
USERS = 4_000
BOUNDS = f"{user_id(0)},{user_id(USERS // 2)},{user_id(USERS)}"
DIGESTS = f"bot/sync/digests?bounds={BOUNDS}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The four, and what is asked of them."""

    processes: list[Website]
    client: httpx.Client  # which opens a new connection for each request

    @property
    def database(self) -> Database:
        return self.processes[0].database

    def ask(self, method: str, path: str, *, token: str = "", **given: Any) -> httpx.Response:
        """Ask whose turn it is."""
        token = token or self.processes[0].token
        headers = {"Authorization": f"Token {token}"}
        return self.client.request(method, f"/api/{path}", headers=headers, **given)

    def ask_each(self, method: str, path: str, **given: Any) -> list[tuple[int, Any]]:
        """Ask as often as there are processes; return status and content of each answer."""
        answers = [self.ask(method, path, **given) for _ in self.processes]
        return [(answer.status_code, answer.json()) for answer in answers]


@pytest.fixture(scope="module")
def site(start_website: StartWebsite, make_database: MakeDatabase) -> Iterator[Site]:
    """Give four processes with roles and users."""
    database = make_database("postgresql")
    processes = [start_website(database, MAX_REQUEST_ITEMS="2000")]
    with ThreadPoolExecutor(PROCESSES) as pool:
        others = [database] * (PROCESSES - 1)
        processes += pool.map(lambda one: start_website(one, MAX_REQUEST_ITEMS="2000"), others)
    add_roles(database, KNOWN_ROLES)
    add_users(database, USERS)
    with (
        in_turn([process.address for process in processes]) as url,
        httpx.Client(
            base_url=url,
            timeout=DEADLINE_S,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        ) as client,
    ):
        yield Site(processes=processes, client=client)


def answered(site: Site) -> list[int]:
    """Return how many requests each process has logged."""
    return [
        sum(line["event"] == "website.request.finished" for line in [*process.lines])
        for process in site.processes
    ]


def test_all_have_the_same_limits_and_capabilities(site: Site) -> None:
    """Whoever is asked: what is offered is the same, and holds."""
    before = answered(site)
    offered = site.ask_each("GET", "bot/sync/capabilities")
    refused = site.ask_each("PATCH", "bot/users/bulk_patch", json=[{"id": 1}] * 2_001)
    wait_until(lambda: sum(answered(site)) == sum(before) + 2 * PROCESSES)

    assert answered(site) == [count + 2 for count in before]
    assert offered == [offered[0]] * PROCESSES
    assert offered[0][1]["max_items"] == 2_000
    assert [status for status, _ in refused] == [413] * PROCESSES


def test_a_write_is_in_every_digest_after_it(site: Site) -> None:
    """What one process has written all others sum up, at once."""
    before = site.ask_each("GET", DIGESTS)
    for index in range(PROCESSES):
        gone = [{"id": user_id(index), "in_guild": False}]
        assert site.ask("PATCH", "bot/users/bulk_patch", json=gone).status_code == 200

        digests = site.ask_each("GET", DIGESTS)

        assert digests == [digests[0]] * PROCESSES
        assert digests[0][1]["counts"] == [USERS // 2 - 1 - index, USERS // 2]
    assert before == [before[0]] * PROCESSES


def test_a_role_counts_for_all_as_soon_as_one_has_it(site: Site) -> None:
    """A role that one process made or deleted the others know, or don't, at their next request."""
    role = {"id": 77, "name": "r", "colour": 0, "permissions": 0, "position": 0}
    holders = [{"id": user_id(9), "roles": [77]}]
    path = "bot/users/bulk_patch"
    for _ in range(2):  # each time by another process
        before = site.ask_each("PATCH", path, json=holders)
        site.ask("POST", "bot/roles", json=role).raise_for_status()
        known = site.ask_each("PATCH", path, json=holders)
        site.ask("DELETE", "bot/roles/77").raise_for_status()
        after = site.ask_each("PATCH", path, json=holders)

        unknown = (400, [{"roles": ["Role with ID 77 does not exist"]}])
        assert (before, after) == ([unknown] * PROCESSES, [unknown] * PROCESSES)
        assert [status for status, _ in known] == [200] * PROCESSES


def test_writers_at_once_leave_whole_chunks(site: Site) -> None:
    """Chunks of the same users in opposite orders, through all processes: each is written whole."""
    ids = [user_id(1_000 + index) for index in range(1_000)]

    def write(turn: int) -> int:
        rows = [{"id": one, "name": f"turn {turn}"} for one in ids[:: -1 if turn % 2 else 1]]
        return site.ask("PATCH", "bot/users/bulk_patch", json=rows).status_code

    with ThreadPoolExecutor(PROCESSES) as pool:
        statuses = [*pool.map(write, range(4 * PROCESSES))]
    stored = site.database.stored()

    assert statuses == [200] * 4 * PROCESSES
    assert len({stored[one][0] for one in ids}) == 1


def test_a_key_that_is_ended_opens_none(site: Site) -> None:
    """No process remembers a key, or what it may do, once the database does not."""
    account = add_account(site.database, "another bot")
    key = add_key(site.database, account)
    strange = site.ask_each("GET", "bot/roles", token=key)
    site.database.query(
        "INSERT INTO auth_user_groups (user_id, group_id)"
        " SELECT %s, id FROM auth_group WHERE name = 'bots'",
        account,
    )
    good = site.ask_each("GET", "bot/roles", token=key)
    site.database.query("DELETE FROM api_key WHERE account_id = %s", account)
    ended = site.ask_each("GET", "bot/roles", token=key)

    assert [status for status, _ in (*strange, *good, *ended)] == (
        [403] * PROCESSES + [200] * PROCESSES + [401] * PROCESSES
    )


@pytest.fixture(scope="module", autouse=True)
def bots(site: Site) -> None:
    """Have a group whose accounts may use the API."""
    site.database.query("INSERT INTO auth_group (name) VALUES ('bots')")
    site.database.query(
        "INSERT INTO auth_group_permissions (group_id, permission_id)"
        " SELECT auth_group.id, auth_permission.id FROM auth_group, auth_permission"
        " WHERE codename = 'use_api'"
    )
