"""What Sentry would be told, kept in the test."""

import contextlib
from collections.abc import Iterator
from typing import Any

import sentry_sdk
from sentry_sdk.transport import Transport


@contextlib.contextmanager
def reported(**options: Any) -> Iterator["Kept"]:
    """Keep what is told to Sentry inside."""
    kept = Kept()
    with sentry_sdk.isolation_scope() as scope:
        scope.clear()
        scope.set_new_propagation_context()  # as every process has one, for all that it tells
        scope.set_client(
            sentry_sdk.Client(dsn="http://key@sentry.invalid/1", transport=kept, **options)
        )
        yield kept


class Kept(Transport):
    """A way to Sentry that ends here: keeps the events, and the texts of those that have one.

    `items` are all that was told, as pairs of a type and its payload.
    """

    def __init__(self) -> None:
        super().__init__()
        self.items: list[tuple[str, Any]] = []
        self.events: list[Any] = []
        self.messages: list[str] = []

    def capture_envelope(self, envelope: Any) -> None:
        """Keep what was told."""
        self.items += [(item.type, item.payload.json) for item in envelope.items]
        event = envelope.get_event()
        if event is None:
            return  # a check-in
        self.events.append(event)
        if "message" in event:
            self.messages.append(event["message"])

    def of(self, kind: str) -> list[Any]:
        """Return the items of a type, oldest first."""
        return [item for type_, item in self.items if type_ == kind]
