"""Every request of the contract: method, path, parameters, body, and what it is for."""

from dataclasses import replace

import pytest

from bot.exts.backend.sync._core.model.changes import Kind
from bot.exts.backend.sync._core.model.members import RoleId, UserId
from bot.exts.backend.sync._core.site import requests, wire
from bot.exts.backend.sync._core.site.outcome import Purpose
from bot.exts.backend.sync._core.site.requests import Request

from .examples import role, user_ids
from .samples import SAMPLES

ROLE_BODY = b'{"id":5,"name":"role5","colour":0,"permissions":8,"position":5}'
THIRD_PAGE = Request(
    method="GET",
    path="bot/users",
    params={"page": 3, "page_size": 500},
    purpose=Purpose.READ,
    read=wire.read_page,
)
ONE_UPDATE = Request(
    method="PATCH",
    path="bot/users/bulk_patch",
    purpose=Purpose.UPDATE,
    body=b"[{}]",
    read=wire.read_written_users,
    minimal=True,
    users=user_ids(1),
)
NEW_ROLE = Request(
    method="POST",
    path="bot/roles",
    purpose=Purpose.CREATE_ROLE,
    body=ROLE_BODY,
    role=RoleId(5),
    read=wire.read_written_role,
)


@pytest.mark.parametrize(
    ("made", "request_due"),
    [
        (
            requests.digests((0, 5, 2**63 - 1)),
            Request(
                method="GET",
                path="bot/sync/digests",
                params={"bounds": "0,5,9223372036854775807"},
                purpose=Purpose.READ,
                read=wire.read_digests,
            ),
        ),
        (
            requests.healthcheck(),
            Request(
                method="GET",
                path="healthcheck",
                purpose=Purpose.READ,
                read=requests._read_health,
            ),
        ),
        (
            requests.capabilities(),
            Request(
                method="GET",
                path="bot/sync/capabilities",
                purpose=Purpose.DISCOVER,
                read=wire.read_capabilities,
            ),
        ),
        (
            requests.page(3, size=500),
            THIRD_PAGE,
        ),
        (
            requests.page_after(7919, size=500),
            replace(
                THIRD_PAGE,
                params={"after": 7919, "page_size": 500},
                read=wire.read_page_by_id,
            ),
        ),
        (
            requests.user(UserId(7)),
            Request(
                method="GET", path="bot/users/7", purpose=Purpose.READ_ONE, read=wire.read_user
            ),
        ),
        (
            requests.write_users(Kind.CREATE, b"[{},{}]", users=user_ids(1, 2)),
            Request(
                method="POST",
                path="bot/users",
                purpose=Purpose.CREATE,
                body=b"[{},{}]",
                rows=2,
                read=wire.read_written_users,
                minimal=True,
                users=user_ids(1, 2),
            ),
        ),
        (
            requests.write_users(Kind.UPDATE, b"[{}]", users=user_ids(1)),
            ONE_UPDATE,
        ),
        (
            requests.write_users(Kind.DEPARTURE, b"[{}]", users=user_ids(1)),
            ONE_UPDATE,
        ),
        (
            requests.roles(),
            Request(method="GET", path="bot/roles", purpose=Purpose.READ, read=wire.read_roles),
        ),
        (
            requests.create_role(role(5)),
            NEW_ROLE,
        ),
        (
            requests.update_role(role(5)),
            replace(NEW_ROLE, method="PUT", path="bot/roles/5", purpose=Purpose.UPDATE_ROLE),
        ),
        (
            requests.delete_role(RoleId(5)),
            Request(
                method="DELETE", path="bot/roles/5", purpose=Purpose.DELETE_ROLE, role=RoleId(5)
            ),
        ),
    ],
    ids=lambda value: f"{value.method} {value.path}",
)
def test_a_request_is_the_contracts(made: Request, request_due: Request) -> None:
    """Each is the request that the recorded samples were made with, and reads its own answer."""
    assert made == request_due
    assert made.writes is (request_due.method != "GET")


@pytest.mark.parametrize(
    ("made", "sample"),
    [
        (requests.healthcheck(), "healthcheck"),
        (requests.page(1, size=2), "users page"),
        (requests.roles(), "roles"),
        (requests.write_users(Kind.CREATE, b"", users=user_ids(1, 2)), "create list"),
        (requests.write_users(Kind.UPDATE, b"", users=user_ids(1, 2)), "bulk patch"),
        (requests.create_role(role(50)), "create role"),
        (requests.update_role(role(50)), "put role"),
        (requests.delete_role(RoleId(50)), "delete role"),
    ],
)
def test_a_request_is_one_that_was_recorded(made: Request, sample: str) -> None:
    """Method, path and number of rows are those to which the real site gave its answers."""
    recorded = SAMPLES[sample]

    assert (made.method, made.path, made.purpose, made.rows) == (
        recorded.method,
        recorded.path,
        recorded.purpose,
        recorded.rows,
    )


def test_a_healthcheck_reads_nothing_but_its_own_answer() -> None:
    """Another site behind the same address is not taken for a healthy one."""
    read = requests.healthcheck().read
    assert read is not None

    assert read({"status": "ok"}) is None
    with pytest.raises(wire.WireError, match=r"^not a healthcheck's answer$"):
        read({"status": "ok, but elsewhere"})
