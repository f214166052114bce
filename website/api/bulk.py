"""Many users in one request: checked row by row, written by set-based SQL in bounded slices.

What took the real site down was one `UPDATE` with a `CASE WHEN` arm per row. Here the rows travel
as one JSON parameter per slice, which the database turns into a set and joins.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from django.conf import settings
from django.db import connection, transaction
from rest_framework.exceptions import NotFound, ValidationError

from website.api.errors import RejectedRows, TooManyItems
from website.api.models import LARGEST_BIGINT, MOST_ROLES, Role, User
from website.api.rows import DEFAULTS, FIELDS, encode, slices
from website.api.serializers import UserSerializer

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Checked rows in the order of the request: each as a JSON object of its given fields."""

    json_by_id: dict[int, str]
    has_changes: bool  # whether any row has a field besides its id

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        """Make a batch of one checked, complete row."""
        return cls(json_by_id={row["id"]: _compact(row)}, has_changes=True)

    def slices(self, ids: Iterable[int]) -> Iterator[tuple[list[int], str]]:
        """Yield the ids, in the order given, in slices, each with its rows as a JSON list."""
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
    return Batch(json_by_id=json_by_id, has_changes=has_changes)


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
        for _, rows in batch.slices(sorted(batch.json_by_id)):
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
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(batch.json_by_id)
        if not batch.has_changes:
            raise ValidationError({"non_field_errors": ["Insufficient data provided."]})
        for ids, rows in batch.slices(batch.json_by_id):
            cursor.execute(_UPDATE[connection.vendor], [rows])
            if answer_rows:
                written = {record[0]: _from_cursor(record) for record in cursor}
                pieces.append(encode(written[user_id] for user_id in ids))
    return pieces


def _lock(ids: Collection[int]) -> None:
    """Lock the rows in ascending order of ids, so that no two requests can wait for each other."""
    found = 0
    for part in slices(sorted(ids)):
        rows = User.objects.filter(id__in=part).order_by("id").select_for_update(no_key=True)
        found += len(rows.values_list("id", flat=True))
    if found == len(ids):
        return
    for part in slices(ids):  # in the order of the request
        known = set(User.objects.filter(id__in=part).values_list("id", flat=True))
        for user_id in part:
            if user_id not in known:
                raise NotFound(f"User with id {user_id} not found.")


def _from_cursor(record: Sequence[Any]) -> tuple[Any, ...]:
    *others, roles, in_guild = record
    # A plain cursor hands out JSON as text on both databases, and SQLite has no booleans.
    return *others, json.loads(roles), bool(in_guild)


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
    vendor: f"UPDATE api_user SET {_CHANGES} FROM {source}"  # noqa: S608
    f" WHERE api_user.id = given.id RETURNING {_RETURNED}"
    for vendor, source in (("postgresql", _RECORDSET), ("sqlite", _EACH))
}
