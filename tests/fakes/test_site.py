"""The site in memory answers as the real one did when its answers were recorded."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import pytest

from bot.exts.backend.sync._core.model.changes import Kind
from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.site import requests
from bot.exts.backend.sync._core.site.outcome import Answer, Lost, NoAnswer
from tests.fakes.clock import HandClock
from tests.fakes.site import DOWN, LOST, FakeSite, Fate, Rows

RECORDED: Final = json.loads(
    (Path(__file__).parents[1] / "site_contract" / "samples.json").read_text()
)
# What nothing of the extension sends: single users, empty lists, what is no list, no token; and the
# pages of 80,000 users that the samples do not hold.
NEVER_SENT: Final = frozenset(
    {
        "users page",
        "users last page",
        "user by id",
        "create one",
        "create one again",
        "create list, negative id and discriminator too large",
        "create list, id above 2^63",
        "create empty list",
        "bulk patch, only id",
        "bulk patch, no id",
        "bulk patch, empty list",
        "bulk patch, not a list",
        "malformed JSON",
        "no token",
        "wrong token",
        "put user",
        "put unknown user",
        "patch user",
        "patch unknown user",
        "body over the server's limit",
    }
)


def played() -> list[tuple[str, tuple[int, Any], tuple[int, Any]]]:
    """Play what is sent in the recorded order; return each exchange's name, answer due and given.

    User 1 is put where "create one" would have: later exchanges count on it.
    """
    rows = Rows(roles={role["id"]: role for role in RECORDED["state_before"]["roles"]})
    answers = []
    for exchange in RECORDED["exchanges"]:
        request, due = exchange["request"], exchange["response"]
        if exchange["name"] == "create one":
            rows.users[1] = dict(due["json"])
        if exchange["name"] in NEVER_SENT:
            continue
        body = None if request["json"] is None else json.dumps(request["json"]).encode()
        path = request["path"].removeprefix("/api/")
        status, value = rows.answer(request["method"], path, request["params"], body)
        given = json.loads(json.dumps(value))
        if exchange["name"] == "roles":  # the recording holds the first few of them
            given, due["json"] = None, None
        if isinstance(due.get("json"), dict):
            due["json"].pop("alts", None)  # a column that no sync keeps
        answers.append((exchange["name"], (due["status"], due.get("json")), (status, given)))
    return answers


ANSWERS: Final = played()


@pytest.mark.parametrize(("_name", "due", "given"), ANSWERS, ids=[name for name, *_ in ANSWERS])
def test_it_answers_as_the_real_site(
    _name: str, due: tuple[int, Any], given: tuple[int, Any]
) -> None:
    """With the same status and the same body, in the same order of requests."""
    assert given == due


async def send(fate: Fate) -> Answer | NoAnswer:
    """Send one write to a site that lets it meet a fate."""
    clock = HandClock()
    site = FakeSite(Rows(users={7: {"id": 7, "name": "old", "roles": []}}), clock=clock)
    site.fate = lambda _: fate
    body = b'[{"id":7,"name":"new"}]'
    request = requests.write_users(Kind.UPDATE, body, users=(UserId(7),))
    sending = asyncio.create_task(site.send(request, request_id="1-1"))
    await clock.advance(40)
    return sending.result()


@pytest.mark.parametrize(
    ("fate", "answer"),
    [
        (LOST, NoAnswer(cause=Lost.DEADLINE, detail="", seconds=30)),
        (DOWN, NoAnswer(cause=Lost.UNREACHABLE, detail="ConnectError", seconds=0)),
        (
            Fate(answers_s=2.0, cut=True),
            NoAnswer(cause=Lost.CONNECTION, detail="ReadError", seconds=2),
        ),
        (
            Fate(answers_s=2.0, status=503, body=b"", retry_after="7"),
            Answer(status=503, body=b"", retry_after="7", seconds=2),
        ),
    ],
)
async def test_a_fate_is_met_as_on_the_wire(fate: Fate, answer: Answer | NoAnswer) -> None:
    """What the HTTP client makes of the same things stands in `test_site` of the extension."""
    assert await send(fate) == answer
