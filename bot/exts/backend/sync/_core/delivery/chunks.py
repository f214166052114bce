"""Bring planned changes to the site in chunks: the state machine behind every write of users.

`decide` says what to do next, `record` folds in what came of it; neither knows a clock, a guild or
a site. A full sync, live events and `!sync user` all go through here.

Theory. The work is a queue of batches (ids that are sent alike). `decide` cuts a chunk of the
pace's size off its front; what the site says of the chunk puts ids back, drops them or parks them:

    applied              dropped; the pace learns
    rows rejected        the named rows parked, the others put back (a role unknown to the site is
                         brought there first, once, and its rows put back)
    rejected, unnamed    cut in two, until the bad row stands alone and is parked
    unknown user         the whole chunk created (existing ids are skipped), then updated again
    too large            cut in two, and the ceiling lowered
    overloaded           put back; wait as long as the site says; start again from the floor
    failing              cut in two halves under suspicion; wait
    blocked, protocol    the same: a firewall, or the site, may mean one row of it
    answer lost          the same, but first wait until the site is well and any request that may
                         still be running there has ended
    refused              stop

A row that makes the site fail (500), or that a firewall does not let through, is found like a
rejected one, only that a failing site must not be mistaken for a thousand bad rows. So halves under
suspicion take turns, breadth first: with one bad row the sibling of a failing half is sent before
the half is cut again, and its success shows that the site is well. With several bad rows every half
may fail; then, before patience ends, a *witness* is sent: one row known to be good. A row that
failed alone is *accused* only if another row passed right before it, and parked only if another
passes right after it. If the witness fails too, the site is failing and no row is blamed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, assert_never

from ..model.changes import Kind
from ..model.members import ALL_FIELDS
from ..policy.request_backoff import Failure, FailureKind, fatal
from ..site.outcome import (
    Applied,
    Blocked,
    Failing,
    Overloaded,
    ProtocolError,
    RejectedRows,
    RejectedWhole,
    TooLarge,
    UnknownUser,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from ..model.changes import Group
    from ..model.members import Field, RoleId, UserId
    from ..policy.pace import Pace
    from ..policy.request_backoff import Patience
    from ..site.outcome import Outcome, Trouble

_TRIES_BEFORE_BLAME: Final = 3
_TRIES_ALONE: Final = 2  # one lost answer must never be enough to blame a row


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Ids that are sent alike, and what is known of them as a batch.

    `tries` counts the failing answers that this batch, or one that it was cut from, has had.
    `alone` counts those of its one row by itself: a row inherits suspicion from what it was cut
    from, but no blame. `accused` is the reason to park it with if another row passes next. `heals`
    marks the create that is sent because the site did not know an id of an update, and `created`
    that update, which is sent again behind it. Where `counted` is false, its ids are counted with
    another batch.
    """

    kind: Kind
    fields: tuple[Field, ...]
    ids: Sequence[UserId]
    tries: int = 0
    alone: int = 0
    accused: str | None = None
    counted: bool = True
    heals: bool = False
    created: bool = False
    witness: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedRow:
    """A row that the site does not take, and why."""

    id: UserId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of a chunk's ids when its request was built.

    `ids` went into the request, in its order. `unsent` did not fit into the byte limit. `left_out`
    need no request any more, or not this one: the guild says otherwise by now. `faulty` break the
    contract's own limits.
    """

    batch: Batch
    ids: tuple[UserId, ...]
    unsent: Sequence[UserId] = ()
    left_out: tuple[UserId, ...] = ()
    faulty: tuple[ParkedRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Build and send a request for this batch, of at most `max_bytes`, or its first row alone."""

    batch: Batch
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshRoles:
    """Bring these roles to the site: it rejected rows because it does not know them."""

    ids: frozenset[RoleId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Ask for the healthcheck and one small read, and tell `probed` whether both were well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Do nothing before `until`, and show people why."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Give up."""

    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Nothing is left to send."""


_Suspicious = Failing | Blocked | ProtocolError
Step = Send | RefreshRoles | Probe | Wait | Stop | Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Rows applied, by kind of change."""

    created: int = 0
    updated: int = 0
    departed: int = 0

    @property
    def total(self) -> int:
        return self.created + self.updated + self.departed

    def plus(self, batch: Batch, rows: int) -> Tally:
        if batch.heals or not batch.counted:
            return self
        match batch.kind:
            case Kind.CREATE:
                return replace(self, created=self.created + rows)
            case Kind.UPDATE:
                return replace(self, updated=self.updated + rows)
            case Kind.DEPARTURE:
                return replace(self, departed=self.departed + rows)
            case _:
                assert_never(batch.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The state of bringing changes to the site.

    `left_out` are ids that the guild spoke differently of when their turn came. `known_parked` were
    parked by runs before: that the site rejects them again says nothing new. `well` says that the
    latest answer was that of a chunk which was applied.
    """

    queue: tuple[Batch, ...]
    pace: Pace
    patience: Patience
    planned: int
    witness: UserId | None = None
    tally: Tally = Tally()
    parked: tuple[ParkedRow, ...] = ()
    known_parked: frozenset[UserId] = frozenset()
    left_out: tuple[UserId, ...] = ()
    roles_tried: frozenset[RoleId] = frozenset()
    roles_wanted: frozenset[RoleId] = frozenset()
    waiting: Wait | None = None
    probing: bool = False
    well: bool = False
    failure: Failure | None = None

    @property
    def remaining(self) -> int:
        """How many planned changes still wait in the queue."""
        return sum(len(b.ids) for b in self.queue if b.counted and not b.heals and not b.witness)


def start(
    groups: Iterable[Group],
    *,
    pace: Pace,
    patience: Patience,
    witness: UserId | None,
    known_parked: frozenset[UserId] = frozenset(),
) -> Delivery:
    """Return the state before the first chunk; `witness` is an id whose row is right already."""
    queue = tuple(
        Batch(kind=g.kind, fields=g.fields, ids=g.ids, counted=g.counted) for g in groups if g.ids
    )
    return Delivery(
        queue=queue,
        pace=pace,
        patience=patience,
        planned=sum(len(batch.ids) for batch in queue if batch.counted),
        witness=witness,
        known_parked=known_parked,
    )


def decide(state: Delivery, *, now: datetime) -> tuple[Delivery, Step]:
    """Say what to do next; after a `Send`, the chunk is no longer in the state's queue."""
    failure = state.failure or state.patience.exhausted(now)
    if failure is not None:
        return state, Stop(failure=failure)
    if state.waiting is not None and now < state.waiting.until:
        return state, state.waiting
    state = replace(state, waiting=None)
    if state.probing:
        return state, Probe()
    if state.roles_wanted:
        return state, RefreshRoles(ids=state.roles_wanted)
    if not state.queue:
        return state, Done()
    first, rest = state.queue[0], state.queue[1:]
    chunk, remainder = _cut(first, state.pace.items)
    queue = (remainder, *rest) if remainder.ids else rest
    return replace(state, queue=queue), Send(batch=chunk, max_bytes=state.pace.limits.max_bytes)


def record(  # noqa: C901 - one arm an outcome, and a guard before them
    state: Delivery,
    sent: Sent,
    outcome: Outcome | None,
    *,
    now: datetime,
    seconds: float,
    jitter: float,
    site_s: float | None = None,
) -> Delivery:
    """Fold in what came of a chunk; `outcome` is None when nothing was left to ask the site for.

    `seconds` is what the request took, `site_s` what of it the site says that it was at work,
    `jitter` uniform in [0, 1).
    """
    if sent.batch.witness and not sent.ids:
        # It left the guild, or its row became one that the site can't take.
        return replace(state, witness=None)
    if not sent.batch.heals:  # the update behind it says the same of its ids
        state = replace(state, left_out=(*state.left_out, *sent.left_out))
    state = _park(state, sent.faulty)
    if sent.unsent:
        state = _put_back(state, replace(sent.batch, ids=sent.unsent))
    if outcome is None:
        return state
    batch = replace(sent.batch, ids=sent.ids)
    rows = len(batch.ids)
    if isinstance(outcome, Applied):
        return _applied(state, batch, now=now, seconds=seconds, site_s=site_s)
    was_well = state.well
    state = _acquit(replace(state, well=False))
    match outcome:
        case RejectedRows():
            return _rejected_rows(state, batch, outcome)
        case RejectedWhole(status=status, reason=reason):
            return _split(
                replace(state, patience=state.patience.answered()), batch, f"{status}: {reason}"
            )
        case UnknownUser(id=id_) if id_ in batch.ids:
            return _unknown(replace(state, patience=state.patience.answered()), batch, id_)
        case TooLarge():
            pace, patience = state.pace.too_large(rows=rows), state.patience.answered()
            state = replace(state, pace=pace, patience=patience)
            return _split(state, batch, "413: one row is larger than the site takes")
        case Overloaded():
            state = replace(
                state, patience=state.patience.failed(outcome), pace=state.pace.overloaded()
            )
            return _wait(_put_back(state, batch), outcome, now, jitter)
        case Failing() | Blocked() | ProtocolError():
            return _failing(state, batch, outcome, now=now, jitter=jitter, was_well=was_well)
        case _:
            failure = fatal(outcome)
            if failure is not None:
                return replace(_put_back(state, batch), failure=failure)
            odd = ProtocolError(status=404, reason=_unexpected(batch, outcome))
            return _failing(state, batch, odd, now=now, jitter=jitter, was_well=was_well)


def roles_refreshed(state: Delivery, ids: frozenset[RoleId]) -> Delivery:
    """Note that these roles were brought to the site, as far as the guild has them."""
    return replace(
        state, roles_tried=state.roles_tried | ids, roles_wanted=state.roles_wanted - ids
    )


def probed(state: Delivery, trouble: Trouble | None, *, now: datetime, jitter: float) -> Delivery:
    """Fold in what a probe found: None when the site is well again."""
    if trouble is None:
        return replace(state, probing=False)
    return _wait(replace(state, patience=state.patience.failed(trouble)), trouble, now, jitter)


def _applied(
    state: Delivery, batch: Batch, *, now: datetime, seconds: float, site_s: float | None
) -> Delivery:
    state = replace(state, patience=state.patience.progressed(now), well=True)
    # Another row passed right behind them.
    state = _park(
        state,
        [
            ParkedRow(id=other.ids[0], reason=other.accused)
            for other in state.queue
            if other.accused is not None and other.ids[0] not in batch.ids
        ],
    )
    if batch.witness:
        return state
    departure = batch.kind is Kind.DEPARTURE
    return replace(
        state,
        pace=state.pace.applied(rows=len(batch.ids), seconds=seconds, site_s=site_s),
        tally=state.tally.plus(batch, len(batch.ids)),
        # A departure writes no whole row, and a create that heals skips the rows that exist.
        witness=state.witness if departure or batch.heals else batch.ids[0],
    )


def _rejected_rows(state: Delivery, batch: Batch, outcome: RejectedRows) -> Delivery:
    parked: list[ParkedRow] = []
    again: list[UserId] = []
    wanted: frozenset[RoleId] = frozenset()
    named = {fault.index: fault for fault in outcome.faults}
    for index, id_ in enumerate(batch.ids):
        fault = named.get(index)
        untried = fault.unknown_roles - state.roles_tried if fault is not None else frozenset()
        if fault is None or untried:
            again.append(id_)
            wanted |= untried
        else:
            parked.append(ParkedRow(id=id_, reason=fault.reason))
    state = replace(
        state,
        patience=state.patience.answered(),
        roles_wanted=state.roles_wanted | wanted,
        # A witness that the site rejects is no witness.
        witness=None if batch.witness else state.witness,
    )
    if batch.witness:
        return state
    return _put_back(_park(state, parked), replace(batch, ids=tuple(again)))


def _unknown(state: Delivery, batch: Batch, id_: UserId) -> Delivery:
    others = replace(batch, ids=tuple(known for known in batch.ids if known != id_))
    if batch.witness:
        return replace(state, witness=None)
    match batch.kind:
        case Kind.UPDATE if not batch.created:
            # Free of suspicion, so that no part of the create is ever put behind the update.
            update = replace(batch, tries=0, alone=0, created=True)
            create = replace(update, kind=Kind.CREATE, fields=ALL_FIELDS, created=False, heals=True)
            return _put_back(_put_back(state, update), create)
        case Kind.DEPARTURE:
            # Whoever has no row has nothing to be marked on.
            return _put_back(replace(state, left_out=(*state.left_out, id_)), others)
        case _:
            row = ParkedRow(id=id_, reason="404: the site does not keep this user")
            return _put_back(_park(state, (row,)), others)


def _failing(
    state: Delivery,
    batch: Batch,
    outcome: _Suspicious,
    *,
    now: datetime,
    jitter: float,
    was_well: bool,
) -> Delivery:
    state = replace(state, patience=state.patience.failed(outcome))
    # What answered in the site's place did so in time: whatever is still at work there is waited
    # out before its rows are read, and need not be before others are written.
    unanswered = isinstance(outcome, Failing) and outcome.status is None
    if isinstance(outcome, Failing):
        if unanswered and not outcome.lost:
            # It never reached the site: no row of it is under suspicion.
            return _wait(_put_back(state, batch), outcome, now, jitter)
        state = replace(state, pace=state.pace.failed())
    if not batch.witness:
        state = _suspect(state, _charged(batch, outcome, was_well=was_well))
    state = _call_witness(state)
    if unanswered:
        wait = Wait(until=now + state.patience.limits.deadline, reason=outcome.reason)
        return replace(state, probing=True, waiting=wait)
    return _wait(state, outcome, now, jitter)


def _charged(batch: Batch, outcome: _Suspicious, *, was_well: bool) -> Batch:
    """Return a batch after one more failing answer; it is accused if it alone is to blame for it.

    A page of a firewall's speaks for itself: there is no need to see it a third time.
    """
    tries = batch.tries + 1
    if isinstance(outcome, Blocked):
        tries = max(tries, _TRIES_BEFORE_BLAME)
    if len(batch.ids) > 1:
        return replace(batch, tries=tries, alone=0)
    charged = replace(batch, tries=tries, alone=batch.alone + 1)
    is_accused = was_well and tries >= _TRIES_BEFORE_BLAME and charged.alone >= _TRIES_ALONE
    return replace(charged, accused=_accusation(outcome)) if is_accused else charged


def _accusation(outcome: _Suspicious) -> str:
    """Say why a row is parked; not in the page's own words, in which each may have a number."""
    if isinstance(outcome, Blocked):
        return f"something before the site does not let this row through (HTTP {outcome.status})"
    return "the site fails on this row alone, and is well otherwise"


def _acquit(state: Delivery) -> Delivery:
    """Withdraw what no row that passed right behind it has confirmed."""
    if all(batch.accused is None for batch in state.queue):
        return state
    return replace(state, queue=tuple(replace(batch, accused=None) for batch in state.queue))


def _is_near_blame(batch: Batch) -> bool:
    """Say whether the next failing answer would accuse this batch's one row, were the site well."""
    return (
        len(batch.ids) == 1
        and batch.alone >= _TRIES_ALONE - 1
        and batch.tries >= _TRIES_BEFORE_BLAME - 1
    )


def _suspect(state: Delivery, batch: Batch) -> Delivery:
    """Put the halves of a failing batch behind the other batches under suspicion."""
    halves = _halves(batch)
    turn = 0
    while turn < len(state.queue) and state.queue[turn].tries > 0:
        turn += 1
    if _is_near_blame(batch):
        # Its witness goes before it; without one, whatever is applied first can be its witness.
        turn = 0 if state.witness is not None or batch.heals else len(state.queue)
    return replace(state, queue=(*state.queue[:turn], *halves, *state.queue[turn:]))


def _call_witness(state: Delivery) -> Delivery:
    """Put the witness in front where the next answer would otherwise blame a row or the site."""
    if state.witness is None or not state.queue:
        return state
    first = state.queue[0]
    last_chance = (
        first.tries > 0 and state.patience.failing == state.patience.limits.max_failing - 1
    )
    if not _is_near_blame(first) and not last_chance:
        return state
    witness = Batch(kind=Kind.UPDATE, fields=ALL_FIELDS, ids=(state.witness,), witness=True)
    return replace(state, queue=(witness, *state.queue))


def _unexpected(batch: Batch, outcome: Outcome) -> str:
    if isinstance(outcome, UnknownUser):
        return f"names user {outcome.id}, who was not sent"
    return f"unexpected answer to the {batch.kind.value}: {type(outcome).__name__}"


def _split(state: Delivery, batch: Batch, reason: str) -> Delivery:
    """Cut a batch in two, or park its one row."""
    if batch.witness:
        return replace(state, witness=None)
    if len(batch.ids) == 1:
        return _park(state, (ParkedRow(id=batch.ids[0], reason=reason),))
    for half in reversed(_halves(batch)):
        state = _put_back(state, half)
    return state


def _park(state: Delivery, rows: Iterable[ParkedRow]) -> Delivery:
    rows = tuple(rows)
    if not rows:
        return state
    parked = (*state.parked, *rows)
    gone = {row.id for row in rows}
    queue = tuple(
        batch if gone.isdisjoint(batch.ids) else _without(batch, gone) for batch in state.queue
    )
    failure = state.failure
    fresh = sum(row.id not in state.known_parked for row in parked)
    if fresh > state.patience.limits.tolerated(state.planned):
        failure = Failure(
            kind=FailureKind.REJECTED,
            reason=f"{fresh} of {state.planned} rows; the last: {rows[-1].reason}",
        )
    return replace(state, parked=parked, queue=tuple(b for b in queue if b.ids), failure=failure)


def _put_back(state: Delivery, batch: Batch) -> Delivery:
    return replace(state, queue=(batch, *state.queue)) if batch.ids else state


def _wait(state: Delivery, outcome: Trouble, now: datetime, jitter: float) -> Delivery:
    wait: timedelta = state.patience.backoff(outcome, jitter=jitter)
    reason = state.patience.last.reason if state.patience.last else ""
    return replace(state, waiting=Wait(until=now + wait, reason=reason))


def _without(batch: Batch, gone: set[UserId]) -> Batch:
    return replace(batch, ids=tuple(id_ for id_ in batch.ids if id_ not in gone))


def _cut(batch: Batch, items: int) -> tuple[Batch, Batch]:
    # What is sent is a tuple; what is left of a large group is cut again and again, uncopied.
    first = tuple(batch.ids[:items])
    return replace(batch, ids=first), replace(batch, ids=batch.ids[items:])


def _halves(batch: Batch) -> tuple[Batch, ...]:
    if len(batch.ids) == 1:
        return (batch,)
    return _cut(batch, (len(batch.ids) + 1) // 2)
