"""The site's JSON: the one module that knows its field names.

What enters is `object` and leaves as values, or as a `WireError` that names what was wrong. Rows of
users, of which there are many, are first tried with a typed decoder, which takes a fifth of the
time; whatever it does not take is read field by field.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from ..model.members import ALL_FIELDS, Field, Member, Role, RoleId, UserId
from ..model.redaction import without_credentials, without_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXCERPT_CHARACTERS: Final = 200
# Of a page of 10,000 members with 150 roles each; an empty list takes twenty times its two bytes.
_MAX_VALUES: Final = 2_000_000

_UNKNOWN_USER = re.compile(r"User with id (\d{1,20}) not found")
_SUM = re.compile(r"[0-9a-f]{16}")
_UNKNOWN_ROLE = re.compile(r"Role with ID (\d{1,20}) does not exist")


class WireError(ValueError):
    """A body is not what the site's contract says."""


class NotJsonError(WireError):
    """A body is no JSON at all, and so hardly the site's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of the site's users, ascending by id; `next` is None on the last one.

    `next` is a page's number, or where the site offers pages by id, the id to go on after. `count`
    is how many rows the site says that it has in all, if it says so.
    """

    rows: tuple[Member, ...]
    next: int | None
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a site offers beyond the contract; the defaults are the contract alone."""

    max_items: int | None = None
    max_bytes: int | None = None
    minimal_responses: bool = False
    pages_by_id: bool = False
    digests: int = 0  # the most ranges of which one request may ask


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFault:
    """Why the site refuses one row of a request: its place there, the reason, unknown roles."""

    index: int
    reason: str
    unknown_roles: frozenset[RoleId] = frozenset()


class _Row(msgspec.Struct):
    """A user's row, every field of it required."""

    id: int
    name: str
    display_name: str
    discriminator: int
    roles: tuple[int, ...]
    in_guild: bool


class _PageByNumber(msgspec.Struct):
    results: list[_Row]
    next_page_no: int | None
    count: object = None


class _PageById(msgspec.Struct):
    results: list[_Row]
    next_after: int | None
    count: object = None


_BY_NUMBER = msgspec.json.Decoder(_PageByNumber)
_BY_ID = msgspec.json.Decoder(_PageById)
_WRITTEN = msgspec.json.Decoder(list[_Row])
EncodedRow: TypeAlias = msgspec.Raw
_NOT_TYPED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read(body: bytes, by: Callable[[object], object]) -> object:
    """Read a body by one of the functions below, whose argument is its JSON value."""
    _check_size(body)
    typed = _TYPED.get(by)
    if typed is not None:
        try:
            return typed(body)
        except _NOT_TYPED:
            pass  # the fields say what is wrong, or that nothing is
    return by(decode(body))


def _check_size(body: bytes) -> None:
    if sum(map(body.count, (b",", b"[", b"{"))) > _MAX_VALUES:
        raise WireError(f"more than {_MAX_VALUES:,} values")


def decode(body: bytes) -> object:
    """Return the JSON value of a body."""
    _check_size(body)
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise NotJsonError(f"not JSON: {exc}") from exc
    return value


def excerpt(body: bytes) -> str:
    """Return what a body says, without values, in at most 200 printable characters."""
    return told(body[: EXCERPT_CHARACTERS * 8].decode("utf-8", "replace"))


def told(text: str) -> str:
    """Return what a site says, without values, on one line of at most 200 printable characters.

    The one way by which a site's words come to anybody: to people, logs, Sentry, or the store.
    """
    return shown(without_values(without_credentials(_whole(text))))


def shown(text: str) -> str:
    """Return at most 200 printable characters of a text, on one line and without credentials."""
    text = without_credentials(_whole(text))
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= EXCERPT_CHARACTERS else flat[: EXCERPT_CHARACTERS - 1] + "…"


def _whole(text: str) -> str:
    """Return as much of a text as is looked at, without halves of surrogates."""
    return text[: EXCERPT_CHARACTERS * 8].encode("utf-8", "replace").decode()


def read_page(value: object) -> Page:
    """Read a page of `GET bot/users`, by number."""
    return _page(value, "next_page_no")


def read_page_by_id(value: object) -> Page:
    """Read a page of `GET bot/users?after=`, which some sites offer."""
    return _page(value, "next_after")


def read_digests(value: object) -> tuple[tuple[int, int], ...]:
    """Read the digests of ranges, in their order: of each the count and the sum."""
    body = _object(value, "digests")
    counts, sums = body.get("counts"), body.get("sums")
    if not isinstance(counts, list) or not isinstance(sums, list) or len(counts) != len(sums):
        raise WireError("counts and sums of the digests are not two lists of one length")
    if any(type(count) is not int or count < 0 for count in counts):
        raise WireError("counts of the digests are not all integers")
    if any(not isinstance(sum_, str) or not _SUM.fullmatch(sum_) for sum_ in sums):
        raise WireError("sums of the digests are not all of 16 hexadecimal digits")
    return tuple((count, int(sum_, 16)) for count, sum_ in zip(counts, sums, strict=True))


def read_user(value: object) -> Member:
    """Read one user, with their roles as the site keeps them."""
    row = _object(value, "a user")
    roles = row.get("roles")
    if not isinstance(roles, list):
        raise WireError(f"roles of user {row.get('id')!r} are {_kind(roles)}, not a list")
    for role in roles:
        if type(role) is not int:
            raise WireError(f"roles of user {row.get('id')!r} hold {_kind(role)}")
    return Member(
        id=UserId(_int(row, "id")),
        name=_text(row, "name"),
        display_name=_text(row, "display_name"),
        discriminator=_int(row, "discriminator"),
        roles=tuple(roles),
        in_guild=_bool(row, "in_guild"),
    )


def read_roles(value: object) -> tuple[Role, ...]:
    """Read all roles of `GET bot/roles`."""
    if not isinstance(value, list):
        raise WireError(f"roles are {_kind(value)}, not a list")
    return tuple(_read_role(item) for item in value)


def _read_role(value: object) -> Role:
    row = _object(value, "a role")
    return Role(
        id=RoleId(_int(row, "id")),
        name=_text(row, "name"),
        colour=_int(row, "colour"),
        permissions=_int(row, "permissions"),
        position=_int(row, "position"),
    )


def read_capabilities(value: object) -> Capabilities:
    """Read what the site offers; what is missing, or of a kind we don't know, is not offered."""
    body = value if isinstance(value, dict) else {}
    return Capabilities(
        max_items=_positive(body.get("max_items")),
        max_bytes=_positive(body.get("max_bytes")),
        minimal_responses=body.get("minimal_responses") is True,
        pages_by_id=body.get("pages_by_id") is True,
        digests=_positive(body.get("digests")) or 0,
    )


def read_written_users(value: object) -> tuple[Member, ...]:
    """Read the users that a site says it has written, where it says so; () where it does not.

    They have been written, whatever is said: an answer of odd users is as good as an empty one.
    """
    if not isinstance(value, list):
        raise WireError(f"written users are {_kind(value)}, not a list")
    try:
        return tuple(read_user(row) for row in value)
    except WireError:
        return ()


def read_written_role(value: object) -> None:
    """Read what is said of a role that was written: the role itself."""
    _object(value, "a written role")


def is_healthy(value: object) -> bool:
    """Say whether this is the answer of a healthcheck that is well."""
    return isinstance(value, dict) and value.get("status") == "ok"


def read_row_faults(value: object, *, rows: int) -> tuple[RowFault, ...]:
    """Read a validation error that is aligned with a request of `rows` rows; () if it is not."""
    if not isinstance(value, list) or len(value) != rows:
        return ()
    faults = []
    for index, entry in enumerate(value):
        if not isinstance(entry, dict):
            return ()
        if entry:
            faults.append(
                RowFault(
                    index=index,
                    reason=_reason(entry),
                    unknown_roles=_unknown_roles(entry),
                )
            )
    return tuple(faults)


def read_unknown_user(value: object) -> UserId | None:
    """Return the id that a 404 names as unknown, or None if it names none."""
    match = _UNKNOWN_USER.search(_detail(value))
    return None if match is None else UserId(int(match[1]))


def is_past_the_end(value: object) -> bool:
    """Say whether a 404 means that the page asked for is beyond the last one."""
    return "Invalid page" in _detail(value)


def is_no_match(value: object) -> bool:
    """Say whether a 404 means that the one row asked for is not there."""
    return "matches the given query" in _detail(value)


def is_error(value: object) -> bool:
    """Say whether this has a shape in which the site itself tells an error.

    That is a detail, or messages by field, or a list of those; a gateway's JSON has others.
    """
    if isinstance(value, list):
        return bool(value) and all(isinstance(entry, dict) for entry in value)
    if not isinstance(value, dict) or not value:
        return False
    return bool(_detail(value)) or all(isinstance(told, list | dict) for told in value.values())


def is_refusal(value: object) -> bool:
    """Say whether a 401 or 403 is the site's own word about our credentials."""
    return bool(_detail(value))


def is_existing_role(value: object) -> bool:
    """Say whether a 400 means that a role of this id is there already.

    The name of another role, too, may exist already where a site wants each to be unique.
    """
    messages = value.get("id") if isinstance(value, dict) else None
    return isinstance(messages, list) and "already exists" in " ".join(map(str, messages))


def reason_of(value: object) -> str:
    """Return what an error body says, on one line of at most 200 characters."""
    if isinstance(value, dict):
        return _reason(value)
    return told(json.dumps(value, ensure_ascii=False))


_NAMES: Final = {field: field.value for field in Field}


def member_row(member: Member, fields: Sequence[Field] = ALL_FIELDS) -> dict[str, object]:
    """Return the row that sets these fields of a member."""
    row: dict[str, object] = {"id": member.id}
    for field in fields:
        name = _NAMES[field]
        row[name] = [*member.roles] if field is Field.ROLES else getattr(member, name)
    return row


def departure_row(id_: UserId) -> dict[str, object]:
    """Return the row that says of a member only that they are no longer in the guild."""
    return {"id": id_, Field.IN_GUILD.value: False}


def role_row(role: Role) -> dict[str, object]:
    """Return the row of a role."""
    return {
        "id": role.id,
        "name": role.name,
        "colour": role.colour,
        "permissions": role.permissions,
        "position": role.position,
    }


def encode(value: object) -> bytes:
    """Return a value as JSON."""
    return msgspec.json.encode(value)


def encode_row(row: dict[str, object]) -> EncodedRow:
    """Return a row as JSON that stands for itself among the rows of a body."""
    return msgspec.Raw(encode(row))


def encode_rows(
    rows: Sequence[dict[str, object] | EncodedRow], *, max_bytes: int
) -> tuple[bytes, int]:
    """Encode as many of the first rows as fit into `max_bytes`, at least one.

    Return the body and how many rows it holds.
    """
    whole = encode(rows)
    if len(whole) <= max_bytes or len(rows) == 1:
        return whole, len(rows)
    parts = [encode(rows[0])]
    size = len(parts[0]) + 3
    while size + len(part := encode(rows[len(parts)])) <= max_bytes:  # not all fit: this ends
        parts.append(part)
        size += len(part) + 1
    return b"[" + b",".join(parts) + b"]", len(parts)


def _page(value: object, next_name: str) -> Page:
    body = _object(value, "a page")
    following = _optional_int(body, next_name)
    return _page_of(_rows(body), following, body.get("count"))


def _page_of(rows: tuple[Member, ...], following: int | None, count: object) -> Page:
    if following is not None and not rows:
        raise WireError(f"a page without rows says that {following} comes next")
    return Page(rows=rows, next=following, count=_natural(count))


def _typed_page(body: bytes) -> Page:
    page = _BY_NUMBER.decode(body)
    return _page_of(_typed_rows(page.results), page.next_page_no, page.count)


def _typed_page_by_id(body: bytes) -> Page:
    page = _BY_ID.decode(body)
    return _page_of(_typed_rows(page.results), page.next_after, page.count)


def _typed_written(body: bytes) -> tuple[Member, ...]:
    return _typed_rows(_WRITTEN.decode(body))


def _typed_rows(rows: list[_Row]) -> tuple[Member, ...]:
    return msgspec.convert(rows, tuple[Member, ...], from_attributes=True)


_TYPED: Final[dict[Callable[[object], object], Callable[[bytes], object]]] = {
    read_page: _typed_page,
    read_page_by_id: _typed_page_by_id,
    read_written_users: _typed_written,
}


def _rows(body: dict[str, object]) -> tuple[Member, ...]:
    results = body.get("results")
    if not isinstance(results, list):
        raise WireError(f"results are {_kind(results)}, not a list")
    return tuple(read_user(item) for item in results)


def _object(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise WireError(f"{what} is {_kind(value)}, not an object")
    return value


def _int(row: dict[str, object], name: str) -> int:
    value = row.get(name)
    if type(value) is not int:
        raise WireError(f"{name} is {_kind(value)}, not an integer")
    return value


def _optional_int(row: dict[str, object], name: str) -> int | None:
    if name not in row:
        raise WireError(f"{name} is missing")
    return None if row[name] is None else _int(row, name)


def _text(row: dict[str, object], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise WireError(f"{name} is {_kind(value)}, not text")
    return value


def _bool(row: dict[str, object], name: str) -> bool:
    value = row.get(name)
    if not isinstance(value, bool):
        raise WireError(f"{name} is {_kind(value)}, not true or false")
    return value


def _positive(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def _natural(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _kind(value: object) -> str:
    return "missing" if value is None else type(value).__name__


def _detail(value: object) -> str:
    detail = value.get("detail") if isinstance(value, dict) else None
    return detail if isinstance(detail, str) else ""


def _reason(entry: dict[str, object]) -> str:
    parts = []
    for name, messages in entry.items():
        text = "; ".join(map(str, messages)) if isinstance(messages, list) else str(messages)
        parts.append(f"{name}: {text}")
    return told(" | ".join(parts))


def _unknown_roles(entry: dict[str, object]) -> frozenset[RoleId]:
    messages = entry.get("roles")
    if not isinstance(messages, list):
        return frozenset()
    return frozenset(
        RoleId(int(id_)) for id_ in _UNKNOWN_ROLE.findall(" ".join(map(str, messages)))
    )
