"""What messages in mod-log say to the next start, whatever their titles say to people."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from bot.exts.backend.sync._core.messages import alert, marks
from bot.exts.backend.sync._core.messages.marks import Mark
from bot.exts.backend.sync._core.messages.notice import Notice, Tone
from bot.exts.backend.sync._core.messages.progress import Ending, Phase, RunView
from bot.exts.backend.sync._core.messages.report import render
from bot.exts.backend.sync._core.policy.breaker import (
    ForcedOpen,
    Opened,
    ProbeFailed,
    Recovered,
    Reset,
)
from bot.exts.backend.sync._core.policy.departures import Decision, Subject, decided, withheld
from tests.bot.exts.backend.sync.core.examples import NOW

LIST: Final = withheld(Subject.DEPARTURES, [7], total=9, run_id="r1", names={}, now=NOW)
VIEW: Final = RunView(
    run_id="r1", what="users", trigger="by hand", phase=Phase.USERS, started_at=NOW, now=NOW
)
LAST: Final = timedelta(hours=1)
OPENED: Final = Opened(until=NOW, failures=3, reason="500")


def of_list(what: Subject, decision: Decision) -> Notice:
    """Return what is said of a decision."""
    list_ = withheld(what, [7], total=9, run_id="r1", names={}, now=NOW)
    return alert.decided(decided(list_, decision, by="<@1>", now=NOW)).notice


@pytest.mark.parametrize(
    ("notice", "mark"),
    [
        (render(VIEW), Mark.LIVE),
        (render(replace(VIEW, ending=Ending.VERIFIED)), None),
        (render(replace(VIEW, ending=Ending.FAILED)), None),
        (alert.paused("<@1>", since=NOW), Mark.PAUSED),
        (alert.resumed("<@1>", lasted=LAST), Mark.RESUMED),
        (alert.withheld(LIST).notice, None),
        (of_list(Subject.DEPARTURES, Decision.REJECTED), Mark.DEPARTURES_REJECTED),
        (of_list(Subject.DEPARTURES, Decision.APPROVED), Mark.DEPARTURES_APPROVED),
        (of_list(Subject.ROLE_DELETIONS, Decision.REJECTED), Mark.ROLE_DELETIONS_REJECTED),
        (of_list(Subject.ROLE_DELETIONS, Decision.APPROVED), Mark.ROLE_DELETIONS_APPROVED),
        (alert.opened(OPENED, refused=False), Mark.BREAKER_OPEN),
        (alert.opened(OPENED, refused=True), Mark.BREAKER_OPEN),
        (
            alert.probe_failed(ProbeFailed(until=NOW, reason="500", failures=4)),
            Mark.BREAKER_OPEN,
        ),
        (alert.forced_open(ForcedOpen(by="<@1>", reason="")), Mark.BREAKER_HELD),
        (alert.recovered(Recovered(opened_at=NOW, lasted=LAST)), Mark.BREAKER_CLOSED),
        (alert.reset(Reset(by="<@1>")), Mark.BREAKER_CLOSED),
    ],
)
def test_each_message_that_matters_bears_its_mark(notice: Notice, mark: Mark | None) -> None:
    """In its footer, also beside the ids of a run and of an alert, and with any title."""
    assert marks.mark_of("Something else", notice.footer) is mark
    assert marks.mark_of("Something else", f"{notice.footer} · alert 1a2b3c") is mark


def test_a_mark_stays_where_a_run_is_named_later() -> None:
    """The notice of a breaker's opening does not know which run it was."""
    notice = alert.about_run(alert.reset(Reset(by="<@1>")), "r7")

    assert notice.footer == "run r7 · breaker closed"
    assert marks.run_of(notice.footer) == "r7"


@pytest.mark.parametrize(
    ("title", "mark"),
    [
        ("Syncing users", Mark.LIVE),
        ("Sync breaker opened by hand", Mark.BREAKER_HELD),
        ("Sync is paused", Mark.PAUSED),
        ("Sync of users finished", None),
        ("", None),
    ],
)
def test_the_messages_of_version_0_1_0_are_known_by_their_titles(
    title: str, mark: Mark | None
) -> None:
    """They bear no marks."""
    assert marks.mark_of(title, "run r1 · alert 1a2b3c") is mark


def message(title: str, footer: str) -> Notice:
    """Return a message as far as it is looked at."""
    return Notice(title=title, description="", tone=Tone.RUNNING, footer=footer)


@pytest.mark.parametrize(
    ("newest_first", "held"),
    [
        ([], []),
        ([None], []),
        ([Mark.LIVE], [Mark.LIVE]),
        ([None, Mark.LIVE], [Mark.LIVE]),
        ([Mark.INTERRUPTED], []),
        ([Mark.BREAKER_OPEN], [Mark.BREAKER_OPEN]),
        ([Mark.BREAKER_HELD, Mark.BREAKER_OPEN], [Mark.BREAKER_HELD]),
        ([Mark.BREAKER_CLOSED, Mark.BREAKER_OPEN], []),
        ([Mark.BREAKER_OPEN, Mark.BREAKER_CLOSED], [Mark.BREAKER_OPEN]),
        ([Mark.BREAKER_CLOSED, Mark.BREAKER_OPEN, Mark.LIVE], [Mark.LIVE]),
        ([Mark.PAUSED], [Mark.PAUSED]),
        ([Mark.RESUMED, Mark.PAUSED], []),
        ([Mark.BREAKER_CLOSED, Mark.PAUSED], [Mark.PAUSED]),
        ([Mark.DEPARTURES_REJECTED], [Mark.DEPARTURES_REJECTED]),
        ([Mark.DEPARTURES_APPROVED, Mark.DEPARTURES_REJECTED], []),
        (
            [Mark.DEPARTURES_APPROVED, Mark.ROLE_DELETIONS_REJECTED],
            [Mark.ROLE_DELETIONS_REJECTED],
        ),
    ],
)
def test_mod_log_shows_what_a_store_would_have_to_know(
    newest_first: list[Mark | None], held: list[Mark]
) -> None:
    """Of each thing its newest message says whether it holds."""
    told = [message("", "alert 1" if one is None else f"{one} · alert 1") for one in newest_first]

    assert marks.holding(told) == frozenset(held)


def test_what_people_and_the_site_write_is_no_mark() -> None:
    """Only a whole part of a footer counts, and footers hold nothing of theirs."""
    assert marks.mark_of("live", "run r1live") is None
    assert marks.run_of("alert 1") == ""
    assert marks.without_mark("run r1 · interrupted · alert 1") == "run r1 · alert 1"


@pytest.mark.parametrize("ending", [None, *Ending])
def test_a_runs_message_shows_which_run_it_is(ending: Ending | None) -> None:
    """While it is on, and when it has ended."""
    shown = render(replace(VIEW, run_id="0a1b2c3d", ending=ending))
    assert marks.run_shown(shown.footer) == "0a1b2c3d"


@pytest.mark.parametrize("footer", ["", "run 0a1b2c3d", "run 0a1b2c3d · breaker open"])
def test_an_alert_shows_no_run(footer: str) -> None:
    """It may be posted days after the run that it tells of."""
    told = marks.alert_footer(footer, "00ff")
    assert marks.run_shown(told) == ""
    assert told.endswith("alert 00ff")
    assert marks.run_of(told) == ("0a1b2c3d" if footer else "")


@pytest.mark.parametrize("footer", ["run 12", "run `@everyone`", "run 0A1B2C3D", "run 0a1b2c3d "])
def test_what_another_program_calls_a_run_is_none_of_ours(footer: str) -> None:
    """Any bot may write in mod-log, whatever it likes."""
    assert marks.run_shown(footer) == ""
