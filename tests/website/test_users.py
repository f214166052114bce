"""Users: what is taken, what is refused, and what is written, beyond what the samples show."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.website.harness import Website, add_users, user_id
from website.api.rows import SLICE_ROWS

INTEGER = ["A valid integer is required."]
REQUIRED = ["This field is required."]
NULL = ["This field may not be null."]
TOO_MANY = ["Ensure this field has no more than 1000 elements."]
TOO_LARGE = ["Ensure this value is less than or equal to 9223372036854775807."]


def person(**fields: Any) -> dict[str, Any]:
    """Return a user as the bot would send it."""
    return {
        "id": 1,
        "name": "n",
        "display_name": "d",
        "discriminator": 0,
        "roles": [11],
        "in_guild": True,
        **fields,
    }


def dictionary_expected(kind: str) -> dict[str, list[str]]:
    """Return DRF's error for an item that is no object."""
    return {"non_field_errors": [f"Invalid data. Expected a dictionary, but got {kind}."]}


REFUSED: list[tuple[Any, Any]] = [
    (person(id=True), {"id": INTEGER}),
    (person(id=1.5), {"id": INTEGER}),
    (person(id="1.5"), {"id": INTEGER}),
    (person(id="one"), {"id": INTEGER}),
    (person(id=None), {"id": NULL}),
    (person(id=2**63), {"id": TOO_LARGE}),
    (person(id=str(2**63)), {"id": TOO_LARGE}),
    (person(id=10**400), {"id": TOO_LARGE}),
    (person(name=None), {"name": NULL}),
    (person(name=" \t"), {"name": ["This field may not be blank."]}),
    (person(name=["x"]), {"name": ["Not a valid string."]}),
    (person(name="\ud800"), {"name": ["Surrogate characters are not allowed: U+D800."]}),
    (person(name="😀" * 33), {"name": ["Ensure this field has no more than 32 characters."]}),
    (
        person(discriminator=-1),
        {"discriminator": ["Ensure this value is greater than or equal to 0."]},
    ),
    (person(discriminator=False), {"discriminator": INTEGER}),
    (person(roles=None), {"roles": NULL}),
    (person(roles="11"), {"roles": ['Expected a list of items but got type "str".']}),
    (person(roles=[11, True]), {"roles": {"1": INTEGER}}),
    (person(roles=[11, 2**63]), {"roles": {"1": TOO_LARGE}}),
    (person(roles=[True, 11, "x"]), {"roles": {"0": INTEGER}}),
    (person(roles=[[1]]), {"roles": {"0": INTEGER}}),
    (person(roles=[{"a": []}]), {"roles": {"0": INTEGER}}),
    (person(roles=[5, 11, 6]), {"roles": ["Role with ID 5 does not exist"]}),
    (person(roles=[11, 12, 11, 6]), {"roles": ["Role with ID 11 given multiple times."]}),
    (person(roles=[11] * 1_001), {"roles": TOO_MANY}),
    (person(roles=["x"] * 1_001), {"roles": TOO_MANY}),
    (person(in_guild="perhaps"), {"in_guild": ["Must be a valid boolean."]}),
    (person(in_guild=None), {"in_guild": NULL}),
    ({}, {"id": REQUIRED, "name": REQUIRED, "discriminator": REQUIRED}),
    (7, dictionary_expected("int")),
    (None, NULL),
    ([], dictionary_expected("list")),
    ("x", dictionary_expected("str")),
]


def test_wrong_rows_are_named_and_nothing_is_written(website: Website) -> None:
    """Each wrong row has its error at its own place, and no row of such a request is written."""
    rows = [row for refused, _ in REFUSED for row in (refused, person(id=99))]
    with website.client() as client:
        # Not httpx's `json`: it would refuse the lone surrogate.
        response = client.post(
            "bot/users", content=json.dumps(rows), headers={"Content-Type": "application/json"}
        )
    errors = response.json()

    assert errors[::2] == [reason for _, reason in REFUSED]
    assert errors[1::2] == [{} for _ in REFUSED]
    assert (response.status_code, website.database.stored()) == (400, {})


TAKEN: list[tuple[dict[str, Any], list[Any]]] = [
    (person(id="2"), ["n", "d", 0, [11], True]),
    (person(id=3.0), ["n", "d", 0, [11], True]),
    (person(id=4, roles=["13", 11]), ["n", "d", 0, [13, 11], True]),
    (person(id=5, name="  a b\n"), ["a b", "d", 0, [11], True]),
    (person(id=6, name="😀" * 32), ["😀" * 32, "d", 0, [11], True]),
    (person(id=7, display_name=""), ["n", "", 0, [11], True]),
    (person(id=8, in_guild="false", extra={"x": [1]}), ["n", "d", 0, [11], False]),
    (
        person(id=9, name="'; DROP--\\\" %s @everyone"),
        ["'; DROP--\\\" %s @everyone", "d", 0, [11], True],
    ),
    (person(id=10, name=12), ["12", "d", 0, [11], True]),
    ({"id": 2**63 - 1, "name": "n", "discriminator": 9999}, ["n", "", 9999, [], True]),
    (person(id=0, roles=[]), ["n", "d", 0, [], True]),
]


def test_what_is_taken_is_kept_exactly(website: Website) -> None:
    """Numbers as text are taken, names stripped, roles kept in order, defaults set."""
    with website.client() as client:
        response = client.post("bot/users", json=[row for row, _ in TAKEN])

    assert (response.status_code, response.json()) == (201, [])
    assert website.database.stored() == {int(row["id"]): kept for row, kept in TAKEN}


def test_single_writes_keep_the_same_rules(website: Website) -> None:
    """One user by POST, PUT or PATCH is checked and kept as one in a list would be."""
    with website.client() as client:
        answers = [
            client.post("bot/users", json=person(id="1", name=" a ")),
            client.put("bot/users/1", json=person(roles=["12"])),
            client.patch("bot/users/1", json={"display_name": "x ", "unknown": 1}),
            client.patch("bot/users/1", json={}),
            client.patch("bot/users/1", json={"id": 2}),
            client.patch("bot/users/1", json={"roles": [5]}),
            client.put("bot/users/1", json=[person()]),
            client.put("bot/users/1", json={"id": 1, "name": "b", "discriminator": 7}),
            client.post("bot/users", json={"id": 2, "name": "c", "discriminator": 8}),
        ]

    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (201, person(name="a")),
        (200, person(roles=[12])),
        (200, person(roles=[12], display_name="x")),
        (200, person(roles=[12], display_name="x")),
        (400, {"id": ["The ID cannot be changed."]}),
        (400, {"roles": ["Role with ID 5 does not exist"]}),
        (400, dictionary_expected("list")),
        (200, person(name="b", discriminator=7, roles=[12], display_name="x")),
        (201, person(id=2, name="c", discriminator=8, roles=[], display_name="")),
    ]


def test_bulk_patch_writes_only_what_each_row_gives(website: Website) -> None:
    """Rows of one request may give different fields; what a row does not give stays as it is."""
    add_users(website.database, 4)
    ids = [user_id(index) for index in (3, 0, 2)]
    with website.client() as client:
        response = client.patch(
            "bot/users/bulk_patch",
            json=[
                {"id": ids[0], "name": "new"},
                {"id": ids[1], "roles": [], "in_guild": False},
                {"id": ids[2]},
            ],
        )

    assert response.json() == [
        person(id=ids[0], name="new", display_name="User 3"),
        person(id=ids[1], name="user0", display_name="User 0", roles=[], in_guild=False),
        person(id=ids[2], name="user2", display_name="User 2"),
    ]
    assert website.database.stored() == {
        user_id(0): ["user0", "User 0", 0, [], False],
        user_id(1): ["user1", "User 1", 0, [11], True],
        user_id(2): ["user2", "User 2", 0, [11], True],
        user_id(3): ["new", "User 3", 0, [11], True],
    }


@pytest.mark.parametrize(
    ("content", "status", "answer"),
    [
        ("[{", 400, "JSON parse error - Expecting property name enclosed in double quotes: line 1"),
        ('[{"id": NaN}]', 400, "JSON parse error - Out of range float values are not JSON"),
        ("[" * 100_000, 400, "JSON parse error - The value is nested too deeply."),
        ('{"a":' * 100_000, 400, "JSON parse error - The value is nested too deeply."),
        (b'[{"name": "\xff"}]', 400, "JSON parse error - 'utf-8' codec can't decode"),
        ("[" + ",".join(["{}"] * 2_501) + "]", 413, "At most 2500 items are taken at once."),
        ("[" + " " * 2**20 + "]", 413, "The request has 1048578 bytes; at most 1048576 are taken."),
    ],
)
def test_what_cannot_be_read_is_refused_clearly(
    website: Website, content: str | bytes, status: int, answer: str
) -> None:
    """A body that is no JSON, or is too much, is answered with its reason."""
    with website.client() as client:
        response = client.patch(
            "bot/users/bulk_patch", content=content, headers={"Content-Type": "application/json"}
        )

    detail = response.json()["detail"]
    assert (response.status_code, detail[: len(answer)]) == (status, answer)


def test_an_unknown_user_is_named_before_anything_is_written(website: Website) -> None:
    """Of several unknown ids the first in the request is named, and no other row changes."""
    add_users(website.database, 2_000)
    before = website.database.stored()
    rows = [{"id": user_id(index), "roles": []} for index in range(2_000)]
    with website.client() as client:
        response = client.patch(
            "bot/users/bulk_patch",
            json=[*rows, {"id": 8, "roles": []}, {"id": 7, "name": "x"}],
        )

    assert (response.status_code, response.json()) == (404, {"detail": "User with id 8 not found."})
    assert website.database.stored() == before


def test_pages_by_id_give_every_user_once(website: Website) -> None:
    """Pages by id follow each other without gap or overlap, and the last one says so."""
    add_users(website.database, 5)
    ids = [user_id(index) for index in range(5)]
    with website.client() as client:
        pages = [
            client.get("bot/users", params={"after": after, "page_size": 2}).json()
            for after in (0, ids[1], ids[2], ids[4])
        ]
        wrong = client.get("bot/users", params={"after": "x"})

    assert [([row["id"] for row in page["results"]], page["next_after"]) for page in pages] == [
        (ids[:2], ids[1]),
        (ids[2:4], ids[3]),
        (ids[3:], None),
        ([], None),
    ]
    assert (wrong.status_code, wrong.json()) == (400, {"after": INTEGER})


def test_page_sizes_are_bounded(website: Website) -> None:
    """A page has 2,500 users unless asked, at most 10,000; nonsense counts as unasked."""
    add_users(website.database, 10_001)
    with website.client() as client:
        sizes = [
            len(client.get("bot/users", params=params).json()["results"])
            for params in ({}, {"page_size": "x"}, {"page_size": 3}, {"page_size": 10_000})
        ]
        too_large = client.get("bot/users", params={"page_size": 10_001})
        last = client.get("bot/users", params={"page": "last", "page_size": 1_000}).json()
        answers = [
            client.get("bot/users", params={"page": page}).json() for page in ("0", "x", "-1", "6")
        ]

    assert sizes == [2_500, 2_500, 3, 10_000]
    assert (too_large.status_code, too_large.json()) == (
        400,
        {"page_size": ["Ensure this value is less than or equal to 10000."]},
    )
    assert [len(last["results"]), last["next_page_no"], last["previous_page_no"]] == [1, None, 10]
    assert answers == [{"detail": "Invalid page."}] * 4


def test_filters_are_exact_and_hold_together(website: Website) -> None:
    """The real site's three filters leave out whoever differs in any, in pages of both kinds."""
    rows = [
        person(id=1, name="a", display_name="x", discriminator=7),
        person(id=2, name="a", display_name="y", discriminator=7),
        person(id=3, name="b", display_name="x", discriminator=0),
    ]
    queries: list[dict[str, str | int]] = [
        {"name": "a"},
        {"name": " a ", "display_name": "x"},
        {"discriminator": "7", "page_size": 1},
        {"discriminator": "7", "after": 1},
        {"name": "A"},
        {"display_name": "", "discriminator": 0},
        {"discriminator": 10**30},
    ]
    with website.client() as client:
        client.post("bot/users", json=rows)
        found = [
            [row["id"] for row in client.get("bot/users", params=params).json()["results"]]
            for params in queries
        ]
        count = client.get("bot/users", params={"name": "a", "page_size": 1}).json()["count"]

    assert found == [[1, 2], [1], [1], [2], [], [3], []]
    assert count == 2


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("username=a", {"username": ["This query parameter is not known."]}),
        ("name=a&in_guild=true", {"in_guild": ["This query parameter is not known."]}),
        ("format=json", {"format": ["This query parameter is not known."]}),
        ("name=a&name=b", {"name": ["This query parameter is given more than once."]}),
        ("discriminator=x", {"discriminator": ["Enter a number."]}),
        ("name=%00", {"name": ["Null characters are not allowed."]}),
        ("after=1&page=2", {"after": ["A page is read by number or by id, not both."]}),
    ],
)
def test_a_query_that_would_not_be_heeded_is_refused(
    postgres_website: Website, query: str, error: dict[str, list[str]]
) -> None:
    """No filter is ignored without a word: all users would come back instead of one."""
    with postgres_website.client() as client:
        answer = client.get(f"bot/users?{query}")

    assert (answer.status_code, answer.json()) == (400, error)


def test_a_user_is_deleted_once(website: Website) -> None:
    """DELETE leaves nothing of the user and nobody else out; an unknown one answers 404."""
    with website.client() as client:
        client.post("bot/users", json=[person(id=1), person(id=2)])
        answers = [client.delete("bot/users/1"), client.delete("bot/users/1")]

    assert [(answer.status_code, answer.content) for answer in answers] == [
        (204, b""),
        (404, b'{"detail":"No User matches the given query."}'),
    ]
    assert list(website.database.stored()) == [2]


def test_answers_without_rows_are_given_when_preferred(website: Website) -> None:
    """`Prefer: return=minimal` leaves the rows out, says so, and writes all the same."""
    with website.client() as client:
        client.headers["Prefer"] = "respond-async, return=minimal"
        answers = [
            client.post("bot/users", json=[person(), person(id=2)]),
            client.patch("bot/users/bulk_patch", json=[{"id": 1, "name": "a"}]),
            client.put("bot/users/2", json=person(id=2, name="b")),
        ]

    assert [
        (answer.status_code, answer.json(), answer.headers["Preference-Applied"])
        for answer in answers
    ] == [(201, [], "return=minimal"), (200, [], "return=minimal"), (200, {}, "return=minimal")]
    assert {key: row[0] for key, row in website.database.stored().items()} == {1: "a", 2: "b"}


def test_requests_that_meet_on_the_same_rows_all_succeed(website: Website) -> None:
    """Rows are locked in one order: requests that name them in opposite orders never deadlock."""
    count = 2 * SLICE_ROWS
    add_users(website.database, count)
    ids = [user_id(index) for index in range(count)]

    def patch(turn: int) -> int:
        order = ids if turn % 2 else ids[::-1]
        with website.client() as client:
            rows = [{"id": one, "name": f"turn{turn}"} for one in order]
            return client.patch("bot/users/bulk_patch", json=rows).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(patch, range(8)))

    assert statuses == [200] * 8
    assert len({row[0] for row in website.database.stored().values()}) == 1


def test_a_failure_midway_writes_nothing(postgres_website: Website) -> None:
    """When the database refuses one row of a late slice, the earlier slices are undone."""
    site = postgres_website
    count = 2 * SLICE_ROWS
    add_users(site.database, count)
    before = site.database.stored()
    site.database.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE 'refused by the test'; END $$"
    )
    site.database.query(
        "CREATE TRIGGER refusal BEFORE INSERT OR UPDATE ON api_user FOR EACH ROW"
        f" WHEN (NEW.name = 'user{count - 1}' OR NEW.name = 'late') EXECUTE FUNCTION refuse()"
    )
    try:
        with site.client() as client:
            patched = client.patch(
                "bot/users/bulk_patch", json=[{"id": one, "in_guild": False} for one in before]
            )
            new = [person(id=one, name="early") for one in range(count)]
            created = client.post("bot/users", json=[*new, person(id=count, name="late")])
    finally:
        site.database.query("DROP FUNCTION refuse CASCADE")

    assert [(answer.status_code, answer.json()) for answer in (patched, created)] == [
        (500, {"detail": "Internal server error."})
    ] * 2
    assert site.database.stored() == before
