"""A chunk's request, from what the guild says when it is sent."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.delivery.chunks import Batch, ParkedRow, Sent
from bot.exts.backend.sync._core.delivery.payload import answered, compose, encoded
from bot.exts.backend.sync._core.model.changes import Kind
from bot.exts.backend.sync._core.model.members import (
    ALL_FIELDS,
    Field,
    Member,
    UserId,
    faults,
)
from bot.exts.backend.sync._core.site import wire

from .examples import member, members, role_ids, user_ids

NAMES = Batch(kind=Kind.UPDATE, fields=(Field.NAME,), ids=user_ids(1, 2, 3))
ROLES = Batch(kind=Kind.UPDATE, fields=(Field.DISPLAY_NAME, Field.ROLES), ids=user_ids(1))
NEW = Batch(kind=Kind.CREATE, fields=ALL_FIELDS, ids=user_ids(1))
GONE = Batch(kind=Kind.DEPARTURE, fields=(Field.IN_GUILD,), ids=user_ids(1, 2, 3))
ROOMY = 10_000


def here(*known: Member) -> dict[UserId, Member]:
    """Return the members whom the guild has now."""
    return {each.id: each for each in known}


@pytest.mark.parametrize(
    ("batch", "now", "max_bytes", "sent", "rows"),
    [
        (
            NAMES,
            here(member(1), member(2, name="newest"), member(3)),
            ROOMY,
            Sent(batch=NAMES, ids=user_ids(1, 2, 3)),
            [{"id": 1, "name": "user1"}, {"id": 2, "name": "newest"}, {"id": 3, "name": "user3"}],
        ),
        (
            NAMES,
            here(member(1), member(3)),
            ROOMY,
            Sent(batch=NAMES, ids=user_ids(1, 3), left_out=user_ids(2)),
            [{"id": 1, "name": "user1"}, {"id": 3, "name": "user3"}],
        ),
        (NAMES, {}, ROOMY, Sent(batch=NAMES, ids=(), left_out=user_ids(1, 2, 3)), None),
        (
            ROLES,
            here(member(1, roles=role_ids(1, 4))),
            ROOMY,
            Sent(batch=ROLES, ids=user_ids(1)),
            [{"id": 1, "display_name": "User 1", "roles": [1, 4]}],
        ),
        (
            NEW,
            here(member(1)),
            ROOMY,
            Sent(batch=NEW, ids=user_ids(1)),
            [
                {
                    "id": 1,
                    "name": "user1",
                    "display_name": "User 1",
                    "discriminator": 0,
                    "roles": [1],
                    "in_guild": True,
                }
            ],
        ),
        (
            GONE,
            here(member(2)),
            ROOMY,
            Sent(batch=GONE, ids=user_ids(1, 3), left_out=user_ids(2)),
            [{"id": 1, "in_guild": False}, {"id": 3, "in_guild": False}],
        ),
        (
            NAMES,
            here(member(1), member(2, display_name="a\0b"), member(3, name="")),
            ROOMY,
            Sent(
                batch=NAMES,
                ids=user_ids(1),
                faulty=(
                    ParkedRow(id=UserId(2), reason="display_name holds a NUL character"),
                    ParkedRow(id=UserId(3), reason="name is empty"),
                ),
            ),
            [{"id": 1, "name": "user1"}],
        ),
        (
            NAMES,
            here(member(1), member(2), member(3)),
            len(b'[{"id":1,"name":"user1"},{"id":2,"name":"user2"}]'),
            Sent(batch=NAMES, ids=user_ids(1, 2), unsent=user_ids(3)),
            [{"id": 1, "name": "user1"}, {"id": 2, "name": "user2"}],
        ),
        (
            NAMES,
            here(member(2), member(3)),
            1,
            Sent(batch=NAMES, ids=user_ids(2), unsent=user_ids(3), left_out=user_ids(1)),
            [{"id": 2, "name": "user2"}],
        ),
    ],
    ids=[
        "values of now",
        "one left",
        "all left",
        "two fields",
        "create",
        "one came back",
        "faulty rows",
        "bytes for two",
        "bytes for none",
    ],
)
def test_a_chunk_is_built_from_the_guild_of_now(
    batch: Batch,
    now: dict[UserId, Member],
    max_bytes: int,
    sent: Sent,
    rows: list[dict[str, Any]] | None,
) -> None:
    """What goes out, what did not fit, who needs another look, and what no site could take."""
    found, body = compose(batch, now, max_bytes=max_bytes)

    assert found == sent
    assert (None if body is None else json.loads(body)) == rows


@given(
    ids=st.sets(st.integers(1, 40), min_size=1).map(sorted),
    known=st.lists(members(st.integers(1, 40)), max_size=40, unique_by=lambda each: each.id),
    spoilt=st.sets(st.integers(1, 40), max_size=5),
    kind=st.sampled_from(Kind),
    max_bytes=st.integers(1, 3000),
)
def test_every_id_of_a_chunk_ends_in_one_place(
    ids: list[int], known: list[Member], spoilt: set[int], kind: Kind, max_bytes: int
) -> None:
    """Sent, unsent, left out or faulty: none is lost, none doubled, and the body holds the sent."""
    now = here(*(replace(each, name="") if each.id in spoilt else each for each in known))
    fields = (Field.IN_GUILD,) if kind is Kind.DEPARTURE else ALL_FIELDS
    batch = Batch(kind=kind, fields=fields, ids=user_ids(*ids))

    sent, body = compose(batch, now, max_bytes=max_bytes)

    parked = [row.id for row in sent.faulty]
    assert sorted([*sent.ids, *sent.unsent, *sent.left_out, *parked]) == ids
    assert all((id_ in now) is (kind is Kind.DEPARTURE) for id_ in sent.left_out)
    assert all(faults(now[id_]) is not None for id_ in parked)
    assert (body is None) is (not sent.ids)
    if body is not None:
        assert [row["id"] for row in json.loads(body)] == list(sent.ids)
        assert len(body) <= max_bytes or len(sent.ids) == 1
        if kind is not Kind.DEPARTURE:
            assert [wire.read_user(row) for row in json.loads(body)] == [
                now[id_] for id_ in sent.ids
            ]


@pytest.mark.parametrize("batch", [ROLES, NEW], ids=["update", "create"])
def test_a_role_that_the_site_lacks_is_left_out(batch: Batch) -> None:
    """It would refuse the row; the role's holders are written in all else."""
    holder = member(1, roles=role_ids(1, 3, 7))

    _, body = compose(batch, here(holder), max_bytes=ROOMY, lacking=frozenset(role_ids(3, 9)))

    assert json.loads(body or b"") == [
        wire.member_row(replace(holder, roles=role_ids(1, 7)), batch.fields)
    ]


@pytest.mark.parametrize(
    ("kind", "fields", "said", "known"),
    [
        (Kind.UPDATE, ALL_FIELDS, {}, True),
        (Kind.UPDATE, ALL_FIELDS, {"name": "other"}, False),
        # What was not sent is of no matter.
        (Kind.UPDATE, (Field.ROLES,), {"name": "other"}, True),
        (Kind.UPDATE, (Field.ROLES,), {"roles": ()}, False),
        (Kind.DEPARTURE, (Field.IN_GUILD,), {"in_guild": False, "name": "other"}, True),
        (Kind.DEPARTURE, (Field.IN_GUILD,), {}, False),
    ],
)
def test_a_row_counts_as_answered_if_it_says_what_was_sent(
    kind: Kind, fields: tuple[Field, ...], said: dict[str, Any], *, known: bool
) -> None:
    """Of the fields that were sent; whoever is not in the answer has none."""
    ids = (UserId(5), UserId(6))
    sent = Sent(batch=Batch(kind=kind, fields=fields, ids=ids), ids=ids)
    members = {} if kind is Kind.DEPARTURE else {id_: member(id_) for id_ in ids}

    found = answered(sent, members, [replace(member(5), **said)])

    assert found == ({5} if known else set())


@given(
    st.lists(members(), min_size=1, max_size=8, unique_by=lambda known: known.id),
    st.sampled_from([NAMES.fields, ROLES.fields, ALL_FIELDS]),
    st.integers(1, 600),
    st.data(),
)
def test_rows_that_are_ready_make_the_same_body(
    known: list[Member], fields: tuple[Field, ...], max_bytes: int, data: st.DataObject
) -> None:
    """Whichever of them are, however many fit, and without roles that the site lacks."""
    batch = Batch(kind=Kind.UPDATE, fields=fields, ids=tuple(here(*known)))
    lacking = frozenset(role_ids(1))
    made = {one.id: encoded(one, fields, lacking=lacking) for one in known}
    some = data.draw(st.sets(st.sampled_from([*made])))
    ready = {id_: row for id_, row in made.items() if row is not None and id_ in some}
    plain = compose(batch, here(*known), max_bytes=max_bytes, lacking=lacking)

    assert {id_ for id_, row in made.items() if row is None} == {m.id for m in known if faults(m)}
    assert compose(batch, here(*known), max_bytes=max_bytes, lacking=lacking, ready=ready) == plain


def test_no_row_is_made_of_what_the_contract_does_not_take() -> None:
    """It is composed, and set aside, when its turn comes."""
    assert encoded(member(1, name=""), ALL_FIELDS) is None
