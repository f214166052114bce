"""Texts about runs that have ended, and about what people have done to one."""

import re
from dataclasses import replace

import pytest

from bot.exts.backend.sync._cog import Sync
from bot.exts.backend.sync._core.messages import alert, report, usage
from bot.exts.backend.sync._core.messages.buttons import Action, Button
from bot.exts.backend.sync._core.messages.marks import Mark, mark_of
from bot.exts.backend.sync._core.messages.notice import Notice, Tone
from bot.exts.backend.sync._core.messages.progress import Phase
from bot.exts.backend.sync._core.messages.report import ended_late
from bot.exts.backend.sync._core.messages.status import history, past
from bot.exts.backend.sync._core.policy.breaker import AttemptEnding
from bot.exts.backend.sync._core.policy.pace import Tuning
from tests.bot.exts.backend.sync.state.examples import ATTEMPT, PAST, VIEW

URL = "https://discord.com/channels/1/2/3"


class TestARunThatHasEnded:
    """What `!sync history` and the Details button tell."""

    def test_in_full(self) -> None:
        """All figures that are kept, with the reason of a failure and the curve of its requests."""
        notice = past(PAST)

        assert notice == Notice(
            title="Run r1 has ended: failed",
            description="It synced users.",
            tone=Tone.WARNING,
            fields=(
                ("Trigger", "at start-up"),
                ("Began", "<t:1610452800:R>, took 60 s"),
                ("Users", "1 created, 2 updated, 3 left, of 9 changes"),
                ("Requests", "8"),
                ("Latency", "`▁█` at most 30.00 s a request"),
                ("Parked", "2 rejected by the site"),
                ("Departures withheld", "6"),
                ("Reason", "500"),
            ),
            footer="run r1",
        )

    def test_in_short(self) -> None:
        """One in which nothing happened has no lines about it, and is green if all is well."""
        notice = past(
            replace(
                PAST, parked=0, withheld=0, reason="", curve=(), ending=AttemptEnding.VERIFIED.value
            )
        )

        assert [name for name, _ in notice.fields] == ["Trigger", "Began", "Users", "Requests"]
        assert notice.tone is Tone.GOOD

    def test_among_the_latest(self) -> None:
        """The latest first, ten at most; where there is none, that is said."""
        runs = [replace(PAST, run_id=f"r{number}") for number in range(12)]
        notice = history(runs)

        lines = notice.description.splitlines()
        assert [line[:5] for line in lines[:3]] == ["`r11`", "`r10`", "`r9` "]
        assert lines[0] == (
            "`r11` <t:1610452800:R>: **failed** after 60 s, 6 of 9 changes of users, at start-up"
        )
        assert len(lines) == 11
        assert history([]).title == "No run has ended yet"


class TestTheMessageOfAnInterruptedRun:
    """It names the run that followed it, as soon as there is one."""

    NOTICE = ended_late(what="users", run_id="r1", attempt=ATTEMPT, past=None)

    def test_waits_for_a_link_until_it_has_one(self) -> None:
        """Also over restarts: its own text tells."""
        linked = report.followed(self.NOTICE, run_id="r2", url=URL)

        assert mark_of(self.NOTICE.title, self.NOTICE.footer) is Mark.INTERRUPTED
        assert linked.description.endswith(f"\nFollowed by run `r2`: {URL}")
        assert mark_of(linked.title, linked.footer) is None
        assert linked.footer == "run r1"


def test_a_message_that_is_followed_by_a_newer_one_links_to_it() -> None:
    """And does not look as if its run were on, which would betray a lost store later."""
    notice = report.rolled(VIEW, url=URL)

    assert [notice.title, notice.buttons] == ["Sync of users continues below", ()]
    assert URL in notice.description


def test_who_pressed_what() -> None:
    """The line below a notice names the person, the button and what came of it."""
    button = Button(action=Action.RESET)

    assert report.pressed_by("<@1>", button, "It is closed.") == (
        "*<@1> pressed Reset.* It is closed."
    )


@pytest.mark.parametrize(
    ("tuning", "words"),
    [
        (Tuning(target_s=2.0), "2 s a request is the target"),
        (Tuning(max_items=1500), "at most 1,500 rows a request"),
        (
            Tuning(target_s=0.25, max_items=10),
            "0.25 s a request is the target, at most 10 rows a request",
        ),
    ],
)
def test_who_has_set_what(tuning: Tuning, words: str) -> None:
    """It stands in the run's message for as long as it holds."""
    assert report.tuned("<@1>", tuning) == f"Set by <@1>: {words}."


def test_a_site_that_answers_in_time_is_not_called_slow() -> None:
    """The bound is twice the target, where the pace halves; and only of writes."""
    view = replace(VIEW, ending=None, phase=Phase.USERS, target_s=0.5)

    def slow(seconds: float, phase: Phase = Phase.USERS) -> bool:
        shown = report.render(replace(view, request_s=seconds, phase=phase))
        return "The site is slow" in shown.description

    assert [slow(1.0), slow(1.01), slow(9.0, Phase.VERIFYING)] == [False, True, False]


def test_of_two_bots_each_says_which_one_it_is() -> None:
    """Both have the same name and picture; what differs is where they keep their state."""
    assert alert.whose("sqlite:///other") == (
        "Another bot also syncs this server. This one keeps its state in `sqlite:///other`."
    )


def test_help_lists_each_command_once() -> None:
    """A new command that help does not know is not found by those who need it."""
    lines = [line for _, lines in usage.overview().fields for line in lines.splitlines()]
    listed = [re.sub(r" [\[<].*", "", line.split("`")[1]) for line in lines]
    known = {command.qualified_name for command in Sync.__cog_commands__}

    tuned = {"!sync set target", "!sync set max-items"}
    assert len(set(listed)) == len(listed)
    assert {name.removeprefix("!") for name in {*listed} - tuned} == known - {
        "sync",
        "sync set",
        "sync help",
    }
