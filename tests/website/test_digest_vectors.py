"""docs/digest-vectors.json holds what docs/site-contract.md says."""

import hashlib

from tests.website.digest_vectors import PAGE, rendered, vectors


def test_the_vectors_are_the_reference_s() -> None:
    """`python -m tests.website.digest_vectors` renews them."""
    assert PAGE.read_text("utf-8") == rendered()


def test_each_hash_can_be_had_from_the_text_beside_it() -> None:
    """Whoever has only the file finds a row's hash by MD5 of its text."""
    rows = vectors()["rows"]

    hashed = [hashlib.md5(row["text"].encode(), usedforsecurity=False).hexdigest() for row in rows]
    assert hashed == [row["md5"] for row in rows]
    assert [digits[:15] for digits in hashed] == [row["hash"] for row in rows]
    assert rows[0]["hash"] == "121f3504bfe317e"  # by md5sum
