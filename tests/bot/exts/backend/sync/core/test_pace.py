"""The size of the next request, from how long the last ones took."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.policy.pace import Pace, PaceLimits, Tuning

LIMITS = PaceLimits()
Step = tuple[str, int, float]


def after(pace: Pace, *steps: Step) -> Pace:
    """Take what came of some requests in turn: what, of how many rows, in how many seconds."""
    for what, rows, seconds in steps:
        match what:
            case "applied":
                pace = pace.applied(rows=rows, seconds=seconds)
            case "overloaded":
                pace = pace.overloaded()
            case "failed":
                pace = pace.failed()
            case "too large":
                pace = pace.too_large(rows=rows)
    return pace


def applied(rows: int, seconds: float) -> Step:
    """Return a request that was applied."""
    return ("applied", rows, seconds)


OVERLOADED = ("overloaded", 0, 0.0)
FAILED = ("failed", 0, 0.0)


def test_the_bounds_are_the_designs() -> None:
    """Half a second, a canary of 100, between 10 and 1,000 rows, 256 KiB."""
    assert PaceLimits() == PaceLimits(
        target_s=0.5, first_items=100, floor_items=10, max_items=1000, max_bytes=262_144
    )


@pytest.mark.parametrize(
    ("limits", "items", "ceiling", "floor"),
    [
        (LIMITS, 100, 1000, 10),
        (PaceLimits(max_items=50), 50, 50, 10),
        (PaceLimits(max_items=5), 5, 5, 5),
        (PaceLimits(max_items=0), 1, 1, 1),
        (PaceLimits(first_items=3), 3, 1000, 10),
    ],
)
def test_the_first_request_is_a_canary(
    limits: PaceLimits, items: int, ceiling: int, floor: int
) -> None:
    """A run starts small, and within what the site takes."""
    pace = Pace.start(limits)

    assert (pace.items, pace.ceiling, pace.floor, pace.learnt) == (items, ceiling, floor, 0)


@pytest.mark.parametrize(
    ("steps", "sizes"),
    [
        # The canary's own time is not learnt from, unless it is slow: it pays for cold caches.
        ([applied(100, 0.001)], [100]),
        ([applied(100, 1.0)], [100]),
        ([applied(100, 1.01)], [50]),
        # A fast site: at most twofold a step, up to the ceiling.
        ([applied(100, 0.1), *[applied(100, 0.001)] * 5], [100, 200, 400, 800, 1000, 1000]),
        # A site of 1,000 rows a second: 500 rows take the target's half second. Every third
        # request is a smaller one.
        (
            [
                applied(100, 0.3),
                *(applied(n, n / 1000) for n in (100, 200, 400, 500, 250, 500, 500, 250)),
            ],
            [100, 200, 400, 500, 250, 500, 500, 250, 500],
        ),
        # 100 rows at 0.6 s: what they cost leads down.
        ([applied(100, 0.6), applied(100, 0.6)], [100, 83]),
        # One slow request halves; the half was as slow for its size, so the site is slower now.
        (
            [applied(100, 0.1), applied(100, 0.1), applied(200, 2.0), applied(100, 1.0)],
            [100, 200, 100, 50],
        ),
        # The half took as long as the whole: both have queued, and a row costs what it did.
        (
            [applied(100, 0.1), applied(100, 0.1), applied(200, 2.0), applied(100, 2.0)],
            [100, 200, 100, 400],
        ),
        # Two of one size that were slow tell nothing of it.
        (
            [applied(100, 0.1), applied(100, 0.1), applied(200, 2.0), applied(200, 2.0)],
            [100, 200, 100, 400],
        ),
        ([applied(100, 0.1), OVERLOADED], [100, 10]),
        ([FAILED, FAILED, FAILED, FAILED], [50, 25, 12, 10]),
        ([applied(100, 0.1), OVERLOADED, applied(10, 0.01)], [100, 10, 20]),
        ([("too large", 100, 0.0), ("too large", 50, 0.0)], [50, 25]),
        ([("too large", 7, 0.0), ("too large", 3, 0.0), ("too large", 1, 0.0)], [3, 1, 1]),
    ],
)
def test_the_size_follows_the_site(steps: list[Step], sizes: list[int]) -> None:
    """Sizes after each of the requests, the first of which has 100 rows."""
    pace = Pace.start(LIMITS)
    found = []
    for step in steps:
        pace = after(pace, step)
        found.append(pace.items)

    assert found == sizes


def test_one_outlier_halves_once() -> None:
    """A request of 30 s among others that take a tenth: the next is half, then all is as before."""
    pace = Pace.start(LIMITS)
    for _ in range(12):
        pace = pace.applied(rows=pace.items, seconds=0.02 + pace.items / 2000)
    before = pace.items

    outlier = pace.applied(rows=pace.items, seconds=30.0)
    again = outlier
    for _ in range(3):
        again = again.applied(rows=again.items, seconds=0.02 + again.items / 2000)

    assert outlier.items >= before // 2
    assert again.items >= before * 0.9


def test_a_busy_site_is_left_alone_and_not_asked_for_less() -> None:
    """Each request waits behind others: sizes stay, and the rest before the next grows."""
    chance = random.Random(1)
    idle = busy = Pace.start(LIMITS)
    sizes = []
    for _ in range(40):
        idle = idle.applied(rows=idle.items, seconds=0.02 + idle.items / 500)
        queued_s = chance.choice([0.0, chance.uniform(0, 4)])
        busy = busy.applied(rows=busy.items, seconds=queued_s + 0.02 + busy.items / 500)
        sizes.append(busy.items)

    assert idle.rest_s == 0
    assert statistics.median(sizes[20:]) >= 100
    assert 0.3 < busy.rest_s <= 10


def test_what_the_site_says_of_itself_is_what_counts() -> None:
    """Ten seconds in a queue, a tenth of a second at work: the size is that of the tenth."""
    pace = Pace.start(LIMITS)
    for _ in range(10):
        pace = pace.applied(rows=pace.items, seconds=2.0, site_s=pace.items / 1000)

    assert pace.cost.row_s == pytest.approx(0.001, rel=0.01)
    assert max(pace.items, pace.applied(rows=pace.items, seconds=0.5).items) >= 450


def test_a_long_way_is_no_queue() -> None:
    """A site on the other side of the world that tells of its own time is not left alone."""
    pace = Pace.start(LIMITS)
    for _ in range(20):
        pace = pace.applied(
            rows=pace.items, seconds=0.3 + pace.items / 1e4, site_s=pace.items / 1e4
        )

    assert pace.rest_s == 0
    queued = pace.applied(rows=pace.items, seconds=0.9 + pace.items / 1e4, site_s=pace.items / 1e4)
    assert queued.rest_s > 0.3


def test_a_site_that_says_it_takes_no_time_is_not_believed() -> None:
    """A twentieth of what a request took is counted whatever the site says."""
    pace = Pace.start(LIMITS)
    for _ in range(10):
        pace = pace.applied(rows=pace.items, seconds=pace.items / 20, site_s=0.0)

    assert pace.cost.row_s == pytest.approx(0.05 / 20, rel=0.01)


def test_overhead_is_never_the_larger_part() -> None:
    """A site that needs 0.4 s for whatever comes is sent rows for 0.5 s more, not for 0.1 s."""
    pace = Pace.start(LIMITS)
    for _ in range(30):
        pace = pace.applied(rows=pace.items, seconds=0.4 + pace.items / 1000)

    assert pace.items in {500, 250}


def test_what_attempts_were_cut_off_with_is_trusted_again_by_and_by() -> None:
    """Four requests of 10 rows, eight of 20, sixteen of 40, and so on up to the ceiling."""
    pace = Pace.start(PaceLimits(trusted_items=10))
    sizes = []
    while pace.trust.items is not None:
        sizes.append(pace.items)
        pace = pace.applied(rows=pace.items, seconds=0.001)

    assert [(size, sizes.count(size)) for size in sorted({*sizes})] == [
        (10, 4),
        (20, 8),
        (40, 16),
        (80, 32),
        (160, 64),
        (320, 128),
        (640, 256),
    ]
    assert pace.tuned(Tuning(max_items=300)).trust.items is None


def test_a_ceiling_once_found_stays() -> None:
    """A site that refused 400 rows as too large never gets more than 200 again."""
    pace = after(
        Pace.start(LIMITS),
        *[applied(100, 0.001)] * 3,
        ("too large", 400, 0.0),
        *[applied(200, 0.001)] * 10,
    )

    assert (pace.items, pace.ceiling) == (200, 200)


def test_a_larger_refusal_changes_no_lower_ceiling() -> None:
    """What was learnt from 40 rows is not unlearnt from 400."""
    pace = after(Pace.start(LIMITS), ("too large", 40, 0.0), ("too large", 400, 0.0))

    assert (pace.items, pace.ceiling) == (20, 20)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["applied", "overloaded", "failed", "too large"]),
        st.integers(1, 1000),
        st.floats(0, 60),
    ),
    max_size=30,
)
ANY_LIMITS = st.builds(
    PaceLimits,
    target_s=st.floats(0.01, 10),
    first_items=st.integers(1, 2000),
    floor_items=st.integers(1, 100),
    max_items=st.integers(0, 2000),
)


@given(ANY_LIMITS, STEPS)
def test_a_size_is_always_one_that_can_be_sent(limits: PaceLimits, steps: list[Step]) -> None:
    """At least one row, never above the ceiling, and after a request never below the floor."""
    pace = Pace.start(limits)
    for what, rows, seconds in steps:
        before = pace
        pace = after(pace, (what, min(rows, before.items), seconds))

        assert 1 <= pace.items <= pace.ceiling <= before.ceiling <= max(1, limits.max_items)
        assert pace.items >= min(pace.floor, before.items)
        # What has half the size at its turn has the whole of it again at the next.
        assert pace.items <= max(4 * before.items, pace.floor)
        assert 0 <= pace.rest_s <= 10
        if what != "applied":
            assert pace.items <= max(before.items, pace.floor)


@given(st.integers(20, 20_000), st.integers(1, 30))
def test_a_steady_site_is_given_requests_of_the_target_time(rate: int, requests: int) -> None:
    """At any rate in rows a second, sizes settle where a request takes half a second, or bounds."""
    pace = Pace.start(LIMITS)
    sizes = []
    for _ in range(30 + requests):
        sizes.append(pace.items)
        pace = pace.applied(rows=pace.items, seconds=pace.items / rate)

    assert abs(max(sizes[-3:]) - min(max(rate // 2, 10), 1000)) <= 1


@given(ANY_LIMITS, STEPS, st.none() | st.integers(1, 2000), st.none() | st.floats(0.05, 10))
def test_what_somebody_sets_holds_from_then_on(
    limits: PaceLimits, steps: list[Step], max_items: int | None, target_s: float | None
) -> None:
    """At most so many rows, at such a target; set again, it changes nothing."""
    tuning = Tuning(target_s=target_s, max_items=max_items)
    pace = Pace.start(limits)
    for step in steps:
        pace = after(pace, step).tuned(tuning)
        assert pace.tuned(tuning) == pace
        assert 1 <= pace.items <= pace.ceiling
        assert pace.items <= (max_items if max_items is not None else max(1, limits.max_items))
        if target_s is not None:
            assert pace.limits.target_s == target_s


def test_a_size_that_failed_is_tried_again_by_and_by() -> None:
    """After four that went well, then after eight, and so on: never at once, and never given up."""
    quick = applied(400, 0.02)
    pace = after(Pace.start(PaceLimits(first_items=400, max_items=400)), *[quick] * 3)
    waited = []
    for _ in range(3):
        pace = pace.distrusted(rows=400)
        assert pace.size == 200
        count = 0
        while pace.size < 400:
            count += 1
            pace = after(pace, applied(200, 0.01))
        waited.append(count)

    assert waited == [4, 8, 16]


@given(st.integers(1, 3000))
def test_half_of_what_failed_is_a_row_at_the_least(rows: int) -> None:
    """Whatever is tried less of in the end is one row, or what the floor says."""
    pace = Pace.start(PaceLimits(first_items=rows, floor_items=1, max_items=rows))

    assert pace.distrusted(rows=rows).items == max(1, rows // 2)


def test_nothing_set_is_nothing_changed() -> None:
    """The pace is what it was."""
    pace = Pace.start(LIMITS).applied(rows=100, seconds=0.1)

    assert pace.tuned(Tuning()) == pace


def test_a_ceiling_can_be_raised_but_not_above_what_the_site_refused() -> None:
    """An operator knows more than crash memory, and less than the site."""
    low = Pace.start(PaceLimits(max_items=50))
    refused = Pace.start(PaceLimits(max_items=200)).too_large(rows=100)

    assert low.tuned(Tuning(max_items=500)).ceiling == 500
    assert refused.tuned(Tuning(max_items=500)).ceiling == 50
    assert refused.tuned(Tuning(max_items=20)).ceiling == 20
