"""Digests: what the guild's rows in ranges of ids come to; who compares need not read them.

docs/site-contract.md says to the byte what is hashed; docs/digest-vectors.json has examples. Each
answer is one statement, and so of one moment: a writer's transaction is in it whole or not at all.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
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
# Fifteen hexadecimal digits are never negative as a bigint. OFFSET 0 keeps PostgreSQL from taking
# each id for a group of its own: it would sort all rows, of a million through files on the disk.
STATEMENT: Final = """
    SELECT place, count(*), sum(hash)
      FROM (SELECT width_bucket(id, %(bounds)s::bigint[]) AS place,
                   ('x' || substr(md5(concat(
                       id, ',', discriminator,
                       ',', octet_length(name), ':', name,
                       ',', octet_length(display_name), ':', display_name,
                       ',', replace(btrim(roles::text, '[]'), ' ', '')
                   )), 1, 15))::bit(60)::bigint AS hash
              FROM api_user
             WHERE in_guild AND id >= %(low)s AND id < %(high)s
            OFFSET 0) AS hashed
     GROUP BY place
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
    by_vendor = {"postgresql": _in_database, "sqlite": _row_by_row}
    counts, sums = by_vendor[connection.vendor](bounds)
    return counts, [one % _MODULUS for one in sums]


def _in_database(bounds: Sequence[int]) -> tuple[list[int], list[int]]:
    counts, sums = _nothing_in(bounds)
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT, {"bounds": [*bounds], "low": bounds[0], "high": bounds[-1]})
        for place, count, hashes in cursor:  # of those ranges alone that have rows
            counts[place - 1] = count
            sums[place - 1] = int(hashes)  # a Decimal, and exact
    return counts, sums


def _row_by_row(bounds: Sequence[int]) -> tuple[list[int], list[int]]:
    """Hash here: SQLite can't read hexadecimal digits.

    It is in this process, so its rows travel nowhere; one of them lives at a time.
    """
    counts, sums = _nothing_in(bounds)
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, [bounds[0], bounds[-1]])
        for row in cursor:
            place = bisect_right(bounds, row[0]) - 1
            counts[place] += 1
            sums[place] += _hash(*row)
    return counts, sums


def _nothing_in(bounds: Sequence[int]) -> tuple[list[int], list[int]]:
    return [0] * (len(bounds) - 1), [0] * (len(bounds) - 1)


def _hash(user_id: int, name: str, display_name: str, discriminator: int, roles: str) -> int:
    text = (
        f"{user_id},{discriminator},{len(name.encode())}:{name}"
        f",{len(display_name.encode())}:{display_name}"
        f",{roles.strip('[]').replace(' ', '')}"  # to read the JSON would take as long as all else
    )
    # No secret: it tells rows apart, and a machine under FIPS rules must do so too.
    digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big") >> 4
