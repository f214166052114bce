"""The checks that judge a scenario: each passes on what is right and names what is wrong."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.replay import checks
from sandbox.replay.checks import ModLogMessage, RoleRow, SiteRequest, UserRow

GUILD = 900
NOON = datetime(2021, 1, 12, 12, tzinfo=UTC)
USER = UserRow(
    id=1, name="ada", display_name="Ada", discriminator=0, roles=(7, GUILD), in_guild=True
)
ROLE = RoleRow(id=7, name="Developers", colour=255, permissions=8, position=3)
MEMBER: dict[str, Any] = {
    "id": 1,
    "name": "ada",
    "global_name": "Ada",
    "nick": None,
    "roles": [7],
    "discriminator": "0",
    "bot": False,
}


def request(**changes: Any) -> SiteRequest:
    """Return a bulk update of 100 rows that took a second from noon on, but for the changes."""
    return replace(
        SiteRequest(
            method="PATCH",
            path="/api/bot/users/bulk_patch",
            status=200,
            rows=100,
            started_at=NOON,
            duration=timedelta(seconds=1),
            request_id="abc-1",
        ),
        **changes,
    )


def message(title: str, description: str, *, footer: str = "run abc") -> ModLogMessage:
    """Return a message that was first something else."""
    embed = {"title": title, "description": description, "footer": {"text": footer}}
    first = {"embeds": [{"title": "Syncing users"}]}
    last = {
        "content": "<@&5>",
        "embeds": [embed | {"fields": [{"name": "Users", "value": "1 left"}]}],
    }
    return ModLogMessage(id=1, author_id=2, states=((NOON, first), (NOON, last)))


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ({}, USER),
        ({"nick": "Countess", "global_name": "Ada"}, replace(USER, display_name="Countess")),
        ({"global_name": None}, replace(USER, display_name="ada")),
        ({"name": " ada ", "nick": "\tLady\n"}, replace(USER, display_name="Lady")),
        ({"discriminator": "0042", "bot": True}, replace(USER, discriminator=42)),
        ({"roles": [950, 7]}, replace(USER, roles=(7, GUILD, 950))),
        ({"roles": []}, replace(USER, roles=(GUILD,))),
    ],
)
def test_a_member_becomes_the_row_of_the_contract(change: dict[str, Any], row: UserRow) -> None:
    """Nick before global name before name, stripped; a number; all roles, @everyone's too."""
    member = MEMBER | change

    assert checks.expected_user(member, GUILD) == row


def test_agreeing_rows_have_no_differences() -> None:
    """Order and number of roles don't count, and who has left may keep any row that says so."""
    rows = [
        replace(USER, roles=(GUILD, 7, 7)),
        replace(USER, id=2, name="gone", roles=(12345,), in_guild=False),
    ]

    assert checks.user_differences(rows, [USER]) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "eve"}, "user 1: name is 'eve' on the site and 'ada' in the guild"),
        ({"display_name": ""}, "user 1: display_name is '' on the site and 'Ada' in the guild"),
        ({"discriminator": 1}, "user 1: discriminator is 1 on the site and 0 in the guild"),
        ({"roles": (7,)}, "user 1: roles is (7,) on the site and (7, 900) in the guild"),
        ({"in_guild": False}, "user 1: in_guild is False on the site and True in the guild"),
    ],
)
def test_each_wrong_field_of_a_user_is_named(change: dict[str, Any], told: str) -> None:
    """A row that differs in one field is that one difference, whichever field it is."""
    found = checks.user_differences([replace(USER, **change)], [USER])

    assert [str(difference) for difference in found] == [told]


def test_users_missing_on_either_side_are_named() -> None:
    """A member without a row and a row that calls a stranger a member are both found."""
    found = checks.user_differences([replace(USER, id=2)], [USER])

    assert [str(difference) for difference in found] == [
        "user 2: in_guild is True on the site and False in the guild",
        "user 1: the site lacks it",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "Devs"}, "role 7: name is 'Devs' on the site and 'Developers' in the guild"),
        ({"colour": 0}, "role 7: colour is 0 on the site and 255 in the guild"),
        ({"permissions": 0}, "role 7: permissions is 0 on the site and 8 in the guild"),
        ({"position": -1}, "role 7: position is -1 on the site and 3 in the guild"),
    ],
)
def test_each_wrong_field_of_a_role_is_named(change: dict[str, Any], told: str) -> None:
    """A role that differs in one field is that one difference, whichever field it is."""
    found = checks.role_differences([replace(ROLE, **change)], [ROLE])

    assert [str(difference) for difference in found] == [told]


def test_roles_missing_on_either_side_are_named() -> None:
    """A role that was never deleted from the site and one that never came there are both found."""
    found = checks.role_differences([ROLE], [replace(ROLE, id=8)])

    assert [str(difference) for difference in found] == [
        "role 7: the guild lacks it",
        "role 8: the site lacks it",
    ]


def test_writes_one_after_the_other_are_well_and_overlapping_ones_are_named() -> None:
    """One write may be in flight; reads may be at any time, and a long write hides no third."""
    first = request(duration=timedelta(seconds=9))
    during = request(request_id="abc-2", started_at=NOON + timedelta(seconds=1))
    late = request(request_id="abc-3", started_at=NOON + timedelta(seconds=8))
    after = request(request_id="abc-4", started_at=NOON + timedelta(seconds=9))
    read = request(method="GET", request_id="abc-5")

    assert checks.overlapping_writes([after, first, read]) == []
    assert checks.overlapping_writes([late, after, during, first]) == [
        "write abc-2 began while another was under way",
        "write abc-3 began while another was under way",
    ]


def test_a_write_that_does_not_name_the_run_is_told() -> None:
    """Each write carries the run's id; reads are nobody's harm."""
    requests = [
        request(),
        request(request_id="abcd-1"),
        request(method="GET", request_id="other-1"),
    ]

    assert checks.foreign_writes(requests, "abc") == [
        "PATCH /api/bot/users/bulk_patch was written as 'abcd-1', not as run abc"
    ]


def test_the_writes_of_a_run_that_mod_log_shows_are_not_live_ones() -> None:
    """They pace themselves; a drain of live changes has an id that nobody is shown."""
    requests = [
        request(),
        request(request_id="def-1"),
        request(method="GET", request_id="def-2"),
    ]

    live = checks.live_writes(requests, [message("Sync of live changes finished", "")])
    assert [one.request_id for one in live] == ["def-1"]


def test_a_message_tells_all_its_words() -> None:
    """The text of a message is its last state: content, title, description, fields, footer."""
    last = message("Sync of users finished", "**Verified**")

    assert last.text == "<@&5>\nSync of users finished\n**Verified**\nUsers: 1 left\nrun abc"


@pytest.mark.parametrize(
    ("messages", "faults"),
    [
        ([message("Sync of users finished", "**Verified** in 9 s")], []),
        ([], ["mod-log has no message that says how run abc ended"]),
        (
            [message("Sync of users finished", "Verified", footer="run abd")],
            ["mod-log has no message that says how run abc ended"],
        ),
        (
            [message("Syncing users", "Verified: not finished")],
            ["mod-log has no message that says how run abc ended"],
        ),
        (
            [message("Sync of users failed", "the site is down")],
            [
                "mod-log's message of run abc does not say 'finished'",
                "mod-log's message of run abc does not say 'verified'",
            ],
        ),
    ],
)
def test_mod_log_must_say_how_the_run_ended(
    messages: list[ModLogMessage], faults: list[str]
) -> None:
    """A verified run's own message says so in the end; another's, or a stale one, doesn't count."""
    assert checks.mod_log_faults(messages, "abc") == faults
