"""The pace on models of sites: it tells what a row costs from how long requests queue."""

from __future__ import annotations

import random
import statistics
from typing import TYPE_CHECKING

import pytest

from bot.exts.backend.sync._core.policy.pace import PaceLimits

from .site_models import COSTS, MODELS, Site, p99, write

if TYPE_CHECKING:
    from .site_models import Model, Run


def model(
    name: str,
    *,
    fixed_s: float = 0.025,
    row_s: float = 0.002,
    busy: float = 0.0,
    seed: int = 1,
) -> Model:
    """Return a model of a site: by default, the plain one's cost."""
    chance = random.Random(seed)
    return MODELS[name](Site(fixed_s=fixed_s, row_s=row_s, busy=busy, chance=chance))


def error(run: Run, made: Model) -> float:
    """Return by how much of the truth the cost of a row is wrong after ten requests."""
    return abs(run.after_ten.cost.row_s / made.site.row_s - 1)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("fixed_s", "row_s"), COSTS)
def test_an_idle_site_is_known_after_ten_requests(name: str, fixed_s: float, row_s: float) -> None:
    """What a row costs, and what a request of 100 rows does, to within a fifth."""
    for seed in range(5):
        made = model(name, fixed_s=fixed_s, row_s=row_s, seed=seed)
        run = write(made, seconds=20.0)

        assert error(run, made) <= 0.2
        assert run.after_ten.cost.of(100) == pytest.approx(fixed_s + 100 * row_s, rel=0.2)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("busy", [0.3, 0.6, 0.8, 0.95])
def test_a_site_that_tells_is_known_however_busy(name: str, busy: float) -> None:
    """With `Server-Timing` other traffic makes no difference."""
    for seed in range(5):
        made = model(name, busy=busy, seed=seed)
        assert error(write(made, seconds=120.0, told=True), made) <= 0.2


@pytest.mark.parametrize(
    ("name", "busy", "least"),
    [
        ("one lock", 0.3, 0.55),
        ("one lock", 0.6, 0.32),
        ("one lock", 0.8, 0.15),
        ("one lock", 0.95, 0.03),
        ("four threads", 0.3, 0.3),
        ("four threads", 0.6, 0.12),
        ("four threads", 0.8, 0.08),
        ("four threads", 0.95, 0.02),
        ("pool and database", 0.6, 0.12),
        ("pool and database", 0.95, 0.02),
    ],
)
def test_a_busy_site_gives_what_is_left_of_it(name: str, busy: float, least: float) -> None:
    """Rows a second do not collapse: they are a fair part of what others leave."""
    idle = write(model(name)).rows_per_s
    rates = [write(model(name, busy=busy, seed=seed)).rows_per_s for seed in range(5)]

    assert statistics.median(rates) / idle >= least


@pytest.mark.parametrize("name", MODELS)
def test_others_wait_for_one_request_of_ours(name: str) -> None:
    """On a site that is busy for 60 % of its time their p99 is not that of a site in distress."""
    for seed in range(3):
        made = model(name, busy=0.6, seed=seed)
        write(made, seconds=120.0)
        assert p99(made.site.waits) <= 2.5


@pytest.mark.parametrize("name", MODELS)
def test_one_outlier_of_30_s_halves_one_request(name: str) -> None:
    """The size is at most halved once, and what it was soon after."""
    plain = write(model(name), seconds=40.0).sizes
    run = write(model(name), seconds=70.0, outliers={20: 30.0})

    assert run.sizes[21] >= run.sizes[20] // 2
    assert max(run.sizes[22:26]) >= 0.9 * max(plain[15:20])


@pytest.mark.parametrize("name", MODELS)
def test_a_site_that_becomes_slower_is_sent_less_at_once(name: str) -> None:
    """Ten times slower for 20 s: three requests later they are small, and large soon after it."""
    made = model(name)

    def slow_for_a_while(now: float, _number: int) -> None:
        made.site.slowness = 10.0 if 20.0 < now < 40.0 else 1.0

    run = write(made, seconds=60.0, before=slow_for_a_while)
    spike = [n for n, end in zip(run.sizes, run.ends, strict=True) if 20.0 < end - 0.1 < 40.0]
    after = [n for n, end in zip(run.sizes, run.ends, strict=True) if end > 44.0]

    assert max(spike[4:]) <= 40
    assert max(after) >= 200


@pytest.mark.parametrize("name", MODELS)
def test_a_site_that_slows_with_its_size_is_followed(name: str) -> None:
    """Each request still takes about the target at the end, when rows cost four times as much."""
    made = model(name)

    def grow(now: float, _number: int) -> None:
        made.site.slowness = 1 + now / 60

    run = write(made, seconds=180.0, before=grow)

    assert made.site.work_s(max(run.sizes[-3:])) == pytest.approx(0.5, rel=0.25)


@pytest.mark.parametrize(("fixed_s", "row_s", "most"), [(0.005, 0.0001, 300), (0.025, 0.002, 500)])
def test_a_probe_after_a_restart_loop_does_not_crawl(
    fixed_s: float, row_s: float, most: int
) -> None:
    """80,000 rows from 10 a request: some hundred requests, not 8,000."""
    made = model("one lock", fixed_s=fixed_s, row_s=row_s)
    run = write(made, seconds=1e6, rows=80_000, limits=PaceLimits(trusted_items=10))

    assert len(run.sizes) <= most
