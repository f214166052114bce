"""The site's failing answers, as several tests of the core have them."""

from typing import Final

from bot.exts.backend.sync._core.site.outcome import Blocked, Failing, Overloaded

ERROR: Final = Failing(status=500, reason="Server Error", lost=False)
LOST: Final = Failing(status=None, reason="the connection was lost", lost=True)
UNREACHABLE: Final = Failing(status=None, reason="the site can't be reached", lost=False)
BUSY: Final = Overloaded(status=503, retry_after=None)
BLOCKED: Final = Blocked(status=403, reason="(a page)")
