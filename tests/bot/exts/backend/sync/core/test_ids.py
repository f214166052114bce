"""Ids in arrays: the same answers as sets and tuples give, in a tenth of the room."""

import random
import sys
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.ids import Ids, IdSet, Remaining, in_order
from bot.exts.backend.sync._core.model.members import UserId

IDS = st.integers(0, 200).map(UserId)
SETS = st.frozensets(IDS)
LATE = st.lists(IDS, max_size=50)
MANY = [UserId(10 + 3 * n) for n in range(5_000)]


def many(*without: UserId) -> Ids:
    """Return the many ids, but for these."""
    made = IdSet(MANY).but(frozenset(without))
    assert isinstance(made, Ids)
    return made


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_few_ids_are_put_in_order(ids: list[int]) -> None:
    """Whatever they are."""
    assert list(chain.from_iterable(in_order(ids))) == sorted(ids)


@pytest.mark.parametrize("seed", [None, 1])
def test_many_ids_are_put_in_order_part_by_part(seed: int | None) -> None:
    """No part takes long, whether they ascend already or lie anyhow."""
    ids = list(range(10**17, 10**17 + 7919 * 100_000, 7919))
    if seed is not None:
        random.Random(seed).shuffle(ids)
    parts = list(in_order(ids))

    assert list(chain.from_iterable(parts)) == sorted(ids)
    assert max(map(len, parts)) < 20_000
    assert len(parts) > 20


@given(LATE, SETS, st.lists(IDS).map(sorted))
def test_it_is_a_set_in_whatever_order_ids_come(
    came: list[UserId], asked: frozenset[UserId], ascending: list[UserId]
) -> None:
    """Each is in it once, and those that are left out are not."""
    known, due = IdSet(), set[UserId]()
    for id_ in came:
        assert known.add(id_) is (id_ not in due)
        due.add(id_)

    assert (set(known), len(known)) == (due, len(due))
    assert {id_ for id_ in asked if id_ in known} == asked & due
    assert object() not in known
    assert known.count_of(asked) == len(asked & due)
    assert known.lacks(ascending) == sorted({*ascending} - due)
    assert list(known.but(asked)) == sorted(due - asked)
    assert set(IdSet(came)) == due


@pytest.mark.parametrize("without", [(), (MANY[0],), (MANY[7], MANY[4_999], UserId(11)), MANY[::3]])
def test_few_of_many_are_left_out(without: tuple[UserId, ...]) -> None:
    """However many that are."""
    assert list(many(*without)) == [id_ for id_ in MANY if id_ not in {*without}]


def test_many_are_cut_without_being_copied() -> None:
    """As tuples are cut, slice by slice, to their end."""
    ids, due = many(), tuple(MANY)
    while len(ids) > 700:
        first, ids = ids[:700], ids[700:]
        assert tuple(first) == due[:700]
        due = due[700:]
        assert (len(ids), ids[0], ids[-1]) == (len(due), due[0], due[-1])
        assert first[0] not in ids
        assert due[0] in ids
        assert due[0] not in first
        assert sys.getsizeof(ids) < 100

    assert tuple(ids) == due
    assert tuple(ids[700:]) == ()
    assert tuple(ids[5:2]) == ()
    assert object() not in ids
    assert UserId(10**9) not in ids
    with pytest.raises(IndexError):
        ids[len(ids)]


@pytest.mark.parametrize("first", [many(), tuple(MANY)], ids=["many", "tuple"])
def test_what_remains_of_groups(first: Ids | tuple[UserId, ...]) -> None:
    """Whoever is taken out is in it no more; who never was changes nothing."""
    left = Remaining([first, (UserId(1), UserId(2))])
    left.discard([UserId(2), MANY[5], MANY[5], UserId(3)])

    assert len(left) == len(MANY)
    assert set(left) == {*MANY, UserId(1)} - {MANY[5]}
    assert (MANY[4] in left, MANY[5] in left, UserId(1) in left, UserId(3) in left) == (
        True,
        False,
        True,
        False,
    )
