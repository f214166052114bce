"""The checks of chaos, pure: each passes on what is right and names what is wrong."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox import judging
from sandbox.judging import Alert, Opening, Run, Sent, State
from sandbox.replay.checks import Difference, ModLogMessage

NOON = datetime(2021, 1, 12, 12, tzinfo=UTC)
A, B, C, D, E = "aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd", "eeeeeeee"
POISONED = 270_988_689_419_665_408


def at(seconds: float) -> datetime:
    """Return a moment so many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def message(
    id_: int, *states: tuple[float, dict[str, Any]], deleted: bool = False
) -> ModLogMessage:
    """Return a message that had these embeds, each since so many seconds after noon."""
    return ModLogMessage(
        id=id_,
        author_id=1,
        states=tuple((at(seconds), {"embeds": [embed]}) for seconds, embed in states),
        deleted=deleted,
    )


def embed(title: str, footer: str, description: str = "") -> dict[str, Any]:
    """Return an embed."""
    return {"title": title, "description": description, "footer": {"text": footer}}


def run(run_id: str, state: str | None, seconds: float, *, probe: bool = False) -> ModLogMessage:
    """Return the live message of a run that began then and ended so a second later, if it did."""
    trigger = "by itself, as a probe of the site" if probe else "at start-up"
    states = [(seconds, embed("Syncing roles and users", f"run {run_id}", trigger))]
    if state is not None:
        title = f"Sync of roles and users {state}"
        # What a run that opened the breaker says of the probe must not make it one.
        states.append((seconds + 1, embed(title, f"run {run_id}", "the probe comes later")))
    return message(hash((run_id, seconds)), *states)


def alert(
    title: str, seconds: float, *, run_id: str | None = None, id_: str = "", text: str = ""
) -> ModLogMessage:
    """Return an alert."""
    id_ = id_ or f"{round(seconds * 10):012x}"
    footer = f"alert {id_}" if run_id is None else f"run {run_id} · alert {id_}"
    return message(int(seconds * 100), (seconds, embed(title, footer, text)))


def sent(run_id: str, seconds: float, *, writes: bool = True, number: int = 1) -> Sent:
    """Return a request."""
    return Sent(request_id=f"{run_id}-{number}", at=at(seconds), writes=writes)


def lost(messages: Sequence[ModLogMessage], *run_ids: str, **further: Any) -> list[str]:
    """Return the alerts lost after runs that have all asked the site for something."""
    return judging.lost_alerts(
        messages, [sent(id_, 0) for id_ in run_ids or (A, B, C, D, E)], threshold=3, **further
    )


# -- reading mod-log ------------------------------------------------------------------------------


def test_runs_are_read_from_their_live_messages() -> None:
    """Each run counts once, with its latest state; alerts and what is deleted are no runs."""
    messages = [
        run(A, "failed", 0),
        alert("Sync of roles and users failed", 1, run_id=A),
        run(B, None, 5, probe=True),
        message(7, (9, embed("Syncing roles and users", f"run {C}")), deleted=True),
    ]

    assert judging.runs(messages) == [
        Run(run_id=A, state=State.FAILED, is_probe=False, began_at=at(0), changed_at=at(1)),
        Run(run_id=B, state=State.RUNNING, is_probe=True, began_at=at(5), changed_at=at(5)),
    ]


def test_alerts_are_read_with_the_run_they_speak_of() -> None:
    """An alert has its id in the footer; answers to people have none and are no alerts."""
    messages = [
        alert("Sync recovered", 3, run_id=A, id_="abc123", text="well"),
        message(8, (4, embed("Parked rows", "", f"`{POISONED}`"))),
    ]

    assert judging.alerts(messages) == [
        Alert(
            id="abc123",
            title="Sync recovered",
            run_id=A,
            at=at(3),
            text=f"Sync recovered\nwell\nrun {A} · alert abc123",
        )
    ]
    assert [judging.is_answer(each) for each in messages] == [False, True]


def test_a_message_left_running_is_named() -> None:
    """Even where another message of the same run has ended: people see both."""
    twice = run(A, None, 0)

    assert judging.unfinished_runs([run(A, "finished", 1), run(B, "interrupted", 2)]) == []
    assert judging.unfinished_runs([twice, run(A, "finished", 1)]) == [
        f"mod-log still shows run {A} as running, in message {twice.id}"
    ]


# -- writes while open ----------------------------------------------------------------------------

OPENED = alert("Sync breaker opened", 10, run_id=C)


def test_an_opening_ends_with_the_last_request_of_its_probe() -> None:
    """However late mod-log tells of the recovery; without one the breaker is open for ever."""
    probes = [run(D, "interrupted", 12, probe=True), run(E, "finished", 20, probe=True)]
    recovered = alert("Sync recovered", 40, run_id=E)
    requests = [sent(E, 21), sent(E, 23, writes=False, number=2), sent(E, 22, number=3)]

    assert judging.openings([OPENED, *probes, recovered], requests) == [
        Opening(since=at(10), until=at(23), probes=frozenset({D, E}))
    ]
    assert [o.until.year for o in judging.openings([OPENED], [])] == [9999]
    assert judging.is_open([OPENED, *probes])
    assert not judging.is_open([OPENED, *probes, recovered])


def test_a_probe_whose_message_never_came_is_known_by_its_alert() -> None:
    """Discord may have taken none of its live messages."""
    told = alert("Sync probe failed", 15, run_id=D)

    assert [o.probes for o in judging.openings([OPENED, told], [])] == [frozenset({D})]


@pytest.mark.parametrize(
    ("request_", "faults"),
    [
        (sent(A, 9.9), 0),
        (sent(A, 10.1), 1),
        (sent(A, 10.1, writes=False), 0),
        (sent(D, 10.1), 0),
        (sent(A, 19.9), 1),
        (sent(A, 20.1), 0),
    ],
    ids=["before", "while open", "a read", "the probe's", "to the last", "after"],
)
def test_only_probes_may_write_while_open(request_: Sent, faults: int) -> None:
    """A write of anybody else's between opening and recovery is named; reads harm nobody."""
    opening = Opening(since=at(10), until=at(20), probes=frozenset({D}))

    assert len(judging.writes_while_open([opening], [request_])) == faults


# -- one at a time --------------------------------------------------------------------------------


def test_runs_come_one_after_the_other() -> None:
    """A run may not ask for anything once a later one has begun; drains are no runs."""
    first = [sent(A, 0, writes=False), sent(A, 5)]
    second = [sent(B, 6, writes=False), sent(B, 9)]
    drain = [sent(D, 3), sent(D, 7)]

    assert judging.overlapping_runs([A, B], [*second, *first, *drain]) == []
    assert judging.overlapping_runs([A, B], [*second, *first, sent(A, 7)]) == [
        f"run {A} still asked the site after run {B} had begun"
    ]


def test_a_bot_may_write_only_once_the_other_is_gone() -> None:
    """Whoever writes first has the site until its process has ended."""
    requests = [sent(A, 0), sent(A, 2, number=2), sent(B, 4), sent(C, 6)]
    bot_of = {f"{A}-1": "one", f"{A}-2": "one", f"{B}-1": "two", f"{C}-1": "one again"}

    assert judging.rival_writes(requests, bot_of=bot_of, ended={"one": at(3), "two": at(5)}) == []
    assert judging.rival_writes(requests, bot_of=bot_of, ended={"one": at(4.5), "two": at(5)}) == [
        f"bot two sent write {B}-1 while bot one was at it"
    ]
    assert judging.rival_writes(requests, bot_of=bot_of, ended={"one": at(3)}) == [
        f"bot one again sent write {C}-1 while bot two was at it"
    ]


# -- alerts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "faults"),
    [
        ([OPENED, alert("Sync recovered", 20, run_id=E), alert("Sync breaker opened", 30)], 0),
        ([OPENED, OPENED], 3),
        ([OPENED, alert("Sync breaker opened", 20)], 1),
        ([alert("Sync recovered", 20, run_id=E)], 1),
        ([alert("Sync was interrupted", n, run_id=A) for n in (1, 2)], 1),
        ([alert("Sync was interrupted", 1, run_id=A), alert("Sync probe failed", 2, run_id=A)], 0),
        ([OPENED, *(alert("Start-up sync withheld", n) for n in (11, 12))], 1),
        ([OPENED, alert("Start-up sync withheld", 11), alert("Sync recovered", 12)], 0),
        ([alert("Rows parked", n, text=f"`{POISONED}`") for n in (1, 2)], 1),
        ([alert("Rows parked", n, text=f"`{POISONED + n}` `{POISONED}`") for n in (1, 2)], 0),
        ([alert("State store unreachable", n) for n in (1, 2)], 1),
        (
            [
                alert(f"State store {word}", n)
                for n, word in enumerate(("unreachable", "reachable again") * 2)
            ],
            0,
        ),
    ],
    ids=[
        "two openings",
        "one alert twice",
        "open already",
        "no opening",
        "one run twice",
        "two of a run",
        "withheld twice",
        "withheld once",
        "parked twice",
        "more parked",
        "away twice",
        "away again",
    ],
)
def test_an_alert_told_twice_is_named(messages: list[ModLogMessage], faults: int) -> None:
    """By its id, by its run, or because nothing has changed since it was told."""
    assert len(judging.doubled_alerts(messages)) == faults


def test_an_interruption_that_nobody_heard_of_is_named() -> None:
    """A run that was cut off needs its alert, unless it had asked the site for nothing yet."""
    messages = [run(A, "interrupted", 0), run(B, "finished", 5)]
    told = alert("Sync was interrupted", 3, run_id=A)

    assert lost([*messages, told]) == []
    assert lost(messages) == [f"no alert tells that run {A} was interrupted"]
    assert lost(messages, B) == []


def test_the_first_failure_must_be_told() -> None:
    """Others of the same reason are not news, until a run has ended well."""
    told = alert("Sync of roles and users failed", 1.5, run_id=A)
    messages = [run(A, "failed", 0), run(B, "failed", 5), run(C, "finished", 9)]
    again = run(D, "failed", 20)

    assert lost([*messages, told]) == []
    assert lost([*messages, told, again]) == [f"no alert tells that run {D} failed"]
    assert lost(messages) == [f"no alert tells that run {A} failed"]


def test_an_opening_must_be_told() -> None:
    """Three bad runs in a row open the breaker; a good one between them starts the count anew."""
    first = alert("Sync of roles and users failed", 1.5, run_id=A)
    bad = [first, run(A, "failed", 0), run(B, "failed", 2), run(C, "failed", 4)]
    broken = [first, run(A, "failed", 0), run(B, "finished", 2), run(C, "failed", 4)]
    named = alert("Sync of roles and users failed", 5, run_id=C)

    assert lost([*bad, OPENED]) == []
    assert lost(bad) == [f"no alert tells that runs {A}, {B}, {C} opened the breaker"]
    assert lost([*broken, named, run(D, "failed", 6)]) == []


def test_a_probe_must_be_told_whichever_way_it_ends() -> None:
    """The first bad one of an opening, and the good one; alike ones between them are no news."""
    failed = [run(D, "failed", 12, probe=True), run(E, "failed", 15, probe=True)]
    well = [run(B, "finished", 20, probe=True), alert("Sync recovered", 21, run_id=B)]
    told = alert("Sync probe failed", 13, run_id=D)

    assert lost([OPENED, *failed, *well, told]) == []
    assert lost([OPENED, *failed, *well]) == [
        f"no alert tells that run {D} failed",
        "1 openings had bad probes, and 0 alerts tell of any",
    ]
    assert lost([OPENED, *well[:1]]) == [f"no alert tells that probe {B} was verified"]


def test_poisoned_rows_and_a_store_that_was_away_must_be_told() -> None:
    """The harness knows of both without asking anybody."""
    parked = alert("Rows parked", 1, text=f"<@{POISONED}> `{POISONED}`: no")
    away = [alert("State store unreachable", 2), alert("State store reachable again", 3)]

    assert lost([parked, *away], poisoned=[POISONED], store_was_away=True) == []
    assert lost([], poisoned=[POISONED], store_was_away=True) == [
        f"no alert tells that row {POISONED} was parked",
        "no alert 'State store unreachable'",
        "no alert 'State store reachable again'",
    ]


# -- rows -----------------------------------------------------------------------------------------


def test_only_parked_rows_may_differ() -> None:
    """A difference of any other row is a lost one; roles are never parked."""
    rows = [
        Difference(what=what, id=id_, field="name", site="a", guild="b")
        for what, id_ in (("user", 1), ("user", 2), ("role", 1))
    ]

    assert judging.lost_rows(rows, [1]) == [
        "user 2: name is 'a' on the site and 'b' in the guild",
        "role 1: name is 'a' on the site and 'b' in the guild",
    ]


def test_exactly_the_poisoned_rows_may_be_parked() -> None:
    """Neither may a good row be parked, nor a bad one be left."""
    assert judging.misparked({1, 2}, {1, 2}) == []
    assert judging.misparked({1, 3}, {1, 2}) == [
        "row 3 was parked and is well",
        "row 2 is poisoned and was not parked",
    ]
