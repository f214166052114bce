"""What a view raised and nothing expected: counted and logged, without a word of anybody's row.

A row that breaks a constraint is right by the contract and refused by the database, so one of the
two is wrong. Its client hears 500 like any other and may get by without that row.
"""

import structlog
from django.db import IntegrityError

from website import metrics, privacy

logger = structlog.get_logger(__name__)


def note(exc: Exception) -> None:
    """Log and count it. Django logs its traceback besides."""
    if isinstance(exc, IntegrityError):
        metrics.constraint_violations.inc()
        logger.error("website.database.constraint_broken", **privacy.facts(exc))
