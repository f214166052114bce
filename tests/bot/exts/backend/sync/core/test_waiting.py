"""The ids that wait to be sent: as what, in which order, how many."""

import pytest

from bot.exts.backend.sync._core.model.changes import Kind
from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.plan.waiting import Claim, Waiting

from .examples import user_ids

ADA, EVE, JOE = user_ids(1, 2, 3)


def shown(waiting: Waiting) -> dict[Kind, tuple[int, ...]]:
    """Take all that waits, and return it by kind."""
    return {taken.kind: taken.ids for taken in waiting.take_all()}


def waiting_for(*events: str, limit: int = 100) -> Waiting:
    """Return what waits after these events of Ada, a second apart from 0 on."""
    waiting = Waiting(limit=limit)
    for now, event in enumerate(events):
        match event:
            case "changed":
                waiting.changed((ADA,), now=now)
            case "joined":
                waiting.joined(ADA, now=now)
            case "run began":
                waiting.run_began()
            case "run ended":
                waiting.run_ended()
            case _:
                waiting.left(ADA, now=now)
    return waiting


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ((), None),
        (("changed",), Kind.UPDATE),
        (("joined",), Kind.CREATE),
        (("left",), Kind.DEPARTURE),
        (("joined", "changed"), Kind.CREATE),
        (("left", "changed"), Kind.DEPARTURE),
        (("changed", "left"), Kind.DEPARTURE),
        (("left", "joined"), Kind.CREATE),
        (("changed", "joined"), Kind.CREATE),
        # The site has no row for them, or one that says they are gone.
        (("joined", "left"), None),
        (("joined", "changed", "left"), None),
        # The site may have a row that says they are there.
        (("left", "joined", "left"), Kind.DEPARTURE),
        (("changed", "joined", "left"), Kind.DEPARTURE),
        # A full sync creates whoever it finds, also of those who wait.
        (("joined", "run began", "left"), Kind.DEPARTURE),
        (("run began", "joined", "left"), Kind.DEPARTURE),
        (("run began", "joined", "run ended", "left"), Kind.DEPARTURE),
        (("run began", "run ended", "joined", "left"), None),
    ],
)
def test_an_id_waits_once_as_what_its_events_make_it(
    events: tuple[str, ...], kind: Kind | None
) -> None:
    """However often it changes, one request of one kind brings it."""
    waiting = waiting_for(*events)

    assert (waiting.kind_of(ADA), len(waiting)) == (kind, 0 if kind is None else 1)
    assert [waiting.count(each) for each in Kind] == [int(each is kind) for each in Kind]
    assert waiting.most == len(waiting)
    assert shown(waiting) == ({} if kind is None else {kind: (ADA,)})


@pytest.mark.parametrize("first", ["changed", "left"])
def test_who_joins_while_on_their_way_is_known_to_the_site(first: str) -> None:
    """What is under way may have made a row, or left one: leaving again has to be told."""
    waiting = waiting_for(first)
    (taken,) = waiting.take_all()
    waiting.joined(ADA, now=5)
    waiting.left(ADA, now=6)

    assert waiting.kind_of(ADA) is Kind.DEPARTURE
    waiting.done(taken)
    assert waiting.unsettled == {ADA}


def test_whoever_is_being_written_by_others_is_known_to_the_site() -> None:
    """Somebody joined, a moderator synced them, they left: their row has to say so."""
    waiting = waiting_for("joined")
    waiting.written((ADA,))
    waiting.left(ADA, now=6)

    assert waiting.kind_of(ADA) is Kind.DEPARTURE


def test_the_kind_that_has_waited_longest_is_next() -> None:
    """Neither many updates nor an endless stream of joins keeps another kind waiting."""
    waiting = Waiting(limit=100)
    waiting.left(JOE, now=1)
    waiting.changed((ADA,), now=2)
    waiting.joined(EVE, now=3)

    order = []
    while (kind := waiting.next()) is not None:
        order.append((kind, waiting.take(kind, 1).ids))
    assert order == [
        (Kind.DEPARTURE, (JOE,)),
        (Kind.UPDATE, (ADA,)),
        (Kind.CREATE, (EVE,)),
    ]


def test_the_oldest_is_known_wherever_it_is() -> None:
    """Of whichever kind, also on its way, and again once it is put back; none waits at first."""
    waiting = Waiting(limit=10)
    before = waiting.oldest_since
    waiting.left(EVE, now=1.0)
    waiting.changed((ADA, JOE), now=2.0)
    taken = waiting.take(Kind.DEPARTURE, 1)
    on_its_way = waiting.oldest_since
    waiting.put_back(taken)
    put_back = waiting.oldest_since
    waiting.done(waiting.take(Kind.DEPARTURE, 1))

    assert (before, on_its_way, put_back, waiting.oldest_since) == (None, 1.0, 1.0, 2.0)


def test_the_kind_of_which_most_wait_counts() -> None:
    """One request is of one kind: how many it would hold is what makes a run of it."""
    waiting = Waiting(limit=100)
    waiting.changed((ADA, EVE), now=0)
    waiting.left(JOE, now=0)

    assert (waiting.most, len(waiting)) == (2, 3)


def test_the_oldest_are_taken_first_and_a_second_mark_does_not_move_them() -> None:
    """An id that changes all the time is sent in its turn all the same."""
    waiting = Waiting(limit=100)
    for now, id_ in enumerate((JOE, ADA, JOE, EVE)):
        waiting.changed((id_,), now=now)

    taken = waiting.take(Kind.UPDATE, 2)
    assert (taken.ids, dict(taken.since)) == ((JOE, ADA), {JOE: 0, ADA: 1})
    assert (waiting.count(Kind.UPDATE), waiting.unsettled) == (1, frozenset({ADA, EVE, JOE}))


def put_back(events: tuple[str, ...], meanwhile: tuple[str, ...]) -> dict[Kind, tuple[int, ...]]:
    """Return what waits after what was taken failed, while more happened."""
    waiting = waiting_for(*events)
    (taken,) = waiting.take_all()
    for event in meanwhile:
        if event == "joined":
            waiting.joined(ADA, now=9)
        elif event == "left":
            waiting.left(ADA, now=9)
        else:
            waiting.changed((ADA,), now=9)
    assert waiting.put_back(taken)
    assert waiting.unsettled <= {ADA}
    return shown(waiting)


@pytest.mark.parametrize(
    ("events", "meanwhile", "kind"),
    [
        (("changed",), (), Kind.UPDATE),
        (("changed",), ("changed",), Kind.UPDATE),
        (("changed",), ("left",), Kind.DEPARTURE),
        (("joined",), (), Kind.CREATE),
        (("joined",), ("left",), Kind.DEPARTURE),
        (("left",), (), Kind.DEPARTURE),
        (("left",), ("joined",), Kind.CREATE),
        (("left",), ("joined", "left"), Kind.DEPARTURE),
        (("left",), ("changed",), Kind.UPDATE),
    ],
)
def test_what_failed_waits_again_unless_newer_events_say_otherwise(
    events: tuple[str, ...], meanwhile: tuple[str, ...], kind: Kind
) -> None:
    """An older reason never takes the place of a newer one."""
    assert put_back(events, meanwhile) == {kind: (ADA,)}


def test_what_failed_goes_before_what_came_after_it() -> None:
    """It has waited longest."""
    waiting = Waiting(limit=100)
    waiting.changed((ADA,), now=0)
    taken = waiting.take(Kind.UPDATE, 1)
    waiting.changed((EVE,), now=1)
    waiting.put_back(taken)

    assert waiting.take(Kind.UPDATE, 1).ids == (ADA,)


def test_whoever_failed_to_be_created_is_not_new_any_more() -> None:
    """The request may have been applied without an answer: leaving has to be told."""
    waiting = waiting_for("joined")
    (taken,) = waiting.take_all()
    waiting.put_back(taken)
    waiting.left(ADA, now=9)

    assert waiting.kind_of(ADA) is Kind.DEPARTURE


@pytest.mark.parametrize("last", ["changed", "joined", "left", "put back"])
def test_more_than_the_limit_are_forgotten_at_once(last: str) -> None:
    """A full sync covers them better; it is for the caller to ask for it."""
    waiting = Waiting(limit=2)
    assert waiting.changed((JOE,), now=0)
    taken = waiting.take(Kind.UPDATE, 1)
    assert waiting.changed((ADA, EVE), now=1)
    (further,) = user_ids(4)
    all_wait = {
        "changed": lambda: waiting.changed((further,), now=2),
        "joined": lambda: waiting.joined(further, now=2),
        "left": lambda: waiting.left(further, now=2),
        "put back": lambda: waiting.put_back(taken),
    }[last]()

    assert (all_wait, len(waiting), waiting.next()) == (False, 0, None)
    assert waiting.changed((ADA,), now=3)


def test_a_full_sync_settles_all_but_departures_and_what_came_meanwhile() -> None:
    """Rows that were compared and found right need nothing; withheld departures still do."""
    waiting = Waiting(limit=100)
    ids = user_ids(*range(1, 7))
    for id_ in ids[:2]:
        waiting.changed((id_,), now=0)
    for id_ in ids[2:4]:
        waiting.joined(id_, now=0)
    for id_ in ids[4:]:
        waiting.left(id_, now=0)
    waiting.settle(but={ids[1], ids[3]})

    waiting.left(ids[3], now=1)  # still new to the site
    assert shown(waiting) == {Kind.UPDATE: (ids[1],), Kind.DEPARTURE: ids[4:]}


@pytest.mark.parametrize(
    ("kind", "asked"), [(Kind.CREATE, [1]), (Kind.UPDATE, [1]), (Kind.DEPARTURE, [])]
)
def test_discord_is_asked_about_those_of_whom_nothing_is_known(
    kind: Kind, asked: list[int]
) -> None:
    """Not about who is there, and not about who was seen leaving."""
    waiting = Waiting(limit=100)
    waiting.left(EVE, now=0)

    assert waiting.unknown((JOE, EVE, ADA), kind=kind, present={JOE}) == asked


def test_two_lots_on_their_way_are_told_apart() -> None:
    """They may hold the same ids: each ends by itself."""
    waiting = waiting_for("changed")
    first = waiting.take(Kind.UPDATE, 1)
    waiting.changed((ADA,), now=0)
    second = waiting.take(Kind.UPDATE, 1)
    waiting.done(second)

    assert (isinstance(first, Claim), waiting.unsettled) == (True, frozenset({ADA}))
    waiting.done(first)
    assert waiting.unsettled == frozenset()


@pytest.mark.parametrize(("in_order", "waits"), [(True, None), (False, Kind.DEPARTURE)])
def test_whose_join_may_be_heard_late_may_be_a_row(*, in_order: bool, waits: Kind | None) -> None:
    """A sync that reads members by REST writes them before the gateway tells of their joining."""
    waiting = Waiting(limit=100, in_order=in_order)
    waiting.run_began()
    waiting.run_ended()
    waiting.joined(ADA, now=1.0)
    waiting.left(ADA, now=2.0)

    assert waiting.kind_of(ADA) is waits


def test_who_was_created_waits_as_long_as_since_they_joined() -> None:
    """A row that was there before has not been written; who left meanwhile is not updated."""
    waiting = Waiting(limit=100)
    for id_ in (ADA, EVE, JOE):
        waiting.joined(id_, now=id_)
    taken = waiting.take(Kind.CREATE, 10)
    waiting.left(EVE, now=5)
    waiting.changed((UserId(9),), now=6)
    assert waiting.created(taken, (ADA, EVE))
    again = waiting.take(Kind.UPDATE, 10)

    assert again.since == {ADA: 1, UserId(9): 6}
    assert waiting.next() is Kind.DEPARTURE
