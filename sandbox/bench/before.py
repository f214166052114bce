"""The website of the version before, taken out of the history and run as a process of its own."""

from pathlib import Path
from typing import ClassVar

from sandbox.baseline import BaselineError, take_out
from sandbox.servers import ServerError, Website

# Its limits let all changes into one request: what is measured there is the old way.
_LIMITS = {"MAX_REQUEST_BYTES": "2000000000", "MAX_REQUEST_ITEMS": "10000000"}


class WebsiteBefore(Website):
    """The website of v0.1.0, on the libraries of today; `files` is where it was taken out to."""

    name: ClassVar[str] = "website_before"

    def __init__(self, directory: Path, *, files: Path, database_url: str) -> None:
        super().__init__(
            directory, database_url=database_url, PYTHONPATH=str(files.resolve()), **_LIMITS
        )


def taken_out(into: Path) -> Path:
    """Take the version before out of the history, once; raise ServerError if it can't be had."""
    if into.exists():
        return into
    try:
        return take_out(into)
    except BaselineError as exc:
        raise ServerError(str(exc)) from exc
