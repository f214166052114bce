"""What is counted of one run, for machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .curve import Curve

if TYPE_CHECKING:
    from .requests import Request


@dataclass(slots=True, kw_only=True)
class RunFigures:
    """Figures of one run: requests sent, rows of each write, how long the requests took."""

    requests: int = 0
    chunk_items: list[int] = field(default_factory=list)
    largest_request_s: float = 0.0
    curve: Curve = field(default_factory=Curve)

    def asked(self, request: Request, seconds: float, *, at_s: float) -> None:
        """Note a request that ended `at_s` after the run began."""
        self.curve.add(at_s, seconds)
        self.largest_request_s = max(self.largest_request_s, seconds)
        if request.writes and request.purpose.value in {"create", "update"}:
            self.chunk_items.append(request.rows)
