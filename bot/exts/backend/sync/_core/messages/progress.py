"""A run at one moment, as people should see it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from ..delivery.chunks import Tally

if TYPE_CHECKING:
    from datetime import datetime

    from ..delivery.chunks import ParkedRow
    from ..plan.planner import Cause
    from ..policy.request_backoff import Failure
    from ..policy.verification import Verification


class Phase(StrEnum):
    """What a run is doing."""

    GUILD = "reading the guild"
    SITE = "reading the site"
    COMPARING = "comparing members and rows"
    ASKING = "asking Discord who has left"
    ROLES = "writing roles"
    USERS = "writing users"
    VERIFYING = "verifying what was written"
    ENDED = "ended"


class Ending(StrEnum):
    """How a run ended."""

    VERIFIED = "verified"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    PLANNED = "planned"


class RunKind(StrEnum):
    """What a run is for, as machines are told; of the first two each is a full sync."""

    FULL = "full"
    CHECK = "check"
    ROLES = "roles"
    USERS = "users"
    CHANGES = "changes"
    PLAN = "plan"

    @property
    def is_full(self) -> bool:
        """Whether it brings all of the site in step."""
        return self in {RunKind.FULL, RunKind.CHECK}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleTally:
    """Roles written so far, of how many."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    planned: int = 0

    @property
    def total(self) -> int:
        return self.created + self.updated + self.deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run at one moment, as people should see it; `kind` and `probe` are for machines alone.

    `planned` counts changes of users, `done` those of them that need no more; `rate` is in rows a
    second of the writing alone; `chunk_items` and `request_s` are of the latest write, which should
    take `target_s`; `tuned` says who set that otherwise for this run.
    Where the members are read while changes are written, `compared` counts those read so far, and
    more may yet be `planned`.
    `role_names` holds the names of the roles that `causes` speak of. `parked` are the rows that
    this run parked, `still_parked` counts those of earlier runs that it did not try again.
    `verification` is what "verified" rests on where users were written; in a sample `sampled` of
    them were read again.
    `slow` is what is waited for of the site, `away` of Discord.
    `paused_by` is the person who holds its writes now; `approved` tells of what was withheld before
    and is written by this run.
    """

    run_id: str
    what: str
    trigger: str
    phase: Phase
    started_at: datetime
    now: datetime
    kind: RunKind = RunKind.FULL
    probe: bool = False
    members: int = 0
    rows_read: int = 0
    roles_read: int = 0
    compared: int | None = None
    planned: int = 0
    done: int = 0
    tally: Tally = Tally()
    roles: RoleTally = RoleTally()
    causes: tuple[Cause, ...] = ()
    role_names: tuple[tuple[int, str], ...] = ()
    rate: float = 0.0
    chunk_items: int = 0
    request_s: float = 0.0
    target_s: float = 0.0
    tuned: str = ""
    slow: str | None = None
    away: str | None = None
    paused_by: str | None = None
    parked: tuple[ParkedRow, ...] = ()
    parked_roles: tuple[str, ...] = ()
    still_parked: int = 0
    withheld: int = 0
    withheld_roles: int = 0
    withheld_reason: str = ""
    withheld_roles_reason: str = ""
    approved: tuple[str, ...] = ()
    verification: Verification | None = None
    sampled: int = 0
    ending: Ending | None = None
    failure: Failure | None = None
    next_step: str = ""


_BAR_CELLS: Final = 20


def bar(done: int, total: int) -> str:
    """Return a bar of how much is done, and the share."""
    # Rounded down: 100 % is said when all is done and not before.
    percent = min(100, done * 100 // total)
    full = percent * _BAR_CELLS // 100
    return f"`{'█' * full}{'░' * (_BAR_CELLS - full)}` {percent}%"
