"""The contract's limits on rows."""

from typing import Final

LARGEST_BIGINT: Final = 2**63 - 1
LARGEST_INT: Final = 2**31 - 1
LONGEST_NAME: Final = 32
LARGEST_DISCRIMINATOR: Final = 9999
# A guild has at most 250 roles. The bound is on what one row may cost, not on what Discord does.
MOST_ROLES: Final = 1_000
