"""What happens, in order: told to every page that looks, and kept for a recording."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

Json = dict[str, Any]

_MOST_WAITING: Final = 5_000  # events: a page that falls so far behind begins again


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened: "message", "sample", "line", "panel", "story" or "answer".

    `channel` is that of a message, `visible_to` the one member who may see it, None: everybody
    in the channel.
    """

    at: datetime
    kind: str
    data: Json
    channel: int | None = None
    visible_to: int | None = None

    def as_json(self) -> Json:
        """Return what a page is told."""
        return {"at": round(self.at.timestamp(), 3), "kind": self.kind, "data": self.data}


class Feed:
    """Takes events and hands each to all who listen."""

    def __init__(self) -> None:
        self._listeners: set[Callable[[Event], None]] = set()

    def tell(
        self, kind: str, data: Json, *, channel: int | None = None, visible_to: int | None = None
    ) -> None:
        """Let something have happened now."""
        event = Event(
            at=datetime.now(UTC), kind=kind, data=data, channel=channel, visible_to=visible_to
        )
        for listener in tuple(self._listeners):
            listener(event)

    @contextmanager
    def heard(self, listener: Callable[[Event], None]) -> Iterator[None]:
        """Call `listener` with every event for as long as this is entered."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    async def events(self) -> AsyncIterator[Event]:
        """Yield every event from now on; end if the one who asks is too slow for them."""
        waiting: asyncio.Queue[Event | None] = asyncio.Queue()

        def hear(event: Event) -> None:
            waiting.put_nowait(event if waiting.qsize() < _MOST_WAITING else None)

        with self.heard(hear):
            while (event := await waiting.get()) is not None:
                yield event
