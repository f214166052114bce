"""Digests: what the guild's rows in ranges of ids come to; who compares need not read them.

docs/site-contract.md says to the byte what is hashed; docs/digest-vectors.json has examples. Each
answer is one statement, and so of one moment: a writer's transaction is in it whole or not at all.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from django.db import connection
from rest_framework.exceptions import ValidationError

MOST_RANGES: Final = 128  # their bounds fit into a URL of 3 KB
_MODULUS: Final = 2**64
# A bigint's; no range holds this id itself, which is no Discord's.
_LARGEST_BOUND: Final = 2**63 - 1
_MOST_DIGITS: Final = len(str(_LARGEST_BOUND))
_SHOWN: Final = 40

# Lengths and `md5` are of the text in the database's encoding, which Django expects to be UTF-8.
# `jsonb` writes a list in one way only, `[1, 2]`, and faster than a subquery over its items would.
# Fifteen hexadecimal digits are never negative as a bigint.
# The names are those of `%(bounds)s` and others because one value stands in two places.
STATEMENT: Final = """
    SELECT width_bucket(id, %(bounds)s::bigint[]),
           count(*),
           sum(('x' || substr(md5(concat(
               id, ',', discriminator,
               ',', octet_length(name), ':', name,
               ',', octet_length(display_name), ':', display_name,
               ',', replace(btrim(roles::text, '[]'), ' ', '')
           )), 1, 15))::bit(60)::bigint)
      FROM api_user
     WHERE in_guild AND id >= %(low)s AND id < %(high)s
     GROUP BY 1
"""
_ROWS: Final = """
    SELECT id, name, display_name, discriminator, roles
      FROM api_user
     WHERE in_guild AND id >= %s AND id < %s
"""


def read_bounds(text: str) -> list[int]:
    """Return the bounds that a query names, or raise ValidationError and say what is wrong.

    They ascend, from 0 to 2^63-1; two make one range, and there are at most MOST_RANGES ranges.
    """
    ranges = text.count(",")
    if ranges > MOST_RANGES:
        raise _refusal(f"At most {MOST_RANGES} ranges are answered at once, not {ranges}.")
    bounds = [_bound(part) for part in text.split(",")]
    if not ranges:
        raise _refusal("A range has two bounds; only one is given.")
    for low, high in pairwise(bounds):
        if low >= high:
            raise _refusal(f"Each bound must be greater than the one before: {high} follows {low}.")
    return bounds


def _bound(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise _refusal(f"Decimal ids with commas between them are expected, not {text[:_SHOWN]!r}.")
    # Python would refuse to read some thousands of digits at all.
    if len(text) > _MOST_DIGITS or int(text) > _LARGEST_BOUND:
        raise _refusal(f"A bound is at most {_LARGEST_BOUND}, not {text[:_SHOWN]}.")
    return int(text)


def _refusal(reason: str) -> ValidationError:
    return ValidationError({"bounds": [reason]})


def of_ranges(bounds: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return how many rows of the guild are in each range, and the sum of their hashes.

    A range goes from one bound up to, and without, the next; the sums are modulo 2^64.
    """
    counts = [0] * (len(bounds) - 1)
    sums = [0] * (len(bounds) - 1)
    parts = _by_database(bounds) if connection.vendor == "postgresql" else _by_row(bounds)
    for place, count, hashes in parts:
        counts[place - 1] += count
        sums[place - 1] += hashes
    return counts, [one % _MODULUS for one in sums]


def _by_database(bounds: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield the range's number, from 1, its count and its sum, of each range that has rows."""
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT, {"bounds": [*bounds], "low": bounds[0], "high": bounds[-1]})
        for place, count, hashes in cursor:
            yield place, count, int(hashes)  # beyond a bigint it is a Decimal, and exact


def _by_row(bounds: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield the same for each row by itself: SQLite can't read hexadecimal digits.

    It is in this process, so its rows travel nowhere; one of them lives at a time.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, [bounds[0], bounds[-1]])
        for row in cursor:
            yield bisect_right(bounds, row[0]), 1, _hash(*row)


def _hash(user_id: int, name: str, display_name: str, discriminator: int, roles: str) -> int:
    text = (
        f"{user_id},{discriminator},{len(name.encode())}:{name}"
        f",{len(display_name.encode())}:{display_name}"
        f",{','.join(map(str, json.loads(roles)))}"
    )
    # No secret: it tells rows apart, and a machine under FIPS rules must do so too.
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)
