"""What Sentry would be told, kept in the test."""

from typing import Any

from sentry_sdk.transport import Transport


class Kept(Transport):
    """A way to Sentry that ends here: keeps the events, and the texts of those that have one."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []
        self.messages: list[str] = []

    def capture_envelope(self, envelope: Any) -> None:
        """Keep what was told."""
        event = envelope.get_event()
        if event is None:
            return  # a check-in
        self.events.append(event)
        if "message" in event:
            self.messages.append(event["message"])
