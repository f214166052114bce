"""What a site may answer to a sync, and what becomes of the sync and of its rows."""

import itertools
import json
from typing import Any

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from bot.exts.backend.sync._core.policy.request_backoff import FailureKind
from bot.exts.backend.sync._core.site.requests import Request
from bot.exts.backend.sync._runs.run import Scope
from tests.bot.exts.backend.sync.orchestration.conftest import BY, ILL, NEVER, Stage, text
from tests.fakes.process import Process
from tests.fakes.site import WELL, Call, Fate

pytestmark = pytest.mark.either_mode

MANY = range(10, 50)


def saying(value: object, *, status: int = 200, **more: Any) -> Fate:
    """Return the fate of a request that is answered so, and does nothing."""
    return Fate(commits_s=None, status=status, body=json.dumps(value).encode(), **more)


def is_(method: str, path: str) -> Any:
    """Return what says whether a request is this one."""
    return lambda request: (request.method, request.path) == (method, path)


async def full(stage: Stage, process: Process, seconds: float = 30.0) -> None:
    """Start a full sync by hand, and let it come to its end."""
    assert process.commands.start(Scope.ALL, BY, forced=False).done
    await stage.clock.advance(seconds)


def row(id_: int) -> dict[str, Any]:
    """Return a row of somebody who left long ago."""
    return {
        "id": id_,
        "name": "x",
        "display_name": "x",
        "discriminator": 0,
        "roles": [],
        "in_guild": False,
    }


def page(*ids: int, following: int | None) -> dict[str, Any]:
    """Return a page of such rows."""
    return {"count": 99, "next_page_no": following, "results": [row(id_) for id_ in ids]}


@pytest.mark.parametrize(
    ("which", "answers"),
    [
        pytest.param(is_("GET", "bot/roles"), [{"not": "a list"}], id="roles that are no list"),
        pytest.param(is_("GET", "bot/users"), [[1, 2]], id="a page that is none"),
        pytest.param(
            is_("GET", "bot/users"),
            [page(1, 2, following=2), *[page(1, 2, following=n) for n in range(3, 20)]],
            id="pages that repeat themselves",
        ),
        pytest.param(
            is_("GET", "bot/users"), [page(1, following=7)], id="a page that is followed by no next"
        ),
        pytest.param(
            is_("GET", "bot/users"), [page(1, following=1)], id="a page that is followed by itself"
        ),
    ],
)
async def test_an_answer_that_is_not_the_contracts_fails_the_run(
    stage: Stage, which: Any, answers: list[Any]
) -> None:
    """Nothing is written after it; the next run, on a site that keeps the contract, is verified."""
    stage.guild(10, 11)
    process = await stage.start()
    left = iter(answers)
    process.site.fate = lambda request: saying(next(left, answers[-1])) if which(request) else WELL
    stage.rows.users[10]["name"] = "wrong"
    assert process.commands.start(Scope.ALL, BY, forced=False).done
    for _ in range(600):
        await stage.clock.advance(0.1)
        if process.service.supervisor.current is None:
            break
    failed = stage.runs()[-1]
    assert process.site.writes == []
    process.site.fate = lambda _: WELL
    await stage.clock.advance(120)

    assert failed.ending is Ending.FAILED
    assert failed.failure is not None
    assert failed.failure.kind is FailureKind.PROTOCOL
    assert stage.endings()[-1] is Ending.VERIFIED
    assert stage.in_step()


async def test_a_site_that_offers_more_is_asked_for_less(stage: Stage) -> None:
    """Pages by id, and no chunk larger than it takes."""
    stage.guild(*MANY, stored=False)
    stage.rows.fill(dict(list(stage.discord.members.items())[:20]), {})
    for id_ in list(stage.rows.users)[:9]:
        stage.rows.users[id_]["name"] = "wrong"
    stage.rows.offers = {"max_items": 3, "pages_by_id": True}
    process = await stage.start(60)

    pages = [call for call in process.site.calls if is_("GET", "bot/users")(call.request)]
    assert max(len(call.ids) for call in process.site.writes) == 3
    assert all("page" not in (call.request.params or {}) for call in pages)
    assert stage.endings() == [Ending.VERIFIED]
    assert stage.in_step()


async def test_a_tuned_run_never_goes_beyond_what_the_site_takes(stage: Stage) -> None:
    """Whatever a person asks for."""
    stage.guild(*MANY, stored=False)
    stage.rows.offers = {"max_items": 3}
    process = await stage.start(0)
    process.site.fate = lambda _: Fate(answers_s=0.2)
    await stage.clock.advance(3)
    reply = process.commands.tune("max-items", 4, BY)
    await stage.clock.advance(60)

    assert "3" in text(reply)
    assert max(len(call.ids) for call in process.site.writes) == 3


async def test_rows_that_are_deleted_while_they_are_read_end_the_list(stage: Stage) -> None:
    """The last page is gone: that is no fault of anybody's."""
    stage.guild(10, 11, 12)
    for id_ in (1, 2, 3, 4):
        stage.rows.users[id_] = row(id_)
    process = await stage.start()
    reads = 0

    def shrink(call: Call) -> None:
        nonlocal reads
        reads += is_("GET", "bot/users")(call.request)
        if reads == 3:  # of the rest of seven rows in pages of three, as page 2 has told
            for id_ in (1, 2, 3, 4):
                stage.rows.users.pop(id_, None)

    process.site.on_send = shrink
    await full(stage, process)
    await full(stage, process)

    assert stage.endings()[1:] == [Ending.VERIFIED, Ending.VERIFIED]
    assert stage.in_step()


def altering(stage: Stage, ids: set[int], *, times: int) -> Any:
    """Return what lets the site keep another name for these, so often."""
    left = times

    def alter(call: Call) -> None:
        nonlocal left
        if ids & set(call.ids) and left > 0:
            left -= 1
            for id_ in ids & set(call.ids):
                stage.rows.users[id_]["name"] = "as the site likes"

    return alter


async def test_what_did_not_arrive_is_sent_once_more(stage: Stage) -> None:
    """And seen again: then the run is verified, and counts it once."""
    stage.guild(10, 11, 12, stored=False)
    process = await stage.start(0)
    process.site.on_commit = altering(stage, {11}, times=1)
    await stage.clock.advance(30)

    assert stage.endings() == [Ending.VERIFIED]
    assert stage.runs()[0].tally.total == 3
    assert stage.in_step()


async def test_a_row_that_the_site_alters_is_parked(stage: Stage) -> None:
    """The rest is verified; it is said whose row, and why."""
    stage.guild(10, 11, 12, stored=False)
    process = await stage.start(0)
    process.site.on_commit = altering(stage, {11}, times=99)
    await stage.clock.advance(30)

    assert stage.endings()[0] is Ending.VERIFIED
    assert [(row.id, row.reason) for row in process.service.repository.parked.values()] == [
        (11, "the site alters it")
    ]
    assert "Rows parked" in stage.channel.titles


async def test_too_many_rows_that_the_site_alters_fail_the_run(stage: Stage) -> None:
    """Then the contract is another, and nobody's row is to blame."""
    stage.guild(*MANY, stored=False)
    process = await stage.start(0)
    process.site.on_commit = altering(stage, set(MANY), times=9999)
    await stage.clock.advance(30)

    (failed,) = stage.runs()
    assert failed.failure is not None
    assert failed.failure.kind is FailureKind.UNVERIFIED
    assert process.service.repository.parked == {}
    assert process.service.repository.state.breaker.failures == 1


async def test_too_many_rows_that_the_site_refuses_fail_the_run(stage: Stage) -> None:
    """And none of them has to wait for it: they are sent again with the next run."""
    stage.guild(*MANY, stored=False)
    stage.rows.named = set(MANY)
    process = await stage.start(30)
    (failed,) = stage.runs()
    parked = dict(process.service.repository.parked)
    stage.rows.named = set()
    await stage.clock.advance(300)

    assert failed.failure is not None
    assert failed.failure.kind is FailureKind.REJECTED
    assert parked == {}
    assert stage.endings()[-1] is Ending.VERIFIED
    assert stage.in_step()


async def test_a_row_that_breaks_the_site_is_found_and_parked(stage: Stage) -> None:
    """A request with it answers 500 each time, while the site is well: the others go without it."""
    stage.guild(*range(10, 18), stored=False)
    stage.rows.breaking = {13}
    process = await stage.start(600)

    assert [*process.service.repository.parked] == [13]
    assert stage.rows.users.keys() == set(range(10, 18)) - {13}
    assert process.service.repository.state.breaker.state is BreakerState.CLOSED


async def test_a_request_that_is_too_large_is_halved(stage: Stage) -> None:
    """By what a proxy before the site takes, which nobody has said."""
    stage.guild(*MANY, stored=False)
    process = await stage.start(0)

    def fate(request: Request) -> Fate:
        many = request.writes and len(request.users) > 2
        return Fate(commits_s=None, status=413) if many else WELL

    process.site.fate = fate
    await stage.clock.advance(60)

    refused = [call for call in process.site.writes if len(call.ids) > 2]
    assert 1 <= len(refused) <= 2
    assert stage.endings() == [Ending.VERIFIED]
    assert stage.in_step()


@pytest.mark.parametrize("status", [429, 503])
async def test_an_overloaded_site_is_left_alone_as_long_as_it_asks(
    stage: Stage, status: int
) -> None:
    """No request of any kind comes sooner; then it is verified."""
    stage.guild(10, 11, stored=False)
    process = await stage.start(0)
    refused = Fate(commits_s=None, status=status, retry_after="40")
    process.site.fate = lambda request: (
        refused if request.writes and stage.clock.monotonic() < 2 else WELL
    )
    await stage.clock.advance(120)

    times = [call.at for call in process.site.calls]
    (gap,) = [b - a for a, b in itertools.pairwise(times) if b - a > 20]
    assert gap >= 40
    assert stage.endings() == [Ending.VERIFIED]


async def test_a_role_that_the_site_has_lost_is_brought_again(stage: Stage) -> None:
    """A row that holds it is refused for that, once, and nobody is parked."""
    stage.guild(10, 11)
    stage.discord.change(10, roles=[5])
    process = await stage.start()
    del stage.rows.roles[5]
    stage.discord.change(10, name="renamed")
    await stage.clock.advance(30)

    assert process.service.repository.parked == {}
    assert stage.in_step()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_role_whose_answer_is_lost_is_looked_at_again(stage: Stage, method: str) -> None:
    """Once it can't change any more; what did not arrive goes out once more."""
    stage.guild(10)
    process = await stage.start()
    stage.discord.connected.clear()  # nobody tells of what follows: the sync has to find it
    process.guild.discord.connected.append(process.guild)
    if method == "POST":
        stage.rows.roles.pop(5)
    elif method == "PUT":
        stage.rows.roles[5]["name"] = "wrong"
    else:
        stage.rows.roles[8] = {**stage.rows.roles[5], "id": 8}
    lost = 1

    def fate(request: Request) -> Fate:
        nonlocal lost
        if request.method == method and request.path.startswith("bot/roles") and lost:
            lost -= 1
            return Fate(commits_s=None, answers_s=NEVER)
        return WELL

    process.site.fate = fate
    await full(stage, process, 300)

    assert lost == 0
    assert stage.endings()[-1] is Ending.VERIFIED
    assert stage.in_step()


async def test_a_role_that_never_arrives_fails_the_run(stage: Stage) -> None:
    """It was sent twice, and the site says that it took it."""
    stage.guild(10)
    process = await stage.start()
    tries = 0

    def fate(request: Request) -> Fate:
        nonlocal tries
        if request.method != "PUT":
            return WELL
        tries += 1
        if tries == 1:
            return Fate(commits_s=None, answers_s=NEVER)
        return saying(stage.rows.roles[5])

    process.site.fate = fate
    stage.rows.roles[5]["name"] = "wrong"
    await full(stage, process, 90)

    failed = stage.runs()[1]
    assert failed.failure is not None
    assert failed.failure.kind is FailureKind.UNVERIFIED


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (saying({"name": ["Not this one."]}, status=400), "Not this one."),
        (saying({"detail": "Role is locked."}, status=422), "Role is locked."),
    ],
)
async def test_a_role_that_the_site_refuses_is_told_and_stops_nothing(
    stage: Stage, answer: Fate, reason: str
) -> None:
    """Users are written all the same."""
    stage.guild(10)
    process = await stage.start()
    stage.rows.roles[5]["name"] = stage.rows.users[10]["name"] = "wrong"
    process.site.fate = lambda request: answer if request.method == "PUT" else WELL
    await full(stage, process)

    run = stage.runs()[-1]
    assert run.ending is Ending.VERIFIED
    assert len(run.parked_roles) == 1
    assert reason in run.parked_roles[0]
    assert stage.rows.users[10]["name"] == "user10"


async def test_a_role_that_no_site_can_take_is_not_sent(stage: Stage) -> None:
    """Its name is too long for the contract: the run says so."""
    stage.guild(10)
    stage.discord.create_role(6, name="x" * 101)
    process = await stage.start(30)

    run = stage.runs()[-1]
    assert len(run.parked_roles) == 1
    assert not [call for call in process.site.writes if call.request.role == 6]


async def test_a_site_that_takes_its_time_is_given_more(stage: Stage) -> None:
    """Chunks shrink to the floor while requests take over twice the target."""
    stage.guild(*MANY, stored=False)
    process = await stage.start(0)
    process.site.fate = lambda request: Fate(answers_s=3.0) if request.writes else WELL
    await stage.clock.advance(400)

    assert len(process.site.writes[-1].ids) == 1
    assert stage.endings() == [Ending.VERIFIED]
    assert stage.in_step()


@pytest.mark.parametrize("offers", [None, {"pages_by_id": True}], ids=["by number", "by id"])
async def test_pages_grow_again_after_one_has_failed(
    stage: Stage, offers: dict[str, object] | None
) -> None:
    """One page of 400 is answered with an error: smaller ones follow, and then as large ones."""
    stage.rows.offers = offers
    stage.guild(*range(1_000, 4_600))
    process = await stage.start(0, sync_page_items=400)
    sizes: list[int] = []
    failed = False

    def fail_once(request: Request) -> Fate:
        nonlocal failed
        if request.path != "bot/users" or request.writes:
            return Fate()
        sizes.append(dict(request.params or {})["page_size"])
        if len(sizes) == 4:
            failed = True
            return ILL
        return Fate()

    process.site.fate = fail_once
    await stage.clock.advance(60)

    assert failed
    assert stage.endings() == [Ending.VERIFIED]
    assert sizes[:4] == [200, 200, 400, 400]
    assert sizes[4:8] == [200] * 4
    assert set(sizes[8:]) == {400}
