"""Digests: that they are what the contract says, on both databases, whatever happens meanwhile."""

import json
import random
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.website import digest_reference, digest_vectors
from tests.website.conftest import LastingWebsite, emptied
from tests.website.digest_reference import Row
from tests.website.harness import (
    DEADLINE_S,
    ROOT,
    Database,
    StartWebsite,
    Website,
    add_users,
    user_id,
)
from website.api import digests

LARGEST: Final = 2**63 - 1
VECTORS: Final = json.loads(digest_vectors.PAGE.read_text("utf-8"))
FIELDS: Final = ("id", "name", "display_name", "discriminator", "roles", "in_guild")
_INSERT: Final = f"INSERT INTO api_user ({', '.join(FIELDS)}) VALUES (%s, %s, %s, %s, %s, %s)"  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The users of a running site by plain SQL on one connection, and one client of that site.

    So a row may be what the site itself would refuse, such as one whose roles stand twice.
    """

    client: httpx.Client
    database: Database
    connection: Any

    def ask(self, bounds: Sequence[int]) -> dict[str, list[Any]]:
        """Return the site's digests."""
        answer = self.get(f"bounds={','.join(map(str, bounds))}")
        assert answer.status_code == 200, answer.text
        found: dict[str, list[Any]] = answer.json()
        return found

    def get(self, query: str) -> httpx.Response:
        """Send a query as it is."""
        return self.client.get(f"bot/sync/digests?{query}")

    def hold(self, rows: Sequence[Row]) -> None:
        """Put these rows in place of all."""
        self.run("DELETE FROM api_user")
        with closing(self.connection.cursor()) as cursor:
            cursor.execute("BEGIN")
            cursor.executemany(self.database.in_dialect(_INSERT), map(_values, rows))
            cursor.execute("COMMIT")

    def put(self, row: Row) -> None:
        """Put a row in place of that of its id, or add it."""
        self.run("DELETE FROM api_user WHERE id = %s", row["id"])
        self.run(_INSERT, *_values(row))

    def run(self, sql: str, *values: Any) -> None:
        """Run one statement."""
        self.connection.execute(self.database.in_dialect(sql), values)


def _values(row: Row) -> list[Any]:
    return [json.dumps(row[field]) if field == "roles" else row[field] for field in FIELDS]


@contextmanager
def table_of(website: Website) -> Iterator[Table]:
    """Open a site's table."""
    database = website.database
    with website.client() as client, closing(database.connect()) as connection:
        yield Table(client=client, database=database, connection=connection)


@pytest.fixture
def table(website: Website) -> Iterator[Table]:
    """Give the table of each shared site, emptied."""
    with table_of(website) as opened:
        yield opened


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def lasting_table(
    request: pytest.FixtureRequest, lasting_website: LastingWebsite
) -> Iterator[Table]:
    """Give the same, once for all examples of a test."""
    with table_of(emptied(lasting_website(request.param))) as opened:
        yield opened


def test_the_vectors_are_answered(lasting_table: Table) -> None:
    """What the document promises a stranger is what the site answers."""
    answers = {}
    for vector in VECTORS["tables"]:
        listed = [entry.get("row", entry) for entry in VECTORS[vector["of"]]]
        lasting_table.hold([listed[place] for place in vector["places"]])
        answers[vector["about"]] = lasting_table.get(vector["query"]).json()

    assert answers == {vector["about"]: vector["answer"] for vector in VECTORS["tables"]}


def test_each_row_hashes_as_its_vector(lasting_table: Table) -> None:
    """The sum of one row is its hash, whatever its names are made of."""
    sums = {}
    for vector in VECTORS["rows"]:
        lasting_table.hold([vector["row"]])
        sums[vector["about"]] = lasting_table.ask([0, LARGEST])["sums"]

    assert sums == {vector["about"]: ["0" + vector["hash"]] for vector in VECTORS["rows"]}


def test_the_refused_queries_are_refused(lasting_table: Table) -> None:
    """Each of the document's wrong queries answers 400, in the shape of the site's errors."""
    answers = [lasting_table.get(query) for query in VECTORS["refused"]]

    assert {answer.status_code for answer in answers} == {400}
    assert all(list(answer.json()) in (["bounds"], ["in_guild"]) for answer in answers)


DECIMAL: Final = "Decimal ids with commas between them are expected, not"


WRONG: Final[list[tuple[str, dict[str, list[str]]]]] = [
    ("", {"bounds": ["This query parameter is required."]}),
    ("bounds=", {"bounds": [f"{DECIMAL} ''."]}),
    ("bounds=5", {"bounds": ["A range has two bounds; only one is given."]}),
    ("bounds=1,x,3", {"bounds": [f"{DECIMAL} 'x'."]}),
    ("bounds=1,-2", {"bounds": [f"{DECIMAL} '-2'."]}),
    ("bounds=1,%202", {"bounds": [f"{DECIMAL} ' 2'."]}),
    ("bounds=1,%D9%A2", {"bounds": [f"{DECIMAL} '٢'."]}),
    ("bounds=1,%00", {"bounds": [f"{DECIMAL} '\\x00'."]}),
    ("bounds=1,%FF", {"bounds": [f"{DECIMAL} '\ufffd'."]}),
    (f"bounds={'x' * 9_000},1", {"bounds": [f"{DECIMAL} '{'x' * 40}'."]}),
    (f"bounds=0,{2**63}", {"bounds": [f"A bound is at most {LARGEST}, not {2**63}."]}),
    (f"bounds=0,{'9' * 9_000}", {"bounds": [f"A bound is at most {LARGEST}, not {'9' * 40}."]}),
    (
        "bounds=1,7,5",
        {"bounds": ["Each bound must be greater than the one before: 5 follows 7."]},
    ),
    (
        "bounds=1,1",
        {"bounds": ["Each bound must be greater than the one before: 1 follows 1."]},
    ),
    (
        f"bounds={','.join(map(str, range(130)))}",
        {"bounds": ["At most 128 ranges are answered at once, not 129."]},
    ),
    (
        f"bounds={',' * 9_000}",
        {"bounds": ["At most 128 ranges are answered at once, not 9000."]},
    ),
    ("bounds=1,2&bounds=3,4", {"bounds": ["This query parameter is given more than once."]}),
    ("bounds=1,2&page=1", {"page": ["This query parameter is not known."]}),
]


def test_wrong_bounds_are_named(postgres_website: Website) -> None:
    """Whoever asks wrongly learns what is wrong, in the shape of the site's other errors."""
    with postgres_website.client() as client:
        answers = [client.get(f"bot/sync/digests?{query}") for query, _ in WRONG]

    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (400, error) for _, error in WRONG
    ]


# Whatever PostgreSQL can keep: no NUL, no half of a surrogate pair.
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=32)
odd_names = names | st.text(st.sampled_from(" ,:[]\"'\\%{}\n\té😀\u202e\u0301"), max_size=32)
role_ids = st.integers(1, LARGEST) | st.sampled_from([5, 11, 111, 10**17])
roles = st.lists(role_ids, max_size=6)
ids = st.integers(0, LARGEST - 1) | st.integers(0, 50)
people = st.fixed_dictionaries(
    {
        "id": ids,
        "name": odd_names,
        "display_name": odd_names,
        "discriminator": st.integers(0, 9999),
        "roles": roles,
        "in_guild": st.booleans() | st.just(value=True),
    }
)
tables = st.lists(people, max_size=20, unique_by=lambda row: row["id"])
EXAMPLES: Final = settings(
    max_examples=40,
    deadline=None,
    # All examples of a test share one table, and each leaves it as the next expects it.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@EXAMPLES
@given(
    rows=tables,
    bounds=st.lists(ids | st.just(LARGEST), min_size=2, max_size=129, unique=True).map(sorted),
)
def test_any_rows_in_any_ranges(lasting_table: Table, rows: list[Row], bounds: list[int]) -> None:
    """The site answers what the reference does, for whatever rows it holds."""
    lasting_table.hold(rows)

    assert lasting_table.ask(bounds) == digest_reference.answer(rows, bounds)


def test_many_rows(lasting_table: Table) -> None:
    """So it does for thousands of rows, in the most ranges and in one."""
    chance = random.Random(13)
    signs = "ab ,:\"'\\é日😀\u202e"
    rows = [
        {
            "id": id_,
            "name": "".join(chance.choices(signs, k=chance.randint(1, 32))),
            "display_name": "".join(chance.choices(signs, k=chance.randint(0, 32))),
            "discriminator": chance.randint(0, 9999),
            "roles": [chance.randint(1, LARGEST) for _ in range(chance.randint(0, 8))],
            "in_guild": chance.random() < 0.9,
        }
        for id_ in chance.sample(range(10**17, 10**17 + 10**6), 5_000)
    ]
    bounds = [10**17 + 10**6 * place // 128 for place in range(129)]
    lasting_table.hold(rows)

    assert lasting_table.ask(bounds) == digest_reference.answer(rows, bounds)
    assert lasting_table.ask([0, LARGEST]) == digest_reference.answer(rows, [0, LARGEST])


# A guild of thirty, three to a range; between two rows there is room for a newcomer.
GUILD: Final[list[Row]] = [
    {
        "id": 100 + 10 * place,
        "name": f"name{place}",
        "display_name": f"Name {place}",
        "discriminator": 0,
        "roles": [5, 6, 7],
        "in_guild": True,
    }
    for place in range(30)
]
GUILD_BOUNDS: Final = [*range(100, 401, 30)]


def a_change(field: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, Any]]:
    """Give a field, and a value of it that nobody in the guild has."""
    taken = [row[field] for row in GUILD]
    return values.filter(lambda value: value not in taken).map(lambda value: (field, value))


changes = st.one_of(
    a_change("name", odd_names),
    a_change("display_name", odd_names),
    a_change("discriminator", st.integers(0, 9999)),
    a_change("roles", roles | st.permutations([5, 6, 7]) | st.just([5, 6, 7, 7])),
    st.just(("in_guild", False)),
    st.just(("removed", None)),
    st.just(("added", None)),
)


@EXAMPLES
@given(place=st.integers(0, 29), change=changes)
@example(place=0, change=("display_name", "Name 0 "))
@example(place=29, change=("roles", []))
@example(place=14, change=("added", None))
def test_any_single_change_shows_in_its_range_alone(
    guild: Table, place: int, change: tuple[str, Any]
) -> None:
    """A field, a departure, a row that is gone, one that is new: its range differs, no other."""
    row = GUILD[place]
    before = guild.ask(GUILD_BOUNDS)
    match change:
        case ("removed", _):
            guild.run("DELETE FROM api_user WHERE id = %s", row["id"])
        case ("added", _):
            guild.put({**row, "id": row["id"] + 5})
        case (field, value):
            guild.put({**row, field: value})
    after = guild.ask(GUILD_BOUNDS)
    guild.run("DELETE FROM api_user WHERE id = %s", row["id"] + 5)
    guild.put(row)

    differing = [
        index
        for index, (old, new) in enumerate(zip(by_range(before), by_range(after), strict=True))
        if old != new
    ]
    assert before == digest_reference.answer(GUILD, GUILD_BOUNDS)
    assert differing == [place // 3]


@pytest.fixture
def guild(lasting_table: Table) -> Table:
    """Give a table that holds the guild."""
    lasting_table.hold(GUILD)
    return lasting_table


def by_range(answer: dict[str, list[Any]]) -> list[tuple[int, str]]:
    """Return the count and the sum of each range."""
    return list(zip(answer["counts"], answer["sums"], strict=True))


def test_a_row_that_never_was_in_the_guild_does_not_count(table: Table) -> None:
    """Rows of people who are not in the guild may change as they like."""
    table.hold([*GUILD, {**GUILD[0], "id": 105, "in_guild": False}])
    with_them = table.ask(GUILD_BOUNDS)
    table.put({**GUILD[0], "id": 105, "in_guild": False, "name": "another"})

    assert with_them == table.ask(GUILD_BOUNDS) == digest_reference.answer(GUILD, GUILD_BOUNDS)


def test_what_the_site_writes_is_what_it_hashes(website: Website) -> None:
    """Names are hashed as they were kept, without the blanks around them; roles in their order."""
    row = {**GUILD[0], "name": " \tname ", "display_name": "\u3000Name\n", "roles": [13, 11]}
    with website.client() as client:
        client.post("bot/users", json=[row, {**row, "id": 1}]).raise_for_status()
        client.patch("bot/users/1", json={"roles": [12, 11]}).raise_for_status()
        answer = client.get("bot/sync/digests?bounds=0,1000").json()

    kept = {**row, "name": "name", "display_name": "Name"}
    assert answer == digest_reference.answer(
        [kept, {**kept, "id": 1, "roles": [12, 11]}], [0, 1000]
    )


def test_an_answer_is_of_one_moment(website: Website) -> None:
    """While one request after another rewrites all rows, each answer is of before or after one."""
    count = 2_000  # more than one statement of the writer's
    add_users(website.database, count)
    everybody = [user_id(index) for index in range(count)]
    bounds = [*everybody[:: count // 16], LARGEST]
    states: list[Row] = [{"name": "even"}, {"name": "odd", "roles": [11, 12]}]
    done = threading.Event()

    def rewrite() -> int:
        turns = 0
        with website.client() as client:
            while not done.is_set():
                rows = [{"id": one, "roles": [11], **states[turns % 2]} for one in everybody]
                client.patch(
                    "bot/users/bulk_patch", json=rows, headers={"Prefer": "return=minimal"}
                ).raise_for_status()
                turns += 1
        return turns

    def whole(**fields: Any) -> dict[str, list[Any]]:
        rows = [
            {**GUILD[0], "id": one, "display_name": f"User {index}", "roles": [11], **fields}
            for index, one in enumerate(everybody)
        ]
        return digest_reference.answer(rows, bounds)

    expected = [whole(**state) for state in states]
    seen: list[int] = []
    with table_of(website) as table, ThreadPoolExecutor(1) as pool:
        untouched = table.ask(bounds)
        turns = pool.submit(rewrite)
        try:
            while len(seen) < 20 or len(set(seen)) < 2:
                answer = table.ask(bounds)
                if answer != untouched:
                    seen.append(expected.index(answer))
        finally:
            done.set()

    assert turns.result(DEADLINE_S) >= 2


def test_a_statement_that_takes_too_long_is_given_up(
    start_website: StartWebsite, lasting_website: LastingWebsite
) -> None:
    """The database's limit for a statement holds here too: 503, and a time to wait."""
    database = emptied(lasting_website("postgresql")).database
    add_users(database, 40_000)
    hasty = start_website(
        Database(vendor="postgresql", url=f"{database.url}?options=-c%20statement_timeout%3D20ms")
    )
    with hasty.client() as client:
        answers = [client.get(f"bot/sync/digests?bounds=0,{high}") for high in (1, LARGEST, 1)]

    assert [(answer.status_code, answer.headers.get("Retry-After")) for answer in answers] == [
        (200, None),
        (503, "5"),
        (200, None),
    ]


def test_a_large_table_takes_no_memory_of_the_site(website: Website) -> None:
    """Nothing of the rows is kept: a hundred thousand need hardly more than a hundred."""
    add_users(website.database, 100_000)
    with table_of(website) as table:
        table.ask([0, user_id(100)])
        before_mb = website.memory_mb("VmRSS")
        Path(f"/proc/{website.process.pid}/clear_refs").write_text("5")  # begins the peak anew
        counts = table.ask([0, user_id(0), user_id(50_000), LARGEST])["counts"]

    assert counts == [0, 50_000, 50_000]
    assert website.memory_mb("VmHWM") - before_mb < 2


def nodes(plan: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Return each node of a plan, from the top, and the index or table it reads."""
    own = (plan["Node Type"], plan.get("Index Name") or plan.get("Relation Name"))
    return [own, *(node for inner in plan.get("Plans", []) for node in nodes(inner))]


def test_one_pass_over_the_rows_and_no_more(postgres_website: Website) -> None:
    """All rows are read once and never sorted; of a narrow range only its own, by the index."""
    database = postgres_website.database
    add_users(database, 20_000)
    database.query("ANALYZE api_user")

    def plan(bounds: list[int]) -> list[tuple[str, str | None]]:
        with closing(psycopg.connect(database.url)) as connection:
            connection.execute("SET work_mem = 64")  # so these are many rows
            explained = connection.execute(
                f"EXPLAIN (FORMAT JSON) {digests.STATEMENT}",
                {"bounds": bounds, "low": bounds[0], "high": bounds[-1]},
            ).fetchone()
        assert explained is not None
        return nodes(explained[0][0]["Plan"])

    assert plan([user_id(157 * place) for place in range(129)]) == [
        ("Aggregate", None),
        ("Seq Scan", "api_user"),
    ]
    assert plan([user_id(0), user_id(50), user_id(100)])[-1][1] == "api_user_pkey"


_JOIN_TABLE: Final = re.compile(r"<!-- join table -->\n```sql\n(.*?)```", re.DOTALL)


def test_roles_in_a_join_table_come_to_the_same(postgres_website: Website) -> None:
    """The page's statement for a site that keeps roles in a table of their own is right."""
    page = (ROOT / "docs" / "site-contract.md").read_text("utf-8")
    statement = _JOIN_TABLE.findall(page)[0]
    rows: list[Row] = [
        {**GUILD[0], "id": 1, "roles": [9, 10, 111], "name": "zoë"},
        {**GUILD[0], "id": 2, "roles": []},
        {**GUILD[0], "id": 3, "roles": [10], "in_guild": False},
        {**GUILD[0], "id": 7, "roles": [10], "display_name": "😀"},
    ]
    bounds = [1, 2, 3, 5, 10]
    with closing(psycopg.connect(postgres_website.database.url)) as connection:
        connection.execute(
            "CREATE TEMPORARY TABLE member (id bigint PRIMARY KEY, name text, display_name text,"
            " discriminator int, in_guild boolean)"
        )
        connection.execute("CREATE TEMPORARY TABLE member_role (member_id bigint, role_id bigint)")
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO member VALUES (%(id)s, %(name)s, %(display_name)s, %(discriminator)s,"
                " %(in_guild)s)",
                rows,
            )
            cursor.executemany(
                "INSERT INTO member_role VALUES (%s, %s)",
                [(row["id"], role) for row in rows for role in reversed(row["roles"])],
            )
        found = {
            place: (count, f"{int(total):016x}")
            for place, count, total in connection.execute(
                statement.encode(), {"bounds": bounds, "low": bounds[0], "high": bounds[-1]}
            )
        }

    wanted = by_range(digest_reference.answer(rows, bounds))
    assert [found.get(place, (0, "0" * 16)) for place in range(1, len(bounds))] == wanted
