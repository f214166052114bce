"""What the site's answer to a request means (the table of outcomes).

An edge turns what happened on the wire into an `Answer` or a `NoAnswer`; `classify` turns that into
one of the outcomes below, and the run decides by the outcome alone: status codes end here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final

from . import wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from .models import UserId
    from .wire import RowFault

MAX_RETRY_AFTER: Final = timedelta(minutes=5)


class Purpose(Enum):
    """What a request is for; it decides which 4xx answers have a meaning of their own."""

    READ = "read"  # a page, roles, healthcheck, capabilities
    READ_ONE = "read one"  # a user by id
    CREATE = "create"  # POST of a list of users
    UPDATE = "update"  # PATCH of a list of users
    CREATE_ROLE = "create role"
    UPDATE_ROLE = "update role"
    DELETE_ROLE = "delete role"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The site answered: status, body, `Retry-After` as sent, and the seconds it took."""

    status: int
    body: bytes
    retry_after: str | None
    seconds: float


class Lost(StrEnum):
    """Why there is no answer."""

    DEADLINE = "no whole answer within the deadline"
    CONNECTION = "the connection was lost"
    UNREACHABLE = "the site can't be reached"
    TOO_LONG = "the answer is longer than the limit"


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
    """The site failed; `lost` says that the request may still be running there."""

    status: int | None
    reason: str
    lost: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The site does not accept our credentials."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolError:
    """The answer is not one that the contract knows."""

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
    | ProtocolError
)

_LOST: Final = frozenset({Lost.DEADLINE, Lost.CONNECTION, Lost.TOO_LONG})
_UNREADABLE: Final = object()


def leaves_doubt(outcome: Outcome) -> bool:
    """Say whether a write so answered may still be at work on the site, and commit later.

    Only the contract's own answer says that it is not; whatever never reached the site, or was
    turned away for being too much, was not begun.
    """
    match outcome:
        case Failing(status=status, lost=lost):
            return lost or status is not None
        case Overloaded(status=status):
            return status != 429
        case ProtocolError():
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
    contract's; without it, a success needs no body.
    """
    if isinstance(answer, NoAnswer):
        reason = f"{answer.cause.value} ({answer.detail})" if answer.detail else answer.cause.value
        return Failing(status=None, reason=reason, lost=answer.cause in _LOST)
    status = answer.status
    if status in {401, 403}:
        return Refused(status=status, reason=_said(answer))
    if status in {429, 503}:
        return Overloaded(status=status, retry_after=read_retry_after(answer.retry_after, now=now))
    if status == 413:
        return TooLarge()
    if 500 <= status <= 599:
        return Failing(status=status, reason=_said(answer), lost=False)
    if 200 <= status <= 299:
        return _classify_success(answer, read)
    return _classify_rejection(answer, purpose, rows)


def _classify_success(
    answer: Answer, read: Callable[[object], object] | None
) -> Applied | ProtocolError:
    if read is None:
        return Applied()
    try:
        return Applied(value=read(wire.decode(answer.body)))
    except wire.WireError as exc:
        said = wire.excerpt(answer.body) or "(no body)"
        return ProtocolError(status=answer.status, reason=f"{exc}: {said}"[:200])


def _classify_rejection(answer: Answer, purpose: Purpose, rows: int) -> Outcome:
    value = _decoded(answer)
    status = answer.status
    readable = isinstance(value, dict | list)
    if purpose in {Purpose.READ, Purpose.READ_ONE}:
        gone = status == 404 and (wire.is_past_the_end(value) or wire.is_no_match(value))
        return NotFound() if gone else ProtocolError(status=status, reason=_said(answer))
    if status == 404:
        unknown = wire.read_unknown_user(value)
        if unknown is not None:
            return UnknownUser(id=unknown)
        if wire.is_no_match(value):
            return NotFound()
    if status in {400, 422} and readable:
        if purpose is Purpose.CREATE_ROLE and wire.is_existing_role(value):
            return AlreadyThere()
        faults = wire.read_row_faults(value, rows=rows)
        return (
            RejectedRows(faults=faults)
            if faults
            else RejectedWhole(status=status, reason=wire.reason_of(value))
        )
    return ProtocolError(status=status, reason=_said(answer))


def read_retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """Read a `Retry-After`: seconds or an HTTP date; between 0 and 5 minutes; None if unreadable.

    Source: RFC 9110, section 10.2.3.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        # A number of hundreds of digits is no time that anyone means.
        wait = timedelta(seconds=min(int(text[:10]), 10**6))
    else:
        try:
            until = parsedate_to_datetime(text)
        except ValueError:
            return None
        wait = (until if until.tzinfo else until.replace(tzinfo=UTC)) - now
    return max(timedelta(), min(wait, MAX_RETRY_AFTER))


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
