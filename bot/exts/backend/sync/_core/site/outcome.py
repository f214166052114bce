"""What the site's answer to a request means (the table of outcomes).

An edge turns what happened on the wire into an `Answer` or a `NoAnswer`; `classify` turns that into
one of the outcomes below, and the run decides by the outcome alone: status codes end here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final

from . import wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model.members import UserId
    from .wire import RowFault

MAX_RETRY_AFTER: Final = timedelta(minutes=5)


class Purpose(Enum):
    """What a request is for; it decides which 4xx answers have a meaning of their own."""

    READ = "read"  # a page, roles, healthcheck
    DISCOVER = "discover"  # what the site offers beyond the contract
    READ_ONE = "read one"  # a user by id
    CREATE = "create"  # POST of a list of users
    UPDATE = "update"  # PATCH of a list of users
    CREATE_ROLE = "create role"
    UPDATE_ROLE = "update role"
    DELETE_ROLE = "delete role"

    @property
    def reads(self) -> bool:
        return self in _READS


_READS: Final = frozenset({Purpose.READ, Purpose.DISCOVER, Purpose.READ_ONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The site answered: status, body, and the seconds it took.

    `retry_after`, `date` and `server_timing` are its headers of these names, as they were sent.
    """

    status: int
    body: bytes
    retry_after: str | None
    seconds: float
    date: str | None = None
    server_timing: str | None = None

    @property
    def site_s(self) -> float | None:
        """For how long the site says that it was at work on it, in seconds; None if it does not.

        Header `Server-Timing`, metric `total`, or `app` where there is none: dur in milliseconds.
        """
        return site_seconds(self.server_timing)


class Lost(StrEnum):
    """Why there is no answer."""

    DEADLINE = "no whole answer within the deadline"
    CONNECTION = "the connection was lost"
    UNREACHABLE = "the site can't be reached"
    TOO_LONG = "the answer is longer than the limit"
    ENCODED = "the answer is encoded in a way that was not asked for"


class TroubleKind(StrEnum):
    """How the site fails, for machines: few kinds, whatever it says."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    CONNECTION_LOST = "connection_lost"
    UNREADABLE = "unreadable"
    SERVER_ERROR = "server_error"
    OVERLOADED = "overloaded"
    REFUSED = "refused"
    BLOCKED = "blocked"
    PROTOCOL = "protocol"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """No whole answer came; `detail` is the library's word for it, without addresses."""

    cause: Lost
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The site did it; `value` is what was read from the body, None for writes."""

    value: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRows:
    """The site refused the request because of these rows, and applied nothing."""

    faults: tuple[RowFault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedWhole:
    """The site refused the request and did not say which row was at fault."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownUser:
    """The site does not know this id (there may be more: it names only the first)."""

    id: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFound:
    """The one thing asked for is not there, or the page is past the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyThere:
    """The role to create is there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """The request is larger than the site takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overloaded:
    """The site asks for less; `retry_after` is its own word for how long, if it gave one."""

    status: int
    retry_after: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """The site failed; `lost` says that the request may still be running there.

    That is so where no whole answer came, for that `cause`, and where what answered a write was not
    the site.
    """

    status: int | None
    reason: str
    lost: bool
    cause: Lost | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The site does not accept our credentials, and says so itself."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """Something before the site refuses this request, for its content or for who sends it.

    A firewall's page tells neither; other requests do.
    """

    status: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolError:
    """The answer is the site's, and not one that the contract knows."""

    status: int
    reason: str


Outcome = (
    Applied
    | RejectedRows
    | RejectedWhole
    | UnknownUser
    | NotFound
    | AlreadyThere
    | TooLarge
    | Overloaded
    | Failing
    | Refused
    | Blocked
    | ProtocolError
)
# What may pass, and is asked for again for as long as patience lasts.
Trouble = Overloaded | Failing | Blocked | ProtocolError

_LOST: Final = frozenset(Lost) - {Lost.UNREACHABLE}
_UNREADABLE: Final = object()
# A time-out, a conflict, a misdirected and an early request: a proxy's or the site's, and not ours.
_MAY_PASS: Final = frozenset({408, 409, 421, 425})
_MILLISECONDS: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})?")
_NOT_OFFERED: Final = frozenset(range(300, 500)) - {401}


_KINDS: Final = {
    Lost.UNREACHABLE: TroubleKind.UNREACHABLE,
    Lost.DEADLINE: TroubleKind.TIMEOUT,
    Lost.CONNECTION: TroubleKind.CONNECTION_LOST,
    Lost.TOO_LONG: TroubleKind.UNREADABLE,
    Lost.ENCODED: TroubleKind.UNREADABLE,
}


def trouble_kind(outcome: Outcome) -> TroubleKind | None:
    """Say how an outcome shows that the site fails; None where it does not."""
    match outcome:
        case Failing(cause=Lost() as cause):
            return _KINDS[cause]
        case Failing(status=int(status)):
            return TroubleKind.SERVER_ERROR if status >= 500 else TroubleKind.OTHER
        case Failing():
            return TroubleKind.OTHER
        case Overloaded():
            return TroubleKind.OVERLOADED
        case Refused():
            return TroubleKind.REFUSED
        case Blocked():
            return TroubleKind.BLOCKED
        case ProtocolError():
            return TroubleKind.PROTOCOL
        case _:
            return None


def leaves_doubt(outcome: Outcome) -> bool:
    """Say whether a write so answered may still be at work on the site, and commit later.

    Only the contract's own answer says that it is not; whatever never reached the site, or was
    turned away for being too much, was not begun.
    """
    match outcome:
        case Failing(lost=lost):
            return lost
        case Overloaded(status=status):
            return status != 429
        case Blocked() | ProtocolError():
            return True
        case _:
            return False


def classify(
    answer: Answer | NoAnswer,
    *,
    purpose: Purpose,
    now: datetime,
    rows: int = 1,
    read: Callable[[object], object] | None = None,
) -> Outcome:
    """Say what an answer means for a request of `rows` rows, received at `now`.

    `read` turns the body of a success into a value and raises `WireError` where it is not the
    contract's. Only a write may succeed without a body.
    """
    if isinstance(answer, NoAnswer):
        reason = f"{answer.cause.value} ({answer.detail})" if answer.detail else answer.cause.value
        is_lost = answer.cause in _LOST
        return Failing(status=None, reason=reason, lost=is_lost, cause=answer.cause)
    status = answer.status
    if status in {429, 503}:
        wait = read_retry_after(answer.retry_after, now=now, date=answer.date)
        return Overloaded(status=status, retry_after=wait)
    if 500 <= status <= 599 or status in _MAY_PASS:
        return Failing(status=status, reason=_said(answer), lost=not purpose.reads)
    if 200 <= status <= 299:
        return _classify_success(answer, purpose, read)
    if purpose is Purpose.DISCOVER and status in _NOT_OFFERED:
        return NotFound()
    value = _decoded(answer)
    if status in {401, 403} and wire.is_refusal(value):
        return Refused(status=status, reason=_said(answer))
    if status in {401, 403} or (400 <= status <= 499 and not wire.is_error(value)):
        return _classify_page(answer, purpose)
    return _classify_rejection(answer, value, purpose, rows)


def _classify_success(
    answer: Answer, purpose: Purpose, read: Callable[[object], object] | None
) -> Applied | NotFound | Failing | ProtocolError:
    if not purpose.reads and not answer.body.strip():
        return Applied()
    try:
        if read is None:
            wire.decode(answer.body)
            return Applied()
        return Applied(value=wire.read(answer.body, read))
    except wire.WireError as exc:
        if purpose is Purpose.DISCOVER:
            return NotFound()  # a site that answers everything with its front page offers nothing
        said = wire.excerpt(answer.body) or "(no body)"
        reason = wire.told(f"{exc}: {said}")
        if isinstance(exc, wire.NotJsonError):  # a log-in, a challenge, half an answer: may pass
            return Failing(status=answer.status, reason=reason, lost=not purpose.reads)
        return ProtocolError(status=answer.status, reason=reason)


def _classify_page(answer: Answer, purpose: Purpose) -> Failing | Blocked | TooLarge:
    """Say what a 4xx means in words that are not the site's own."""
    if not purpose.reads and answer.status == 413:
        return TooLarge()
    reason = wire.told(f"not in the site's own words: {_said(answer)}")
    if purpose.reads and answer.status not in {401, 403}:
        return Failing(status=answer.status, reason=reason, lost=False)
    return Blocked(status=answer.status, reason=reason)


def _classify_rejection(answer: Answer, value: object, purpose: Purpose, rows: int) -> Outcome:
    status = answer.status
    if purpose.reads:
        gone = status == 404 and (wire.is_past_the_end(value) or wire.is_no_match(value))
        return NotFound() if gone else ProtocolError(status=status, reason=_said(answer))
    if status == 413:
        return TooLarge()
    if status == 404:
        unknown = wire.read_unknown_user(value)
        if unknown is not None:
            return UnknownUser(id=unknown)
        if wire.is_no_match(value):
            return NotFound()
    if status in {400, 422}:
        if purpose is Purpose.CREATE_ROLE and wire.is_existing_role(value):
            return AlreadyThere()
        faults = wire.read_row_faults(value, rows=rows)
        return (
            RejectedRows(faults=faults)
            if faults
            else RejectedWhole(status=status, reason=wire.reason_of(value))
        )
    return ProtocolError(status=status, reason=_said(answer))


def read_retry_after(
    value: str | None, *, now: datetime, date: str | None = None
) -> timedelta | None:
    """Read a `Retry-After`: seconds or an HTTP date; between 0 and 5 minutes; None if unreadable.

    A date counts from the answer's own `date`, for the site's clock may be behind or before ours.
    Source: RFC 9110, sections 10.2.3 and 6.6.1.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        # A number of hundreds of digits is no time that anyone means.
        wait = timedelta(seconds=min(int(text[:10]), 10**6))
    else:
        until = _read_date(text)
        if until is None:
            return None
        wait = until - (_read_date(date or "") or now)
    return max(timedelta(), min(wait, MAX_RETRY_AFTER))


def site_seconds(server_timing: str | None) -> float | None:
    """Return what a `Server-Timing` header says of the whole request, in seconds, if it does."""
    metrics: dict[str, float] = {}
    for metric in (server_timing or "").split(","):
        name, *parameters = (part.strip() for part in metric.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "dur" and _MILLISECONDS.fullmatch(value.strip(' "')):
                metrics.setdefault(name.lower(), float(value.strip(' "')) / 1000)
    return metrics.get("total", metrics.get("app"))


def _read_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
        # Moved to UTC here, for a date near the first or the last year may have no such time.
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _decoded(answer: Answer) -> object:
    try:
        return wire.decode(answer.body)
    except wire.WireError:
        return _UNREADABLE


def _said(answer: Answer) -> str:
    value = _decoded(answer)
    if isinstance(value, dict) and value:
        return wire.reason_of(value)
    return wire.excerpt(answer.body) or "(no body)"
