"""What one request may cost, however it is made."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.website.harness import (
    MakeDatabase,
    StartWebsite,
    Website,
    add_roles,
    add_users,
    user_id,
)

MOST_EXTRA_MB = 100  # for six requests at once
MOST_ANSWER_BYTES = 524_288


def one_row(role: str, count: int) -> str:
    """Return a list of one user who has the same role so many times."""
    return f'[{{"id": 1, "roles": [{",".join([role] * count)}]}}]'


HEAVY = {
    "an unknown role, 520,000 times": one_row("5", 520_000),
    "a known role, 340,000 times": one_row("11", 340_000),
    "a list for a role, 340,000 times": one_row("[]", 340_000),
    "an object for a role, 130,000 times": one_row('{"a":0}', 130_000),
    "900 unknown roles, in 60 rows": json.dumps(
        [{"id": row, "roles": list(range(100, 1_000))} for row in range(1, 61)]
    ),
    "every field wrong, in 2,500 rows": json.dumps(
        [{key: [] for key in ("id", "name", "discriminator", "roles", "in_guild")}] * 2_500
    ),
}


@pytest.mark.parametrize("kind", HEAVY)
def test_a_megabyte_costs_some_tens_of_megabytes(postgres_website: Website, kind: str) -> None:
    """Six at once are refused with short answers, and take no hundred megabytes together."""
    site = postgres_website
    Path(f"/proc/{site.process.pid}/clear_refs").write_text("5")  # begins the peak anew
    before_mb = site.memory_mb("VmHWM")

    def send(_turn: int) -> httpx.Response:
        with site.client() as client:
            return client.patch(
                "bot/users/bulk_patch",
                content=HEAVY[kind],
                headers={"Content-Type": "application/json"},
            )

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(6)))

    assert {(answer.status_code, len(answer.json())) for answer in answers} == {
        (400, len(json.loads(HEAVY[kind])))
    }
    assert max(len(answer.content) for answer in answers) < MOST_ANSWER_BYTES
    assert site.memory_mb("VmHWM") - before_mb < MOST_EXTRA_MB


def test_a_body_is_let_go_once_it_is_written(
    start_website: StartWebsite, make_database: MakeDatabase
) -> None:
    """Forty chunks of half a megabyte leave next to nothing, though Python never cleans up."""
    site = start_website(
        make_database("postgresql"), EXTRA_MIDDLEWARE="tests.website.observing.NeverCollecting"
    )
    roles = [10**18 + index for index in range(20)]
    add_roles(site.database, roles)
    add_users(site.database, 1_000)
    body = json.dumps([{"id": user_id(index), "roles": roles} for index in range(1_000)])
    peaks_mb = []
    with site.client() as client:
        client.headers.update({"Content-Type": "application/json", "Prefer": "return=minimal"})
        for _ in range(50):
            client.patch("bot/users/bulk_patch", content=body).raise_for_status()
            peaks_mb.append(site.memory_mb("VmHWM"))

    assert peaks_mb[-1] - peaks_mb[9] < 40 * len(body) / 2**20 / 2
