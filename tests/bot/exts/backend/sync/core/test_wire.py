"""The site's JSON, read and written: recorded bodies, and whatever else a site may say."""

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.members import (
    ALL_FIELDS,
    Field,
    Member,
    Role,
    RoleId,
    UserId,
)
from bot.exts.backend.sync._core.site import wire
from bot.exts.backend.sync._core.site.wire import Capabilities, Page, RowFault, WireError

from .examples import member, members, role, role_ids, roles
from .samples import SAMPLES

DEVELOPERS = 352427296948486144
ROW: dict[str, Any] = {
    "id": 5,
    "name": "user5",
    "display_name": "User 5",
    "discriminator": 0,
    "roles": [1],
    "in_guild": True,
}
ROLE_ROW: dict[str, Any] = {
    "id": 5,
    "name": "role5",
    "colour": 0,
    "permissions": 8,
    "position": 5,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

READERS = st.sampled_from(
    [
        ("next_page_no", wire.read_page),
        ("next_after", wire.read_page_by_id),
        (None, wire.read_written_users),
    ]
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, Callable[[object], object]]:
    """Draw a body of users and its reader; often a value of it is odd, or a few bytes are."""
    following, read = draw(READERS)
    rows = [wire.member_row(row) for row in draw(st.lists(members(), max_size=4))]
    for row in rows:
        if draw(st.integers(0, 7)) == 0:
            del row[draw(st.sampled_from([*ROW]))]
        elif draw(st.integers(0, 3)) == 0:
            row[draw(st.sampled_from([*ROW, "else"]))] = draw(JSON | st.lists(st.integers()))
    value: object = rows
    if following is not None:
        value = {"count": draw(JSON), following: draw(st.none() | st.integers() | JSON)}
        value |= {} if draw(st.integers(0, 9)) == 0 else {"results": rows}
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.text(max_size=1)) + text[place + draw(st.integers(0, 1)) :]
    return text.encode("utf-8", "surrogatepass"), read


def outcome(of: Callable[[], object]) -> object:
    """Return what a reader returns or raises."""
    try:
        return of()
    except WireError as exc:
        return type(exc), str(exc)


# -- bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"[]", []),
        (b' {"a": 9223372036854775807}\n', {"a": 2**63 - 1}),
        ('"Zoë"'.encode(), "Zoë"),
        (b"null", None),
    ],
)
def test_json_is_decoded(body: bytes, value: object) -> None:
    """Integers keep all their digits, and text its characters."""
    assert wire.decode(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!doctype html>",
        b'{"count": 80000, "resu',
        b"[1,]",
        b'"\xff"',
        b"[" * 200_000,
        b"9" * 5000,
    ],
    ids=["empty", "html", "half", "comma", "not UTF-8", "too deep", "too many digits"],
)
def test_what_is_not_json_is_a_wire_error(body: bytes) -> None:
    """Nothing that a site may send instead of JSON is any other error."""
    with pytest.raises(WireError, match=r"^not JSON: "):
        wire.decode(body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b"  <h1>Server\r\n\tError</h1>  ", "page: Server Error"),
        (b"a\0host\x1b[31;not", "a host [31;not"),
        (b"host\xe9", "host…"),
        ("a\u202ebad\u200bhost\u2028is".encode(), "a…bad…host…is"),
        (b"bad " * 50, ("bad " * 50)[:-1]),
        (b"bad " * 51, "bad " * 49 + "bad…"),
        (b"x" * 201, "…"),
        (b"\n" * 5000 + b"beyond what is looked at", ""),
    ],
)
def test_an_excerpt_is_one_short_line(body: bytes, text: str) -> None:
    """Control characters, bad bytes and length are gone; what remains is for a person to read."""
    assert wire.excerpt(body) == text


@given(st.binary(max_size=2000))
def test_an_excerpt_never_holds_more_than_it_should(body: bytes) -> None:
    """At most 200 characters, all printable, whatever came."""
    text = wire.excerpt(body)

    assert (len(text) <= 200, text.isprintable(), text == text.strip()) == (True, True, True)


# -- users and their pages -------------------------------------------------------------------------


def recorded(number: int, *roles_held: int) -> Member:
    """Return the member that the samples know by this number."""
    return member(
        10**17 + 7919 * number,
        name=f"user{number}",
        display_name=f"User {number}",
        roles=role_ids(*roles_held),
    )


@pytest.mark.parametrize(
    ("sample", "page"),
    [
        (
            "users page",
            Page(
                rows=(
                    recorded(0, DEVELOPERS),
                    recorded(
                        1,
                        DEVELOPERS,
                        270988689473665571,
                        270988689470665562,
                        270988689467665553,
                    ),
                ),
                next=2,
                count=80_000,
            ),
        ),
        (
            "users last page",
            Page(
                rows=(
                    recorded(79998, 270988689453665511, 270988689456665520),
                    recorded(79999, 270988689449665499, 270988689474665574),
                ),
                next=None,
                count=80_000,
            ),
        ),
    ],
)
def test_a_recorded_page_is_read(sample: str, page: Page) -> None:
    """Rows in their order, roles in the site's, and the page that follows."""
    assert wire.read_page(SAMPLES[sample].value) == page


def test_a_page_by_id_is_read() -> None:
    """Where a site offers such pages, the next one begins after an id."""
    value = {"results": [ROW], "next_after": 5}

    assert wire.read_page_by_id(value) == Page(rows=(member(5),), next=5)
    assert wire.read_page_by_id(value | {"next_after": None}).next is None
    assert [wire.read_page_by_id(value | {"count": n}).count for n in (7, 0, -1, "7", True)] == [
        7,
        0,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "a page is missing, not an object"),
        ([ROW], "a page is list, not an object"),
        ({"results": [ROW]}, "next_page_no is missing"),
        ({"results": [ROW], "next_page_no": "2"}, "next_page_no is str, not an integer"),
        ({"results": [ROW], "next_page_no": True}, "next_page_no is bool, not an integer"),
        ({"next_page_no": None}, "results are missing, not a list"),
        ({"next_page_no": None, "results": {"5": ROW}}, "results are dict, not a list"),
        ({"next_page_no": None, "results": [5]}, "a user is int, not an object"),
        ({"next_page_no": 3, "results": []}, "a page without rows says that 3 comes next"),
    ],
)
def test_what_is_no_page_is_named(value: object, fault: str) -> None:
    """The error says which part of a page is not the contract's."""
    with pytest.raises(WireError) as raised:
        wire.read_page(value)

    assert str(raised.value) == fault


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"id": "5"}, "id is str, not an integer"),
        ({"id": 5.0}, "id is float, not an integer"),
        ({"id": None}, "id is missing, not an integer"),
        ({"name": None}, "name is missing, not text"),
        ({"display_name": 5}, "display_name is int, not text"),
        ({"discriminator": False}, "discriminator is bool, not an integer"),
        ({"roles": None}, "roles of user 5 are missing, not a list"),
        ({"roles": "1"}, "roles of user 5 are str, not a list"),
        ({"roles": [1, "2"]}, "roles of user 5 hold str"),
        ({"roles": [True]}, "roles of user 5 hold bool"),
        ({"in_guild": 1}, "in_guild is int, not true or false"),
    ],
)
def test_a_row_of_another_kind_is_named(changes: dict[str, Any], fault: str) -> None:
    """A value of the wrong type is never taken for a right one, nor a flag for a number."""
    with pytest.raises(WireError) as raised:
        wire.read_user(ROW | changes)

    assert str(raised.value) == fault


@pytest.mark.parametrize(
    ("changes", "read"),
    [
        ({}, member(5)),
        ({"roles": [3, 1, 3, 2]}, member(5, roles=role_ids(3, 1, 3, 2))),
        ({"roles": []}, member(5, roles=())),
        ({"alts": [], "novelty": {"since": 2027}}, member(5)),
        ({"in_guild": False, "discriminator": 1234}, member(5, in_guild=False, discriminator=1234)),
    ],
)
def test_a_row_is_read(changes: dict[str, Any], read: Member) -> None:
    """Roles in the order and number that the site keeps; unknown fields are ignored."""
    assert wire.read_user(ROW | changes) == read


def test_a_recorded_user_is_read() -> None:
    """The answer to one id holds more than a row of a page does."""
    expected = member(2, name="n2", display_name="D2", roles=(DEVELOPERS,))

    assert wire.read_user(SAMPLES["read back id 2"].value) == expected


@given(members())
def test_a_row_that_was_written_reads_as_it_was(row: Member) -> None:
    """What goes out as a whole row comes back as the same member."""
    assert wire.read_user(wire.decode(wire.encode(wire.member_row(row)))) == row


@given(bodies())
def test_the_typed_decoder_reads_what_the_fields_say(
    drawn: tuple[bytes, Callable[[object], object]],
) -> None:
    """It makes users of a body sooner, never others, and never of one that the fields refuse."""
    body, read = drawn
    slowly = outcome(lambda: read(wire.decode(body)))

    assert outcome(lambda: wire.read(body, read)) == slowly


@pytest.mark.parametrize(
    ("name", "read"), [("next_page_no", wire.read_page), ("next_after", wire.read_page_by_id)]
)
def test_a_page_is_read_by_its_own_way_to_the_next(
    name: str, read: Callable[[object], object]
) -> None:
    """A number, or an id: whichever the request was for."""
    body = json.dumps({"results": [ROW], name: 7, "count": 9}).encode()

    assert wire.read(body, read) == Page(rows=(member(5),), next=7, count=9)


@pytest.mark.parametrize("odd", [..., None, True, 1.0, "1", [True], ["1"], [1.0], {}])
@pytest.mark.parametrize("name", [*ROW])
def test_the_typed_decoder_takes_no_row_that_the_fields_refuse(name: str, odd: object) -> None:
    """A field that is missing (`...`), or of another kind, is told as the fields tell it."""
    row = ROW | {name: odd}
    if odd is ...:
        del row[name]
    body = json.dumps({"results": [row], "next_page_no": None}).encode()

    slowly = outcome(lambda: wire.read_page(wire.decode(body)))
    assert outcome(lambda: wire.read(body, wire.read_page)) == slowly


@given(members(), members(), st.sets(st.sampled_from(ALL_FIELDS), min_size=1))
def test_a_row_holds_its_id_and_the_fields_asked_for(
    row: Member, older: Member, fields: set[Field]
) -> None:
    """Laid over an older row, it changes those fields and no others."""
    chosen = [field for field in ALL_FIELDS if field in fields]
    part = wire.member_row(row, chosen)

    assert list(part) == ["id", *chosen]
    laid_over = wire.read_user(wire.member_row(older) | part)
    assert laid_over == replace(
        older, id=row.id, **{field.value: getattr(row, field.value) for field in chosen}
    )


def test_a_departure_says_only_that() -> None:
    """Nothing else of somebody who left is written."""
    assert wire.departure_row(UserId(5)) == {"id": 5, "in_guild": False}


# -- roles -----------------------------------------------------------------------------------------


def test_recorded_roles_are_read() -> None:
    """All roles come in one answer, in no promised order."""
    assert wire.read_roles(SAMPLES["roles"].value) == (
        Role(id=RoleId(270988689478665586), name="role60", colour=0, permissions=0, position=60),
        Role(id=RoleId(270988689477665583), name="role59", colour=0, permissions=0, position=59),
    )


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "roles are missing, not a list"),
        ({"results": []}, "roles are dict, not a list"),
        ([None], "a role is missing, not an object"),
        ([ROLE_ROW | {"id": "5"}], "id is str, not an integer"),
        ([ROLE_ROW | {"name": 5}], "name is int, not text"),
        ([ROLE_ROW, ROLE_ROW | {"colour": None}], "colour is missing, not an integer"),
        ([ROLE_ROW | {"permissions": "8"}], "permissions is str, not an integer"),
        ([ROLE_ROW | {"position": 1.5}], "position is float, not an integer"),
    ],
)
def test_what_are_no_roles_is_named(value: object, fault: str) -> None:
    """One role that cannot be read makes the answer one that is not the contract's."""
    with pytest.raises(WireError) as raised:
        wire.read_roles(value)

    assert str(raised.value) == fault


@given(st.lists(roles()))
def test_a_role_that_was_written_reads_as_it_was(known: list[Role]) -> None:
    """Bits and colours survive the way there and back."""
    body = wire.encode([wire.role_row(each) for each in known])

    assert wire.read_roles(wire.decode(body)) == tuple(known)


# -- what a site offers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "offered"),
    [
        (None, Capabilities()),
        ([1], Capabilities()),
        ({}, Capabilities()),
        (
            {
                "max_items": 2000,
                "max_bytes": 1_048_576,
                "minimal_responses": True,
                "pages_by_id": True,
                "novelty": 1,
            },
            Capabilities(
                max_items=2000, max_bytes=1_048_576, minimal_responses=True, pages_by_id=True
            ),
        ),
        ({"max_items": 1, "max_bytes": 1}, Capabilities(max_items=1, max_bytes=1)),
        ({"max_items": 0, "max_bytes": -1}, Capabilities()),
        ({"max_items": "2000", "max_bytes": True}, Capabilities()),
        ({"minimal_responses": 1, "pages_by_id": "yes"}, Capabilities()),
    ],
)
def test_only_what_is_offered_in_the_known_form_counts(
    value: object, offered: Capabilities
) -> None:
    """A capability of another kind is none: the contract alone is always enough."""
    assert wire.read_capabilities(value) == offered


@pytest.mark.parametrize(
    ("value", "well"),
    [
        (SAMPLES["healthcheck"].value, True),
        ({"status": "ok", "version": 3}, True),
        ({"status": "degraded"}, False),
        ({}, False),
        ("ok", False),
        (None, False),
    ],
)
def test_only_its_own_word_is_a_healthy_site(value: object, *, well: bool) -> None:
    """A page of somebody else's that answers 200 is not the site's healthcheck."""
    assert wire.is_healthy(value) is well


# -- refusals --------------------------------------------------------------------------------------

UNKNOWN_ROLE = "roles: Role with ID 12345 does not exist"
TOO_LONG = "name: Ensure this field has no more than 32 characters."


@pytest.mark.parametrize(
    ("sample", "faults"),
    [
        (
            "create list, unknown role",
            (RowFault(index=1, reason=UNKNOWN_ROLE, unknown_roles=frozenset(role_ids(12345))),),
        ),
        ("create list, name too long", (RowFault(index=1, reason=TOO_LONG),)),
        (
            "create list, name with NUL",
            (RowFault(index=1, reason="name: Null characters are not allowed."),),
        ),
        (
            "create list, negative id and discriminator too large",
            (
                RowFault(
                    index=0,
                    reason="id: Ensure this value is greater than or equal to 0. | "
                    "discriminator: Ensure this value is less than or equal to 9999.",
                ),
            ),
        ),
        (
            "bulk patch, unknown role",
            (RowFault(index=0, reason=UNKNOWN_ROLE, unknown_roles=frozenset(role_ids(12345))),),
        ),
        ("create list, same id twice", ()),
        ("bulk patch, only id", ()),
    ],
)
def test_recorded_refusals_name_their_rows(sample: str, faults: tuple[RowFault, ...]) -> None:
    """A list as long as the request says which rows are at fault; anything else names none."""
    recorded = SAMPLES[sample]

    assert wire.read_row_faults(recorded.value, rows=recorded.rows) == faults


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        ([{}, {}], ()),
        ([{"name": ["Bad."]}], ()),
        ([{"name": ["Bad."]}, {}, {}], ()),
        ([{"name": ["Bad."]}, None], ()),
        ({"name": ["Bad."]}, ()),
        (
            [{"name": ["Bad.", "Worse."], "roles": "no list"}, {"roles": [3, None]}],
            (
                RowFault(index=0, reason="name: Bad.; …. | roles: no list"),
                RowFault(index=1, reason="roles: 3; None"),
            ),
        ),
        (
            [
                {},
                {
                    "roles": [
                        "Role with ID 7 does not exist",
                        "Role with ID 9 does not exist, Role with ID 7 does not exist",
                    ]
                },
            ],
            (
                RowFault(
                    index=1,
                    reason="roles: Role with ID 7 does not exist; Role with ID 9 does not exist, "
                    "Role with ID 7 does not exist",
                    unknown_roles=frozenset(role_ids(7, 9)),
                ),
            ),
        ),
        (
            [{"roles": [f"Role with ID {'9' * 5000} does not exist"]}, {}],
            (RowFault(index=0, reason="roles: Role with ID …"),),
        ),
    ],
    ids=[
        "no fault",
        "too short",
        "too long",
        "not rows",
        "no list",
        "all kinds",
        "roles",
        "digits",
    ],
)
def test_a_refusal_is_believed_only_if_it_fits_the_request(
    value: object, faults: tuple[RowFault, ...]
) -> None:
    """Of two rows: a list of another length or kind blames nobody."""
    assert wire.read_row_faults(value, rows=2) == faults


@pytest.mark.parametrize(
    ("read", "value", "found"),
    [
        (wire.read_unknown_user, SAMPLES["bulk patch, unknown id"].value, 777),
        (wire.read_unknown_user, SAMPLES["user unknown"].value, None),
        (wire.read_unknown_user, {"detail": f"User with id {'9' * 5000} not found."}, None),
        (wire.read_unknown_user, {"detail": ["User with id 7 not found."]}, None),
        (wire.read_unknown_user, "User with id 7 not found.", None),
        (wire.is_past_the_end, SAMPLES["users page past the end"].value, True),
        (wire.is_past_the_end, SAMPLES["user unknown"].value, False),
        (wire.is_past_the_end, None, False),
        (wire.is_no_match, SAMPLES["user unknown"].value, True),
        (wire.is_no_match, SAMPLES["put unknown role"].value, True),
        (wire.is_no_match, SAMPLES["delete unknown role"].value, True),
        (wire.is_no_match, SAMPLES["bulk patch, unknown id"].value, False),
        (wire.is_existing_role, SAMPLES["create role again"].value, True),
        (wire.is_existing_role, SAMPLES["create role, name too long"].value, False),
        (wire.is_existing_role, [{"id": ["role with this ID already exists."]}], False),
    ],
)
def test_what_a_refusal_means(
    read: Callable[[object], object], value: object, found: object
) -> None:
    """Refusals are told apart by their own words, and only in the form that the site gives them."""
    assert read(value) == found


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (SAMPLES["wrong token"].value, "detail: Invalid token."),
        (
            SAMPLES["bulk patch, not a list"].value,
            'non_field_errors: Expected a list of items but got type "dict".',
        ),
        (
            {"name": ["Zoë is bad", 1], "roles": {"Zoë": None}},
            "name: … is bad; 1 | roles: {'…': None}",
        ),
        ({"a": "bad\nline\0"}, "a: bad line"),
        ({"a": "half \ud83e"}, "a: half ?"),
        ({"a": "bad " * 60}, f"a: {'bad ' * 49}…"),
        ({"a": "x" * 300}, "a: …"),
        ({}, ""),
        (["Zoë", None], '["…", null]'),
        (["half \ud83e"], '["half ?"]'),
        (["x" * 300], '["…"]'),
        (None, "null"),
    ],
)
def test_the_reason_is_one_short_line(value: object, reason: str) -> None:
    """Whatever an error body says is shown as one line of at most 200 characters."""
    assert wire.reason_of(value) == reason


@given(JSON, st.integers(0, 5))
def test_no_error_body_is_too_odd(value: object, rows: int) -> None:
    """Every JSON value is read as some refusal, or as none."""
    faults = wire.read_row_faults(value, rows=rows)
    reason = wire.reason_of(value)

    assert [fault.index for fault in faults] == sorted({f.index for f in faults} & set(range(rows)))
    assert len(reason) <= 200
    assert wire.read_unknown_user(value) is None
    assert not wire.is_past_the_end(value)


# -- what is sent ----------------------------------------------------------------------------------


def test_bodies_are_compact_and_utf8() -> None:
    """No byte is spent on blanks or escapes: a chunk's limit is in bytes."""
    assert wire.encode([{"id": 5, "name": "Zoë 🧑"}]) == '[{"id":5,"name":"Zoë 🧑"}]'.encode()


@given(st.lists(members(), min_size=1, max_size=20), st.integers(0, 3000))
def test_a_body_holds_as_many_rows_as_fit(known: list[Member], max_bytes: int) -> None:
    """The first rows, at least one, no byte too many, and none that would still have fitted."""
    rows = [wire.member_row(each) for each in known]

    body, count = wire.encode_rows(rows, max_bytes=max_bytes)

    assert json.loads(body) == rows[:count]
    assert count == 1 or len(body) <= max_bytes
    assert count == len(rows) or len(wire.encode(rows[: count + 1])) > max_bytes
    assert body == wire.encode(rows[:count])


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_last_byte_decides(count: int) -> None:
    """Rows that take the limit exactly go out together; with a byte less the last one waits."""
    rows = [wire.departure_row(UserId(id_)) for id_ in (1, 22, 333, 4444)]
    exact = len(wire.encode(rows[:count]))

    assert [wire.encode_rows(rows, max_bytes=size)[1] for size in (exact - 1, exact)] == [
        count - 1,
        count,
    ]


def test_one_row_is_sent_however_large() -> None:
    """A row beyond the limit goes alone: only the site can say that it is too large."""
    rows = [wire.role_row(role(1)), wire.role_row(role(2))]

    assert wire.encode_rows(rows, max_bytes=1) == (wire.encode(rows[:1]), 1)


@pytest.mark.parametrize("value", [b"[],", b"{},", b"0,", b"[[[[[[[[]]]]]]]],"])
def test_little_text_never_becomes_much_in_memory(value: bytes) -> None:
    """An empty list takes twenty times its two bytes: so many values are none of the contract's."""
    body = b"[" + value * (16 * 2**20 // len(value)) + b"0]"
    tracemalloc.start()
    try:
        with pytest.raises(wire.WireError, match="more than 2,000,000 values"):
            wire.decode(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 2**20


def test_digests_are_read_in_their_order() -> None:
    """Of each range the count, and the sum as a number."""
    said = {"counts": [3, 0], "sums": ["00000000000000ff", "0000000000000000"]}

    assert wire.read_digests(said) == ((3, 255), (0, 0))


@pytest.mark.parametrize(
    "said",
    [
        [],
        {"counts": [1]},
        {"counts": [1], "sums": []},
        {"counts": 1, "sums": []},
        {"counts": [True], "sums": ["00000000000000ff"]},
        {"counts": [-1], "sums": ["00000000000000ff"]},
        {"counts": [1], "sums": [255]},
        {"counts": [1], "sums": ["ff"]},
        {"counts": [1], "sums": ["00000000000000FF"]},
    ],
)
def test_what_are_no_digests_is_refused(said: object) -> None:
    """A count that is none, a sum of another length, lists that do not fit together."""
    with pytest.raises(WireError, match="digests"):
        wire.read_digests(said)
