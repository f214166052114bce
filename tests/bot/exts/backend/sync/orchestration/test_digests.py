"""Syncs by digest: what is right is not read, and whatever is wrong is found."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import sentry_sdk

from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.model.members import Member, UserId
from bot.exts.backend.sync._core.plan.planner import Reason
from bot.exts.backend.sync._core.policy.request_backoff import Failure, FailureKind
from bot.exts.backend.sync._core.policy.verification import Verification
from bot.exts.backend.sync._core.site.requests import Request
from bot.exts.backend.sync._errors import RunStoppedError
from tests.bot.exts.backend.sync.orchestration.conftest import Stage
from tests.bot.exts.backend.sync.sentry import Kept
from tests.fakes.guild import member_of
from tests.fakes.process import Process
from tests.fakes.site import Call, Fate

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


@pytest.fixture
def told() -> Iterator[Kept]:
    """Give what Sentry is told."""
    kept = Kept()
    client = sentry_sdk.Client(dsn="http://key@sentry.invalid/1", transport=kept)
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(client)
        yield kept


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


async def test_a_site_that_sums_wrongly_is_found_out(stage: Stage, told: Kept) -> None:
    """Each range is said to differ: all is read, and found right; its sums count no more."""
    stage.rows.miscounted = 1
    process = await stage.start(**LARGE)
    before = await again(stage, process)

    assert stage.endings() == [Ending.VERIFIED] * 2
    assert reads(process).count("users") >= 20
    assert "sync/digests" not in reads(process, before)
    assert not process.site.writes
    assert told.messages == ["the site's digest is not that of its rows"]


async def test_a_site_that_counts_a_row_twice_is_found_out(stage: Stage, told: Kept) -> None:
    """One range is read, and nothing is wrong in it, also once all hashes were made anew."""
    stage.rows.counted_twice = {700}
    process = await stage.start(**LARGE)
    asked = reads(process)
    before = await again(stage, process)

    assert asked == ["sync/capabilities", "sync/digests", "users", "sync/digests"]
    assert "sync/digests" not in reads(process, before)
    assert stage.endings() == [Ending.VERIFIED] * 2
    assert told.messages == ["the site's digest is not that of its rows"]


async def test_what_changes_while_it_is_compared_accuses_nobody(stage: Stage, told: Kept) -> None:
    """A live change crosses the site's answer: the range is read, and the row is right."""
    process = await stage.start(**LARGE)

    def crossed(request: Request) -> Fate:
        if "digests" not in request.path:
            return Fate()
        stage.discord.change(700, name="renamed")
        return Fate(commits_s=2.0, answers_s=2.1)  # it is written meanwhile

    process.site.fate = crossed
    before = await again(stage, process)

    assert stage.in_step()
    assert reads(process, before)[-1] == "users"
    assert told.messages == []
    assert process.service.hashes is not None
    assert process.service.hashes.are_trusted


async def test_what_waits_when_a_check_begins_accuses_nobody(stage: Stage, told: Kept) -> None:
    """It is written while the site sums: the range differs, and the row is right by then."""
    process = await stage.start(**LARGE)
    stage.discord.change(700, name="renamed")
    stage.discord.leave(800)  # waits for its turn behind the other
    process.site.fate = lambda request: (
        Fate(commits_s=0.0, answers_s=1.0) if "digests" in request.path else Fate()
    )
    await stage.clock.advance(0.05)
    before = await again(stage, process)

    assert stage.in_step()
    assert reads(process, before)[-1] == "users"
    assert told.messages == []


async def test_the_site_sums_while_members_are_hashed(stage: Stage) -> None:
    """At a start both take a while, and neither waits for the other."""
    hashed_at: list[float] = []

    def prepare(process: Process) -> None:
        members = process.guild.members

        async def slowly(ids: Iterable[UserId]) -> Mapping[UserId, Member]:
            ids = tuple(ids)
            if ids:
                await stage.clock.sleep(0.1)
                hashed_at.append(stage.clock.monotonic())
            return await members(ids)

        process.guild.members = slowly  # type: ignore[method-assign]
        process.site.fate = lambda request: (
            Fate(commits_s=0.5, answers_s=0.6) if "digests" in request.path else Fate()
        )

    process = await stage.start(prepare=prepare, **LARGE)
    asked_at = next(call.at for call in process.site.calls if "digests" in call.request.path)

    assert stage.endings() == [Ending.VERIFIED]
    assert len(process.site.calls) == 3
    assert asked_at < hashed_at[0]
    assert len(hashed_at) == 8


async def test_a_site_that_can_not_sum_is_read(stage: Stage) -> None:
    """Its statement takes too long each time: asked twice, then its rows tell."""
    process = await stage.start(0, **LARGE)
    process.site.fate = lambda request: (
        Fate(commits_s=None, status=503) if "digests" in request.path else Fate()
    )
    spoil(stage, 700, name="wrong")
    await stage.clock.advance(60)

    assert stage.endings() == [Ending.VERIFIED]
    assert reads(process).count("sync/digests") == 2
    assert stage.in_step()


@pytest.mark.parametrize("roles", [[5, 1], [1, 1, 5], [1, 5, 5]])
async def test_roles_out_of_order_are_put_in_order_once(stage: Stage, roles: list[int]) -> None:
    """They are hashed as they are stored; afterwards the row is right."""
    stage.discord.change(700, roles=[5])
    stage.rows.fill(stage.discord.members, stage.discord.roles)
    spoil(stage, 700, roles=roles)
    process = await stage.start(**LARGE)
    written = [call.ids for call in process.site.writes]
    before = await again(stage, process)

    assert written == [(700,)]
    assert stage.rows.users[700]["roles"] == [1, 5]
    assert [cause.reason for cause in stage.runs()[0].causes] == [Reason.ROLE_ORDER]
    assert reads(process, before) == ["sync/capabilities", "sync/digests"]


async def test_the_order_of_roles_is_no_matter_without_digests(stage: Stage) -> None:
    """There nobody hashes them, and sites keep them in whatever order they were given."""
    stage.rows.offers = {"pages_by_id": True}
    stage.discord.change(700, roles=[5])
    stage.rows.fill(stage.discord.members, stage.discord.roles)
    spoil(stage, 700, roles=[5, 1])
    process = await stage.start(**LARGE)

    assert stage.endings() == [Ending.VERIFIED]
    assert not process.site.writes


def altering(stage: Stage, id_: int) -> Callable[[Call], None]:
    """Return what lets the site keep another name for somebody."""

    def alter(call: Call) -> None:
        if id_ in call.ids:
            spoil(stage, id_, name="as the site likes")

    return alter


async def test_a_row_that_the_site_alters_is_found_once(stage: Stage) -> None:
    """Its hash is that of what the site has, until the member changes or it is tried again."""
    spoil(stage, 700, name="wrong")
    process = await stage.start(0, **LARGE)
    process.site.on_commit = altering(stage, 700)
    await stage.clock.advance(30)
    assert [*process.service.repository.parked] == [700]
    before = await again(stage, process)
    once = reads(process, before)
    before = await again(stage, process)
    after = reads(process, before)
    written = len(process.site.writes)
    process.site.on_commit = lambda _: None
    await stage.clock.advance(3600)
    await again(stage, process)

    assert once == ["sync/capabilities", "sync/digests", "users"]
    assert after == ["sync/capabilities", "sync/digests"]
    assert len(process.site.writes) == written + 1
    assert process.service.repository.parked == {}
    assert stage.in_step()


@pytest.mark.parametrize("lacks", [True, False])
async def test_a_row_that_the_site_rejects_is_found_once(stage: Stage, lacks: bool) -> None:  # noqa: FBT001
    """Whether it has no row of them, or an old one; once it takes it, it is brought there."""
    if lacks:
        del stage.rows.users[700]
    else:
        spoil(stage, 700, name="wrong")
    stage.rows.named = {700}
    process = await stage.start(**LARGE)
    assert [*process.service.repository.parked] == [700]
    await again(stage, process)
    before = await again(stage, process)
    after = reads(process, before)
    stage.rows.named = set()
    await stage.clock.advance(3600)
    await again(stage, process)

    assert after == ["sync/capabilities", "sync/digests"]
    assert stage.in_step()


async def test_a_departure_that_the_site_rejects_is_found_once(stage: Stage) -> None:
    """The row of somebody who is no member is compared by what the site has of them, too."""
    stage.rows.users[3_000] = {**stage.rows.users[10], "id": 3_000}
    stage.rows.named = {3_000}
    process = await stage.start(**LARGE)
    await again(stage, process)
    stage.discord.create_role(9)
    await again(stage, process)
    stage.discord.delete_role(9)  # all are made anew
    await stage.clock.advance(30)
    before = await again(stage, process)
    after = reads(process, before)
    stage.rows.named = set()
    await stage.clock.advance(3700)
    await again(stage, process)

    assert after == ["sync/capabilities", "sync/digests"]
    assert stage.in_step()


async def test_a_range_of_a_large_guild_is_looked_at_in_part(stage: Stage) -> None:
    """No more than 2,500 rows of it are read, and what is wrong there is found all the same."""
    stage.rows.offers = {"pages_by_id": True, "digests": 2}
    stage.guild(*range(10_000, 16_000))
    stage.rows.digests_kept = {}
    process = await stage.start(**LARGE | {"sync_page_items": 2500})
    spoil(stage, *MEMBERS, *range(10_000, 16_000), name="lost")
    asked: list[str] = []
    while not stage.in_step():
        asked = reads(process, await again(stage, process))

    assert asked[:4] == ["sync/capabilities", "sync/digests", "users", "sync/digests"]
    assert stage.endings()[-1] is Ending.VERIFIED


@pytest.mark.parametrize(("ended_at", "marked"), [(4, 0), (10, 100), (12, 600)])
async def test_hashes_whose_making_was_cut_off_are_made_anew(
    stage: Stage, told: Kept, ended_at: int, marked: int
) -> None:
    """A sync ended while members were hashed, all or some: no later one takes them for whole."""
    changed = MEMBERS[:marked]
    asked = 0
    process = await stage.start(0, **LARGE)
    members = process.guild.members

    async def ending(ids: Iterable[UserId]) -> Mapping[UserId, Member]:
        nonlocal asked
        asked += 1
        if asked == ended_at:
            raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason="as planned"))
        if asked == 9:  # after all, and before those who were marked meanwhile
            process.service.queue.mark(map(UserId, changed))
            for id_ in changed:
                stage.discord.members[UserId(id_)] = member_of(id_, name="new")
                stage.rows.users[id_] |= {"name": "new", "display_name": "new"}
            process.guild.correct_in_silence()
        return await members(ids)

    process.guild.members = ending  # type: ignore[method-assign]
    await stage.clock.advance(200)
    before = await again(stage, process)

    assert [stage.endings()[0], stage.endings()[-1]] == [Ending.FAILED, Ending.VERIFIED]
    assert reads(process, before) == ["sync/capabilities", "sync/digests"]
    assert not [text for text in told.messages if "hash" in text]


async def test_drift_is_looked_for_often_where_it_costs_little(stage: Stage) -> None:
    """Every five minutes by digests, of which mod-log hears nothing."""
    process = await stage.start(sync_drift_every_s=6 * 3600, **LARGE)
    shown = len(stage.channel.messages)
    before = len(process.site.calls)
    await stage.clock.advance(3600)
    checks = reads(process, before).count("sync/capabilities")
    stage.rows.users[700]["name"] = "wrong"
    await stage.clock.advance(360)

    assert 10 <= checks <= 13
    assert {view.ending for view, _ in process.telemetry.finished} == {Ending.VERIFIED}
    assert len(stage.channel.messages) == shown + 1
    assert stage.in_step()


@pytest.mark.parametrize(
    ("settings", "checks"),
    [
        ({"sync_drift_every_s": 0}, 0),
        ({"sync_drift_every_s": 2400, "sync_drift_by_digests_every_s": 0}, 1),
        ({"sync_drift_every_s": 2400, "sync_drift_by_digests_every_s": 1200}, 2),
        ({"sync_drift_every_s": 1200, "sync_drift_by_digests_every_s": 2400}, 2),
    ],
)
async def test_how_often_drift_is_looked_for_can_be_set(
    stage: Stage, settings: dict[str, Any], checks: int
) -> None:
    """Never, as often as without digests, or more often."""
    process = await stage.start(**settings, **LARGE)
    before = len(process.site.calls)
    await stage.clock.advance(3590)

    assert abs(reads(process, before).count("sync/capabilities") - checks) <= (checks > 0)
    assert bool(reads(process, before)) is (checks > 0)


@pytest.mark.parametrize("lost", ["offered", "trusted", "answered"])
async def test_drift_is_looked_for_seldom_where_rows_are_read(stage: Stage, lost: str) -> None:
    """Where the site offers no digests any more, sums wrongly, or can't sum."""
    process = await stage.start(sync_drift_every_s=6 * 3600, **LARGE)
    if lost == "offered":
        stage.rows.offers = {"pages_by_id": True}
    elif lost == "trusted":
        stage.rows.miscounted = 1
    else:
        process.site.fate = lambda request: (
            Fate(commits_s=None, status=503) if "digests" in request.path else Fate()
        )
    await stage.clock.advance(400)  # the check that finds it
    before = len(process.site.calls)
    await stage.clock.advance(3600)

    assert reads(process, before) == []


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


async def test_a_kept_hash_that_is_wrong_is_found_by_chance(stage: Stage, told: Kept) -> None:
    """One in a hundred is made anew at each comparison; a wrong one has all made anew."""
    process = await stage.start(**LARGE)
    hashes = process.service.hashes
    assert hashes is not None
    for id_ in MEMBERS[::2]:
        hashes.hashes.put(id_, 1)
    before = await again(stage, process)

    assert reads(process, before) == ["sync/capabilities", "sync/digests"]
    assert stage.endings() == [Ending.VERIFIED] * 2
    assert told.messages == ["the kept hash of a member was wrong"]


async def test_a_kept_hash_that_is_wrong_is_found_by_its_range(stage: Stage, told: Kept) -> None:
    """The check by chance passed it over: its range is read in vain, and all are made anew."""
    process = await stage.start(**LARGE)
    hashes = process.service.hashes
    assert hashes is not None
    hashes.hashes.put(700, 1)
    before = await again(stage, process)
    once = reads(process, before)
    before = await again(stage, process)

    assert once == ["sync/capabilities", "sync/digests", "users", "sync/digests"]
    assert reads(process, before) == ["sync/capabilities", "sync/digests"]
    assert told.messages == ["the kept hash of a member was wrong"]


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
