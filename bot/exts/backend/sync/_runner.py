"""The loop: ask the core what to do next, do it, tell the core what came of it."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, assert_never

from ._core import requests, run
from ._core.models import role_faults
from ._core.outcome import (
    AlreadyThere,
    Applied,
    Failing,
    NotFound,
    Outcome,
    Overloaded,
    RejectedRows,
    RejectedWhole,
    classify,
)
from ._core.patience import Patience, PatienceLimits, fatal
from ._core.payload import compose
from ._errors import CancelledByPersonError, RunStoppedError
from ._telemetry import RunFigures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._core.models import Role, RoleId
    from ._core.requests import Request
    from ._ports import Guild, Proof, Site
    from ._telemetry import Telemetry


def utc_now() -> datetime:
    """Return the present, aware."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every run of a process shares; `gate` lets one write through at a time."""

    site: Site
    guild: Guild
    telemetry: Telemetry
    gate: asyncio.Lock
    patience: PatienceLimits
    target_s: float


class Runner:
    """The requests of one run, or of one drain of live changes.

    `changed` is called with a delivery's state before each step, to be shown.
    """

    def __init__(
        self,
        parts: Parts,
        run_id: str,
        *,
        changed: Callable[[run.Delivery, str | None, float], None] | None = None,
    ) -> None:
        self._parts = parts
        self._run_id = run_id
        self._changed = changed
        self._cancelled = asyncio.Event()
        self._latest_s = 0.0
        self.figures = RunFigures()
        self.patience = Patience(limits=parts.patience, progress_at=utc_now())

    def cancel(self) -> None:
        """Stop before the next request."""
        self._cancelled.set()

    async def prove(self) -> Proof:
        """Wait for the guild's proof, which may take as long as Discord is away, or a cancel."""
        proof = self._parts.guild.proof
        if proof is not None:
            return proof
        proving = asyncio.ensure_future(self._parts.guild.prove())
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait({proving, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            self._check_cancelled()
            return proving.result()
        finally:
            proving.cancel()
            cancelled.cancel()

    async def ask(self, make: Callable[[int], Request]) -> Outcome:
        """Ask until the site gives an answer that is no failure, or the run must stop.

        `make` builds the request, told how often it failed so far.
        """
        tries = 0
        while True:
            self._check_cancelled()
            failure = self.patience.exhausted(utc_now())
            if failure is not None:
                raise RunStoppedError(failure)
            outcome, _ = await self._ask_once(make(tries))
            tries += 1
            if isinstance(outcome, Failing | Overloaded):
                self.patience = self.patience.failed(outcome)
                wait = self.patience.backoff(outcome, jitter=random.random())  # noqa: S311 - not a secret
                await self._sleep(wait.total_seconds())
                continue
            stop = fatal(outcome)
            if stop is not None:
                raise RunStoppedError(stop)
            self.patience = self.patience.progressed(utc_now())
            return outcome

    async def deliver(self, delivery: run.Delivery) -> run.Delivery:
        """Bring a delivery to its end; raise `RunStoppedError` where it must stop."""
        delivery = replace(delivery, patience=self.patience)
        while True:
            before = delivery
            delivery, step = run.decide(before, now=utc_now())
            self.patience = delivery.patience
            if self._changed is not None:
                waiting = step.reason if isinstance(step, run.Wait) else None
                self._changed(before, waiting, self._latest_s)
            # After it was told: the last message must count the chunk that came just before.
            self._check_cancelled()
            match step:
                case run.Send():
                    delivery = await self._send(delivery, step)
                case run.RefreshRoles(ids=ids):
                    roles = self._parts.guild.roles()
                    await self.write_roles((roles[i] for i in ids if i in roles), known=False)
                    delivery = run.roles_refreshed(delivery, ids)
                case run.Probe():
                    trouble = await self._probe()
                    delivery = run.probed(
                        delivery,
                        trouble,
                        now=utc_now(),
                        jitter=random.random(),  # noqa: S311 - not a secret
                    )
                case run.Wait(until=until):
                    await self._sleep((until - utc_now()).total_seconds())
                case run.Stop(failure=failure):
                    raise RunStoppedError(failure)
                case run.Done():
                    return delivery
                case _:
                    assert_never(step)

    async def write_roles(self, roles: Iterable[Role], *, known: bool) -> list[str]:
        """Bring these roles to the site, thought known there or not; return what it refuses."""
        refused = []
        for role in sorted(roles, key=lambda role: role.id):
            fault = role_faults(role)
            if fault is None:
                fault = await self._write_role(role, known=known)
            if fault is not None:
                refused.append(f"role {role.name}: {fault}")
        return refused

    async def delete_role(self, id_: RoleId) -> None:
        """Delete a role from the site; one that is gone already is as good."""
        await self._write(lambda _: requests.delete_role(id_))

    async def _write_role(self, role: Role, *, known: bool) -> str | None:
        update, create = requests.update_role(role), requests.create_role(role)
        outcome = await self._write(lambda _: update if known else create)
        if isinstance(outcome, NotFound):
            outcome = await self._write(lambda _: create)
        elif isinstance(outcome, AlreadyThere):
            outcome = await self._write(lambda _: update)
        match outcome:
            case Applied():
                return None
            case RejectedWhole(reason=reason):
                return reason
            case RejectedRows(faults=faults):
                return faults[0].reason
            case _:
                return type(outcome).__name__

    async def _write(self, make: Callable[[int], Request]) -> Outcome:
        async with self._parts.gate:
            return await self.ask(make)

    async def _send(self, delivery: run.Delivery, step: run.Send) -> run.Delivery:
        await self.prove()
        async with self._parts.gate:
            # Read inside the gate and not before: what another write waited for may have changed.
            members = self._parts.guild.members(step.batch.ids)
            sent, body = compose(step.batch, members, max_bytes=step.max_bytes)
            outcome: Outcome | None = None
            if body is not None:
                request = requests.write_users(step.batch.kind, body, rows=len(sent.ids))
                outcome, self._latest_s = await self._ask_once(request)
        return run.record(
            delivery,
            sent,
            outcome,
            now=utc_now(),
            seconds=self._latest_s,
            jitter=random.random(),  # noqa: S311 - not a secret
        )

    async def _probe(self) -> Failing | Overloaded | None:
        """Ask for the healthcheck and one small read; both must be well and within the target."""
        for request in (requests.healthcheck(), requests.page(1, size=1)):
            outcome, seconds = await self._ask_once(request)
            match outcome:
                case Applied() if seconds <= self._parts.target_s * 2:
                    continue
                case Failing() | Overloaded():
                    return outcome
                case Applied():
                    reason = f"{request.path} took {seconds:.1f} s"
                    return Failing(status=None, reason=reason, lost=False)
                case _:
                    reason = f"{request.path}: {type(outcome).__name__}"
                    return Failing(status=None, reason=reason, lost=False)
        return None

    async def _ask_once(self, request: Request) -> tuple[Outcome, float]:
        self.figures.requests += 1
        request_id = f"{self._run_id}-{self.figures.requests}"
        answer = await self._parts.site.send(request, request_id=request_id)
        outcome = classify(
            answer,
            purpose=request.purpose,
            now=utc_now(),
            rows=request.rows,
            read=request.read,
        )
        self.figures.asked(request, answer.seconds)
        self._parts.telemetry.asked(request, request_id, outcome, answer.seconds)
        return outcome, answer.seconds

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise CancelledByPersonError

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._cancelled.wait(), max(0.0, seconds))
        except TimeoutError:
            return
        raise CancelledByPersonError
