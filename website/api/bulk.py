"""Many users in one request: checked row by row, written by set-based SQL in bounded slices.

What took the real site down was one `UPDATE` with a `CASE WHEN` arm per row. Here the rows travel
as one JSON parameter per slice, which the database turns into a set and joins.

A request of one slice, all of whose rows are plainly right, is decoded and checked as a whole, and
written by one statement. Any other is checked row by row, which takes longer and words the errors.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self

import msgspec
from django.conf import settings
from django.db import connection, transaction
from rest_framework.exceptions import NotFound, ValidationError

from website.api.errors import RejectedRows, TooManyItems
from website.api.models import LARGEST_BIGINT, MOST_ROLES, Role, User
from website.api.parsers import ListBody
from website.api.rows import DEFAULTS, FIELDS, LARGEST_AT_ONCE, SLICE_ROWS, encode, slices
from website.api.serializers import UserSerializer

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Checked rows in the order of the request: each as a JSON object of its given fields.

    `ids` are those of the request, in its order. `whole` is all of them as a JSON list where they
    are one slice; else `json_by_id` has each.
    """

    ids: Collection[int]
    has_changes: bool  # whether any row has a field besides its id
    whole: str = ""
    json_by_id: dict[int, str]

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        """Make a batch of one checked, complete row."""
        return cls.in_slices({row["id"]: _compact(row)}, has_changes=True)

    @classmethod
    def in_slices(cls, json_by_id: dict[int, str], *, has_changes: bool) -> Self:
        """Make a batch of rows that have each been checked."""
        return cls(ids=json_by_id, has_changes=has_changes, json_by_id=json_by_id)

    def slices(self, ids: Iterable[int]) -> Iterator[tuple[list[int], str]]:
        """Yield the ids, in the order given, in slices, each with its rows as a JSON list."""
        if self.whole:
            yield [*ids], self.whole
            return
        for part in slices(ids):
            yield part, f"[{','.join([self.json_by_id[user_id] for user_id in part])}]"


def serializer_context() -> dict[str, Any]:
    """Return what a `UserSerializer` has to know of the site."""
    return {"known_roles": frozenset(Role.objects.values_list("id", flat=True))}


def check(items: Iterable[object], *, partial: bool) -> Batch:
    """Check every item, and raise the contract's errors if any is wrong: nothing is written then.

    Raises RejectedRows if any item is wrong by itself; ValidationError for the first that lacks an
    id or repeats one; TooManyItems; and whatever the iterable raises.
    """
    context = serializer_context()
    if isinstance(items, ListBody):
        batch = _at_once(items.text, known_roles=context["known_roles"], partial=partial)
        if batch is not None:
            return batch
    quick = _QuickCheck(known_roles=context["known_roles"], partial=partial)
    thorough = UserSerializer(partial=partial, context=context)
    defaults = {} if partial else DEFAULTS
    json_by_id: dict[int, str] = {}
    errors: list[bytes] = []
    conflict: dict[str, Any] | None = None
    has_changes = False
    for index, item in enumerate(_at_most_allowed(items)):
        try:
            row = quick(item) or {**defaults, **thorough.run_validation(item)}
        except ValidationError as exc:
            errors += [b"{}"] * (index - len(errors))
            errors.append(_compact(exc.detail).encode())
            json_by_id.clear()
            continue
        if errors:
            errors.append(b"{}")
        elif conflict is None:
            conflict = _conflict(row.get("id"), json_by_id)
            if conflict is None:
                json_by_id[row["id"]] = _compact(row)
                has_changes = has_changes or len(row) > 1
    if errors:
        raise RejectedRows(errors)
    if conflict:
        raise ValidationError(conflict)
    return Batch.in_slices(json_by_id, has_changes=has_changes)


_Id = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_BIGINT)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
_DisplayName = Annotated[str, msgspec.Meta(max_length=32)]
_Discriminator = Annotated[int, msgspec.Meta(ge=0, le=9999)]
_Roles = Annotated[list[int], msgspec.Meta(max_length=MOST_ROLES)]


class _Part(msgspec.Struct, gc=False):
    """A row of an update; a field that is not given is UNSET."""

    id: _Id
    name: _Name | msgspec.UnsetType = msgspec.UNSET
    display_name: _DisplayName | msgspec.UnsetType = msgspec.UNSET
    discriminator: _Discriminator | msgspec.UnsetType = msgspec.UNSET
    roles: _Roles | msgspec.UnsetType = msgspec.UNSET
    in_guild: bool | msgspec.UnsetType = msgspec.UNSET


class _Whole(msgspec.Struct, gc=False):
    """A new row."""

    id: _Id
    name: _Name
    display_name: _DisplayName
    discriminator: _Discriminator
    roles: _Roles
    in_guild: bool


_PARTS = msgspec.json.Decoder(list[_Part])
_WHOLES = msgspec.json.Decoder(list[_Whole])


def _at_once(text: str, *, known_roles: frozenset[int], partial: bool) -> Batch | None:
    """Check a whole body of one slice; None if any row is not plainly right, or it is too long.

    Takes nothing that a check row by row would refuse, or change.
    """
    if len(text) > LARGEST_AT_ONCE:
        return None
    try:
        rows: list[Any] = (_PARTS if partial else _WHOLES).decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None
    ids = [row.id for row in rows]
    if (
        not 0 < len(rows) <= min(SLICE_ROWS, settings.MAX_REQUEST_ITEMS)
        or len({*ids}) != len(ids)
        or not all(_is_plain(row, known_roles) for row in rows)
    ):
        return None
    has_changes = not partial or any(
        getattr(row, field) is not msgspec.UNSET for row in rows for field in FIELDS[1:]
    )
    whole = msgspec.json.encode(rows).decode()
    return Batch(ids=ids, has_changes=has_changes, whole=whole, json_by_id={})


def _is_plain(row: Any, known_roles: frozenset[int]) -> bool:
    name, shown, roles = row.name, row.display_name, row.roles
    return (
        (name is msgspec.UNSET or (name == name.strip() and "\0" not in name))
        and (shown is msgspec.UNSET or (shown == shown.strip() and "\0" not in shown))
        and (
            roles is msgspec.UNSET
            or (known_roles.issuperset(roles) and len({*roles}) == len(roles))
        )
    )


def _at_most_allowed(items: Iterable[object]) -> Iterator[object]:
    for count, item in enumerate(items, start=1):
        if count > settings.MAX_REQUEST_ITEMS:
            raise TooManyItems(f"At most {settings.MAX_REQUEST_ITEMS} items are taken at once.")
        yield item


def _conflict(user_id: int | None, earlier: Collection[int]) -> dict[str, Any] | None:
    if user_id is None:
        return {"id": ["This field is required."]}
    if user_id in earlier:
        return {"id": [f"User with ID {user_id} given multiple times."]}
    return None


class _QuickCheck:
    """Take rows that are plainly right as they are; leave all others to the serializer.

    The serializer takes fifty times as long, and is what coerces, and words the errors.
    """

    def __init__(self, *, known_roles: Collection[int], partial: bool) -> None:
        self._partial = partial
        known = frozenset(known_roles)
        self._checks: dict[str, Callable[[Any], bool]] = {
            "id": lambda value: type(value) is int and 0 <= value <= LARGEST_BIGINT,
            "name": lambda value: _is_plain_text(value) and value != "",
            "display_name": _is_plain_text,
            "discriminator": lambda value: type(value) is int and 0 <= value <= 9999,  # noqa: PLR2004  the contract's limit
            # The types first: a list in the list has no hash, and True and 1.0 are members of a
            # set that holds 1.
            "roles": lambda value: (
                type(value) is list
                and len(value) <= MOST_ROLES
                and all([type(role) is int for role in value])  # noqa: C419  faster here
                and known.issuperset(value)
                and len(set(value)) == len(value)
            ),
            "in_guild": lambda value: type(value) is bool,
        }

    def __call__(self, item: object) -> dict[str, Any] | None:
        if not isinstance(item, dict):
            return None
        row = {}
        for field, is_right in self._checks.items():
            if field in item:
                value = item[field]
                if not is_right(value):
                    return None
                row[field] = value
            elif not self._partial:
                return None
        return row


def _is_plain_text(value: object) -> bool:
    return (
        type(value) is str
        and len(value) <= 32  # noqa: PLR2004  the contract's limit
        and value == value.strip()
        and "\0" not in value
        and not _SURROGATE.search(value)
    )


def create(batch: Batch) -> int:
    """Insert the rows whose ids the site doesn't have yet; return how many those were."""
    inserted = 0
    with transaction.atomic(), connection.cursor() as cursor:
        # Ascending, so that two requests that share new ids wait for each other in one order.
        for _, rows in batch.slices(sorted(batch.ids)):
            cursor.execute(_INSERT[connection.vendor], [rows])
            inserted += cursor.rowcount
    return inserted


def update(batch: Batch, *, answer_rows: bool) -> list[bytes]:
    """Write each row's own fields, all rows or none.

    Returns the rows after the update as pieces of JSON that together, joined by commas, are the
    items of a list in the order of the request; nothing if `answer_rows` is false.
    Raises NotFound, naming the first unknown id, and ValidationError if no row has a change.
    """
    pieces: list[bytes] = []
    update_ = _UPDATE[connection.vendor] + (_RETURNING if answer_rows else "")
    with transaction.atomic(), connection.cursor() as cursor:
        # A statement that is alone locks by itself, and finds by itself if a row is missing.
        locks = not (batch.whole and batch.has_changes)
        if locks:
            _lock(batch.ids)
        if not batch.has_changes:
            raise ValidationError({"non_field_errors": ["Insufficient data provided."]})
        for ids, rows in batch.slices(batch.ids):
            cursor.execute(update_, [rows])
            # SQLite knows how many rows it returns only once they were.
            records = cursor.fetchall() if answer_rows else ()
            if not locks and max(cursor.rowcount, len(records)) != len(ids):
                raise _unknown(ids)
            if answer_rows:
                written = {record[0]: record for record in records}
                pieces.append(encode(written[user_id] for user_id in ids))
    return pieces


def _lock(ids: Collection[int]) -> None:
    """Lock the rows in ascending order of ids, so that no two requests can wait for each other."""
    found = 0
    for part in slices(sorted(ids)):
        rows = User.objects.filter(id__in=part).order_by("id").select_for_update(no_key=True)
        found += len(rows.values_list("id", flat=True))
    if found != len(ids):
        raise _unknown(ids)


def _unknown(ids: Collection[int]) -> NotFound:
    """Name the first of these, in the order of the request, that the site does not have."""
    unknown = next(iter(ids))  # one that was missing has been created since: any is as good
    for part in slices(ids):
        known = set(User.objects.filter(id__in=part).values_list("id", flat=True))
        missing = next((user_id for user_id in part if user_id not in known), None)
        if missing is not None:
            unknown = missing
            break
    return NotFound(f"User with id {unknown} not found.")


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


# No field can be null, so a field that a row does not give arrives as null and stays as it is.
_RECORDSET = """
    jsonb_to_recordset(%s::jsonb) AS given(
        id bigint, name text, display_name text, discriminator smallint, roles jsonb,
        in_guild boolean
    )
"""
# `->>` would unpack JSON strings too; json_extract gives a nested list as JSON text.
_EACH = """
    (SELECT json_extract(value, '$.id') AS id,
            json_extract(value, '$.name') AS name,
            json_extract(value, '$.display_name') AS display_name,
            json_extract(value, '$.discriminator') AS discriminator,
            json_extract(value, '$.roles') AS roles,
            json_extract(value, '$.in_guild') AS in_guild
       FROM json_each(%s)) AS given
"""
_COLUMNS = ", ".join(FIELDS)
_CHANGES = ", ".join(f"{field} = COALESCE(given.{field}, api_user.{field})" for field in FIELDS[1:])
_RETURNED = ", ".join(f"api_user.{field}" for field in FIELDS)
# S608: built of this module's constants alone.
_INSERT = {
    "postgresql": f"INSERT INTO api_user ({_COLUMNS}) SELECT {_COLUMNS} FROM {_RECORDSET}"  # noqa: S608
    " ORDER BY id ON CONFLICT (id) DO NOTHING",
    # Without a WHERE, SQLite takes ON for a join's.
    "sqlite": f"INSERT INTO api_user ({_COLUMNS}) SELECT {_COLUMNS} FROM {_EACH}"  # noqa: S608
    " WHERE true ORDER BY id ON CONFLICT (id) DO NOTHING",
}
_UPDATE = {
    # Rows are locked in ascending order of ids before any is written, so that no two requests can
    # wait for each other.
    "postgresql": f"""
        WITH given AS MATERIALIZED (SELECT * FROM {_RECORDSET}),
             locked AS MATERIALIZED (
                 SELECT id FROM api_user WHERE id IN (SELECT id FROM given)
                  ORDER BY id FOR NO KEY UPDATE
             )
        UPDATE api_user SET {_CHANGES} FROM given JOIN locked USING (id)
         WHERE api_user.id = locked.id
    """,  # noqa: S608
    "sqlite": f"UPDATE api_user SET {_CHANGES} FROM {_EACH} WHERE api_user.id = given.id",  # noqa: S608
}
_RETURNING = f" RETURNING {_RETURNED}"
