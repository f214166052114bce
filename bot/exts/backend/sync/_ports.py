"""The seams: what orchestration asks of time, the site, the guild, mod-log and the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from ._core.delivery.chunks import ParkedRow, Tally
    from ._core.messages.alert import Alert
    from ._core.messages.notice import Notice
    from ._core.messages.progress import Phase, RunView
    from ._core.messages.reply import Reply
    from ._core.model.members import (
        Member,
        Role,
        RoleId,
        UserId,
    )
    from ._core.plan.drift import Drift
    from ._core.policy.attempt import Attempt
    from ._core.policy.breaker import Breaker
    from ._core.policy.standing import Standing
    from ._core.policy.state import State
    from ._core.site.figures import RunFigures
    from ._core.site.outcome import Answer, NoAnswer, Outcome
    from ._core.site.requests import Request

Json: TypeAlias = "dict[str, Json | None] | list[Json | None] | str | int | float | bool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A stored value that is not JSON: its text, and what is wrong with it."""

    text: str
    fault: str


class Clock(Protocol):
    """What time it is, and how it passes."""

    def now(self) -> datetime:
        """Return the present, aware, in UTC: for people, and for what outlives the process."""
        ...

    def monotonic(self) -> float:
        """Return seconds since any moment, which never go back: for waits in this process."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many of those seconds; at once if there are none."""
        ...


class Site(Protocol):
    """The website's API."""

    async def send(self, request: Request, *, request_id: str) -> Answer | NoAnswer:
        """Send a request once, within the deadline; whatever happens is the return value."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Whether the members were shown to be whole; `corrected` counts those a cache had wrong."""

    complete: bool
    reason: str
    members: int
    corrected: int = 0


class Guild(Protocol):
    """The configured guild, as a cache of its members or Discord itself shows it.

    A READY or an outage begins a new epoch, in which nothing may be read until it is proven.
    """

    @property
    def epoch(self) -> int: ...

    @property
    def proof(self) -> Proof | None:
        """The proof of this epoch, or None while nothing may be read."""
        ...

    @property
    def trouble(self) -> str | None:
        """What Discord has yet to do before members can be read, for people; None: nothing."""
        ...

    async def prove(self) -> Proof:
        """Wait for the guild, request all its members and compare; return at once if proven."""
        ...

    async def read_anew(self) -> int | None:
        """Request all members once more though they are proven, and correct the cache.

        Return of how many it was wrong, each of whom has been marked as by an event; None if
        Discord gave no whole answer.
        """
        ...

    async def look_up(self, ids: Iterable[UserId]) -> None:
        """Wait until `members` can answer about these ids at once."""
        ...

    async def members(self, ids: Iterable[UserId]) -> Mapping[UserId, Member]:
        """Return those of these ids who are known to be members, with their values of now.

        Raise `RunStoppedError` where Discord has to be asked and does not answer.
        """
        ...

    def member_ids(self) -> Sequence[UserId]:
        """Return the ids of all cached members, in no order."""
        ...

    def roles(self) -> Mapping[RoleId, Role]:
        """Return all roles, @everyone included."""
        ...

    async def departed(self, ids: Sequence[UserId]) -> frozenset[UserId] | None:
        """Ask Discord which of these ids are not members; None if the answer can't count."""
        ...


@runtime_checkable
class PagedGuild(Guild, Protocol):
    """A guild whose members are not cached: read in pages, and asked about few at a time."""

    @property
    def count(self) -> int | None:
        """How many members Discord says that there are."""
        ...

    async def page(self, after: UserId) -> tuple[Member, ...]:
        """Return at most 1,000 members whose ids come after one, ascending; none at the end.

        Raise `RunStoppedError` if Discord doesn't say.
        """
        ...

    def watch(self) -> set[UserId]:
        """Return a set that collects the id of every member an event is about, until `unwatch`."""
        ...

    def unwatch(self, heard: set[UserId]) -> None:
        """Stop adding to this set."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A message of ours that mod-log shows: its embed's title, description and footer."""

    id: int
    title: str
    description: str
    footer: str


class ModLog(Protocol):
    """The mod-log channel; its failures never reach the caller."""

    def show(self, view: RunView) -> None:
        """Show the newest state of a run, as soon as the edit interval allows."""
        ...

    async def finish(self, view: RunView) -> None:
        """Show the last state of a run, and return when it is shown or was kept for later."""
        ...

    async def post(self, alert: Alert, *, again: bool) -> bool:
        """Post an alert, and return whether mod-log shows it now.

        With `again` it may have been posted before, and is looked for first.
        """
        ...

    async def recent(self, count: int) -> Sequence[Seen] | None:
        """Return our latest messages, newest first, at most so many; None if they can't be read.

        They are looked for as far back as 7 days or 2,000 messages of anybody.
        """
        ...

    @property
    def trouble(self) -> str | None:
        """Why nothing can be shown now, as far as is known; None if all is well."""
        ...

    def url(self, message_id: int) -> str:
        """Return where people find a message of the channel."""
        ...

    async def replace(self, message_id: int, notice: Notice) -> bool:
        """Let a message say something else for good, and return whether it does."""
        ...

    async def say(self, text: str, reply: Reply) -> Sent | None:
        """Post an answer that is not for another channel, below a line; None if none was posted."""
        ...


class Sent(Protocol):
    """An answer that Discord has taken."""

    async def edit(self, reply: Reply) -> None:
        """Let it say something else; raise `UnansweredError` where Discord does not."""
        ...


class Call(Protocol):
    """A command that somebody gave or a button that somebody pressed, and the ways to answer.

    Where it comes with a token, Discord forgets what heard nothing for three seconds, and lets
    nobody answer after fifteen minutes. Whatever Discord does not take is an `UnansweredError`.
    """

    @property
    def name(self) -> str:
        """The command in words, as `sync user`, or which button it was."""
        ...

    @property
    def person_id(self) -> int:
        """Who it was."""
        ...

    @property
    def channel_id(self) -> int:
        """Where it was."""
        ...

    @property
    def has_token(self) -> bool:
        """Whether it is a slash command or a button: no message that everybody sees."""
        ...

    @property
    def since_s(self) -> float:
        """When it came, as the clock's `monotonic`."""
        ...

    async def defer(self, *, private: bool) -> None:
        """Tell Discord that an answer follows; how private it is is settled by that."""
        ...

    async def answer(self, reply: Reply, *, private: bool) -> Sent:
        """Answer it, for the caller alone if `private` and there is a token."""
        ...

    async def tell(self, text: str) -> None:
        """Answer with a plain sentence, for the caller alone where that can be."""
        ...

    async def post(self, reply: Reply) -> Sent:
        """Post a message of its own where it was, which names who gave it."""
        ...


class Press(Call, Protocol):
    """A button that was pressed."""

    async def strike_off(self, reply: Reply) -> None:
        """Let the button's message say that it was pressed, and by whom, and lose its buttons.

        A live message is its reporter's, and stays as it is.
        """
        ...


class Telemetry(Protocol):
    """What machines are told: logs, metrics, Sentry. Nothing that it meets reaches the caller."""

    def run_started(self, view: RunView) -> None:
        """Note that a run began."""
        ...

    def interrupted(self, attempt: Attempt) -> None:
        """Note that the process of a run died, as the next start finds."""
        ...

    def run_finished(
        self,
        view: RunView,
        figures: RunFigures,
        *,
        neutral: bool = False,
        fault: Exception | None = None,
    ) -> None:
        """Note how a run ended, with all its figures; once a run.

        `neutral` says that it was stopped while nothing was wrong, `fault` is an error of ours that
        ended it.
        """
        ...

    def traced(self, view: RunView) -> AbstractContextManager[None]:
        """Let all that is told inside be told as of this run."""
        ...

    def phase(self, phase: Phase) -> None:
        """Note that the run inside of which this is has come to another phase."""
        ...

    def asked(self, request: Request, request_id: str, outcome: Outcome, seconds: float) -> None:
        """Note a request and what came of it."""
        ...

    def kept(
        self, state: State, *, parked: int, untold: int, verified_at: datetime | None = None
    ) -> None:
        """Note what the store holds; `verified_at` is when a full sync was last verified."""
        ...

    def breaker_moved(self, before: Breaker, after: Breaker, *, run_id: str | None) -> None:
        """Note a move of the breaker, which the store holds now."""
        ...

    def parked(self, rows: Collection[ParkedRow], *, run_id: str) -> None:
        """Note rows that were set aside now, since the site did not take them."""
        ...

    def brought(self, tally: Tally, waited_s: Iterable[float]) -> None:
        """Note live changes that the site took, and for how long each had waited."""
        ...

    def stands(self, standing: Standing) -> None:
        """Note how the extension stands, as is looked at now and then."""
        ...

    def leads(self, *, leading: bool) -> None:
        """Note whether this process may act."""
        ...

    def drifted(self, drift: Drift) -> None:
        """Note what a check for drift found."""
        ...


class Store(Protocol):
    """What the extension remembers of one guild over restarts, and the lease on running there.

    `open` comes first. After a `StoreUnreachableError` a call may be repeated; where the file
    itself was moved, only `close` and `open` help. Every call but the properties,
    `lease_left_s` and `holder` does I/O and may raise `StoreError`.
    """

    @property
    def where(self) -> str:
        """Where the state is kept, without a password."""
        ...

    @property
    def is_new(self) -> bool:
        """Whether nothing was kept here for this guild when the store was opened."""
        ...

    @property
    def kept_aside(self) -> str | None:
        """The path that an unreadable or newer file was renamed to by `open`, if one was."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What `open` found that makes this store less durable than it must be, a line each."""
        ...

    async def open(self) -> None:
        """Reach the store and check its format; a newer one that can't be moved is an error."""
        ...

    async def close(self) -> None:
        """Release the lease and the connection; never raises, and may be called twice."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    async def get(self, key: str) -> Json | Unreadable | None:
        """Return what is kept under a key, or None."""
        ...

    async def scan(self, prefix: str) -> dict[str, Json | Unreadable]:
        """Return all whose key begins so, ascending by key; no key that is not UTF-8."""
        ...

    async def put(self, changes: Mapping[str, Json | None], *, fenced: bool = True) -> None:
        """Keep all the changes or none; None deletes. They are on disk when this returns.

        Raises `LeaseLostError` if `fenced` and the lease was never acquired, was released, or
        went to another since.
        """
        ...

    async def acquire(self) -> bool:
        """Take the lease, and return whether it is ours now; its holder may acquire again."""
        ...

    async def renew(self) -> bool:
        """Prolong the lease to its full length, and return whether it is still ours."""
        ...

    async def release(self) -> None:
        """Give the lease up, if it is ours."""
        ...

    def lease_left_s(self) -> float:
        """Return how long the lease is surely ours: 0 if it isn't, inf if it can't expire."""
        ...

    def holder(self) -> str | None:
        """Return who held the lease when `acquire` was last refused, in words for people."""
        ...
