"""How PostgreSQL carries out what the API asks of it, once there are many users."""

import re

import pytest

from tests.website import plans
from tests.website.harness import MakeDatabase, StartWebsite

ROWS = 100_000  # fewer, and to read them all would be as good
# A count has to count; a page's number only says how many users are before it; names have no index,
# which would make each write dearer for what the bot never asks; and a digest of all is one of all.
MAY_READ_MORE = {
    "the first page by number",
    "a later page by number",
    "users of a name",
    "digests of all",
}


@pytest.fixture(scope="module")
def explained(start_website: StartWebsite, make_database: MakeDatabase) -> list[plans.Explained]:
    """Give the statements of every kind of request, with their plans."""
    site = start_website(
        make_database("postgresql"), EXTRA_MIDDLEWARE="tests.website.observing.Explaining"
    )
    plans.fill(site.database, ROWS)
    with site.client() as client:
        return plans.explain(client, plans.asked(ROWS), lambda: [*site.lines])


def test_no_other_statement_reads_more_users_than_it_is_about(
    explained: list[plans.Explained],
) -> None:
    """Pages by id, writes and single users cost the same however many there are."""
    assert {one.request for one in explained if one.users_read > 1_001} == MAY_READ_MORE
    assert max(one.users_read for one in explained) >= ROWS
    assert {one.request for one in explained} >= {"a page by id", "1,000 users updated"}


def test_users_are_locked_in_ascending_order(explained: list[plans.Explained]) -> None:
    """What locks a chunk sorts it first: so no two requests ever wait for each other."""
    plan = next(one.plan for one in explained if one.request == "1,000 users updated")
    nodes = [line.strip(" ->").partition(" (")[0] for line in plan]
    below = nodes[nodes.index("LockRows") + 1 :]

    assert below[0] == "Sort"
    assert re.fullmatch(r"Sort Key: [a-z_0-9]+\.id", below[1])
