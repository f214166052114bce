"""The way to a site, as a test takes it."""

from bot.exts.backend.sync import _environment as environment
from bot.exts.backend.sync._clock import SystemClock
from bot.exts.backend.sync._core.model.redaction import Redaction
from bot.exts.backend.sync._http.client import HttpSite

LIMIT = 64 * 1024


TOKEN = "S3cret/of+the=site"


def way_to(
    url: str, *, deadline_s: float = 10.0, environ: dict[str, str] | None = None
) -> HttpSite:
    """Return the way to a site."""
    return HttpSite(
        base_url=url,
        token=TOKEN,
        deadline_s=deadline_s,
        max_answer_bytes=LIMIT,
        redaction=Redaction((TOKEN,)),
        clock=SystemClock(),
        way=environment.way_to(url, environ or {}),
    )
