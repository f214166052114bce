"""The state machine of a delivery, move by move: whole states in, whole states out."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from bot.exts.backend.sync._core.delivery import chunks
from bot.exts.backend.sync._core.delivery.chunks import (
    Batch,
    Delivery,
    ParkedRow,
    Sent,
    Tally,
    Wait,
)
from bot.exts.backend.sync._core.model.changes import Group, Kind
from bot.exts.backend.sync._core.model.members import ALL_FIELDS, Field, UserId
from bot.exts.backend.sync._core.policy.pace import Pace, PaceLimits
from bot.exts.backend.sync._core.policy.request_backoff import (
    Failure,
    FailureKind,
    Patience,
    PatienceLimits,
)
from bot.exts.backend.sync._core.site.outcome import (
    Applied,
    Failing,
    NotFound,
    Outcome,
    Overloaded,
    ProtocolError,
    Refused,
    RejectedRows,
    RejectedWhole,
    TooLarge,
    Trouble,
    UnknownUser,
)
from bot.exts.backend.sync._core.site.wire import RowFault

from .examples import NOW, role_ids, user_ids
from .troubles import BLOCKED, LOST, UNREACHABLE

SECOND: Final = timedelta(seconds=1)
LATER: Final = NOW + SECOND
PACE: Final = Pace.start(PaceLimits(first_items=4, floor_items=2))
PATIENCE: Final = Patience(limits=PatienceLimits(), progress_at=NOW)
ERROR: Final = Failing(status=500, reason="Server Error", lost=True)
BUSY: Final = Overloaded(status=503, retry_after=7 * SECOND)
ODD: Final = ProtocolError(status=302, reason="(no body)")
BLAMED: Final = "the site fails on this row alone, and is well otherwise"


def updates(*ids: int, **known: Any) -> Batch:
    """Return a batch of updates of names."""
    return Batch(kind=Kind.UPDATE, fields=(Field.NAME,), ids=user_ids(*ids), **known)


def creates(*ids: int, **known: Any) -> Batch:
    """Return a batch of creates."""
    return Batch(kind=Kind.CREATE, fields=ALL_FIELDS, ids=user_ids(*ids), **known)


def departures(*ids: int) -> Batch:
    """Return a batch of departures."""
    return Batch(kind=Kind.DEPARTURE, fields=(Field.IN_GUILD,), ids=user_ids(*ids))


def witness(id_: int) -> Batch:
    """Return the batch of a witness."""
    return Batch(kind=Kind.UPDATE, fields=ALL_FIELDS, ids=user_ids(id_), witness=True)


def delivery(*queue: Batch, **changes: Any) -> Delivery:
    """Return the state of a delivery of 100 changes, of which these batches wait."""
    return replace(Delivery(queue=queue, pace=PACE, patience=PATIENCE, planned=100), **changes)


def parked(reason: str, *ids: int) -> tuple[ParkedRow, ...]:
    """Return rows parked for the same reason."""
    return tuple(ParkedRow(id=UserId(id_), reason=reason) for id_ in ids)


def recorded(
    state: Delivery,
    batch: Batch,
    outcome: Outcome | None,
    *,
    now: datetime = LATER,
    **became: Any,
) -> Delivery:
    """Fold in what came of a chunk of which every id was sent, unless told otherwise."""
    sent = replace(Sent(batch=batch, ids=tuple(batch.ids)), **became)
    return chunks.record(state, sent, outcome, now=now, seconds=0.1, jitter=0.5)


def suspicious(*outcomes: Trouble, **changes: Any) -> Patience:
    """Return the patience after these failing answers in a row."""
    patience = PATIENCE
    for outcome in outcomes:
        patience = patience.failed(outcome)
    return replace(patience, **changes)


# -- what comes next ------------------------------------------------------------------------------


def test_a_delivery_starts_with_the_plans_groups() -> None:
    """In their order; a group without ids is none; all that is planned is counted."""
    groups = [
        Group(kind=Kind.CREATE, fields=ALL_FIELDS, ids=user_ids(1, 2)),
        Group(kind=Kind.UPDATE, fields=(Field.NAME,), ids=()),
        Group(kind=Kind.DEPARTURE, fields=(Field.IN_GUILD,), ids=user_ids(3)),
    ]

    state = chunks.start(
        groups,
        pace=PACE,
        patience=PATIENCE,
        witness=UserId(9),
        known_parked=frozenset(user_ids(2)),
    )

    assert state == Delivery(
        queue=(creates(1, 2), departures(3)),
        pace=PACE,
        patience=PATIENCE,
        planned=3,
        witness=UserId(9),
        known_parked=frozenset(user_ids(2)),
    )
    assert state.remaining == 3


def test_what_heals_or_witnesses_is_no_planned_change() -> None:
    """Progress counts each planned id once, however often it is sent."""
    assert delivery(witness(9), creates(1, heals=True), updates(1, 2, created=True)).remaining == 2


WAIT: Final = Wait(until=LATER, reason="overloaded")
STOPPED: Final = Failure(kind=FailureKind.REFUSED, reason="no", status=401)
TROUBLED: Final = delivery(
    updates(1, 2, 3, 4, 5, 6),
    updates(7),
    waiting=WAIT,
    probing=True,
    roles_wanted=frozenset(role_ids(5)),
)


@pytest.mark.parametrize(
    ("state", "now", "after", "step"),
    [
        (
            replace(TROUBLED, failure=STOPPED),
            NOW,
            replace(TROUBLED, failure=STOPPED),
            chunks.Stop(failure=STOPPED),
        ),
        (
            replace(TROUBLED, patience=suspicious(*[ERROR] * 5)),
            LATER,
            replace(TROUBLED, patience=suspicious(*[ERROR] * 5)),
            chunks.Stop(
                failure=Failure(kind=FailureKind.FAILING, reason="Server Error", status=500)
            ),
        ),
        (TROUBLED, NOW, TROUBLED, WAIT),
        (TROUBLED, LATER, replace(TROUBLED, waiting=None), chunks.Probe()),
        (
            replace(TROUBLED, probing=False),
            LATER,
            replace(TROUBLED, probing=False, waiting=None),
            chunks.RefreshRoles(ids=frozenset(role_ids(5))),
        ),
        (
            delivery(updates(1, 2, 3, 4, 5, 6), updates(7)),
            NOW,
            delivery(updates(5, 6), updates(7)),
            chunks.Send(batch=updates(1, 2, 3, 4), max_bytes=262_144),
        ),
        (
            delivery(updates(1, 2, 3, 4, tries=2), updates(7)),
            NOW,
            delivery(updates(7)),
            chunks.Send(batch=updates(1, 2, 3, 4, tries=2), max_bytes=262_144),
        ),
        (delivery(), NOW, delivery(), chunks.Done()),
    ],
    ids=["failed", "impatient", "waiting", "probing", "roles", "cut", "whole", "done"],
)
def test_what_is_done_next(
    state: Delivery, now: datetime, after: Delivery, step: chunks.Step
) -> None:
    """A failure stops all; a wait is waited out; the site must be well; roles come before rows."""
    assert chunks.decide(state, now=now) == (after, step)


# -- what came of it ------------------------------------------------------------------------------

BEFORE: Final = delivery(updates(8), patience=suspicious(ERROR), witness=UserId(9))
PROGRESSED: Final = PATIENCE.progressed(LATER)
ANSWERED: Final = suspicious(ERROR, failing=0)


@pytest.mark.parametrize(
    ("batch", "changes"),
    [
        (updates(1, 2), {"tally": Tally(updated=2), "witness": UserId(1)}),
        (creates(1, 2, 3), {"tally": Tally(created=3), "witness": UserId(1)}),
        (departures(1, 2), {"tally": Tally(departed=2)}),
        (creates(1, 2, heals=True), {}),
        (updates(1, 2, created=True), {"tally": Tally(updated=2), "witness": UserId(1)}),
    ],
    ids=["update", "create", "departure", "what heals", "what was healed"],
)
def test_applied(batch: Batch, changes: dict[str, Any]) -> None:
    """Counted once by its kind; the pace learns; whoever has a whole row now can be a witness."""
    after = recorded(BEFORE, batch, Applied())

    pace = PACE.applied(rows=len(batch.ids), seconds=0.1)
    assert after == replace(BEFORE, pace=pace, patience=PROGRESSED, well=True, **changes)
    assert after.tally.total == (0 if batch.heals else len(batch.ids))


def test_what_was_not_sent_of_a_chunk_goes_where_it_belongs() -> None:
    """Whoever did not fit comes next; whom the guild speaks differently of, and who is faulty."""
    after = recorded(
        BEFORE,
        updates(1, 2, 3, 4),
        Applied(),
        ids=user_ids(1),
        unsent=user_ids(2),
        left_out=user_ids(3),
        faulty=parked("name is empty", 4),
    )

    assert after == replace(
        BEFORE,
        queue=(updates(2), updates(8)),
        left_out=user_ids(3),
        parked=parked("name is empty", 4),
        tally=Tally(updated=1),
        witness=UserId(1),
        pace=PACE.applied(rows=1, seconds=0.1),
        patience=PROGRESSED,
        well=True,
    )


def test_a_chunk_of_which_nothing_was_left_to_send() -> None:
    """Without a request there is no answer: neither progress nor failure."""
    after = recorded(BEFORE, updates(1), None, ids=(), left_out=user_ids(1))

    assert after == replace(BEFORE, left_out=user_ids(1))


def test_who_is_left_out_of_what_heals_is_counted_with_the_update_behind_it() -> None:
    """Both batches meet the same absence, and one of them tells it."""
    state = delivery(updates(1, 2, created=True))

    healed = recorded(
        state, creates(1, 2, heals=True), Applied(), ids=user_ids(1), left_out=user_ids(2)
    )

    assert healed.left_out == ()


ROLE_FAULT: Final = RowFault(index=0, reason="roles: unknown", unknown_roles=frozenset(role_ids(5)))


@pytest.mark.parametrize(
    ("outcome", "changes"),
    [
        (
            RejectedRows(faults=(RowFault(index=1, reason="name: bad"),)),
            {"queue": (updates(1, 3), updates(8)), "parked": parked("name: bad", 2)},
        ),
        (
            RejectedRows(faults=(ROLE_FAULT, RowFault(index=1, reason="name: bad"))),
            {
                "queue": (updates(1, 3), updates(8)),
                "parked": parked("name: bad", 2),
                "roles_wanted": frozenset(role_ids(5)),
            },
        ),
        (
            RejectedRows(faults=tuple(RowFault(index=index, reason="bad") for index in range(3))),
            {"queue": (updates(8),), "parked": parked("bad", 1, 2, 3)},
        ),
        (
            RejectedWhole(status=400, reason="id: twice"),
            {"queue": (updates(1, 2), updates(3), updates(8))},
        ),
        (
            TooLarge(),
            {
                "queue": (updates(1, 2), updates(3), updates(8)),
                "pace": PACE.too_large(rows=3),
            },
        ),
        (
            UnknownUser(id=UserId(2)),
            {
                "queue": (
                    creates(1, 2, 3, heals=True),
                    updates(1, 2, 3, created=True),
                    updates(8),
                )
            },
        ),
    ],
    ids=["named", "unknown role", "all named", "unnamed", "too large", "unknown user"],
)
def test_rejected(outcome: Outcome, changes: dict[str, Any]) -> None:
    """The bad rows are found and parked, all others wait to be sent again; the site is well."""
    after = recorded(BEFORE, updates(1, 2, 3), outcome)

    assert after == replace(BEFORE, patience=ANSWERED, **changes)


def test_a_role_is_brought_to_the_site_once() -> None:
    """Rows that name an unknown role wait for it; if that was no help, they are parked."""
    first = recorded(BEFORE, updates(1, 2), RejectedRows(faults=(ROLE_FAULT,)))
    wanted = first.roles_wanted
    refreshed = chunks.roles_refreshed(first, wanted)
    second = recorded(
        replace(refreshed, queue=()), updates(1, 2), RejectedRows(faults=(ROLE_FAULT,))
    )

    assert (wanted, refreshed.roles_wanted, refreshed.roles_tried) == (
        frozenset(role_ids(5)),
        frozenset(),
        frozenset(role_ids(5)),
    )
    assert (second.queue, second.parked, second.roles_wanted) == (
        (updates(2),),
        parked("roles: unknown", 1),
        frozenset(),
    )


@pytest.mark.parametrize(
    ("batch", "outcome", "changes"),
    [
        (
            updates(1),
            RejectedWhole(status=422, reason="id: odd"),
            {"parked": parked("422: id: odd", 1)},
        ),
        (
            updates(1),
            TooLarge(),
            {
                "parked": parked("413: one row is larger than the site takes", 1),
                "pace": PACE.too_large(rows=1),
            },
        ),
        (
            updates(1, 2, created=True),
            UnknownUser(id=UserId(1)),
            {
                "parked": parked("404: the site does not keep this user", 1),
                "queue": (updates(2, created=True), updates(8)),
            },
        ),
        (
            creates(1),
            UnknownUser(id=UserId(1)),
            {"parked": parked("404: the site does not keep this user", 1)},
        ),
        (
            departures(1, 2),
            UnknownUser(id=UserId(1)),
            {"left_out": user_ids(1), "queue": (departures(2), updates(8))},
        ),
    ],
    ids=["rejected", "too large", "not kept", "create of unknown", "departure of unknown"],
)
def test_one_row_that_the_site_will_not_have(
    batch: Batch, outcome: Outcome, changes: dict[str, Any]
) -> None:
    """It is parked with its reason; who has no row has nothing to be marked as gone on."""
    assert recorded(BEFORE, batch, outcome) == replace(BEFORE, patience=ANSWERED, **changes)


def test_an_update_that_heals_begins_free_of_suspicion() -> None:
    """So that no part of the create is ever put behind the update that needs it."""
    after = recorded(delivery(), updates(1, 2, tries=2, alone=1), UnknownUser(id=UserId(1)))

    assert after.queue == (creates(1, 2, heals=True), updates(1, 2, created=True))


def test_a_row_that_is_parked_waits_nowhere_else() -> None:
    """A create that heals takes its row out of the update behind it, too."""
    state = delivery(updates(1, created=True), updates(2))

    after = recorded(
        state,
        creates(1, heals=True),
        RejectedRows(faults=(RowFault(index=0, reason="name: bad"),)),
    )

    assert (after.queue, after.parked) == ((updates(2),), parked("name: bad", 1))


@pytest.mark.parametrize(
    ("rejected", "planned", "known", "failure"),
    [
        (20, 0, 0, None),
        (21, 0, 0, Failure(kind=FailureKind.REJECTED, reason="21 of 0 rows; the last: bad")),
        (21, 0, 1, None),
        (22, 0, 1, Failure(kind=FailureKind.REJECTED, reason="21 of 0 rows; the last: bad")),
        (21, 209, 0, Failure(kind=FailureKind.REJECTED, reason="21 of 209 rows; the last: bad")),
        (21, 210, 0, None),
        (22, 210, 0, Failure(kind=FailureKind.REJECTED, reason="22 of 210 rows; the last: bad")),
    ],
)
def test_too_many_rejections_stop_a_run(
    rejected: int, planned: int, known: int, failure: Failure | None
) -> None:
    """Beyond 20 and a tenth, those already parked not counted: then no row is to blame."""
    state = delivery(planned=planned, known_parked=frozenset(user_ids(*range(1, known + 1))))
    faults = tuple(RowFault(index=index, reason="bad") for index in range(rejected))

    after = recorded(state, updates(*range(1, rejected + 1)), RejectedRows(faults=faults))

    assert (after.failure, len(after.parked)) == (failure, rejected)


# -- a site in trouble ----------------------------------------------------------------------------


def test_overloaded() -> None:
    """Sent again as it was, when the site said, in the smallest size; nobody is suspected."""
    after = recorded(BEFORE, updates(1, 2, 3), BUSY)

    assert after == replace(
        BEFORE,
        queue=(updates(1, 2, 3), updates(8)),
        pace=PACE.overloaded(),
        patience=suspicious(ERROR, BUSY),
        waiting=Wait(until=LATER + 7 * SECOND, reason="the site is overloaded"),
    )


def test_unreachable() -> None:
    """What never arrived can't have harmed: the same chunk waits, in the same size."""
    after = recorded(BEFORE, updates(1, 2, 3), UNREACHABLE)

    assert after == replace(
        BEFORE,
        queue=(updates(1, 2, 3), updates(8)),
        patience=suspicious(ERROR, UNREACHABLE),
        waiting=Wait(until=LATER + 2 * SECOND, reason="the site can't be reached"),
    )


def test_failing() -> None:
    """Halves under suspicion come behind others under suspicion, before those that are not."""
    state = replace(BEFORE, queue=(updates(5, 6, tries=1), updates(8)))

    after = recorded(state, updates(1, 2, 3, tries=1), ERROR)

    assert after == replace(
        state,
        queue=(
            updates(5, 6, tries=1),
            updates(1, 2, tries=2),
            updates(3, tries=2),
            updates(8),
        ),
        pace=PACE.failed(),
        patience=suspicious(ERROR, ERROR),
        waiting=Wait(until=LATER + 2 * SECOND, reason="Server Error"),
    )


def test_lost() -> None:
    """Nothing is sent before the request must have ended there."""
    after = recorded(BEFORE, updates(1, 2, 3), LOST)

    assert after == replace(
        BEFORE,
        queue=(updates(1, 2, tries=1), updates(3, tries=1), updates(8)),
        pace=PACE.failed(),
        patience=suspicious(ERROR, LOST),
        probing=True,
        waiting=Wait(until=LATER + 30 * SECOND, reason="the connection was lost"),
    )


def test_a_probe_of_a_site_that_is_well() -> None:
    """What waits is sent again."""
    state = delivery(updates(1), probing=True)

    assert chunks.probed(state, None, now=LATER, jitter=0.5) == delivery(updates(1))


@pytest.mark.parametrize(
    ("trouble", "wait"),
    [
        (UNREACHABLE, Wait(until=LATER + SECOND, reason="the site can't be reached")),
        (BUSY, Wait(until=LATER + 7 * SECOND, reason="the site is overloaded")),
    ],
)
def test_a_probe_of_a_site_that_is_not(trouble: Failing | Overloaded, wait: Wait) -> None:
    """It counts as a failing answer, and is made again."""
    state = delivery(updates(1), probing=True)

    assert chunks.probed(state, trouble, now=LATER, jitter=0.5) == replace(
        state, patience=suspicious(trouble), waiting=wait
    )


def test_what_stops_a_run() -> None:
    """Refused credentials, at once; the chunk is put back: it is not counted as done."""
    failure = Failure(kind=FailureKind.REFUSED, reason="Invalid token.", status=401)

    after = recorded(BEFORE, updates(1, 2), Refused(status=401, reason="Invalid token."))

    assert (after.failure, after.queue) == (failure, (updates(1, 2), updates(8)))
    assert chunks.decide(after, now=LATER)[1] == chunks.Stop(failure=failure)


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (ODD, 302, "(no body)"),
        (NotFound(), 404, "unexpected answer to the update: NotFound"),
        (UnknownUser(id=UserId(7)), 404, "names user 7, who was not sent"),
    ],
)
def test_an_odd_answer_may_pass_or_be_about_one_row(
    outcome: Outcome, status: int, reason: str
) -> None:
    """The halves are tried apart; what stays ends the run as what it is."""
    state = replace(BEFORE, patience=PATIENCE)
    after = recorded(state, updates(1, 2), outcome)
    last = recorded(replace(state, patience=suspicious(*[ERROR] * 4)), updates(1, 2), outcome)

    odd = ProtocolError(status=status, reason=reason)
    assert after == replace(
        state,
        queue=(updates(1, tries=1), updates(2, tries=1), updates(8)),
        patience=suspicious(odd),
        waiting=Wait(until=LATER + SECOND, reason=reason),
    )
    assert chunks.decide(last, now=LATER)[1] == chunks.Stop(
        failure=Failure(kind=FailureKind.PROTOCOL, reason=reason, status=status)
    )


def test_a_firewalls_page_may_be_about_one_row() -> None:
    """The halves are tried apart, as large as they are: nothing is slow."""
    state = replace(BEFORE, patience=PATIENCE)

    after = recorded(state, updates(1, 2, 3), BLOCKED)

    assert after == replace(
        state,
        queue=(updates(1, 2, tries=3), updates(3, tries=3), updates(8)),
        patience=suspicious(BLOCKED),
        waiting=Wait(until=LATER + SECOND, reason="(a page)"),
    )


# -- a row on which the site fails ----------------------------------------------------------------

TWICE: Final = updates(1, tries=2, alone=2)
NEAR: Final = updates(1, tries=3, alone=2)
ACCUSED: Final = updates(1, tries=3, alone=2, accused=BLAMED)


@pytest.mark.parametrize(
    ("batch", "outcome", "queue"),
    [
        # The first failing answer to a row by itself says nothing yet.
        (updates(1), ERROR, (updates(1, tries=1, alone=1), updates(8))),
        # Cut down to one row, or failing again, it is near blame: its witness goes before it.
        (updates(1, tries=1), ERROR, (witness(9), updates(1, tries=2, alone=1), updates(8))),
        (updates(1, tries=1, alone=1), ERROR, (witness(9), TWICE, updates(8))),
        (TWICE, LOST, (witness(9), updates(1, tries=3, alone=3), updates(8))),
        # Many failures of what it was cut from are none of its own.
        (updates(1, 2, tries=7), ERROR, (updates(1, tries=8), updates(2, tries=8), updates(8))),
        # A firewall's page speaks for itself.
        (updates(1), BLOCKED, (witness(9), updates(1, tries=3, alone=1), updates(8))),
        # Overload and a dead connection are about no row.
        (TWICE, BUSY, (TWICE, updates(8))),
        (TWICE, UNREACHABLE, (TWICE, updates(8))),
    ],
)
def test_before_a_row_can_be_blamed_its_witness_is_sent(
    batch: Batch, outcome: Outcome, queue: tuple[Batch, ...]
) -> None:
    """While nobody else has passed right before it, its failing may be the site's."""
    state = delivery(updates(8), witness=UserId(9))

    assert recorded(state, batch, outcome).queue == queue


@pytest.mark.parametrize(
    ("batch", "outcome", "accused"),
    [
        (TWICE, ERROR, BLAMED),
        (TWICE, LOST, BLAMED),
        (TWICE, ODD, BLAMED),
        (
            updates(1, tries=1, alone=1),
            BLOCKED,
            "something before the site does not let this row through (HTTP 403)",
        ),
        (updates(1, tries=1, alone=1), ERROR, None),
        (updates(1, tries=2), ERROR, None),
        (updates(1), BLOCKED, None),
        (TWICE, BUSY, None),
        (TWICE, UNREACHABLE, None),
    ],
)
def test_a_row_is_accused_that_fails_right_after_another_passed(
    batch: Batch, outcome: Outcome, accused: str | None
) -> None:
    """Three failures, two of them alone: one lost answer is never enough."""
    state = delivery(updates(8), witness=UserId(9), well=True)

    after = recorded(state, batch, outcome)

    (row,) = [waits for waits in after.queue if waits.ids == batch.ids]
    assert (row.accused, after.well) == (accused, False)


def test_a_row_near_blame_stands_right_behind_its_witness() -> None:
    """The witness speaks for whoever comes after it, and others must not come between."""
    state = delivery(updates(5, tries=1), updates(8), witness=UserId(9))

    assert recorded(state, updates(1, tries=1, alone=1), ERROR).queue == (
        witness(9),
        TWICE,
        updates(5, tries=1),
        updates(8),
    )


def test_without_a_witness_a_row_near_blame_lets_all_others_go_first() -> None:
    """Whatever is applied before it, or behind it, can be its witness."""
    state = delivery(updates(5, tries=1), updates(8))

    assert recorded(state, updates(1, tries=1, alone=1), ERROR).queue == (
        updates(5, tries=1),
        updates(8),
        TWICE,
    )


def test_what_heals_keeps_its_place_before_its_update() -> None:
    """A create near blame is not put behind the update that waits for it."""
    create, update = creates(1, heals=True, tries=2, alone=1), updates(1, created=True)

    assert recorded(delivery(update), create, ERROR).queue == (
        creates(1, heals=True, tries=3, alone=2),
        update,
    )


@pytest.mark.parametrize(
    ("queue", "after"),
    [
        ((ACCUSED, updates(8)), {"queue": (updates(8),), "parked": parked(BLAMED, 1)}),
        ((updates(8), ACCUSED), {"queue": (updates(8),), "parked": parked(BLAMED, 1)}),
        ((NEAR, updates(8)), {}),
        ((updates(1, 2, tries=9), updates(8)), {}),
        ((updates(8),), {}),
        ((), {}),
    ],
    ids=["accused", "accused last", "near blame", "two rows", "not suspected", "nobody"],
)
def test_a_witness_that_passes(queue: tuple[Batch, ...], after: dict[str, Any]) -> None:
    """It shows that the site is well: only a row that stands accused then is parked."""
    state = delivery(*queue, witness=UserId(9), patience=suspicious(ERROR))

    assert recorded(state, witness(9), Applied()) == replace(
        state, patience=PROGRESSED, well=True, **after
    )


def test_any_other_row_that_passes_is_a_witness() -> None:
    """Where none is known, what is to be sent anyhow speaks; nobody speaks against themselves."""
    state = delivery(ACCUSED, witness=None)

    others, itself = (recorded(state, batch, Applied()) for batch in (updates(8), creates(1)))

    assert (others.parked, others.queue) == (parked(BLAMED, 1), ())
    assert (itself.parked, itself.queue) == ((), (ACCUSED,))


@pytest.mark.parametrize(
    ("outcome", "doubtful"),
    [(ERROR, False), (LOST, True), (BUSY, False), (UNREACHABLE, False), (BLOCKED, False)],
)
def test_a_witness_that_fails_blames_the_site(outcome: Outcome, *, doubtful: bool) -> None:
    """No row is parked or accused any more, and the next try begins with a witness again."""
    state = delivery(ACCUSED, witness=UserId(9), well=True)

    after = recorded(state, witness(9), outcome)

    assert (after.parked, after.probing, after.well) == ((), doubtful, False)
    assert after.queue == (witness(9), NEAR)
    assert after.patience.failing == 1


def test_a_site_that_fails_for_a_while_blames_nobody() -> None:
    """Three failing answers to one row while the whole site is ill, and then it is well again."""
    state = delivery(updates(1), witness=UserId(9))
    for outcome in (ERROR, ERROR, ERROR, ERROR):
        state, step = chunks.decide(replace(state, waiting=None), now=LATER)
        assert isinstance(step, chunks.Send)
        state = recorded(state, step.batch, outcome)
    sent = []
    while True:
        state, step = chunks.decide(replace(state, waiting=None), now=LATER)
        if not isinstance(step, chunks.Send):
            break
        sent.append(step.batch.ids)
        state = recorded(state, step.batch, Applied())

    assert (step, sent, state.parked) == (chunks.Done(), [user_ids(9), user_ids(1)], ())


@pytest.mark.parametrize(
    "outcome",
    [
        RejectedWhole(status=400, reason="no"),
        RejectedRows(faults=(RowFault(index=0, reason="no"),)),
        UnknownUser(id=UserId(9)),
        TooLarge(),
    ],
)
def test_a_witness_that_the_site_rejects_is_none(outcome: Outcome) -> None:
    """It is not parked either: nothing was to be changed of it."""
    state = delivery(ACCUSED, witness=UserId(9))

    after = recorded(state, witness(9), outcome)

    assert (after.witness, after.queue, after.parked) == (None, (NEAR,), ())


def test_a_witness_who_left_is_none() -> None:
    """The guild's own word about the witness is no planned change that was left out."""
    state = delivery(ACCUSED, witness=UserId(9))

    after = recorded(state, witness(9), None, ids=(), left_out=user_ids(9))

    assert after == replace(state, witness=None)


@pytest.mark.parametrize("batch", [updates(1, 2), updates(1)])
def test_before_patience_ends_the_witness_speaks(batch: Batch) -> None:
    """When every half fails, one good row tells whether it is the rows or the site."""
    patient, last_chance = (
        recorded(
            delivery(updates(8), witness=UserId(9), patience=suspicious(*[ERROR] * failures)),
            batch,
            ERROR,
        )
        for failures in (2, 3)
    )

    assert [patient.queue[0].witness, last_chance.queue[0]] == [False, witness(9)]
    assert patient.queue == last_chance.queue[1:]


def test_the_witness_does_not_speak_for_who_is_not_suspected() -> None:
    """Before a chunk that was never sent it could show nothing."""
    state = delivery(updates(8), witness=UserId(9), patience=suspicious(*[ERROR] * 3))

    assert recorded(state, witness(9), ERROR).queue == (updates(8),)


def test_without_witness_the_halves_are_tried_to_the_end() -> None:
    """There is nothing else that could tell a bad row from a bad site."""
    state = delivery(patience=suspicious(*[ERROR] * 3))

    assert recorded(state, updates(1, 2), ERROR).queue == (
        updates(1, tries=1),
        updates(2, tries=1),
    )


def test_a_witness_with_nobody_behind_it_that_fails() -> None:
    """No second one is called."""
    state = delivery(witness=UserId(9))

    assert recorded(state, witness(9), ERROR).queue == ()
