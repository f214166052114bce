"""Digests in plain Python, written from docs/site-contract.md alone, without the website's code.

A stranger's site may be held against it, as ours is.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

Row = dict[str, Any]


def row_text(row: Row) -> bytes:
    """Return what is hashed of a row."""
    name, display_name = row["name"].encode("utf-8"), row["display_name"].encode("utf-8")
    return b"%d,%d,%d:%b,%d:%b,%b" % (
        row["id"],
        row["discriminator"],
        len(name),
        name,
        len(display_name),
        display_name,
        ",".join(str(role) for role in row["roles"]).encode("ascii"),
    )


def row_hash(row: Row) -> int:
    """Return the hash of a row: the first 60 bits of the MD5 of its text."""
    digest = hashlib.md5(row_text(row), usedforsecurity=False).digest()
    return int.from_bytes(digest, "big") >> (128 - 60)


def answer(rows: Iterable[Row], bounds: Sequence[int]) -> dict[str, list[Any]]:
    """Return what a site that has these rows has to answer when it is asked with these bounds."""
    there = [row for row in rows if row["in_guild"]]
    ranges = [
        [row_hash(row) for row in there if low <= row["id"] < high]
        for low, high in pairwise(bounds)
    ]
    return {
        "counts": [len(hashes) for hashes in ranges],
        "sums": [format(sum(hashes) % 2**64, "016x") for hashes in ranges],
    }
