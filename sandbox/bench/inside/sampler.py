"""Where a program's time goes: what its threads are at, 200 times a second, in its log.

Loaded into the bot as an extension and into the website as middleware. A sample is the module whose
Python code a thread runs, or which has called what it runs in C or waits for; threads that only
wait to be given work are left out. To look costs the program a few per cent.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from sandbox.bench.inside import SAMPLE_S, SAMPLES

if TYPE_CHECKING:  # each program has only one of these
    from collections.abc import Callable
    from types import FrameType

    from discord.ext import commands
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

_EACH_S: Final = 0.5
_IDLE: Final = {
    ("selectors", "select"),
    ("threading", "wait"),
    ("waitress.wasyncore", "poll"),
    ("waitress.wasyncore", "poll2"),
    ("socketserver", "serve_forever"),
    ("concurrent.futures.thread", "_worker"),
}
_DRIVER: Final = "psycopg"
_OWN: Final = ("bot", "website", "sandbox")


async def setup(_bot: commands.Bot) -> None:
    """Begin, in the bot."""
    begin()


class Sampled:
    """Begin, in the website."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        begin()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request, and do no more."""
        return self._get_response(request)


def begin() -> None:
    """Take samples from now on, in a thread of its own."""
    threading.Thread(target=_sample, name="sampler", daemon=True).start()


def _sample() -> None:
    me, seen, told_s = threading.get_ident(), Counter[str](), time.monotonic()
    while True:
        time.sleep(SAMPLE_S)
        for thread, frame in sys._current_frames().items():  # noqa: SLF001  there is no other way
            module = None if thread == me else place(frame)
            if module is not None:
                seen[module] += 1
        if time.monotonic() - told_s > _EACH_S:
            line = {"event": SAMPLES, "at_s": time.time(), "seen": dict(seen)}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
            seen.clear()
            told_s = time.monotonic()


def place(frame: FrameType) -> str | None:
    """Return which module a thread is in: of ours in full, else its package; None if it waits."""
    name = str(frame.f_globals.get("__name__", "?"))
    if (name, frame.f_code.co_name) in _IDLE:
        return None
    package = name.partition(".")[0]
    if package in _OWN:
        return name
    if package == _DRIVER:  # in whichever of its modules: it waits for the database
        return _DRIVER
    return ".".join(name.split(".")[:2])
