"""Digests of ranges: what is hashed, how ranges are cut, and that any change of a row shows."""

from __future__ import annotations

import json
import sys
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.members import Field, Member, UserId
from bot.exts.backend.sync._core.plan.digest import (
    WHOLE,
    Digest,
    Hashes,
    Range,
    bounds_of,
    digest_of,
    finer,
    joined,
    row_hash,
    row_text,
)

from .examples import member, role_ids

VECTORS = json.loads((Path(__file__).parents[6] / "docs/digest-vectors.json").read_text("utf-8"))[
    "rows"
]


def kept_of(hashes: dict[int, int]) -> Hashes:
    """Return these hashes as they are kept."""
    kept = Hashes()
    ids = sorted(hashes)
    kept.fill(array("Q", ids), array("Q", map(hashes.__getitem__, ids)))
    return kept


def hashes_of(*members: Member) -> Hashes:
    """Return the hashes of these."""
    return kept_of({one.id: row_hash(one) for one in members})


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["about"] for vector in VECTORS])
def test_rows_are_hashed_as_every_site_should(vector: dict[str, Any]) -> None:
    """The vectors of the specification."""
    row = vector["row"]
    of_guild = Member(
        id=UserId(row["id"]),
        name=row["name"],
        display_name=row["display_name"],
        discriminator=row["discriminator"],
        roles=tuple(row["roles"]),
    )

    assert row_text(of_guild) == vector["text"].encode()
    assert f"{row_hash(of_guild):015x}" == vector["hash"]


def test_a_row_has_one_text() -> None:
    """Lengths in bytes keep names apart, whatever they hold."""
    row = replace(
        member(7), name="a,1:b", display_name="Ü😀", discriminator=42, roles=role_ids(1, 22)
    )

    assert row_text(row) == "7,42,5:a,1:b,6:Ü😀,1,22".encode()
    assert row_text(replace(row, roles=())).endswith("Ü😀,".encode())
    assert row_hash(row) < 2**60


def test_half_a_surrogate_pair_is_hashed_too() -> None:
    """Discord can send such a name, which no site takes; all others are compared all the same."""
    assert row_hash(replace(member(7), name="\ud83d")) < 2**60


NAMES = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=32)
ROLES = st.lists(st.integers(1, 2**63 - 1), max_size=5).map(lambda held: role_ids(*held))
ROWS = st.builds(
    lambda name, display_name, discriminator, roles: {
        "name": name,
        "display_name": display_name,
        "discriminator": discriminator,
        "roles": roles,
    },
    NAMES,
    NAMES,
    st.integers(0, 9999),
    ROLES,
)


@given(st.integers(0, 199), ROWS, ROWS, st.sets(st.sampled_from(list(Field)), min_size=1))
def test_any_change_of_a_row_shows_in_its_range_alone(
    place: int, row: dict[str, Any], other: dict[str, Any], changed: set[Field]
) -> None:
    """Whatever it was, and whichever of its fields change to whatever: also if the row goes."""
    members = [member(10 + n) for n in range(200)]
    members[place] = replace(members[place], **row)
    before, after = hashes_of(*members), hashes_of(*members)
    values = {field: value for field, value in other.items() if field in changed}
    made = replace(members[place], **values)
    assume(made != members[place] or Field.IN_GUILD in changed)
    after.put(made.id, None if Field.IN_GUILD in changed else row_hash(made))
    ranges = before.split(WHOLE, 3)
    differing = [one for one in ranges if before.digest(one) != after.digest(one)]

    assert len(ranges) == 3
    assert len(differing) == 1
    assert differing[0].low <= made.id < differing[0].high


@given(st.lists(st.tuples(st.integers(1, 40), st.none() | st.integers(0, 2**60 - 1))))
def test_hashes_are_kept_in_order(moves: list[tuple[int, int | None]]) -> None:
    """Whoever comes, changes and goes: ids ascend, and each has its latest hash."""
    kept, due = Hashes(), dict[int, int]()
    for id_, hash_ in moves:
        kept.put(id_, hash_)
        if hash_ is None:
            due.pop(id_, None)
        else:
            due[id_] = hash_

    assert list(kept.ids) == sorted(due)
    assert {id_: kept.get(id_) for id_ in due} == due
    assert kept.get(99) is None
    assert list(kept.within(Range(5, 9))) == [id_ for id_ in sorted(due) if 5 <= id_ < 9]
    assert kept.digest(WHOLE) == Digest(count=len(due), sum=sum(due.values()) % 2**64)


def test_a_million_members_take_less_than_20_mb() -> None:
    """Also after some have come and gone."""
    kept, million = Hashes(), 10**6
    kept.fill(array("Q", range(million)), array("Q", bytes(8 * million)))
    for id_ in range(100):
        kept.put(million + id_, 1)
        kept.put(id_, None)

    assert len(kept) == million
    assert sys.getsizeof(kept.ids) + sys.getsizeof(kept._hashes) < 20_000_000


@pytest.mark.parametrize(
    ("members", "parts", "ranges"), [(0, 128, 1), (63, 128, 1), (128, 128, 2), (10_000, 128, 128)]
)
def test_ranges_are_of_equally_many_members(members: int, parts: int, ranges: int) -> None:
    """Together they are all ids there can be; none has few members only."""
    kept = kept_of({10 + 3 * n: n for n in range(members)})
    cut = kept.split(WHOLE, parts)
    sizes = [kept.digest(one).count for one in cut]

    assert len(cut) == ranges
    assert (cut[0].low, cut[-1].high) == (WHOLE.low, WHOLE.high)
    assert list(joined(cut)) == [WHOLE]
    assert sum(sizes) == members
    assert max(sizes) - min(sizes) <= 1


def test_ranges_that_do_not_touch_are_asked_for_with_those_between() -> None:
    """Bounds ascend, and each range's digest is at its lower bound."""
    assert bounds_of([Range(0, 5), Range(5, 9), Range(20, 30)]) == (0, 5, 9, 20, 30)
    assert list(joined([Range(0, 5), Range(5, 9), Range(20, 30)])) == [Range(0, 9), Range(20, 30)]
    assert list(joined([])) == []


def test_a_range_is_cut_where_reading_it_costs_more() -> None:
    """A million members: one of 128 ranges is read; twelve of them are cut first."""
    kept = kept_of(dict.fromkeys(range(1000000), 0))
    ranges = kept.split(WHOLE, 128)
    cut = finer(ranges[10:22], kept, most=128)

    assert finer(ranges[:1], kept, most=128) is None
    assert finer(ranges, kept, most=128) is None
    assert finer((), kept, most=128) is None
    assert cut is not None
    assert len(bounds_of(cut)) - 1 <= 128
    assert (cut[0].low, cut[-1].high) == (ranges[10].low, ranges[21].high)


def test_rows_have_the_digest_of_members() -> None:
    """What was read is summed as what is kept."""
    members = [member(5), member(9)]

    assert digest_of(members) == hashes_of(*members).digest(WHOLE)
