"""A list that waits: who is asked, what a decision holds for, and when all of it lapses."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.messages.report import carried_out, withheld_because
from bot.exts.backend.sync._core.policy import departures as w
from bot.exts.backend.sync._core.policy.departures import (
    Decision,
    DepartureLimits,
    Subject,
    WithheldList,
)
from tests.bot.exts.backend.sync.core.examples import NOW

DAY = timedelta(days=1)
ASKED = w.withheld(
    Subject.DEPARTURES, (9, 7, 8), total=10, run_id="r1", names={7: "Ada", 1: "Eve"}, now=NOW
)
APPROVED = w.decided(ASKED, Decision.APPROVED, by="<@1>", now=NOW + DAY / 2)
REJECTED = w.decided(ASKED, Decision.REJECTED, by="<@1>", now=NOW + DAY / 2)


def test_a_list_keeps_what_was_found() -> None:
    """Ids in order, so that it is known again; names of those on it, as far as there are some."""
    assert (
        WithheldList(
            what=Subject.DEPARTURES,
            ids=(7, 8, 9),
            digest="27a6ee9a",
            total=10,
            run_id="r1",
            asked_at=NOW,
            names={7: "Ada"},
        )
        == ASKED
    )


def test_names_are_kept_of_the_first_thousand() -> None:
    """A list of a whole guild must not hold its names as well."""
    many = range(1, 2001)
    list_ = w.withheld(
        Subject.DEPARTURES, many, total=2000, run_id="r", names=dict.fromkeys(many, "x"), now=NOW
    )

    assert [len(list_.ids), len(list_.names), max(list_.names)] == [2000, 1000, 1000]


@given(st.frozensets(st.integers(0, 2**63 - 1)), st.frozensets(st.integers(0, 2**63 - 1)))
def test_the_digest_tells_lists_apart(ids: frozenset[int], others: frozenset[int]) -> None:
    """Whatever the order in which they were found; the kind counts, too."""

    def digest(what: Subject, found: frozenset[int]) -> str:
        return w.withheld(what, found, total=1, run_id="r", names={}, now=NOW).digest

    assert (digest(Subject.DEPARTURES, ids) == digest(Subject.DEPARTURES, others)) is (
        ids == others
    )
    assert digest(Subject.DEPARTURES, ids) != digest(Subject.ROLE_DELETIONS, ids)


@pytest.mark.parametrize(
    ("what", "count", "total", "too_many"),
    [
        (Subject.DEPARTURES, 500, 1000, False),
        (Subject.DEPARTURES, 501, 1000, True),
        (Subject.DEPARTURES, 4000, 80_000, False),
        (Subject.DEPARTURES, 4001, 80_000, True),
        (Subject.ROLE_DELETIONS, 5, 10, False),
        (Subject.ROLE_DELETIONS, 6, 10, True),
        (Subject.ROLE_DELETIONS, 20, 100, False),
        (Subject.ROLE_DELETIONS, 21, 100, True),
    ],
)
def test_what_is_too_many(what: Subject, count: int, total: int, *, too_many: bool) -> None:
    """More than 500 and 5 % of the members, or than 5 and 20 % of the roles."""
    assert w.too_many(what, count, total, limits=DepartureLimits()) is too_many


@pytest.mark.parametrize(
    ("list_", "after", "holds"),
    [
        (None, timedelta(), False),
        (ASKED, timedelta(), True),
        (ASKED, DAY - timedelta(seconds=1), True),
        (ASKED, DAY, False),
        (APPROVED, DAY, True),
        (APPROVED, DAY * 1.5, False),
        (REJECTED, DAY, True),
        (REJECTED, DAY * 1.5, False),
        (ASKED, -timedelta(seconds=5), True),
        (ASKED, -DAY * 1.1, False),
    ],
)
def test_how_long_a_list_stands(
    list_: WithheldList | None, after: timedelta, *, holds: bool
) -> None:
    """A day after it was asked or decided about; a clock that jumps back holds none for ever."""
    assert w.holds(list_, now=NOW + after) is holds


@pytest.mark.parametrize(
    ("list_", "after", "ids"),
    [
        (None, timedelta(), set()),
        (ASKED, timedelta(), set()),
        (REJECTED, DAY / 2, set()),
        (APPROVED, DAY / 2, {7, 8, 9}),
        (APPROVED, DAY * 2, set()),
    ],
)
def test_what_may_be_written(list_: WithheldList | None, after: timedelta, ids: set[int]) -> None:
    """The ids of a list that somebody approved, and only for a day."""
    assert w.approved(list_, now=NOW + after) == ids


def test_a_decision_can_be_changed_until_it_is_being_written() -> None:
    """By whoever comes second, then it is theirs; the same decision again changes nothing."""
    assert [APPROVED.decision, APPROVED.by, APPROVED.decided_at] == [
        Decision.APPROVED,
        "<@1>",
        NOW + DAY / 2,
    ]
    again = w.decided(APPROVED, Decision.REJECTED, by="<@2>", now=NOW + DAY)
    assert (again.decision, again.by, again.decided_at) == (Decision.REJECTED, "<@2>", NOW + DAY)
    begun = replace(APPROVED, begun=True)
    assert w.decided(begun, Decision.REJECTED, by="<@2>", now=NOW + DAY) == begun
    assert w.decided(APPROVED, Decision.APPROVED, by="<@2>", now=NOW + DAY) == APPROVED


@pytest.mark.parametrize("list_", [ASKED, APPROVED, REJECTED])
def test_a_list_comes_out_of_the_store_as_it_went_in(list_: WithheldList) -> None:
    """Through real JSON, in which a name's key is text."""
    assert w.from_json(json.loads(json.dumps(w.to_json(list_)))) == list_


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"what": "lunches"}, "what"),
        ({"decision": "perhaps"}, "decision"),
        ({"ids": None}, "ids"),
        ({"ids": ["7"]}, "ids"),
        ({"ids": [-7]}, "ids"),
        ({"ids": [True]}, "ids"),
        ({"names": []}, "names"),
        ({"names": {"x": "Ada"}}, "names"),
        ({"names": {"²": "Ada"}}, "names"),
        ({"names": {"7": 5}}, "names"),
        ({"total": None}, "total"),
        ({"by": None}, "decision"),
        ({"decided_at": None}, "decision"),
        ({"decision": "waiting"}, "decision"),
    ],
)
def test_a_list_that_can_not_be_believed_is_refused(fields: dict[str, Any], fault: str) -> None:
    """By the name of the field at fault; one that says approved, but not by whom, opens nothing."""
    with pytest.raises(ValueError, match=f"{fault} of the withheld list"):
        w.from_json(w.to_json(APPROVED) | fields)


@pytest.mark.parametrize(
    ("list_", "words"),
    [
        (ASKED, "Too many to accept without a moderator, who was asked <t:1768219200:R>"),
        (APPROVED, "which <@1> approved; the sync after this one asks about them."),
        (REJECTED, "<@1> rejected list `"),
        (replace(REJECTED, decided_at=None), "<t:1768219200:R>; asked again"),
    ],
)
def test_why_something_is_withheld(list_: WithheldList, words: str) -> None:
    """The summary of a run names the list, and what became of it."""
    assert words in withheld_because(list_)
    assert list_.digest in withheld_because(list_)


def test_what_is_written_of_a_list() -> None:
    """And how many of it are back."""
    start = f"list `{APPROVED.digest}`, by <@1>: "

    assert carried_out(APPROVED, due=3) == f"{start}3 departures are written."
    assert carried_out(APPROVED, due=1) == f"{start}1 departures are written, 2 are back."
