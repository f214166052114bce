"""The waits of a bot in chaos: all that it would do, in seconds instead of minutes."""

from typing import Final

DEADLINE_S: Final = 1.2
THRESHOLD: Final = 3
MEMBER_INTERVAL_S: Final = 0.2  # real Discord's is 30 s
RECHECK_S: Final = 2.5
LEASE_S: Final = 3.0

BOT: Final = {
    "SYNC_DEADLINE_S": f"{DEADLINE_S:g}",
    "SYNC_LEASE_S": f"{LEASE_S:g}",
    "SYNC_BACKOFF_S": "0.02",
    "SYNC_STALL_S": "20",
    "SYNC_FIRST_RETRY_S": "0.3",
    "SYNC_SECOND_RETRY_S": "0.6",
    "SYNC_BREAKER_THRESHOLD": f"{THRESHOLD}",
    "SYNC_BREAKER_OPEN_S": "1.5",
    "SYNC_BREAKER_MAX_OPEN_S": "3",
    "SYNC_DOUBTFUL_RECHECK_S": f"{RECHECK_S:g}",
    "SYNC_EDIT_INTERVAL_S": "0.3",
    "SYNC_MEMBER_TIMEOUT_S": "5",
    # Many small requests: a few hundred members, and as many moments as in a large guild.
    "SYNC_FIRST_ITEMS": "10",
    "SYNC_MAX_ITEMS": "30",
    "SYNC_PAGE_ITEMS": "100",
}
