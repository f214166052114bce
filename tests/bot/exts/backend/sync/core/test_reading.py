"""Reading all users, page after page, while the site fails, shrinks its pages or contradicts."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.members import Member, UserId
from bot.exts.backend.sync._core.plan.merging import Merge
from bot.exts.backend.sync._core.site import requests
from bot.exts.backend.sync._core.site.reading import (
    Cursor,
    EndlessError,
    Rereading,
    first_size,
)
from bot.exts.backend.sync._core.site.requests import Request
from bot.exts.backend.sync._core.site.wire import Page

from .examples import member, user_ids


def page(following: int | None, *, rows: int = 0, count: int | None = None) -> Page:
    """Return a page of which only what follows matters, and how many rows there are."""
    return Page(rows=(member(5),) * rows, next=following, count=count)


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
        (BY_ID, 7919, Cursor(size=100, by_id=True, after=7919)),
        (BY_ID, None, Cursor(size=100, by_id=True, ended=True)),
    ],
)
def test_what_follows_a_page(cursor: Cursor, following: int | None, after: Cursor) -> None:
    """By number the next one, by id the one after its last row, or none."""
    assert cursor.past(page(following)) == after


@pytest.mark.parametrize(
    ("cursor", "following"),
    [
        (THIRD, 3),
        (THIRD, 5),
        (THIRD, 1),
        (BY_ID, 0),
        (Cursor(size=100, by_id=True, after=7919), 7919),
        (Cursor(size=100, by_id=True, after=7919), 7918),
    ],
)
def test_a_contradiction_is_not_believed(cursor: Cursor, following: int) -> None:
    """A site that names the same page again, or one before or beyond."""
    with pytest.raises(EndlessError, match=f"^the site says that page {following} comes next$"):
        cursor.past(page(following))


@pytest.mark.parametrize(
    ("announced", "created", "most"),
    [
        (0, 0, 1000),
        (500, 0, 1500),
        (500, 300, 1800),
        (20_000, 0, 22_000),
        (10**12, 0, 5_000_000),
        (None, 0, 5_000_000),
    ],
)
def test_no_more_is_read_than_was_announced(announced: int | None, created: int, most: int) -> None:
    """A tenth, or a thousand, may have come since; what this run has made is read, too."""
    first = replace(BY_NUMBER, announced=announced, rows=most - 1)

    last = first.past(page(2, rows=1), created=created)

    assert (last.rows, last.announced) == (most, announced)
    said = "it never said" if announced is None else f"it announced {announced:,}"
    with pytest.raises(EndlessError, match=f"given {most + 1:,} users, and {said}"):
        last.past(page(3, rows=1), created=created)


def test_what_was_announced_first_holds() -> None:
    """A count that grows with every page announces nothing."""
    first = BY_NUMBER.past(page(2, rows=100, count=200))

    assert (first.announced, first.past(page(3, rows=100, count=300)).announced) == (200, 200)


@pytest.mark.parametrize(
    ("cursor", "rows", "count", "wants"),
    [
        (BY_ID, 1000, None, False),
        (BY_ID, 1001, None, True),
        (replace(BY_ID, rows=901), 100, None, True),
        (replace(BY_ID, announced=5), 1001, None, False),
        (BY_ID, 1001, 5, False),
        (BY_NUMBER, 1001, None, False),
    ],
)
def test_how_many_rows_there_are_is_asked_if_no_page_says_it(
    cursor: Cursor, rows: int, count: int | None, *, wants: bool
) -> None:
    """Pages by id don't count, which makes them fast; only a long reading needs to know."""
    assert cursor.wants_count(page(7919, rows=rows, count=count)) is wants


@pytest.mark.parametrize(
    ("most", "first"), [(2500, 1250), (1000, 500), (200, 100), (199, 199), (501, 501), (3, 3)]
)
def test_a_reading_begins_with_half_a_page(most: int, first: int) -> None:
    """The first page may cost more than it should; a small or odd one can't grow."""
    assert first_size(most) == first


@pytest.mark.parametrize(
    ("cursor", "wanted", "size"),
    [
        (Cursor(size=1250, by_id=False, offset=1250), 2500, 1250),
        (Cursor(size=1250, by_id=False, offset=2500), 2500, 2500),
        (Cursor(size=1250, by_id=False, offset=2500), 2499, 1250),
        (Cursor(size=100, by_id=False, offset=400), 1000, 200),
        (Cursor(size=2500, by_id=False, offset=5000), 1300, 1250),
        (Cursor(size=125, by_id=False, offset=125), 10, 125),
        (Cursor(size=1250, by_id=True, after=7), 1731, 1731),
        (Cursor(size=1250, by_id=True, after=7), 0, 1),
    ],
)
def test_pages_follow_the_pace_as_far_as_they_fit(cursor: Cursor, wanted: int, size: int) -> None:
    """By number, the rows read so far stay a whole number of pages; by id any size fits."""
    assert cursor.towards(wanted) == replace(cursor, size=size)


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
            Cursor(size=50, by_id=True, after=4000),
        ),
        (Cursor(size=100, by_id=False, offset=200, ended=True), replace(THIRD, offset=100)),
        (
            Cursor(size=100, by_id=False, offset=200, announced=500, rows=300),
            Cursor(size=100, by_id=False, offset=100, announced=500),
        ),
    ],
)
def test_rows_are_read_again_from_where_they_were_compared(cursor: Cursor, before: Cursor) -> None:
    """By id behind what was compared, though more was read; by number from a page before."""
    assert cursor.again_after(UserId(4000)) == before


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
        cursor = cursor.past(answered)

    assert read == ids


@given(
    ids=st.lists(st.integers(1, 200), unique=True, max_size=80).map(sorted),
    wanted=st.sets(st.integers(1, 200), max_size=20),
    start=st.integers(0, 10),
    size=st.sampled_from([1, 2, 7, 100, 400]),
    by_id=st.booleans(),
    failures=st.lists(st.booleans(), max_size=20),
)
def test_rows_are_read_again_wherever_they_are_by_now(
    *,
    ids: list[int],
    wanted: set[int],
    start: int,
    size: int,
    by_id: bool,
    failures: list[bool],
) -> None:
    """Rows may have gone and pages become smaller since: each that there is is found, by number.

    By id the reading begins before them, as it must.
    """
    first = min(wanted, default=1)
    cursor = Cursor(size=size, by_id=by_id, offset=start * size, after=max(0, first - 1 - start))
    reading = Rereading.of(user_ids(*wanted), cursor=cursor)

    assert {*wanted} & {*ids} == {*read_again(ids, reading, failures=failures)} & {*wanted}


def read_again(
    ids: list[int], reading: Rereading, *, failures: Iterable[bool] = ()
) -> Iterator[int]:
    """Read rows again from a site that has these."""
    fails = iter(failures)
    while not reading.ended:
        if next(fails, False):
            reading = replace(reading, cursor=reading.cursor.smaller())
            continue
        # Past the end a site answers 404, which is read as an empty last page.
        answered = serve(ids, reading.cursor.request())
        yield from (row.id for row in answered.rows)
        if reading.begins_late(answered):
            reading = reading.from_before()
        else:
            reading = reading.past(answered, reading.cursor.past(answered))


@given(
    guild=st.sets(st.integers(1, 40), min_size=10, max_size=30),
    site=st.sets(st.integers(1, 40), min_size=10, max_size=30),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    longest=st.integers(1, 9),
    by_id=st.booleans(),
)
def test_what_a_stretch_has_compared_is_read_again(
    *,
    guild: set[int],
    site: set[int],
    sizes: tuple[int, int],
    longest: int,
    by_id: bool,
) -> None:
    """Whoever stands between the members: rows of those who left, and rows that it has made.

    A row that was read ahead of what was compared belongs to the next stretch, and was taken for
    missing by it.
    """
    rows_now = set(site)
    merge = Merge.begin(after=UserId(0), rows_from=UserId(0))
    cursor = Cursor(size=sizes[1], by_id=by_id)
    while not merge.ended:
        began = cursor.again_after(merge.after)
        compared: set[int] = set()
        ended = False
        while not ended and len(compared) < longest:
            if merge.wants_members:
                later = sorted(id_ for id_ in guild if id_ > merge.guild.through)
                merge = merge.with_members(rows(later[: sizes[0]]), ended=not later)
            while merge.wants_rows:
                answered = serve(sorted(rows_now), cursor.request())
                merge = merge.with_rows(answered.rows, ended=answered.next is None)
                following = cursor.past(answered)
                assert following is not None
                cursor = following
            window, merge = merge.window()
            compared |= {member.id for member in window.members}
            ended = merge.ended
        rows_now |= compared  # who had no row was created
        reading = Rereading.of(user_ids(*compared), cursor=began)

        assert compared <= {*read_again(sorted(rows_now), reading)}


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
