"""Whatever JSON comes in, the contract's answer goes out."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.website.conftest import LastingWebsite

FIELDS = ("id", "name", "display_name", "discriminator", "roles", "in_guild")
ROLE_FIELDS = ("id", "name", "colour", "permissions", "position")

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([11, 12, "11", 0, -1, 2**31, 2**63, -(2**63) - 1, 10**400, 1e300, "1e400"])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | st.sampled_from(["\ud800", "\0", "Infinity", "٣", "0x10", "null", "true"])
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
a_user = {"id": 1, "name": "n", "display_name": "d", "discriminator": 0, "roles": [11]}
a_role = {"id": 1, "name": "r", "colour": 0, "permissions": 0, "position": 0}
# Most rows are right but for their roles, or nothing in the list would be looked at closely.
users = st.builds(
    lambda field, value: {**a_user, field: value}, st.sampled_from(FIELDS), anything
) | st.builds(lambda value: {**a_user, "roles": value}, st.lists(anything, max_size=4))
roles = st.builds(
    lambda field, value: {**a_role, field: value}, st.sampled_from(ROLE_FIELDS), anything
)
rows = st.lists(users | anything, min_size=1, max_size=8)


def send(client: httpx.Client, method: str, path: str, body: Any) -> httpx.Response:
    """Send any JSON: httpx's own encoder would refuse a lone surrogate."""
    return client.request(
        method, path, content=json.dumps(body), headers={"Content-Type": "application/json"}
    )


def is_errors_of_a_row(value: object) -> bool:
    """Tell whether this is what the contract says of one row: each wrong field, with why.

    Of a row that is null DRF, and so the real site, says it without a field.
    """
    if value == ["This field may not be null."]:
        return True
    return isinstance(value, dict) and all(
        isinstance(errors, list | dict) and errors for errors in value.values()
    )


def is_as_promised(answer: httpx.Response, sent: Any) -> bool:
    """Tell whether the answer is the contract's: done, or a 400 or 404 in its own shapes."""
    value = answer.json()
    if answer.status_code in {200, 201}:
        return isinstance(value, list) == isinstance(sent, list)
    if answer.status_code == 404:
        return bool(list(value) == ["detail"])
    if answer.status_code != 400:
        return False
    if isinstance(value, list):
        return len(value) == len(sent) and all(map(is_errors_of_a_row, value)) and any(value)
    return list(value) == ["detail"] or is_errors_of_a_row(value)


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def client(
    request: pytest.FixtureRequest, lasting_website: LastingWebsite
) -> Iterator[httpx.Client]:
    """Give a client of the shared sites in turn; what they hold is of no interest."""
    with lasting_website(request.param).client() as client:
        yield client


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(many=rows, body=anything, user=users, role=roles)
def test_any_json_is_answered_in_the_contracts_shapes(
    client: httpx.Client, many: list[Any], body: Any, user: dict[str, Any], role: dict[str, Any]
) -> None:
    """In any field, as any row and as any body: never a 500, and each error at its row's place."""
    requests = [
        ("POST", "bot/users", many),
        ("PATCH", "bot/users/bulk_patch", many),
        ("POST", "bot/users", body),
        ("PATCH", "bot/users/bulk_patch", body),
        ("POST", "bot/users", user),
        ("PUT", "bot/users/1", user),
        ("PATCH", "bot/users/1", body),
        ("POST", "bot/roles", role),
        ("PUT", "bot/roles/11", role),
        ("PATCH", "bot/roles/1", body),
    ]
    answers = [(send(client, *request), request) for request in requests]

    assert [
        (request, answer.status_code, answer.text)
        for answer, request in answers
        if not is_as_promised(answer, request[2])
    ] == []
