"""A body that is checked and written as a whole comes to the same as one that goes row by row."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.website.conftest import LastingWebsite, emptied
from tests.website.harness import DEADLINE_S, Website, add_users, environment, user_id
from website.api.whole import LARGEST_BODY

PERSON: dict[str, Any] = {
    "id": 1,
    "name": "n",
    "display_name": "d",
    "discriminator": 0,
    "roles": [11],
    "in_guild": True,
}
# Most of a row is right, or nothing in a list would be taken by either way.
odd: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, 0, 1, 11, -1, 9999, 10_000, 2**63 - 1, 2**63, 1.0, 1e300, "1", "true", ""),
        *(" n ", "n\0", "\ud800", "😀" * 32, "😀" * 33, "\u2028n", "n\x1f", "٣", [], {}),
        *([11, 11], [12, 11], [11, True], [11, 10**9], ["11"], [[11]], [2**63], [11.0]),
    ]
)
people = st.builds(
    lambda id_, changes, gone: {
        name: value for name, value in {**PERSON, "id": id_, **changes}.items() if name not in gone
    },
    st.integers(1, 4),
    st.dictionaries(st.sampled_from([*PERSON, "else"]), odd, max_size=1),
    st.sets(st.sampled_from([*PERSON]), max_size=2),
)
MANY = 50_000
WRITERS = 4  # what waits behind one write locks its own rows at the same moment
DEADLOCK_S = float(os.environ.get("DEADLOCK_S", "3"))


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def shared(request: pytest.FixtureRequest, lasting_website: LastingWebsite) -> Website:
    """Give the shared sites in turn."""
    return emptied(lasting_website(request.param))


def test_what_is_taken_as_a_whole_would_be_taken_row_by_row(tmp_path: Path) -> None:
    """Hundreds of bodies, right, odd and broken: none is taken that the slow way would not take."""
    tried = subprocess.run(
        [sys.executable, "-m", "tests.website.both_ways"],
        cwd=tmp_path,
        env=environment("sqlite:///none.sqlite3", DJANGO_SETTINGS_MODULE="website.settings"),
        capture_output=True,
        text=True,
        timeout=4 * DEADLINE_S,
        check=False,
    )

    assert (tried.returncode, tried.stderr) == (0, "")
    assert int(tried.stdout) > 60


def sent(site: Website, method: str, path: str, body: str) -> tuple[int, str, object]:
    """Send a body to a site that has two users; return the answer, and what the site has then."""
    site.database.query("DELETE FROM api_user")
    add_two = [PERSON | {"id": 1, "name": "one"}, PERSON | {"id": 2, "name": "two"}]
    with site.client() as client:
        client.post("bot/users", json=add_two).raise_for_status()
        answer = client.request(
            method, path, content=body, headers={"Content-Type": "application/json"}
        )
    return answer.status_code, answer.text, site.database.stored()


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(people, max_size=3), creates=st.booleans())
@example(rows=[PERSON | {"name": " n "}], creates=False)
@example(rows=[{"id": 1}], creates=False)
@example(rows=[{"id": 1, "in_guild": False}, {"id": 4, "in_guild": False}], creates=False)
@example(rows=[PERSON, PERSON], creates=True)
@example(rows=[PERSON | {"roles": [10**9]}], creates=False)
@example(rows=[PERSON | {"roles": [11, 11]}], creates=False)
@example(rows=[PERSON | {"display_name": "n\0"}], creates=False)
@example(rows=[PERSON | {"roles": [2**63]}], creates=False)
@example(rows=[PERSON | {"id": 3, "roles": [10**9]}], creates=True)
@example(rows=[{"id": 3, "name": "n", "discriminator": 1}], creates=True)
def test_both_ways_come_to_the_same(
    shared: Website,
    rows: list[dict[str, Any]],
    creates: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    """Blanks make a body too long to be checked as a whole, and change nothing else."""
    request = ("POST", "bot/users") if creates else ("PATCH", "bot/users/bulk_patch")
    body = json.dumps(rows)

    at_once = sent(shared, *request, body)
    assert sent(shared, *request, body[0] + " " * LARGEST_BODY + body[1:]) == at_once


def test_a_row_that_is_missing_undoes_the_others(website: Website) -> None:
    """The first of them in the order of the request is named."""
    add_users(website.database, 2)
    before = website.database.stored()
    unknown = [{"id": id_, "name": "new"} for id_ in (user_id(1), 7, 5, user_id(0))]
    with website.client() as client:
        answer = client.patch("bot/users/bulk_patch", json=unknown)

    assert (answer.status_code, answer.json()) == (404, {"detail": "User with id 7 not found."})
    assert website.database.stored() == before


def test_writers_that_meet_never_wait_for_each_other_in_a_circle(
    postgres_website: Website,
) -> None:
    """Updates and creates of the same people, in all orders at once, for DEADLOCK_S seconds."""
    site = postgres_website
    add_users(site.database, MANY)  # few would be read, and locked, in the table's own order
    site.database.query("VACUUM ANALYZE api_user")
    known = [user_id(index) for index in range(0, MANY, MANY // 400)]
    turn = Turns(writers=WRITERS, until_s=time.monotonic() + DEADLOCK_S)

    def write(writer: int) -> list[httpx.Response]:
        chance, answers = random.Random(writer), []
        with site.client() as client:
            while turn.begins():
                new = [user_id(MANY + 400 * turn.number + index) for index in range(400)]
                steps = [
                    ("PATCH", "bot/users/bulk_patch", [{"id": one, "name": "a"} for one in known]),
                    ("POST", "bot/users", [PERSON | {"id": one} for one in new]),
                ]
                for method, path, rows in steps if writer % 2 else steps[::-1]:
                    chance.shuffle(rows)
                    answers.append(client.request(method, path, json=rows))
        return answers

    with ThreadPoolExecutor(WRITERS) as pool:
        answers = [answer for part in pool.map(write, range(WRITERS)) for answer in part]

    assert len(answers) == 2 * WRITERS * turn.number
    assert turn.number > 2
    assert {answer.status_code for answer in answers} == {200, 201}


class Turns:
    """Turns that all writers begin at the same moment, as long as there is time."""

    def __init__(self, *, writers: int, until_s: float) -> None:
        self._barrier = threading.Barrier(writers, action=self._next)
        self._until_s = until_s
        self._are_left = True
        self.number = -1

    def begins(self) -> bool:
        """Wait for the others; tell whether there is one more turn."""
        self._barrier.wait(DEADLINE_S)
        return self._are_left

    def _next(self) -> None:
        self._are_left = time.monotonic() < self._until_s
        self.number += 1
