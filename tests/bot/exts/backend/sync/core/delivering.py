"""Drive a delivery against a site in memory, as the runner does with a real one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.exts.backend.sync._core.delivery import chunks
from bot.exts.backend.sync._core.delivery.payload import compose
from bot.exts.backend.sync._core.model.changes import Group, Kind
from bot.exts.backend.sync._core.model.members import (
    ALL_FIELDS,
    Member,
    RoleId,
    UserId,
)
from bot.exts.backend.sync._core.plan.planner import Plan, Planner
from bot.exts.backend.sync._core.policy.pace import Pace, PaceLimits
from bot.exts.backend.sync._core.policy.request_backoff import Patience, PatienceLimits
from bot.exts.backend.sync._core.site import requests
from bot.exts.backend.sync._core.site.outcome import (
    Answer,
    Applied,
    Failing,
    NoAnswer,
    Outcome,
    Overloaded,
    classify,
    leaves_doubt,
)

from .examples import NOW, user_ids
from .site import Site

MAX_STEPS = 20_000


@dataclass(kw_only=True)
class Course:
    """How a delivery went: its last state and step, every request's ids, and what was applied.

    `applied` holds the planned ids of each request that was answered as applied, in order.
    `doubtful` are the ids of requests that the contract did not answer. `failing` is the longest
    row of failing answers, probes included.
    """

    state: chunks.Delivery
    last: chunks.Stop | chunks.Done
    sizes: list[int] = field(default_factory=list)
    applied: list[UserId] = field(default_factory=list)
    doubtful: set[UserId] = field(default_factory=set)
    failing: int = 0


def updates(*ids: int) -> Group:
    """Return a group of updates of all fields."""
    return Group(kind=Kind.UPDATE, fields=ALL_FIELDS, ids=user_ids(*ids))


def begin(
    *groups: Group,
    witness: int | None = None,
    pace: PaceLimits | None = None,
    patience: PatienceLimits | None = None,
) -> chunks.Delivery:
    """Return the state before the first chunk."""
    return chunks.start(
        groups,
        pace=Pace.start(pace or PaceLimits()),
        patience=Patience(limits=patience or PatienceLimits(), progress_at=NOW),
        witness=None if witness is None else UserId(witness),
    )


def compare(site: Site, guild: dict[UserId, Member], *, page_items: int) -> tuple[Plan, Planner]:
    """Plan as a full sync does: all pages, then who is missing, then who has left."""
    planner = Planner()
    for page in site.pages(page_items):
        planner.add_rows(page, guild)
    planner.add_missing(guild)
    planner.add_departures(planner.absent)
    return planner.plan(), planner


def deliver(
    state: chunks.Delivery,
    site: Site,
    guild: dict[UserId, Member],
    *,
    guild_roles: frozenset[RoleId] = frozenset(),
    jitter: float = 0.5,
    before_send: Callable[[Site], None] | None = None,
) -> Course:
    """Run a delivery to its end; assert on the way what must hold of every step."""
    now = NOW
    course = Course(state=state, last=chunks.Done())
    failing = 0
    for _ in range(MAX_STEPS):
        pace_items = state.pace.items
        state, step = chunks.decide(state, now=now)
        course.state = state
        match step:
            case chunks.Stop() | chunks.Done():
                course.last = step
                return course
            case chunks.Wait(until=until):
                assert until > now
                now = until
            case chunks.RefreshRoles(ids=ids):
                site.roles |= ids & guild_roles
                state = chunks.roles_refreshed(state, ids)
            case chunks.Probe():
                trouble = _probe(site, now)
                failing = failing + 1 if trouble is not None else failing
                state = chunks.probed(state, trouble, now=now, jitter=jitter)
            case chunks.Send():
                assert 1 <= len(step.batch.ids) <= min(pace_items, state.pace.limits.max_items)
                assert len(set(step.batch.ids)) == len(step.batch.ids)
                if before_send is not None:
                    before_send(site)
                state, outcome, now = _send(state, step, site, guild, course, now, jitter)
                if outcome is not None:
                    failing = failing + 1 if isinstance(outcome, Failing | Overloaded) else 0
        course.failing = max(course.failing, failing)
    raise AssertionError(f"not ended after {MAX_STEPS} steps")


def _send(  # noqa: PLR0917 - private, and called once
    state: chunks.Delivery,
    step: chunks.Send,
    site: Site,
    guild: dict[UserId, Member],
    course: Course,
    now: datetime,
    jitter: float,
) -> tuple[chunks.Delivery, Outcome | None, datetime]:
    batch = step.batch
    sent, body = compose(batch, guild, max_bytes=step.max_bytes)
    if body is None:
        state = chunks.record(state, sent, None, now=now, seconds=0, jitter=jitter)
        return state, None, now
    assert len(body) <= step.max_bytes or len(sent.ids) == 1
    course.sizes.append(len(sent.ids))
    request = requests.write_users(batch.kind, body, users=sent.ids)
    answer = site.write(request)
    now += timedelta(seconds=answer.seconds)
    outcome = _classified(answer, request, now)
    if leaves_doubt(outcome):
        course.doubtful.update(sent.ids)
    if isinstance(outcome, Applied) and not batch.heals and not batch.witness:
        course.applied.extend(sent.ids)
    state = chunks.record(state, sent, outcome, now=now, seconds=answer.seconds, jitter=jitter)
    return state, outcome, now


def _classified(answer: Answer | NoAnswer, request: requests.Request, now: datetime) -> Outcome:
    return classify(answer, purpose=request.purpose, now=now, rows=request.rows, read=request.read)


def _probe(site: Site, now: datetime) -> Failing | Overloaded | None:
    answer = site.probe()
    if answer is None:
        return None
    outcome = _classified(answer, requests.healthcheck(), now)
    assert isinstance(outcome, Failing | Overloaded)
    return outcome
