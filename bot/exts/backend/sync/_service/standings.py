"""How the extension stands, looked at now and then: also while nothing moves, as in an outage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._core.policy.departures import Decision, Subject
from .._core.policy.standing import Standing

if TYPE_CHECKING:
    from .._ports import Guild, Telemetry
    from .service import SyncService

_EVERY_S: Final = 5.0  # machines look every 15 s or so


class Standings:
    """What machines are told of a service that nobody asks."""

    def __init__(self, service: SyncService, *, guild: Guild, telemetry: Telemetry) -> None:
        self._service = service
        self._guild = guild
        self._telemetry = telemetry

    async def run_forever(self) -> None:
        """Tell every few seconds how it stands."""
        while True:
            self._telemetry.stands(self.now())
            await self._service.clock.sleep(_EVERY_S)

    def now(self) -> Standing:
        """Return how it stands now."""
        service = self._service
        leadership, repository = service.leadership, service.repository
        state, proof = repository.state, self._guild.proof
        current, last = service.supervisor.current, service.supervisor.last
        usable = leadership.is_leading or leadership.is_standby
        since = service.queue.waiting.oldest_since
        waiting_lists = [
            one for one in repository.withheld.values() if one.decision is Decision.WAITING
        ]
        return Standing(
            leads=leadership.is_leading,
            stands_by=leadership.is_standby,
            store_trouble=None if usable else leadership.trouble,
            discord_trouble=self._guild.trouble,
            mod_log_trouble=service.mod_log.trouble,
            breaker=state.breaker.state,
            failures=state.breaker.failures,
            next_try_at=state.breaker.retry_at,
            is_paused=state.pause is not None,
            verified_at=repository.verified_at,
            run_id=None if current is None else current.run_id,
            run_phase=None if current is None else current.phase.value,
            last_run_id=None if last is None else last.run_id,
            last_run_ending=last.ending.value if last is not None and last.ending else None,
            last_run_at=None if last is None else last.now,
            waiting=len(service.queue) + len(service.writes),
            oldest_s=0.0 if since is None else service.clock.monotonic() - since,
            parked=len(repository.parked),
            withheld={
                what: sum(len(one.ids) for one in waiting_lists if one.what is what)
                for what in Subject
            },
            untold=service.untold,
            members=None if proof is None else proof.members,
            members_complete=proof is not None and proof.complete,
        )
