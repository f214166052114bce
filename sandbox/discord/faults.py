"""What goes wrong on purpose."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(slots=True)
class RestFault:
    """For `count` requests whose "METHOD /path" matches: wait, then answer so, if a status is set.

    `after` applies the request first and only then fails, as when an answer is lost. A 429 asks to
    wait for `retry_after_s`.
    """

    pattern: str
    count: int
    status: int | None = None
    delay_s: float = 0.0
    after: bool = False
    retry_after_s: float = 0.1

    def body(self) -> dict[str, object]:
        """Return the answer's JSON."""
        body: dict[str, object] = {"message": "sandbox: a fault", "code": 0}
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            body |= {"retry_after": self.retry_after_s, "global": False}
        return body


@dataclass(slots=True)
class Faults:
    """Switches; `counts` hold how often each is still to happen, or its one value."""

    refuse_connections: bool = False
    member_interval_s: float = 30.0
    max_edit_age_s: float = 3600.0
    hold_after_chunks: int = 0
    session_starts: int = 1000
    session_reset_s: float = 0.0
    ahead_s: float = 0.0  # how far the clock that ends interactions is ahead of the machine's
    counts: dict[str, int] = field(default_factory=dict)
    rest: list[RestFault] = field(default_factory=list)

    def take(self, name: str) -> bool:
        """Use up one of a fault's times."""
        left = self.counts.get(name, 0)
        if left:
            self.counts[name] = left - 1
        return left > 0

    def take_value(self, name: str) -> int | None:
        """Use up a fault that is set to a value, once."""
        return self.counts.pop(name, None)

    def rest_fault(self, method: str, path: str) -> RestFault | None:
        """Use up one of the times of the first fault that matches a request."""
        line = f"{method} {path}"
        for fault in self.rest:
            if fault.count > 0 and fnmatch.fnmatchcase(line, fault.pattern):
                fault.count -= 1
                return fault
        return None
