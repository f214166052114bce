"""How the extension stands at a moment, for machines: metrics, health checks, the bot around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .breaker import BreakerState
    from .departures import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the extension stands at a moment; nothing in it names a member or repeats the site.

    `store_trouble`, `discord_trouble` and `mod_log_trouble` say what of each can't be used now, and
    are None where all is well. `waiting` counts changes that are not written yet, of which the
    oldest has waited `oldest_s`; `withheld` what waits for a moderator. `members` is how many the
    latest proof counted, None without one. `run_id` is that of the run that is on, `last_run_id` of
    the last one that this process saw end.
    """

    leads: bool
    stands_by: bool
    store_trouble: str | None
    discord_trouble: str | None
    mod_log_trouble: str | None
    breaker: BreakerState
    failures: int
    next_try_at: datetime | None
    is_paused: bool
    verified_at: datetime | None
    run_id: str | None
    run_phase: str | None
    last_run_id: str | None
    last_run_ending: str | None
    last_run_at: datetime | None
    waiting: int
    oldest_s: float
    parked: int
    withheld: Mapping[Subject, int] = field(default_factory=dict)
    untold: int
    members: int | None
    members_complete: bool

    @property
    def is_ready(self) -> bool:
        """Whether it does what it is for, or would at once if the process that does it ended.

        The site has no say in it, nor has Discord: a bot that is restarted for either of them only
        asks more of it.
        """
        return self.leads or self.stands_by

    def to_json(self) -> dict[str, object]:
        """Return it as plain values, as `json.dumps` takes them; moments in ISO 8601."""
        return {
            "ready": self.is_ready,
            "leads": self.leads,
            "stands_by": self.stands_by,
            "store_trouble": self.store_trouble,
            "discord_trouble": self.discord_trouble,
            "mod_log_trouble": self.mod_log_trouble,
            "breaker": self.breaker.value,
            "failures_in_a_row": self.failures,
            "next_try_at": _iso(self.next_try_at),
            "paused": self.is_paused,
            "last_verified_at": _iso(self.verified_at),
            "run": None
            if self.run_id is None
            else {"run_id": self.run_id, "phase": self.run_phase},
            "last_run": None
            if self.last_run_id is None
            else {
                "run_id": self.last_run_id,
                "ending": self.last_run_ending,
                "at": _iso(self.last_run_at),
            },
            "changes_waiting": self.waiting,
            "oldest_change_s": round(self.oldest_s, 1),
            "rows_parked": self.parked,
            "withheld": {what.value: count for what, count in self.withheld.items()},
            "alerts_waiting": self.untold,
            "members": self.members,
            "members_complete": self.members_complete,
        }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
