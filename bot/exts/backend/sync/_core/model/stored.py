"""What a store keeps: written field by field, and read so.

Reading is tolerant of fields that it does not know, since a newer version may have written them;
strict about those that it does: a record that is believed wrongly could open a gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def as_stored(record: DataclassInstance) -> dict[str, object]:
    """Return a record as `json.dumps` takes it, each field under its name: times as text."""
    return {field.name: _plain(getattr(record, field.name)) for field in fields(record)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A record as JSON gave it; every method raises `ValueError` naming the field at fault."""

    what: str
    fields: Mapping[str, object]

    @classmethod
    def of(cls, value: object, *, what: str) -> Stored:
        """Take a record out of decoded JSON."""
        if not isinstance(value, Mapping):
            raise ValueError(f"{what} is {_kind(value)}, not an object")  # noqa: TRY004 - see class
        return cls(what=what, fields=value)

    def integer(self, name: str) -> int:
        """Return a count or an id: an integer of at least 0."""
        value = self.fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.fault(name, f"{_kind(value)}, not an integer")
        if value < 0:
            raise self.fault(name, f"{value}, below 0")
        return value

    def optional_integer(self, name: str) -> int | None:
        return None if self.fields.get(name) is None else self.integer(name)

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise self.fault(name, f"{_kind(value)}, not text")
        return value

    def optional_text(self, name: str) -> str | None:
        return None if self.fields.get(name) is None else self.text(name)

    def truth(self, name: str) -> bool:
        value = self.fields.get(name)
        if not isinstance(value, bool):
            raise self.fault(name, f"{_kind(value)}, not true or false")
        return value

    def time(self, name: str) -> datetime:
        """Return a moment, in UTC."""
        text = self.text(name)
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # told like a moment without its zone, below
        raise self.fault(name, f"{text[:40]!r}, not a time with its zone")

    def optional_time(self, name: str) -> datetime | None:
        return None if self.fields.get(name) is None else self.time(name)

    def duration(self, name: str) -> timedelta:
        """Return a length of at least 0; the field holds seconds."""
        value = self.fields.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.fault(name, f"{_kind(value)}, not a number of seconds")
        try:
            length = timedelta(seconds=value)
        except (ValueError, OverflowError) as exc:  # NaN, infinity, beyond a timedelta
            raise self.fault(name, f"{value}, not a length of time") from exc
        if length < timedelta():
            raise self.fault(name, f"{value}, below 0")
        return length

    def fault(self, name: str, fault: str) -> ValueError:
        """Return the error that names a field of this record."""
        return ValueError(f"{name} of {self.what} is {fault}")


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat()
        case tuple():
            return [_plain(part) for part in value]
        case _:
            return value


def _kind(value: object) -> str:
    return "missing" if value is None else type(value).__name__
