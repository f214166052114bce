"""Reading all users, page after page, while the site fails, shrinks its pages or contradicts."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core import requests
from bot.exts.backend.sync._core.models import Member
from bot.exts.backend.sync._core.reading import Cursor
from bot.exts.backend.sync._core.requests import Request
from bot.exts.backend.sync._core.wire import Page

from .examples import member


def page(following: int | None) -> Page:
    """Return a page of which only what follows matters."""
    return Page(rows=(), next=following)


BY_NUMBER = Cursor(size=100, by_id=False)
BY_ID = Cursor(size=100, by_id=True)
THIRD = Cursor(size=100, by_id=False, offset=200)


@pytest.mark.parametrize(
    ("cursor", "request_due"),
    [
        (BY_NUMBER, requests.page(1, size=100)),
        (THIRD, requests.page(3, size=100)),
        (THIRD.smaller(), requests.page(5, size=50)),
        (BY_ID, requests.page_after(0, size=100)),
        (Cursor(size=50, by_id=True, after=7919), requests.page_after(7919, size=50)),
    ],
)
def test_the_next_page_is_asked_for(cursor: Cursor, request_due: Request) -> None:
    """By number from 1 on, or after an id; halved pages begin at the same row."""
    assert cursor.request() == request_due


@pytest.mark.parametrize(
    ("cursor", "following", "after"),
    [
        (BY_NUMBER, 2, Cursor(size=100, by_id=False, offset=100)),
        (THIRD, 4, Cursor(size=100, by_id=False, offset=300)),
        (THIRD, None, Cursor(size=100, by_id=False, offset=200, ended=True)),
        (THIRD, 3, None),
        (THIRD, 5, None),
        (THIRD, 1, None),
        (BY_ID, 7919, Cursor(size=100, by_id=True, after=7919)),
        (BY_ID, None, Cursor(size=100, by_id=True, ended=True)),
        (BY_ID, 0, None),
        (Cursor(size=100, by_id=True, after=7919), 7919, None),
        (Cursor(size=100, by_id=True, after=7919), 7918, None),
    ],
)
def test_what_follows_a_page(cursor: Cursor, following: int | None, after: Cursor | None) -> None:
    """A site that names the same page again, or one before or beyond, is not believed."""
    assert cursor.past(page(following)) == after


@pytest.mark.parametrize(
    ("size", "halved"),
    [(1000, 500), (500, 250), (250, 125), (125, 125), (100, 50), (98, 98), (50, 50), (1, 1)],
)
def test_pages_are_halved_down_to_fifty_rows(size: int, halved: int) -> None:
    """An odd size can't be halved: the rows read so far would be no whole number of pages."""
    assert Cursor(size=size, by_id=False).smaller() == Cursor(size=halved, by_id=False)


@pytest.mark.parametrize(
    ("cursor", "before"),
    [
        (BY_NUMBER, BY_NUMBER),
        (THIRD, Cursor(size=100, by_id=False, offset=100)),
        (
            Cursor(size=50, by_id=True, after=7919, ended=True),
            Cursor(size=50, by_id=True, after=7919),
        ),
        (Cursor(size=100, by_id=False, offset=200, ended=True), replace(THIRD, offset=100)),
    ],
)
def test_rows_are_read_again_from_a_page_before(cursor: Cursor, before: Cursor) -> None:
    """By number they may have moved towards the first page; by id they can't."""
    assert cursor.from_a_page_before() == before


@pytest.mark.parametrize(
    ("cursor", "id_", "after"),
    [
        (THIRD, 9000, THIRD),
        (BY_ID, 9000, Cursor(size=100, by_id=True, after=8999)),
        (BY_ID, 1, BY_ID),
        (Cursor(size=100, by_id=True, after=8999), 9000, Cursor(size=100, by_id=True, after=8999)),
        (Cursor(size=100, by_id=True, after=9500), 9000, Cursor(size=100, by_id=True, after=9500)),
    ],
)
def test_rows_that_are_not_needed_are_passed_over(cursor: Cursor, id_: int, after: Cursor) -> None:
    """Where the site has pages by id, the next one begins with the row that is needed."""
    assert cursor.passing_to(id_) == after


@given(
    ids=st.lists(st.integers(1, 2**63 - 1), unique=True, max_size=700).map(sorted),
    size=st.integers(1, 1000),
    by_id=st.booleans(),
    failures=st.lists(st.booleans(), max_size=20),
)
def test_every_row_is_read_once(
    *,
    ids: list[int],
    size: int,
    by_id: bool,
    failures: list[bool],
) -> None:
    """In the site's order, whatever requests fail and make the pages smaller on the way."""
    cursor = Cursor(size=size, by_id=by_id)
    read: list[int] = []
    fails = iter(failures)
    while not cursor.ended:
        if next(fails, False):
            cursor = cursor.smaller()
            continue
        answered = serve(ids, cursor.request())
        read += [row.id for row in answered.rows]
        following = cursor.past(answered)
        assert following is not None
        cursor = following

    assert read == ids


def serve(ids: list[int], request: Request) -> Page:
    """Answer as the site does: by number with the next page's, by id with the last one's id."""
    assert request.params is not None
    size = request.params["page_size"]
    if "after" in request.params:
        left = [id_ for id_ in ids if id_ > request.params["after"]]
        part = left[:size]
        return Page(rows=rows(part), next=part[-1] if len(left) > size else None)
    number = request.params["page"]
    part = ids[(number - 1) * size : number * size]
    return Page(rows=rows(part), next=number + 1 if number * size < len(ids) else None)


def rows(ids: list[int]) -> tuple[Member, ...]:
    """Return rows of these ids."""
    return tuple(member(id_) for id_ in ids)
