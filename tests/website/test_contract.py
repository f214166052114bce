"""The real site's answers, replayed."""

import json
from typing import Any

import httpx
import pytest

from tests.site_contract.exchanges import (
    EXCHANGES,
    ROLES,
    SHOWN_USERS,
    USERS,
    in_its_form,
    send,
    shortened,
)
from tests.website.harness import (
    DEADLINE_S,
    Database,
    MakeDatabase,
    StartWebsite,
    Vendor,
    add_users,
)

# The real site answers these with an HTML page and status 500.
OUR_OWN: dict[str, Any] = {
    "create list, id above 2^63": [
        {"id": ["Ensure this value is less than or equal to 9223372036854775807."]}
    ],
    "bulk patch, empty list": {"non_field_errors": ["This list may not be empty."]},
}


def fill(database: Database) -> None:
    """Bring the database to the state before the first sample."""
    database.write(
        "INSERT INTO api_role (id, name, colour, permissions, position)"
        " VALUES (%s, %s, %s, %s, %s)",
        [list(role.values()) for role in ROLES],
    )
    add_users(database, USERS, roles=[352427296948486144])
    database.write(
        "UPDATE api_user SET roles = %s WHERE id = %s",
        [(json.dumps(row["roles"]), row["id"]) for row in SHOWN_USERS],
    )


def expected(exchange: dict[str, Any]) -> dict[str, Any]:
    """Return the answer that our site promises for the sample."""
    if exchange["name"] in OUR_OWN:
        ours = OUR_OWN[exchange["name"]]
        return {"status": 400, "content_type": "application/json", "json": ours}
    answer: dict[str, Any] = exchange["response"]
    return answer


@pytest.mark.parametrize("vendor", ["sqlite", "postgresql"])
def test_every_sample_is_answered_as_the_real_site_did(
    vendor: Vendor, start_website: StartWebsite, make_database: MakeDatabase
) -> None:
    """Status, content type and body are the real site's, in order, from its state of that day."""
    website = start_website(make_database(vendor))
    fill(website.database)
    wanted = [(sample["name"], expected(sample)) for sample in EXCHANGES]

    with httpx.Client(timeout=DEADLINE_S, trust_env=False) as client:
        answers = [
            (
                name,
                shortened(
                    in_its_form(send(sample, client, url=website.url, token=website.token)), like
                ),
            )
            for sample, (name, like) in zip(EXCHANGES, wanted, strict=True)
        ]

    assert answers == wanted
