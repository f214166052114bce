"""Deliveries: what the core says is sent next, is sent, and its answer folded in."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from .._core.delivery import chunks
from .._core.delivery.payload import answered, compose
from .._core.policy.pace import Tuning
from .._core.policy.request_backoff import Failure, FailureKind
from .._core.site import requests
from .._core.site.outcome import (
    Applied,
    Failing,
    Outcome,
    Trouble,
)
from .._errors import RunStoppedError, StoreError
from .ahead import Ahead
from .requester import Requester
from .role_writes import RoleWrites

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from .._core.model.members import Member, UserId
    from .requester import Awaited, Services

_WITNESSES: Final = 3


class Runner:
    """The requests, roles and deliveries of one run, or of one drain (`attempt` is false).

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
        self._clock = services.clock
        self._attempt = attempt
        self._changed = changed
        self._witnesses: set[UserId] = set()
        self.answered: set[UserId] = set()  # whose row the site has repeated as it was last sent
        self.tuning = Tuning()
        self.requests = Requester(services, run_id, attempt=attempt, waits=waits)
        self.roles = RoleWrites(services, self.requests)
        self._ahead = Ahead(services)

    async def deliver(self, delivery: chunks.Delivery) -> chunks.Delivery:
        """Bring a delivery to its end; raise `RunStoppedError` where it must stop."""
        try:
            return await self._deliver(delivery)
        finally:
            self._ahead.close()

    async def _deliver(self, delivery: chunks.Delivery) -> chunks.Delivery:
        delivery = replace(delivery, patience=self.requests.patience)
        while True:
            self._services.writes.witnessed(delivery.witness)
            before = replace(delivery, pace=delivery.pace.tuned(self.tuning))
            delivery, step = chunks.decide(before, now=self._clock.now())
            self.requests.patience = delivery.patience
            if self._changed is not None:
                waiting = step.reason if isinstance(step, chunks.Wait) else None
                self._changed(before, waiting, self.requests.latest_s)
            # After it was told: the last message must count the chunk that came just before.
            self.requests.check_cancelled()
            match step:
                case chunks.Send():
                    await self.requests.sleep(delivery.pace.rest_s)
                    delivery = await self._send(delivery, step)
                case chunks.RefreshRoles(ids=ids):
                    await self.roles.write(ids, known=False)
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
                    await self.requests.sleep((until - self._clock.now()).total_seconds())
                case chunks.Stop(failure=failure):
                    raise RunStoppedError(failure)
                case chunks.Done():
                    return delivery
                case _:
                    assert_never(step)

    async def _send(self, delivery: chunks.Delivery, step: chunks.Send) -> chunks.Delivery:
        # Without a cache Discord is asked, which may take long: others may write meanwhile.
        await self.requests.wait(self._services.guild.look_up(step.batch.ids))
        async with self.requests.admitted():
            # Before they are read: whoever leaves from now on may leave a row behind.
            self._services.writes.begun(step.batch.ids)
            # Read inside the gate and not before: what another write waited for may have changed.
            made = self._ahead.take(step.batch)
            rest = tuple(id_ for id_ in step.batch.ids if id_ not in made)
            read = await self.requests.wait(self._services.guild.members(rest))
            members = {**{id_: member for id_, (member, _) in made.items()}, **read}
            sent, body = compose(
                step.batch,
                members,
                max_bytes=step.max_bytes,
                lacking=self._services.writes.lacking,
                ready={id_: row for id_, (_, row) in made.items()},
            )
            if not self.requests.passes():
                # Discord had to be asked once more, and somebody has paused it since.
                sent, body = chunks.Sent(batch=step.batch, ids=(), unsent=step.batch.ids), None
            outcome: Outcome | None = None
            if body is not None:
                if self._attempt:
                    await self._before_chunk(len(sent.ids))
                request = requests.write_users(step.batch.kind, body, users=sent.ids)
                self._ahead.begin(delivery.queue, items=delivery.pace.size)
                outcome = await self.requests.ask_once(request)
                self._compare(sent, members, outcome)
                if outcome is None:  # the gate has closed before it left
                    sent = chunks.Sent(batch=step.batch, ids=(), unsent=step.batch.ids)
        self.requests.applied(outcome)
        if isinstance(outcome, Trouble) and delivery.witness is None:
            delivery = replace(delivery, witness=self._some_witness(delivery, sent.ids))
        return chunks.record(
            # Its patience has waited meanwhile, for Discord, a pause or another write.
            replace(delivery, patience=self.requests.patience),
            sent,
            outcome,
            now=self._clock.now(),
            seconds=self.requests.latest_s,
            site_s=self.requests.latest_site_s,
            jitter=self._services.chance.random(),
        )

    def _compare(
        self, sent: chunks.Sent, members: Mapping[UserId, Member], outcome: Outcome | None
    ) -> None:
        """Note whose row the site repeats as it was sent, and whose it does not."""
        said = outcome.value if isinstance(outcome, Applied) else None
        rows = said if isinstance(said, tuple) else ()
        self.answered.difference_update(sent.ids)
        self.answered |= answered(sent, members, rows, lacking=self._services.writes.lacking)

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
            outcome = await self.requests.ask_once(request)
            assert outcome is not None  # noqa: S101 - the gate is for writes
            match outcome:
                case Applied() if self.requests.latest_s <= target_s * 2:
                    continue
                case _ if isinstance(outcome, Trouble):
                    return outcome
                case Applied():
                    reason = f"{request.path} took {self.requests.latest_s:.1f} s"
                    return Failing(status=None, reason=reason, lost=False)
                case _:
                    reason = f"{request.path}: {type(outcome).__name__}"
                    return Failing(status=None, reason=reason, lost=False)
        return None
