"""Which faults befall which round: decided by the seed alone, and none left out."""

from collections import Counter

import pytest

from sandbox.chaos.outcome import ChaosOutcome, RoundOutcome, kills_survived, shortcomings
from sandbox.chaos.plan import KILLS, Fault, Round, Store, rounds


def dealt(plan: Round) -> set[Fault]:
    """Return all that befalls a round."""
    poison = {Fault.POISONED_RECORD} if plan.poison else set()
    return {moment.fault for moment in plan.moments} | poison


@pytest.mark.parametrize("seed", range(20))
def test_few_rounds_hold_every_kind(seed: int) -> None:
    """Five rounds have seen all, whatever the seed, and each one has a kill."""
    planned = rounds(5, seed)

    assert set().union(*map(dealt, planned)) == set(Fault)
    assert all(dealt(plan) & set(KILLS) for plan in planned)


def test_a_round_is_the_same_however_many_are_played() -> None:
    """A round that failed can be played again alone; another seed is another chaos."""
    assert rounds(7, 3) == rounds(20, 3)[:7]
    assert rounds(7, 3) != rounds(7, 4)
    assert len({plan.seed for plan in rounds(20, 3)}) == 20


def test_valkey_is_killed_only_where_it_is_used() -> None:
    """A round in which it is killed keeps its state there; both stores have their rounds."""
    planned = rounds(40, 1)
    killed = {plan.store for plan in planned if Fault.VALKEY_KILLED in dealt(plan)}
    away = [plan for plan in planned if plan.store_away]

    assert (killed, {plan.store for plan in planned}) == ({Store.VALKEY}, set(Store))
    assert away
    assert all(Fault.BOT_KILLED not in dealt(plan) for plan in away)


def outcome(struck: dict[Fault, int], *faults: str) -> RoundOutcome:
    """Return what a round found."""
    return RoundOutcome(
        number=1,
        seconds=1.0,
        struck=Counter(struck),
        rows_checked=300,
        rows_lost=faults,
        parked=frozenset({1}),
        poisoned=frozenset({1}),
        misparked=[],
        writes_while_open=[],
        runs_overlapping=[],
        alerts_lost=[],
        alerts_doubled=[],
    )


def test_kills_count_only_if_all_was_well_after_them() -> None:
    """A round with a fault has survived none of its kills."""
    struck = {Fault.BOT_KILLED: 1, Fault.WEBSITE_KILLED: 1, Fault.HTML_500: 3}

    assert kills_survived(outcome(struck)) == 2
    assert kills_survived(outcome(struck, "row 1: lost")) == 0


def test_rounds_without_kills_or_a_kind_fall_short() -> None:
    """As many kills as rounds must be survived, and 20 rounds must have seen every kind."""
    every = outcome(dict.fromkeys(Fault, 1))
    killed = outcome({Fault.BOT_KILLED: 1})

    assert shortcomings([every, *[killed] * 19]) == []
    assert shortcomings([killed] * 19) == []
    assert shortcomings([outcome({}), killed]) == ["1 kills were survived in 2 rounds"]
    assert shortcomings([killed] * 20) == [
        f"{fault.value} never occurred" for fault in Fault if fault is not Fault.BOT_KILLED
    ]


def test_the_figures_sum_up_all_rounds() -> None:
    """The keys are those that were promised, in their order, and each list is counted."""
    rounds_ = [outcome({Fault.BOT_KILLED: 2}), outcome({Fault.HTML_500: 1}, "a", "b")]
    figures = ChaosOutcome(seed=5, rounds=rounds_).as_json()

    kinds = figures.pop("faults_by_kind")
    assert {kind: count for kind, count in kinds.items() if count} == {
        "bot_killed": 2,
        "html_500": 1,
    }
    assert list(kinds) == [fault.value for fault in Fault]
    assert figures == {
        "rounds": 2,
        "seed": 5,
        "kills_survived": 2,
        "rows_checked": 600,
        "rows_lost": 2,
        "rows_parked": 2,
        "rows_poisoned": 2,
        "writes_while_open": 0,
        "runs_overlapping": 0,
        "alerts_lost": 0,
        "alerts_doubled": 0,
    }
