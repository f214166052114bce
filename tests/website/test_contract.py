"""The real site's answers, replayed."""

import json
from typing import Any

import pytest

from tests.website.harness import (
    ROOT,
    Database,
    MakeDatabase,
    StartWebsite,
    Vendor,
    Website,
    add_users,
)

SAMPLES = json.loads((ROOT / "tests/site_contract/samples.json").read_text())

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
        [list(role.values()) for role in SAMPLES["state_before"]["roles"]],
    )
    add_users(database, 80_000, roles=[352427296948486144])
    pages = [sample["response"] for sample in SAMPLES["exchanges"][1:3]]
    database.write(
        "UPDATE api_user SET roles = %s WHERE id = %s",
        [
            (json.dumps(row["roles"]), row["id"])
            for page in pages
            for row in page["json"]["results"]
        ],
    )


def replay(website: Website, exchange: dict[str, Any]) -> dict[str, Any]:
    """Send the sample's request; return the answer in the sample's form."""
    request = exchange["request"]
    content = request.get("content")
    if content and content.startswith("("):
        content = b"[" + b" " * (53 * 2**20) + b"]"
    with website.client() as client:
        if "headers" in request:
            client.headers.pop("Authorization")
        response = client.request(
            request["method"],
            f"{website.url}{request['path']}",
            params=request["params"],
            headers=request.get("headers"),
            **({"json": request["json"]} if request["json"] is not None else {"content": content}),
        )
    is_json = response.headers.get("Content-Type") == "application/json"
    answer = {
        "status": response.status_code,
        "content_type": response.headers.get("Content-Type"),
        "json": response.json() if is_json else None,
    }
    return answer if is_json else {**answer, "text": response.text}


def expected(exchange: dict[str, Any]) -> dict[str, Any]:
    """Return the answer that our site promises for the sample."""
    if exchange["name"] in OUR_OWN:
        ours = OUR_OWN[exchange["name"]]
        return {"status": 400, "content_type": "application/json", "json": ours}
    answer: dict[str, Any] = exchange["response"]
    return answer


def shortened(answer: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """Leave out the rows that the sample leaves out."""
    rows = like["json"]
    if not isinstance(rows, list) or "(the rest left out)" not in rows:
        return answer
    shown = len(rows) - 1
    return {**answer, "json": [*answer["json"][:shown], rows[-1]]}


@pytest.mark.parametrize("vendor", ["sqlite", "postgresql"])
def test_every_sample_is_answered_as_the_real_site_did(
    vendor: Vendor, start_website: StartWebsite, make_database: MakeDatabase
) -> None:
    """Status, content type and body are the real site's, in order, from its state of that day."""
    website = start_website(make_database(vendor))
    fill(website.database)
    wanted = [(sample["name"], expected(sample)) for sample in SAMPLES["exchanges"]]

    answers = [
        (sample["name"], shortened(replay(website, sample), like))
        for sample, (_, like) in zip(SAMPLES["exchanges"], wanted, strict=True)
    ]

    assert answers == wanted
