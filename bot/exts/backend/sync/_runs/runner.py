"""The loop: ask the core what to do next, do it, tell the core what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar, assert_never

from .._clock import happens, wait_first
from .._core.delivery import chunks
from .._core.delivery.payload import compose
from .._core.model.members import role_faults
from .._core.policy.attempt import StopEvidence
from .._core.policy.pace import Tuning
from .._core.policy.patience import (
    Failure,
    FailureKind,
    Patience,
    PatienceLimits,
    fatal,
    judged,
)
from .._core.policy.suspect import Suspect
from .._core.site import requests
from .._core.site.figures import RunFigures
from .._core.site.outcome import (
    AlreadyThere,
    Applied,
    Blocked,
    Failing,
    NotFound,
    Outcome,
    ProtocolError,
    RejectedRows,
    RejectedWhole,
    TooLarge,
    Trouble,
    classify,
    leaves_doubt,
)
from .._errors import CancelledByPersonError, RunStoppedError, StoreError

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable

    from .._core.model.members import Role, RoleId, UserId
    from .._core.policy.withheld import DepartureLimits
    from .._core.site.outcome import Answer, NoAnswer
    from .._core.site.requests import Request
    from .._ports import (
        Clock,
        Guild,
        Proof,
        Site,
        Telemetry,
    )
    from .._state.repository import StateRepository
    from .gate import Gate
    from .writes import Writes

    _T = TypeVar("_T")

_WITNESSES: Final = 3
_GRACE_S: Final = 5.0  # how long a request may go on after its run was told to stop
# So long nobody is told what is waited for; with an edit interval of 5 s it shows within ten.
_SILENT_S: Final = 3.0


class Awaited(Enum):
    """Who has to act before a run goes on."""

    SITE = "site"
    DISCORD = "Discord"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What every run of a process shares."""

    clock: Clock
    chance: random.Random
    site: Site
    guild: Guild
    telemetry: Telemetry
    repository: StateRepository
    gate: Gate
    writes: Writes
    patience: PatienceLimits
    departures: DepartureLimits


class Runner:
    """The requests of one run, or of one drain of live changes (`attempt` is false).

    `changed` is called with a delivery's state before each step, to be shown; `waits` with what is
    waited for once that takes long, and with None when it has come.
    """

    def __init__(
        self,
        services: Services,
        run_id: str,
        *,
        attempt: bool,
        changed: Callable[[chunks.Delivery, str | None, float], None] | None = None,
        waits: Callable[[Awaited, str | None], None] = lambda _who, _what: None,
    ) -> None:
        self._services = services
        self._run_id = run_id
        self._attempt = attempt
        self._changed = changed
        self._waits = waits
        self._unanswered = self._failing = self._applied = False
        self._cancelled = asyncio.Event()
        self.latest_s = 0.0
        self.roles_written: set[RoleId] = set()
        self.roles_refused: set[RoleId] = set()
        self._witnesses: set[UserId] = set()
        self.figures = RunFigures()
        self.tuning = Tuning()
        self._clock = services.clock
        self._began_s = self._clock.monotonic()
        self.patience = Patience(limits=services.patience, progress_at=self._clock.now())

    def cancel(self) -> None:
        """Stop before the next request."""
        self._cancelled.set()

    def evidence(self, *, due: bool) -> StopEvidence:
        """Say what this leaves at the site if it is stopped now."""
        return StopEvidence(
            unanswered=self._unanswered, failing=self._failing, applied=self._applied, due=due
        )

    async def prove(self) -> Proof:
        """Wait for the guild's proof, which may take as long as Discord is away, or a cancel.

        The guild may be read until the next `await`. Raises `RunStoppedError` where it can't be.
        """
        while True:
            proof = self._services.guild.proof
            if proof is not None:
                return proof
            proof = await self._or_cancelled(self._services.guild.prove())
            if not proof.members:
                raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=proof.reason))

    async def wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Wait for what Discord has to say, which is none of the site's delay, or for a cancel."""
        return await self._or_cancelled(work)

    async def _or_cancelled(
        self, work: Coroutine[Any, Any, _T], *, undo: Callable[[], object] | None = None
    ) -> _T:
        """Wait for some work that is not the site's, or for a cancel.

        `undo` takes back what the work did, if it was done at the moment of the cancel.
        """
        working = asyncio.ensure_future(work)
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        since = self._clock.monotonic()
        try:
            await self._while_told(
                {working, cancelled}, Awaited.DISCORD, lambda: self._services.guild.trouble
            )
            self._check_cancelled()
            return working.result()
        except (CancelledByPersonError, asyncio.CancelledError):
            if undo is not None and working.done() and not working.cancelled():
                undo()
            raise
        finally:
            working.cancel()
            cancelled.cancel()
            waited = timedelta(seconds=self._clock.monotonic() - since)
            self.patience = self.patience.waited(waited)

    async def _while_told(
        self,
        futures: Collection[asyncio.Future[Any]],
        who: Awaited,
        what: Callable[[], str | None],
    ) -> None:
        """Wait until one of these is done, and tell people what is waited for if it takes long."""
        told: str | None = None
        try:
            while not await wait_first(futures, clock=self._clock, within_s=_SILENT_S):
                if (now := what()) != told:
                    told = now
                    self._waits(who, told)
        finally:
            if told is not None:
                self._waits(who, None)

    @property
    def _as(self) -> str | None:
        """As whom it passes the gate."""
        return self._run_id if self._attempt else None

    @contextlib.asynccontextmanager
    async def _admitted(self) -> AsyncIterator[None]:
        """Hold the gate for one write, once it may go and the guild may be read."""
        gate, run_id = self._services.gate, self._as
        while True:
            await self.prove()
            if not gate.admits(run_id):
                await self._or_cancelled(gate.admitted(run_id))
            await self._or_cancelled(gate.writing.acquire(), undo=gate.writing.release)
            try:
                # Whatever held before may have changed while this waited for its turn.
                if self._may_write():
                    yield
                    return
            finally:
                gate.writing.release()

    async def ask(self, make: Callable[[int], Request]) -> Outcome:
        """Ask until the site gives an answer that is no failure, or the run must stop.

        `make` builds the request, told how often it failed so far.
        """
        tries = 0
        blocked: Blocked | None = None
        while True:
            await self._check_patience(blocked)
            outcome = await self._ask_once(make(tries))
            assert outcome is not None  # noqa: S101 - the gate is for writes
            if not isinstance(outcome, Trouble):
                return self._progressed(outcome)
            tries += 1
            blocked = outcome if isinstance(outcome, Blocked) else None
            await self._back_off(outcome)

    async def _write(
        self, make: Callable[[], Request | None], *, of: RoleId
    ) -> Outcome | Trouble | None:
        """Ask for a write of a role as `ask` does; None once there is nothing to ask for.

        It is built inside the gate, at each try anew. What alone is to blame for the site's failing
        answers is given up: the last of them is returned.
        """
        suspect = Suspect()
        while True:
            await self._check_patience(None)
            asked, outcome = await self._ask_gated(make)
            if not asked:
                return None
            if outcome is None:
                continue  # the gate has closed before it left
            if not isinstance(outcome, Trouble):
                self._applied = self._applied or isinstance(outcome, Applied)
                return self._progressed(outcome)
            await self._back_off(outcome)
            suspect = suspect.failed(outcome)
            if suspect.wants_witness:
                suspect = suspect.witnessed(passed=await self._witness_passes(of))
            if suspect.guilty:
                return outcome

    async def _ask_gated(self, make: Callable[[], Request | None]) -> tuple[bool, Outcome | None]:
        """Ask for a write once; say first whether there is anything to ask for."""
        async with self._admitted():
            request = make()
            return (False, None) if request is None else (True, await self._ask_once(request))

    async def _witness_passes(self, suspect: RoleId) -> bool:
        """Write another role as it is, and say whether that got the site's own answer."""

        def make() -> Request | None:
            lacking = self._services.writes.lacking | {suspect}
            others = [r for id_, r in self._services.guild.roles().items() if id_ not in lacking]
            return requests.update_role(min(others, key=lambda r: r.id)) if others else None

        await self._check_patience(None)
        _, outcome = await self._ask_gated(make)
        if outcome is None:
            return False
        if isinstance(outcome, Trouble):
            await self._back_off(outcome)
            return False
        self._progressed(outcome)
        return True

    async def _check_patience(self, blocked: Blocked | None) -> None:
        """Raise what stops the run; `blocked` is the latest answer if it was that to a read."""
        self._check_cancelled()
        failure = self.patience.exhausted(self._clock.now())
        if failure is None:
            return
        if blocked is not None:
            healthcheck = await self._ask_once(requests.healthcheck())
            assert healthcheck is not None  # noqa: S101 - the gate is for writes
            failure = judged(failure, blocked, healthcheck)
        raise RunStoppedError(failure)

    async def _back_off(self, outcome: Trouble) -> None:
        self.patience = self.patience.failed(outcome)
        wait = self.patience.backoff(outcome, jitter=self._services.chance.random())
        last = self.patience.last
        self._waits(Awaited.SITE, None if last is None else last.reason)
        await self._sleep(wait.total_seconds())
        self._waits(Awaited.SITE, None)

    def _progressed(self, outcome: Outcome) -> Outcome:
        stop = fatal(outcome)
        if stop is not None:
            raise RunStoppedError(stop)
        self.patience = self.patience.progressed(self._clock.now())
        return outcome

    async def deliver(self, delivery: chunks.Delivery) -> chunks.Delivery:
        """Bring a delivery to its end; raise `RunStoppedError` where it must stop."""
        delivery = replace(delivery, patience=self.patience)
        while True:
            self._services.writes.witnessed(delivery.witness)
            before = replace(delivery, pace=delivery.pace.tuned(self.tuning))
            delivery, step = chunks.decide(before, now=self._clock.now())
            self.patience = delivery.patience
            if self._changed is not None:
                waiting = step.reason if isinstance(step, chunks.Wait) else None
                self._changed(before, waiting, self.latest_s)
            # After it was told: the last message must count the chunk that came just before.
            self._check_cancelled()
            match step:
                case chunks.Send():
                    delivery = await self._send(delivery, step)
                case chunks.RefreshRoles(ids=ids):
                    await self.write_roles(ids, known=False)
                    delivery = chunks.roles_refreshed(delivery, ids)
                case chunks.Probe():
                    trouble = await self._probe(delivery.pace.limits.target_s)
                    delivery = chunks.probed(
                        delivery,
                        trouble,
                        now=self._clock.now(),
                        jitter=self._services.chance.random(),
                    )
                case chunks.Wait(until=until):
                    await self._sleep((until - self._clock.now()).total_seconds())
                case chunks.Stop(failure=failure):
                    raise RunStoppedError(failure)
                case chunks.Done():
                    return delivery
                case _:
                    assert_never(step)

    async def write_roles(self, ids: Iterable[RoleId], *, known: bool) -> list[str]:
        """Bring these roles to the site, thought known there or not; return what it refuses.

        Each goes as it is when its turn comes, and not at all once the guild has it no more.
        """
        refused = []
        for id_ in sorted(ids):
            await self.prove()
            role = self._services.guild.roles().get(id_)
            if role is None:
                continue
            fault = role_faults(role)
            if fault is None:
                fault = await self._write_role(id_, known=known)
            elif not known:
                self._services.writes.lacks(id_)
            self.roles_refused.discard(id_)
            if fault is not None:
                self.roles_refused.add(id_)
                without = id_ in self._services.writes.lacking
                left_out = " (its holders are written without it)" if without else ""
                refused.append(f"role {role.name}: {fault}{left_out}")
        return refused

    async def delete_role(self, id_: RoleId) -> str | None:
        """Delete a role from the site; one that is gone already is as good.

        Return why the site refuses, None if it doesn't.
        """
        self.roles_written.add(id_)
        outcome = await self._write(lambda: requests.delete_role(id_), of=id_)
        fault = None if isinstance(outcome, NotFound) else _role_fault(outcome)
        if fault is not None:
            self.roles_refused.add(id_)
        return fault

    async def _write_role(self, id_: RoleId, *, known: bool) -> str | None:
        def made_by(build: Callable[[Role], Request]) -> Callable[[], Request | None]:
            def make() -> Request | None:
                role = self._services.guild.roles().get(id_)
                return None if role is None else build(role)

            return make

        update, create = made_by(requests.update_role), made_by(requests.create_role)
        self.roles_written.add(id_)
        outcome = await self._write(update if known else create, of=id_)
        creating = not known
        if isinstance(outcome, NotFound):
            creating, outcome = True, await self._write(create, of=id_)
        elif isinstance(outcome, AlreadyThere):
            creating, outcome = False, await self._write(update, of=id_)
        fault = _role_fault(outcome)
        if fault is not None and creating:
            self._services.writes.lacks(id_)
        elif outcome is not None:
            self._services.writes.has((id_,))
        return fault

    async def _send(self, delivery: chunks.Delivery, step: chunks.Send) -> chunks.Delivery:
        # Without a cache Discord is asked, which may take long: others may write meanwhile.
        await self.wait(self._services.guild.look_up(step.batch.ids))
        async with self._admitted():
            # Before they are read: whoever leaves from now on may leave a row behind.
            self._services.writes.begun(step.batch.ids)
            # Read inside the gate and not before: what another write waited for may have changed.
            members = await self.wait(self._services.guild.members(step.batch.ids))
            sent, body = compose(
                step.batch,
                members,
                max_bytes=step.max_bytes,
                lacking=self._services.writes.lacking,
            )
            if not self._services.gate.admits(self._as):
                # Discord had to be asked once more, and somebody has paused it since.
                sent, body = chunks.Sent(batch=step.batch, ids=(), unsent=step.batch.ids), None
            outcome: Outcome | None = None
            if body is not None:
                if self._attempt:
                    await self._before_chunk(len(sent.ids))
                request = requests.write_users(step.batch.kind, body, users=sent.ids)
                outcome = await self._ask_once(request)
                if outcome is None:  # the gate has closed before it left
                    sent = chunks.Sent(batch=step.batch, ids=(), unsent=step.batch.ids)
        self._applied = self._applied or isinstance(outcome, Applied)
        if isinstance(outcome, Trouble) and delivery.witness is None:
            delivery = replace(delivery, witness=self._some_witness(delivery, sent.ids))
        return chunks.record(
            # Its patience has waited meanwhile, for Discord, a pause or another write.
            replace(delivery, patience=self.patience),
            sent,
            outcome,
            now=self._clock.now(),
            seconds=self.latest_s,
            jitter=self._services.chance.random(),
        )

    def _some_witness(
        self, delivery: chunks.Delivery, suspects: Collection[UserId]
    ) -> UserId | None:
        """Return a member who can speak for others: one whose row is right, or just any member.

        Nobody twice, and only a few: whom the site does not take speaks for nobody.
        """
        if len(self._witnesses) >= _WITNESSES:
            return None
        passed_over = {*suspects, *self._witnesses, *delivery.known_parked}
        passed_over |= {id_ for batch in delivery.queue if batch.tries for id_ in batch.ids}
        known, guild = self._services.writes.witness, self._services.guild
        candidates = itertools.chain(
            () if known is None else (known,), () if guild.proof is None else guild.member_ids()
        )
        witness = next((id_ for id_ in candidates if id_ not in passed_over), None)
        if witness is not None:
            self._witnesses.add(witness)
        return witness

    async def _before_chunk(self, items: int) -> None:
        try:
            await self._services.repository.before_chunk(items)
        except StoreError as exc:
            raise RunStoppedError(Failure(kind=FailureKind.STORE, reason=str(exc))) from exc

    async def _probe(self, target_s: float) -> Trouble | None:
        """Ask for the healthcheck and one small read; both must be well and within the target."""
        for request in (requests.healthcheck(), requests.page(1, size=1)):
            outcome = await self._ask_once(request)
            assert outcome is not None  # noqa: S101 - the gate is for writes
            match outcome:
                case Applied() if self.latest_s <= target_s * 2:
                    continue
                case _ if isinstance(outcome, Trouble):
                    return outcome
                case Applied():
                    reason = f"{request.path} took {self.latest_s:.1f} s"
                    return Failing(status=None, reason=reason, lost=False)
                case _:
                    reason = f"{request.path}: {type(outcome).__name__}"
                    return Failing(status=None, reason=reason, lost=False)
        return None

    async def _ask_once(self, request: Request) -> Outcome | None:
        """Send a request and say what came of it; None if it is a write that may not leave now."""
        self.figures.requests += 1
        request_id = f"{self._run_id}-{self.figures.requests}"
        in_doubt = request.writes
        try:
            answer = await self._answer(request, request_id)
            if answer is None:
                in_doubt = False
                self.figures.requests -= 1
                return None
            outcome = classify(
                answer,
                purpose=request.purpose,
                now=self._clock.now(),
                rows=request.rows,
                read=request.read,
            )
            in_doubt = request.writes and leaves_doubt(outcome)
        except RunStoppedError:
            in_doubt = False  # the gate said so, before it left
            raise
        finally:
            # However it ended: nobody waits for this write any more.
            if in_doubt:
                self._services.writes.lost(request)
        self.latest_s = answer.seconds
        self._failing = isinstance(outcome, Trouble)
        at_s = self._clock.monotonic() - self._began_s
        self.figures.asked(request, answer.seconds, at_s=at_s)
        self._services.telemetry.asked(request, request_id, outcome, answer.seconds)
        return outcome

    async def _answer(self, request: Request, request_id: str) -> Answer | NoAnswer | None:
        """Wait for an answer; once the run was told to stop, only for a short while more."""
        sending = asyncio.ensure_future(self._leave(request, request_id))
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        self._unanswered = True
        try:
            what = f"no answer yet to {request.method} {request.path}"
            await self._while_told({sending, cancelled}, Awaited.SITE, lambda: what)
            if not sending.done():
                await wait_first({sending}, clock=self._clock, within_s=_GRACE_S)
            if not sending.done():
                raise CancelledByPersonError
            self._unanswered = False
            return sending.result()
        finally:
            sending.cancel()
            cancelled.cancel()

    async def _leave(self, request: Request, request_id: str) -> Answer | NoAnswer | None:
        """Send a request, unless it is a write and the gate has closed since it was admitted."""
        if request.writes and not self._may_write():
            return None
        return await self._services.site.send(request, request_id=request_id)

    def _may_write(self) -> bool:
        return self._services.gate.admits(self._as) and self._services.guild.proof is not None

    async def rest(self, seconds: float) -> None:
        """Leave the site alone for so long."""
        await self._sleep(seconds)

    async def quiet(self) -> None:
        """Wait until no write is on its way: what is read before may be old when it is answered."""
        writing = self._services.gate.writing
        await self._or_cancelled(writing.acquire(), undo=writing.release)
        writing.release()

    async def waited_out(
        self, users: Collection[UserId] = (), roles: Collection[RoleId] = ()
    ) -> None:
        """Wait until no write that was given up can change these any more."""
        while (left_s := self._services.writes.ends_in_s(users, roles)) > 0:
            await self._sleep(left_s)
            self.patience = self.patience.waited(timedelta(seconds=left_s))

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise CancelledByPersonError

    async def _sleep(self, seconds: float) -> None:
        if await happens(self._cancelled, clock=self._clock, within_s=seconds):
            raise CancelledByPersonError


def _role_fault(outcome: Outcome | None) -> str | None:
    """Say why the site does not take a role, None if it does or there is nothing to take."""
    match outcome:
        case Applied() | None:
            return None
        case RejectedWhole(reason=reason):
            return reason
        case RejectedRows(faults=faults):
            return faults[0].reason
        case Blocked(status=status, reason=reason) | ProtocolError(status=status, reason=reason):
            return f"{status}: {reason}"
        case Failing(reason=reason):
            return f"the site fails on it alone: {reason}"
        case TooLarge():
            return "413: it is larger than the site takes"
        case _:
            return f"the site contradicts itself about it ({type(outcome).__name__})"
