"""A website that needs more memory the more it is asked to write, as the one of the incident did.

Django middleware, which the website loads because `EXTRA_MIDDLEWARE` names it. It is harmless until
the file that `MEMORY_HOG_SWITCH` names exists. From then on a write of five rows or more takes
memory until somebody ends the process: no pace can evade it.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from django.http import HttpRequest, HttpResponse

MIDDLEWARE: Final = f"{__name__}.MemoryHog"
SWITCH: Final = "MEMORY_HOG_SWITCH"
SEIZED: Final = "sandbox.memory.seized"
LEAST_ROWS: Final = 5
_STEP_BYTES: Final = 8 * 2**20
_STEPS: Final = 40
_HOLD_S: Final = 20.0


class MemoryHog:
    """Seize 320 MiB before a write of many rows is answered, and say so in the site's log."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._switch = Path(os.environ[SWITCH])

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request, if somebody lets the process live so long."""
        if self._switch.exists() and request.method in {"POST", "PATCH"}:
            rows = json.loads(request.body)
            if isinstance(rows, list) and len(rows) >= LEAST_ROWS:
                self._seize(request, len(rows))
        return self._get_response(request)

    def _seize(self, request: HttpRequest, rows: int) -> None:
        line = {
            "event": SEIZED,
            "request_id": request.headers.get("X-Request-ID", ""),
            "method": request.method,
            "path": request.path,
            "rows": rows,
            "started_at": datetime.now(UTC).isoformat(),
        }
        sys.stdout.write(json.dumps(line) + "\n")  # at once, so that no kill leaves half a line
        sys.stdout.flush()
        taken = []
        for _ in range(_STEPS):
            taken.append(b"\1" * _STEP_BYTES)  # not zeros, which would take no page
            time.sleep(0.005)
        time.sleep(_HOLD_S)
