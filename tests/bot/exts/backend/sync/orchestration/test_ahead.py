"""Rows that are made while another request is on its way: sent as they are, unless they are old."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.model.members import Member, UserId
from tests.bot.exts.backend.sync.orchestration.conftest import Stage
from tests.fakes.process import Process
from tests.fakes.site import Fate

# Without a member cache reading a member may cost a request, and nobody reads ahead.
pytestmark = pytest.mark.parametrize("stage", [True], ids=["cached"], indirect=True)

MEMBERS = range(10, 22)
SETTINGS: dict[str, Any] = {"sync_first_items": 4, "sync_page_items": 100}


class Reading:
    """Who was read of the guild, and when: while a write was on its way, or between two."""

    def __init__(self, process: Process) -> None:
        self.ahead: list[int] = []
        self.between: list[int] = []
        members = process.guild.members

        async def read(ids: Iterable[UserId]) -> Mapping[UserId, Member]:
            ids = tuple(ids)
            (self.ahead if process.site.in_flight else self.between).extend(ids)
            return await members(ids)

        process.guild.members = read  # type: ignore[method-assign]


async def begun(stage: Stage, **spoilt: object) -> tuple[Process, Reading]:
    """Begin to write twelve rows, four at a time, one second each; the first is on its way."""
    stage.discord.create_role(7)
    stage.guild(*MEMBERS)
    for id_ in MEMBERS:
        stage.discord.change(id_, roles=[7])
    stage.rows.fill(stage.discord.members, stage.discord.roles)
    for id_ in MEMBERS:
        stage.rows.users[id_] = {**stage.rows.users[id_], **spoilt}
    read: list[Reading] = []
    process = await stage.start(0, prepare=lambda made: read.append(Reading(made)), **SETTINGS)
    process.site.fate = lambda request: Fate(answers_s=1.0) if request.writes else Fate()
    while not process.site.writes:
        await stage.clock.advance(0.05)
    (reading,) = read
    reading.between.clear()
    await stage.clock.advance(0.5)
    return process, reading


def second(process: Process) -> dict[int, dict[str, Any]]:
    """Return the rows of the run's second request, by id."""
    body = next(call.request.body for call in process.site.writes if 16 in call.ids)
    return {row["id"]: row for row in json.loads(body or b"[]")}


async def test_the_next_rows_are_made_while_one_request_is_on_its_way(stage: Stage) -> None:
    """And not read again when they are sent."""
    process, reading = await begun(stage, name="wrong")
    assert reading.ahead == list(MEMBERS[4:8])
    await stage.clock.advance(1)
    assert sorted(second(process)) == list(MEMBERS[4:8])
    assert reading.between == []
    await stage.clock.advance(30)

    assert stage.endings() == [Ending.VERIFIED]
    assert stage.in_step()
    assert process.site.most == 1


async def test_who_changes_after_that_is_sent_as_they_are_now(stage: Stage) -> None:
    """The row that was made before is not sent."""
    process, reading = await begun(stage, name="wrong")
    stage.discord.change(15, name="newer")
    await stage.clock.advance(2)  # the change goes first, by itself

    assert 15 in reading.ahead
    assert second(process)[15]["name"] == "newer"
    assert {*reading.between} == {15}
    await stage.clock.advance(30)
    assert stage.in_step()


async def test_who_leaves_after_that_is_left_out(stage: Stage) -> None:
    """Their row says nothing of them being there; that they have left follows."""
    process, reading = await begun(stage, name="wrong")
    assert 15 in reading.ahead
    stage.discord.leave(15)
    await stage.clock.advance(1)
    await stage.clock.advance(1)
    assert sorted(second(process)) == [14, 16, 17]
    await stage.clock.advance(30)
    assert stage.rows.users[15]["in_guild"] is False
    assert stage.in_step()


async def test_nobody_keeps_a_role_that_is_deleted_after_that(stage: Stage) -> None:
    """No member's event tells of it: all rows are made anew."""
    process, reading = await begun(stage, roles=[])
    stage.discord.delete_role(7)
    await stage.clock.advance(1)

    assert reading.between[:4] == list(MEMBERS[4:8])
    assert all(7 not in row["roles"] for row in second(process).values())
    await stage.clock.advance(120)
    assert stage.in_step()


async def test_a_new_session_has_all_rows_made_anew(stage: Stage) -> None:
    """What was missed before it was told to nobody."""
    process, reading = await begun(stage, name="wrong")
    process.guild.lose_session()
    stage.discord.change(15, name="newer")
    process.guild.connect()
    await stage.clock.advance(2)

    assert reading.between[:4] == list(MEMBERS[4:8])
    assert second(process)[15]["name"] == "newer"
    await stage.clock.advance(60)
    assert stage.in_step()


async def test_rows_that_come_back_go_before_those_that_were_made(stage: Stage) -> None:
    """The site fails on a whole request: its halves are made of what is so then."""
    stage.rows.breaking = {11}
    process, reading = await begun(stage, name="wrong")
    stage.rows.breaking = set()
    await stage.clock.advance(120)

    assert reading.ahead
    assert stage.endings() == [Ending.VERIFIED]
    assert stage.in_step()
    assert not process.service.repository.parked
