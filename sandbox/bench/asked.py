"""The requests of one sync, as the site's log tells of them; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

ANSWERED: Final = "website.request.finished"
# How the ids of requests begin that are no sync's: of the world around, and of whoever asks
# meanwhile.
WORLD: Final = "sandbox-"
FOREGROUND: Final = "bench-foreground"
_BULK: Final = {("POST", "/api/bot/users"), ("PATCH", "/api/bot/users/bulk_patch")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that the site has answered.

    It came at `began` and was answered at `ended`; `own_s` is for how long the site itself was at
    it, without the time in its queue, where its log tells them apart.
    """

    method: str
    path: str
    rows: int
    began: datetime
    ended: datetime
    own_s: float
    request_id: str

    @property
    def run_id(self) -> str:
        """The run of ours, or the drain of live changes, that asked."""
        return self.request_id.rpartition("-")[0]

    @property
    def writes_users(self) -> bool:
        """Whether it creates or updates many users."""
        return (self.method, self.path) in _BULK


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """How a sync's time is divided, from its first request to its end (s).

    Reading lasts until the first bulk write of users begins, writing until the last one is
    answered; what follows is looking again. Without a write all of it is reading.
    """

    wall_s: float
    reading_s: float
    writing_s: float
    verifying_s: float


def asked(events: Iterable[Mapping[str, Any]], *, prefix: str | None = None) -> list[Asked]:
    """Return the requests whose ids begin with `prefix`; without one, those of any sync."""
    found = []
    for event in events:
        id_ = str(event.get("request_id"))
        is_wanted = (
            not id_.startswith((WORLD, FOREGROUND)) if prefix is None else id_.startswith(prefix)
        )
        if event.get("event") == ANSWERED and is_wanted and "started_at" in event:
            began = datetime.fromisoformat(event["started_at"])
            found.append(
                Asked(
                    method=event["method"],
                    path=event["path"],
                    rows=event["rows"] or 0,
                    began=began,
                    ended=began + timedelta(milliseconds=event["duration_ms"]),
                    own_s=event.get("held_ms", event["duration_ms"]) / 1_000,
                    request_id=id_,
                )
            )
    return found


def bytes_of(events: Iterable[Mapping[str, Any]], *, prefix: str) -> tuple[int, int]:
    """Return how many bytes the bodies of these requests had, and those of their answers."""
    lines = [
        event
        for event in events
        if "received_bytes" in event and str(event.get("request_id")).startswith(prefix)
    ]
    return sum(one["received_bytes"] for one in lines), sum(one["sent_bytes"] for one in lines)


def phases(requests: Sequence[Asked], *, ended: datetime) -> Phases:
    """Divide the time of a sync that ended then, or with its last answer if that is later."""
    began = min(one.began for one in requests)
    ended = max(ended, *(one.ended for one in requests))
    wall_s = (ended - began).total_seconds()
    writes = [one for one in requests if one.writes_users]
    if not writes:
        return Phases(wall_s=wall_s, reading_s=wall_s, writing_s=0.0, verifying_s=0.0)
    first, last = min(one.began for one in writes), max(one.ended for one in writes)
    return Phases(
        wall_s=wall_s,
        reading_s=(first - began).total_seconds(),
        writing_s=(last - first).total_seconds(),
        verifying_s=(ended - last).total_seconds(),
    )
