"""What stands between bot and site answers, too: what of it stops whom, and for how long."""

import json
from collections.abc import Callable
from itertools import pairwise

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from bot.exts.backend.sync._core.policy.request_backoff import FailureKind
from bot.exts.backend.sync._core.site.requests import Request
from tests.bot.exts.backend.sync.orchestration.conftest import Stage
from tests.fakes.process import Process
from tests.fakes.site import Fate

pytestmark = pytest.mark.either_mode

VERIFIED, FAILED = Ending.VERIFIED, Ending.FAILED
PAGE = b"<html><body>Request blocked</body></html>"
BLOCKED = Fate(commits_s=None, status=403, body=PAGE)


def firewall(request: Request) -> Fate:
    """Let nothing through that looks like a script."""
    return BLOCKED if b"<script" in (request.body or b"") else Fate()


def page(status: int, body: bytes = PAGE) -> Fate:
    """Answer in the site's place."""
    return Fate(commits_s=None, status=status, body=body)


def reasons(process: Process) -> dict[int, str]:
    """Return why each parked record is parked."""
    return {id_: record.reason for id_, record in process.service.repository.parked.items()}


@pytest.mark.parametrize("others", [(), (10, 11)], ids=["alone", "among others"])
async def test_a_nick_that_a_firewall_refuses_stops_its_bearer_alone(
    stage: Stage, others: tuple[int, ...]
) -> None:
    """The token is as good as ever; everybody else is written, and mod-log names who is not."""
    stage.guild(10, 11, 12, 13)
    process = await stage.start()
    process.site.fate = firewall
    before = len(process.site.calls)
    for id_ in others:
        stage.discord.change(id_, name=f"renamed {id_}")
    stage.discord.change(12, name="<script>alert(1)</script>")
    await stage.clock.advance(60)
    cost = len(process.site.calls) - before
    stage.discord.change(13, name="renamed later")
    await stage.clock.advance(10)

    assert reasons(process) == {
        12: "something before the site does not let this row through (HTTP 403)"
    }
    assert process.service.repository.state.breaker.state is BreakerState.CLOSED
    assert {id_: stage.rows.users[id_]["name"] for id_ in (*others, 13)} == {
        **{id_: f"renamed {id_}" for id_ in others},
        13: "renamed later",
    }
    assert cost <= 4 + 4 * len(others)
    assert len(process.service.queue) == 0


@pytest.mark.parametrize("between", [None, "well"], ids=["refused again", "taken in between"])
async def test_who_keeps_renaming_himself_costs_twenty_requests_an_hour(
    stage: Stage, between: str | None
) -> None:
    """Whatever he calls himself; mod-log is told once."""
    stage.guild(10, 11, 12)
    process = await stage.start()
    process.site.fate = firewall
    before = len(process.site.calls)
    for number in range(100):
        name = between if between and number % 2 else f"<script>{number}"
        stage.discord.change(12, name=name)
        await stage.clock.advance(36)

    assert len(process.site.calls) - before <= 20
    assert stage.channel.titles.count("Rows parked") == 1
    assert process.service.repository.state.breaker.state is BreakerState.CLOSED


async def test_a_firewall_that_refuses_every_write_is_a_failing_site(stage: Stage) -> None:
    """Nobody is to blame then, and nobody is parked."""
    stage.guild(10, 11, 12, stored=False)
    process = await stage.start(0)
    process.site.fate = lambda request: BLOCKED if request.writes else Fate()
    await stage.clock.advance(120)

    (failure,) = {view.failure.kind for view in stage.runs() if view.failure is not None}
    assert (failure, process.service.repository.parked) == (FailureKind.FAILING, {})


@pytest.mark.parametrize(
    "fate",
    [
        page(408, b""),
        page(409, b""),
        page(421),
        page(425, b""),
        page(400),
        page(404),
        page(403),
        page(401),
        page(200),
        page(302, b""),
    ],
    ids=lambda fate: str(fate.status),
)
@pytest.mark.parametrize(
    "path", ["bot/users", "bot/roles", "bot/sync/capabilities", "bot/users/bulk_patch"]
)
async def test_what_may_pass_costs_a_try(stage: Stage, path: str, fate: Fate) -> None:
    """A page of a proxy's, or what a proxy says, stops nothing if it is gone the next time."""
    stage.guild(10, 11, 12)
    stage.rows.users[11]["name"] = "older"
    process = await stage.start(0, sync_at_start=False)
    pages = [fate]
    process.site.fate = lambda request: pages.pop() if pages and request.path == path else Fate()
    process.service.scheduler.want("to be seen")
    await stage.clock.advance(60)

    assert (pages, stage.endings(), stage.in_step()) == ([], [VERIFIED], True)
    assert process.service.repository.parked == {}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 200])
async def test_what_stays_ends_the_run_as_other_failures_do(stage: Stage, status: int) -> None:
    """Five times, the healthcheck failing like all else: a failing site, not a refused token."""
    stage.guild(10)
    process = await stage.start(0)
    process.site.fate = lambda _: page(status)
    await stage.clock.advance(50)

    (view,) = stage.runs()
    assert view.failure is not None
    assert (view.failure.kind, view.failure.status) == (FailureKind.FAILING, status)
    assert process.service.repository.state.breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize("status", [401, 403])
async def test_a_gateway_that_lets_only_the_healthcheck_through_refuses_the_token(
    stage: Stage, status: int
) -> None:
    """Again and again, in its own words: the breaker opens for a day, as the site's would do."""
    stage.guild(10)
    process = await stage.start(0)
    process.site.fate = lambda r: Fate() if r.path == "healthcheck" else page(status)
    await stage.clock.advance(60)

    (view,) = stage.runs()
    assert view.failure is not None
    assert (view.failure.kind, view.failure.status) == (FailureKind.REFUSED, status)
    assert process.service.repository.state.breaker.state is BreakerState.OPEN


def _fails(path: str, fate: Fate, method: str) -> Callable[[Request], Fate]:
    return lambda request: fate if request.path == path and request.method == method else Fate()


@pytest.mark.parametrize(
    "fate", [page(500), page(403), page(405, b'{"detail":"No."}')], ids=["500", "403", "405"]
)
async def test_one_role_that_the_site_fails_on_stops_nothing(stage: Stage, fate: Fate) -> None:
    """It is named, between two writes of another that pass; everybody is synced."""
    stage.guild(10, 11)
    stage.discord.create_role(4)
    stage.rows.roles[6] = {**stage.rows.roles[5], "id": 6}
    stage.rows.roles[5]["name"] = "older"
    stage.rows.users[10]["name"] = "older"
    process = await stage.start(0)
    fates = (_fails("bot/roles/5", fate, "PUT"), _fails("bot/roles/6", fate, "DELETE"))
    process.site.fate = lambda request: next(
        (found for made in fates if (found := made(request)) != Fate()), Fate()
    )
    await stage.clock.advance(60)

    (view,) = stage.runs()
    assert (view.ending, stage.rows.users[10]["name"]) == (VERIFIED, "user10")
    assert [told.partition(":")[0] for told in view.parked_roles] == [
        "role role5",
        "role 6, which is to be deleted",
    ]


async def test_a_site_that_fails_for_a_while_blames_no_role(stage: Stage) -> None:
    """What was tried three times meanwhile is written once it is well."""
    stage.guild(10)
    stage.discord.create_role(4)
    process = await stage.start(0)
    ill = [page(500)] * 4
    process.site.fate = lambda request: ill.pop() if ill and request.writes else Fate()
    await stage.clock.advance(60)

    (view,) = stage.runs()
    assert (view.ending, view.parked_roles, stage.in_step()) == (VERIFIED, (), True)


def _row(id_: int) -> dict[str, object]:
    return {
        "id": id_,
        "name": f"user{id_}",
        "display_name": f"user{id_}",
        "discriminator": 0,
        "roles": [1],
        "in_guild": False,
    }


def _endless(*, rows: int) -> Callable[[Request], Fate]:
    """Answer every page with so many rows that nobody has seen, and one more to come."""

    def fate(request: Request) -> Fate:
        if request.path != "bot/users" or request.writes:
            return Fate()
        params = request.params or {}
        first = params.get("after", (params.get("page", 1) - 1) * rows) + 1
        ids = range(first, first + rows)
        following = first + max(rows, 1) - 1 if "after" in params else params["page"] + 1
        name = "next_after" if "after" in params else "next_page_no"
        body = {name: following, "results": [_row(id_) for id_ in ids]}
        if "after" not in params:
            body["count"] = 3
        return Fate(commits_s=None, status=200, body=json.dumps(body).encode())

    return fate


@pytest.mark.parametrize("by_id", [False, True], ids=["by number", "by id"])
async def test_invented_rows_come_to_an_end(stage: Stage, *, by_id: bool) -> None:
    """After as many as were announced, and some; the site is left alone in between."""
    stage.guild(10)
    stage.rows.offers = {"pages_by_id": True} if by_id else None
    process = await stage.start(0, sync_page_items=100)
    process.site.fate = _endless(rows=100)
    await stage.clock.advance(50)

    (view,) = stage.runs()
    pages = [call for call in process.site.calls if call.request.path == "bot/users"]
    assert view.failure is not None
    assert (view.failure.kind, view.failure.reason) == (
        FailureKind.PROTOCOL,
        "GET bot/users: the site has given 1,100 users, and it announced 3",
    )
    assert len(pages) <= 13
    assert min(after.at - before.at for before, after in pairwise(pages[:10])) > 0.039


async def test_an_empty_page_that_another_follows_is_an_odd_answer(stage: Stage) -> None:
    """It is asked for again, as what may pass is, and ends the run as what it is."""
    stage.guild(10)
    process = await stage.start(0)
    process.site.fate = _endless(rows=0)
    await stage.clock.advance(50)

    (view,) = stage.runs()
    assert view.failure is not None
    assert view.failure.kind is FailureKind.PROTOCOL
    assert view.failure.reason.startswith("a page without rows says that 2 comes next: ")
    assert len(process.site.calls) <= 8
