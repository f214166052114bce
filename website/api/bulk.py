"""Many users in one request: checked, and written by set-based SQL in bounded slices.

What the bot sends is taken as a whole, and written by one statement. Where that does not go, for
whatever reason, nothing has been written, and everything is checked row by row: this takes longer,
coerces, and words the errors.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from django.conf import settings
from django.db import connection, transaction
from rest_framework.exceptions import NotFound, ValidationError

from website.api import statements, whole
from website.api.errors import RejectedRows, TooManyItems
from website.api.limits import LARGEST_BIGINT, LARGEST_DISCRIMINATOR, LONGEST_NAME, MOST_ROLES
from website.api.models import Role, User
from website.api.parsers import ListBody
from website.api.rows import DEFAULTS, FIELDS, encode, slices
from website.api.serializers import UserSerializer
from website.api.whole import Chunk

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


def known_roles() -> frozenset[int]:
    """Return the ids of all roles that the site has."""
    return frozenset(Role.objects.values_list("id", flat=True))


def check(items: Iterable[object], *, partial: bool, known_roles: Collection[int]) -> Batch:
    """Check every item, and raise the contract's errors if any is wrong: nothing is written then.

    Raises RejectedRows if any item is wrong by itself; ValidationError for the first that lacks an
    id or repeats one; TooManyItems; and whatever the iterable raises.
    """
    quick = _QuickCheck(known_roles=known_roles, partial=partial)
    thorough = UserSerializer(partial=partial, context={"known_roles": known_roles})
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
            "discriminator": lambda value: (
                type(value) is int and 0 <= value <= LARGEST_DISCRIMINATOR
            ),
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
        and len(value) <= LONGEST_NAME
        and value == value.strip()
        and "\0" not in value
        and not _SURROGATE.search(value)
    )


def create_list(body: ListBody) -> Collection[int]:
    """Insert the rows whose ids the site doesn't have yet; return the ids of all.

    Raises what `check` raises.
    """
    chunk = whole.read(body.text, most_rows=settings.MAX_REQUEST_ITEMS)
    # Where none was new nothing is wrong, perhaps; but that is rare, and costs no more than time.
    if chunk is not None and chunk.fields == FIELDS[1:] and _insert_all(chunk):
        body.let_go()
        return chunk.ids
    batch = check(body, partial=False, known_roles=known_roles())
    create(batch)
    return batch.json_by_id


def update_list(body: ListBody, *, answer_rows: bool) -> tuple[Collection[int], list[bytes]]:
    """Write each row's own fields, all rows or none; return their ids, and what `update` returns.

    Raises what `check` and `update` raise, and ValidationError for a list without rows.
    """
    chunk = whole.read(body.text, most_rows=settings.MAX_REQUEST_ITEMS)
    if chunk is not None and chunk.fields:
        pieces = _update_all(chunk, answer_rows=answer_rows)
        if pieces is not None:
            body.let_go()
            return chunk.ids, pieces
    batch = check(body, partial=True, known_roles=known_roles())
    if not batch.json_by_id:
        raise ValidationError({"non_field_errors": ["This list may not be empty."]})
    return batch.json_by_id, update(batch, answer_rows=answer_rows)


def _insert_all(chunk: Chunk) -> bool:
    """Insert the rows whose ids are new, in one statement; tell whether it inserted any."""
    statement = statements.insert(connection.vendor, checks_roles=True)
    with connection.cursor() as cursor:
        cursor.execute(statement, {"rows": chunk.rows, "roles": chunk.roles})
        return bool(cursor.rowcount)


def _update_all(chunk: Chunk, *, answer_rows: bool) -> list[bytes] | None:
    """Write the rows in one statement; None if it wrote none, since not all can be written."""
    statement = statements.update_all(connection.vendor, chunk.fields, returns=answer_rows)
    with connection.cursor() as cursor:
        cursor.execute(
            statement, {"rows": chunk.rows, "count": len(chunk.ids), "roles": chunk.roles}
        )
        if not answer_rows:
            return [] if cursor.rowcount else None
        records = cursor.fetchall()
        return [_in_order(records, chunk.ids)] if records else None


def create(batch: Batch) -> int:
    """Insert the rows whose ids the site doesn't have yet; return how many those were."""
    inserted = 0
    with transaction.atomic(), connection.cursor() as cursor:
        for _, rows in batch.slices(sorted(batch.json_by_id)):
            cursor.execute(statements.insert(connection.vendor), {"rows": rows})
            inserted += cursor.rowcount
    return inserted


def update(batch: Batch, *, answer_rows: bool) -> list[bytes]:
    """Write each row's own fields, all rows or none.

    Returns the rows after the update as pieces of JSON that together, joined by commas, are the
    items of a list in the order of the request; nothing if `answer_rows` is false.
    Raises NotFound, naming the first unknown id, and ValidationError if no row has a change.
    """
    pieces: list[bytes] = []
    statement = statements.update(connection.vendor, returns=answer_rows)
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(batch.json_by_id)
        if not batch.has_changes:
            raise ValidationError({"non_field_errors": ["Insufficient data provided."]})
        for ids, rows in batch.slices(batch.json_by_id):
            cursor.execute(statement, {"rows": rows})
            if answer_rows:
                pieces.append(_in_order(cursor.fetchall(), ids))
    return pieces


def _in_order(records: Iterable[Sequence[Any]], ids: Iterable[int]) -> bytes:
    by_id = {record[0]: record for record in records}
    return encode(by_id[user_id] for user_id in ids)


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
