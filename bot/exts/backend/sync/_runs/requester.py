"""The requests of one run: each asked until it is answered, admitted if it writes, and noted.

What is waited for may last as long as Discord is away or somebody pauses; a person's cancel ends
every wait, and what people are told of it goes through `waits`.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .._clock import happens, wait_first
from .._core.policy.attempt import StopEvidence
from .._core.policy.request_backoff import (
    Failure,
    FailureKind,
    Patience,
    PatienceLimits,
    fatal,
    judged,
)
from .._core.site import requests
from .._core.site.figures import RunFigures
from .._core.site.outcome import Answer, Applied, Blocked, Outcome, Trouble, classify, leaves_doubt
from .._errors import CancelledByPersonError, RunStoppedError

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Collection, Coroutine

    from .._core.model.members import RoleId, UserId
    from .._core.policy.departures import DepartureLimits
    from .._core.site.outcome import NoAnswer
    from .._core.site.requests import Request
    from .._ports import Clock, Guild, Proof, Site, Telemetry
    from .._state.repository import StateRepository
    from .gate import Gate
    from .member_hashes import MemberHashes
    from .work_queue import WorkQueue
    from .writes import Writes

    _T = TypeVar("_T")

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
    queue: WorkQueue
    hashes: MemberHashes | None
    patience: PatienceLimits
    departures: DepartureLimits


class Requester:
    """The requests of one run, or of one drain of live changes (`attempt` is false).

    `waits` is called with what is waited for once that takes long, and with None when it has come.
    """

    def __init__(
        self,
        services: Services,
        run_id: str,
        *,
        attempt: bool,
        waits: Callable[[Awaited, str | None], None],
    ) -> None:
        self._services = services
        self._clock = services.clock
        self._run_id = run_id
        self._attempt = attempt
        self._waits = waits
        self._unanswered = self._failing = self._applied = False
        self._cancelled = asyncio.Event()
        self._began_s = self._clock.monotonic()
        self.doubts = 0  # writes of which nobody knows what became
        self.latest_s = 0.0
        self.latest_site_s: float | None = None  # of that, what the site says it was at work
        self.figures = RunFigures()
        self.patience = Patience(limits=services.patience, progress_at=self._clock.now())

    def cancel(self) -> None:
        """Stop before the next request."""
        self._cancelled.set()

    def evidence(self, *, due: bool) -> StopEvidence:
        """Say what this leaves at the site if it is stopped now."""
        return StopEvidence(
            unanswered=self._unanswered, failing=self._failing, applied=self._applied, due=due
        )

    def applied(self, outcome: Outcome | None) -> None:
        """Note what became of a write."""
        self._applied = self._applied or isinstance(outcome, Applied)

    def passes(self) -> bool:
        """Say whether the gate lets a write of this run through now."""
        return self._services.gate.admits(self._as)

    async def prove(self) -> Proof:
        """Wait for the guild's proof, which may take as long as Discord is away, or a cancel.

        The guild may be read until the next `await`. Raises `RunStoppedError` where it can't be.
        """
        while True:
            proof = self._services.guild.proof
            if proof is not None:
                return proof
            proof = await self.wait(self._services.guild.prove())
            if not proof.members:
                raise RunStoppedError(Failure(kind=FailureKind.SOURCE, reason=proof.reason))

    async def wait(
        self, work: Coroutine[Any, Any, _T], *, undo: Callable[[], object] | None = None
    ) -> _T:
        """Wait for what is none of the site's delay, as what Discord has to say, or for a cancel.

        `undo` takes back what the work did, if it was done at the moment of the cancel.
        """
        working = asyncio.ensure_future(work)
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        since = self._clock.monotonic()
        try:
            await self._while_told(
                {working, cancelled}, Awaited.DISCORD, lambda: self._services.guild.trouble
            )
            self.check_cancelled()
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
    async def admitted(self) -> AsyncIterator[None]:
        """Hold the gate for one write, once it may go and the guild may be read."""
        gate, run_id = self._services.gate, self._as
        while True:
            await self.prove()
            if not gate.admits(run_id):
                await self.wait(gate.admitted(run_id))
            await self.wait(gate.writing.acquire(), undo=gate.writing.release)
            try:
                # Whatever held before may have changed while this waited for its turn.
                if self.may_write():
                    yield
                    return
            finally:
                gate.writing.release()

    async def ask(self, make: Callable[[int], Request], *, most: int | None = None) -> Outcome:
        """Ask until the site gives an answer that is no failure, or the run must stop.

        `make` builds the request, told how often it failed so far. What need not be known is asked
        at `most` so often: its last failure is returned.
        """
        tries = 0
        blocked: Blocked | None = None
        while True:
            await self.check_patience(blocked)
            outcome = await self.ask_once(make(tries))
            assert outcome is not None  # noqa: S101 - the gate is for writes
            if not isinstance(outcome, Trouble):
                return self.progressed(outcome)
            tries += 1
            blocked = outcome if isinstance(outcome, Blocked) else None
            await self.back_off(outcome)
            if tries == most:
                return outcome

    async def check_patience(self, blocked: Blocked | None) -> None:
        """Raise what stops the run; `blocked` is the latest answer if it was that to a read."""
        self.check_cancelled()
        failure = self.patience.exhausted(self._clock.now())
        if failure is None:
            return
        if blocked is not None:
            healthcheck = await self.ask_once(requests.healthcheck())
            assert healthcheck is not None  # noqa: S101 - the gate is for writes
            failure = judged(failure, blocked, healthcheck)
        raise RunStoppedError(failure)

    async def back_off(self, outcome: Trouble) -> None:
        """Wait before the next try of what did not go well."""
        self.patience = self.patience.failed(outcome)
        wait = self.patience.backoff(outcome, jitter=self._services.chance.random())
        last = self.patience.last
        self._waits(Awaited.SITE, None if last is None else last.reason)
        await self.sleep(wait.total_seconds())
        self._waits(Awaited.SITE, None)

    def progressed(self, outcome: Outcome) -> Outcome:
        """Note an answer that is no failure; raise what stops the run."""
        stop = fatal(outcome)
        if stop is not None:
            raise RunStoppedError(stop)
        self.patience = self.patience.progressed(self._clock.now())
        return outcome

    async def ask_once(self, request: Request) -> Outcome | None:
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
                self.doubts += 1
                self._services.writes.lost(request)
        self.latest_s = answer.seconds
        self.latest_site_s = answer.site_s if isinstance(answer, Answer) else None
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
        if request.writes and not self.may_write():
            return None
        return await self._services.site.send(request, request_id=request_id)

    def may_write(self) -> bool:
        """Say whether a write may leave now."""
        return self._services.gate.admits(self._as) and self._services.guild.proof is not None

    async def quiet(self) -> None:
        """Wait until no write is on its way: what is read before may be old when it is answered."""
        writing = self._services.gate.writing
        await self.wait(writing.acquire(), undo=writing.release)
        writing.release()

    async def waited_out(
        self, users: Collection[UserId] = (), roles: Collection[RoleId] = ()
    ) -> None:
        """Wait until no write that was given up can change these any more."""
        while (left_s := self._services.writes.ends_in_s(users, roles)) > 0:
            await self.sleep(left_s)
            self.patience = self.patience.waited(timedelta(seconds=left_s))

    def check_cancelled(self) -> None:
        """Raise `CancelledByPersonError` if a person has stopped this run."""
        if self._cancelled.is_set():
            raise CancelledByPersonError

    async def sleep(self, seconds: float) -> None:
        """Sleep, or raise `CancelledByPersonError`."""
        if await happens(self._cancelled, clock=self._clock, within_s=seconds):
            raise CancelledByPersonError
