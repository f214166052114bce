"""Syncs by digest: what is right is not read, and whatever is wrong is found."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.model.members import Member, UserId
from bot.exts.backend.sync._core.policy.verification import Verification
from tests.bot.exts.backend.sync.orchestration.conftest import Stage
from tests.fakes.process import Process

MEMBERS = range(10, 2_010)
OFFERS = {"pages_by_id": True, "digests": 16}
LARGE: dict[str, Any] = {
    "sync_page_items": 200,
    "sync_first_items": 1000,
    "sync_max_items": 1000,
}


# Without a member cache there are no digests of the guild.
pytestmark = pytest.mark.parametrize("stage", [True], ids=["cached"], indirect=True)


@pytest.fixture(autouse=True)
def _offered(stage: Stage) -> None:
    stage.rows.offers = dict(OFFERS)
    stage.guild(*MEMBERS)


def reads(process: Process, since: int = 0) -> list[str]:
    """Return what was read of users, in short."""
    return [
        call.request.path.removeprefix("bot/")
        for call in process.site.calls[since:]
        if not call.request.writes and "roles" not in call.request.path
    ]


def spoil(stage: Stage, *ids: int, **values: object) -> None:
    """Let the site have something else of these."""
    for id_ in ids:
        stage.rows.users[id_] = {**stage.rows.users[id_], **values}


async def again(stage: Stage, process: Process) -> int:
    """Let a full sync run; return how many requests there were before it."""
    before = len(process.site.calls)
    process.service.scheduler.want("to see")
    await stage.clock.advance(30)
    return before


async def test_a_guild_in_step_costs_three_requests(stage: Stage) -> None:
    """Capabilities, roles, digests: no row is read."""
    process = await stage.start(**LARGE)

    assert stage.endings() == [Ending.VERIFIED]
    assert len(process.site.calls) == 3
    assert stage.runs()[-1].rows_read == len(MEMBERS)


async def test_only_rows_of_ranges_that_differ_are_read(stage: Stage) -> None:
    """One wrong row: one page of its range, one write; the row is read back by itself."""
    spoil(stage, 700, name="wrong")
    process = await stage.start(**LARGE)

    assert stage.endings() == [Ending.VERIFIED]
    assert reads(process) == ["sync/capabilities", "sync/digests", "users", "users/700"]
    assert stage.in_step()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "x"},
        {"display_name": "x"},
        {"discriminator": 3},
        {"roles": []},
        {"in_guild": False},
    ],
)
async def test_any_wrong_value_is_found(stage: Stage, wrong: dict[str, object]) -> None:
    """Whatever field of a row it is."""
    spoil(stage, 10, 1_111, 2_009, **wrong)
    await stage.start(**LARGE)

    assert stage.endings() == [Ending.VERIFIED]
    assert stage.in_step()


async def test_rows_too_few_and_too_many_are_found(stage: Stage) -> None:
    """Members without a row, and rows in the guild whose members have left."""
    del stage.rows.users[444], stage.rows.users[2_009]
    for id_ in (5, 3_000):
        stage.rows.users[id_] = {**stage.rows.users[10], "id": id_}
    await stage.start(**LARGE)

    assert stage.endings() == [Ending.VERIFIED]
    assert stage.in_step()


async def test_what_was_written_is_verified_by_digests(stage: Stage) -> None:
    """Every row was wrong: all are read once, and only digests after writing."""
    spoil(stage, *MEMBERS, name="before")
    process = await stage.start(60, **LARGE)
    view = stage.runs()[-1]

    assert (view.ending, view.verification) == (Ending.VERIFIED, Verification.DIGESTS)
    assert reads(process).count("users") <= 11
    assert reads(process)[-1] == "sync/digests"
    assert stage.in_step()


async def test_a_row_that_was_not_stored_is_found_by_its_range(stage: Stage) -> None:
    """Answered and forgotten: its range is read, and it is sent once more."""
    spoil(stage, *MEMBERS, name="before")
    stage.rows.forgotten.update({500, 1_500})
    await stage.start(60, **LARGE)

    assert stage.endings() == [Ending.VERIFIED]
    assert stage.in_step()


async def test_changes_renew_the_hashes(stage: Stage) -> None:
    """Joins, renames and leaves between two syncs: the second agrees without reading a row."""
    process = await stage.start(**LARGE)
    stage.discord.change(50, name="renamed")
    stage.discord.join(5_000)
    stage.discord.leave(60)
    await stage.clock.advance(60)
    before = await again(stage, process)

    assert reads(process, before) == ["sync/capabilities", "sync/digests"]
    assert stage.in_step()


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_deleted_role_renews_all_hashes(stage: Stage, is_known: bool) -> None:  # noqa: FBT001
    """No event of a member tells that a role is gone, be it one of the first hashes' or newer."""
    process = None if is_known else await stage.start(**LARGE)
    stage.discord.create_role(7)
    for id_ in MEMBERS[:3]:
        stage.discord.change(id_, roles=[7])
    if process is None:
        process = await stage.start(**LARGE)
    await stage.clock.advance(60)
    before = await again(stage, process)
    assert reads(process, before) == ["sync/capabilities", "sync/digests"]
    stage.discord.delete_role(7)
    await stage.clock.advance(120)
    before = await again(stage, process)

    assert stage.in_step()
    assert reads(process, before) == ["sync/capabilities", "sync/digests"]


async def test_a_site_that_sums_wrongly_is_found_out(stage: Stage) -> None:
    """Each range is said to differ: all is read, and found right; nothing is written."""
    stage.rows.miscounted = 1
    process = await stage.start(**LARGE)

    assert stage.endings() == [Ending.VERIFIED]
    assert reads(process).count("users") >= 10
    assert not process.site.writes


async def test_a_site_without_digests_is_read(stage: Stage) -> None:
    """The contract alone."""
    stage.rows.offers = {"pages_by_id": True}
    process = await stage.start(**LARGE)

    assert stage.endings() == [Ending.VERIFIED]
    assert "sync/digests" not in reads(process)


async def test_a_cache_that_was_corrected_in_silence_is_looked_at_anew(stage: Stage) -> None:
    """The host's own code asked Discord for a member: an hour later the check finds the change."""
    process = await stage.start(**LARGE)
    stage.discord.members[UserId(77)] = replace(stage.discord.members[UserId(77)], name="silent")
    process.guild.correct_in_silence()
    await stage.clock.advance(3_700)
    await again(stage, process)

    assert stage.rows.users[77]["name"] == "silent"
    assert stage.in_step()


async def test_a_kept_hash_that_is_wrong_is_found_by_chance(stage: Stage) -> None:
    """One in a hundred is made anew at each comparison; a wrong one has all made anew."""
    process = await stage.start(**LARGE)
    hashes = process.service.hashes
    assert hashes is not None
    for id_ in MEMBERS[::2]:
        hashes.hashes.put(id_, 1)
    before = await again(stage, process)

    assert reads(process, before) == ["sync/capabilities", "sync/digests"]
    assert stage.endings() == [Ending.VERIFIED] * 2


async def test_a_site_that_repeats_old_digests_is_found_out(stage: Stage) -> None:
    """All its rows are lost, and it says what it said before: by chance a range is looked at."""
    stage.rows.digests_kept = {}
    process = await stage.start(**LARGE)
    spoil(stage, *MEMBERS, name="lost")
    for _ in range(60):
        await again(stage, process)
        if stage.in_step():
            break

    assert stage.in_step()
    assert process.service.hashes is not None
    assert not process.service.hashes.are_trusted
    assert "sync/digests" not in reads(process, await again(stage, process))


async def test_a_role_deleted_while_members_are_hashed_is_noticed(stage: Stage) -> None:
    """Some were hashed with it before: all are hashed anew, and no row keeps it."""
    stage.discord.create_role(7)
    for id_ in MEMBERS[:3]:  # too few for the check by chance
        stage.discord.change(id_, roles=[7])
    stage.rows.fill(stage.discord.members, stage.discord.roles)
    asked = 0

    def prepare(process: Process) -> None:
        members = process.guild.members

        async def deleting(ids: Iterable[UserId]) -> Mapping[UserId, Member]:
            nonlocal asked
            asked += 1
            if asked == 8:  # of eight: all others are hashed by then
                stage.discord.delete_role(7)
                await stage.clock.sleep(1.0)  # the gateway tells of it
            return await members(ids)

        process.guild.members = deleting  # type: ignore[method-assign]

    await stage.start(60, prepare=prepare, **LARGE)
    await stage.clock.advance(120)

    assert asked > 8
    assert stage.in_step()
