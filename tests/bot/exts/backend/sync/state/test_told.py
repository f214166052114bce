"""What people are told: what happened, what it means and what comes next."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.messages import alert
from bot.exts.backend.sync._core.messages.notice import MAX_DESCRIPTION, MAX_TITLE, Tone
from bot.exts.backend.sync._core.messages.progress import Ending, RunView
from bot.exts.backend.sync._core.messages.report import ended_late
from bot.exts.backend.sync._core.messages.status import breaker as breaker_status
from bot.exts.backend.sync._core.messages.status import parked_list, status
from bot.exts.backend.sync._core.plan.drift import Drift
from bot.exts.backend.sync._core.policy.attempt import Attempt
from bot.exts.backend.sync._core.policy.breaker import Breaker, BreakerState
from bot.exts.backend.sync._core.policy.memory import CrashMemory
from bot.exts.backend.sync._core.policy.schedule import next_start
from bot.exts.backend.sync._core.policy.state import Pause, State
from tests.bot.exts.backend.sync.breaker.examples import BY_HAND, HALF_OPEN, OPEN
from tests.bot.exts.backend.sync.state.examples import ATTEMPT, PAST, VIEW
from tests.bot.exts.backend.sync.state.notices import all_notices, record

NOW: Final = datetime(2021, 1, 12, 12, tzinfo=UTC)
HOSTILE: Final = "@everyone <@1> **b** `c` \u202e\n" * 40


@given(st.one_of(st.text(max_size=3000), st.just(HOSTILE)))
def test_no_text_breaks_a_notice(text: str) -> None:
    """Whatever the site or a name says, limits hold and nobody is mentioned by it."""
    for notice in all_notices(text):
        assert len(notice.title) <= MAX_TITLE
        assert len(notice.description) <= MAX_DESCRIPTION
        assert "@everyone" not in notice.description


def test_every_alert_that_pings_says_what_comes_next() -> None:
    """Who is woken at 3 a.m. need not ask what happens now, but where all is well again."""
    silent = {"Sync recovered", "State store needs attention"}
    pinging = {n.title: n for n in all_notices("text") if n.ping and n.title not in silent}

    assert pinging
    assert [title for title, n in pinging.items() if "**Next:**" not in n.description] == []


CLOSED_RETRY: Final = Breaker(failures=1, retry_at=NOW + timedelta(minutes=1), reason="500")


@pytest.mark.parametrize(
    ("breaker", "text"),
    [
        (Breaker(), "**Next:** it runs again at the next start, or with `!sync all`."),
        (CLOSED_RETRY, "**Next:** it is tried again <t:1610452860:R>."),
        (OPEN, "**Next:** the breaker is open; the site is tried again <t:1610453700:R>."),
        (BY_HAND, "**Next:** nothing until someone resets the breaker, which was opened by hand."),
    ],
)
def test_a_failed_run_says_what_comes_next(breaker: Breaker, text: str) -> None:
    """The end of each failed run's message follows from the breaker."""
    assert alert.next_step(breaker) == text


@pytest.mark.parametrize(
    ("breaker", "wanted", "paused", "due"),
    [
        (Breaker(), False, False, None),
        (Breaker(), True, False, NOW),
        (Breaker(), True, True, None),
        (CLOSED_RETRY, False, False, CLOSED_RETRY.retry_at),
        (CLOSED_RETRY, True, False, CLOSED_RETRY.retry_at),
        (replace(CLOSED_RETRY, retry_at=NOW), False, False, NOW),
        (OPEN, False, False, OPEN.retry_at),
        (OPEN, False, True, None),
        (replace(OPEN, retry_at=NOW), False, False, NOW),
        (BY_HAND, True, False, None),
        (HALF_OPEN, True, False, None),
    ],
)
def test_when_a_sync_starts_by_itself(
    breaker: Breaker, *, wanted: bool, paused: bool, due: datetime | None
) -> None:
    """Retries and probes come by themselves, each in its time, and none during a pause."""
    assert next_start(breaker, wanted=wanted, paused=paused, now=NOW) == due


class TestTheMessageThatAKillLeftOpen:
    """The next start lets it say the truth."""

    @staticmethod
    def text(attempt: Attempt | None, **past: object) -> str:
        run = replace(PAST, **past) if past else None  # type: ignore[arg-type]  # its fields
        notice = ended_late(what="users", run_id="r1", attempt=attempt, past=run)
        return f"{notice.title} | {notice.description} | {notice.footer}"

    def test_of_a_known_attempt(self) -> None:
        """How far it was known to be."""
        assert self.text(ATTEMPT) == (
            "Sync of users interrupted | Interrupted after at least **1** of **2** changes: "
            "the bot stopped in the middle of it.\n"
            "What was written stays; the next sync picks up the rest. | run r1 · interrupted"
        )

    def test_of_an_unknown_one(self) -> None:
        """No figures are made up."""
        assert "| Interrupted: the bot stopped" in self.text(None)
        unknown = "| Interrupted before its progress was recorded: the bot stopped"
        assert unknown in self.text(replace(ATTEMPT, planned=0))

    def test_of_one_that_had_ended(self) -> None:
        """Only its last message was missing."""
        assert self.text(None, ending="verified").startswith(
            "Sync of users finished | It ended <t:1610452860:R>: verified.\n"
            "**6** of **9** changes were written."
        )
        assert self.text(None, ending="failed", planned=0) == (
            "Sync of users failed | It ended <t:1610452860:R>: failed. | run r1"
        )


class TestStatus:
    """`!sync status` tells all that holds a sync back."""

    @staticmethod
    def fields(
        state: State,
        view: RunView | None = VIEW,
        *,
        trouble: str | None = None,
        mod_log: str | None = None,
        figure: int = 0,
    ) -> dict[str, str]:
        notice = status(
            state,
            view,
            waiting=figure,
            parked=figure,
            max_items=1000,
            trouble=trouble,
            drift=Drift(at=NOW, rows=figure) if figure else None,
            mod_log=mod_log,
        )
        shown = {"Users", "Parked: 2 rejected by the site", "Departures withheld: 6"}
        return {name: text for name, text in notice.fields if name not in shown}

    def test_of_nothing(self) -> None:
        """A bot that has just started says so, and raises no doubts."""
        notice = status(
            State(), None, waiting=0, parked=0, max_items=1000, trouble=None, drift=None
        )

        assert [notice.description, notice.fields] == [
            "No sync has run since the bot started.",
            (),
        ]

    def test_of_everything(self) -> None:
        """Each line has its reason."""
        state = State(breaker=OPEN, pause=Pause(by="<@1>", at=NOW), memory=CrashMemory(ceiling=250))

        assert self.fields(state, trouble="its lease", mod_log="404_", figure=1234) == {
            "This bot": "can't write now: its lease",
            "Mod-log": "nothing can be posted there: 404\\_. Give the bot access to the channel "
            "`MOD_LOG_CHANNEL_ID`; its messages are kept and follow.",
            "Paused": "by <@1> <t:1610452800:R>",
            "Breaker": "open: 500; the site is tried <t:1610453700:R>",
            "Most rows a request": "250, since a sync was cut off",
            "Parked rows": "1,234",
            "Live changes waiting": "1,234",
            "Drift": "1,234 rows at the last check, <t:1610452800:R>",
        }

    @pytest.mark.parametrize(
        ("breaker", "text"),
        [
            (HALF_OPEN, "half-open: run `r` probes the site"),
            (BY_HAND, "opened by Ada, until a reset. a move"),
            (
                CLOSED_RETRY,
                "closed after 1 failure (500); tried again <t:1610452860:R>",
            ),
        ],
    )
    def test_of_the_breaker(self, breaker: Breaker, text: str) -> None:
        """Whatever it waits for is said."""
        assert self.fields(State(breaker=breaker)) == {"Breaker": text}

    def test_what_ended_well_is_yellow_where_something_waits(self) -> None:
        """Green means that nothing needs a look."""
        well = replace(VIEW, ending=Ending.VERIFIED, failure=None, parked=())
        well = replace(well, parked_roles=(), withheld=0)
        green = status(State(), well, waiting=0, parked=0, max_items=1000, trouble=None, drift=None)
        yellow = status(
            State(), well, waiting=1, parked=0, max_items=1000, trouble=None, drift=None
        )

        assert [green.tone, yellow.tone] == [Tone.GOOD, Tone.WARNING]


def test_an_empty_list_of_parked_rows_says_so() -> None:
    """No list is better than an empty one."""
    assert [parked_list([]).title, parked_list([record(1)]).title] == [
        "No row is parked",
        "Parked rows",
    ]


class TestTheBreaker:
    """What `!sync breaker` says of it."""

    @pytest.mark.parametrize(
        ("state", "trouble", "said", "pressable", "fields"),
        [
            (
                State(),
                None,
                (
                    "closed",
                    (
                        "It is closed: writes are allowed. No sync has failed since the last "
                        "verified one."
                    ),
                ),
                [],
                [],
            ),
            (
                State(breaker=CLOSED_RETRY),
                "the store is away",
                ("closed", "It is closed after 1 failure (500); tried again <t:1610452860:R>."),
                [],
                ["This bot"],
            ),
            (
                State(
                    breaker=Breaker(
                        state=BreakerState.OPEN, failures=3, retry_at=NOW, reason="500"
                    ),
                    pause=Pause(by="<@1>", at=NOW),
                ),
                None,
                ("open", "It is open: 500; the site is tried <t:1610452800:R>."),
                ["Probe now", "Reset"],
                ["Paused"],
            ),
            (
                State(breaker=Breaker(state=BreakerState.OPEN, opened_by="<@1>", reason="a move")),
                None,
                ("open", "It was opened by <@1>, until a reset. a move."),
                ["Reset"],
                [],
            ),
        ],
    )
    def test_in_each_state(
        self,
        state: State,
        trouble: str | None,
        said: tuple[str, str],
        pressable: list[str],
        fields: list[str],
    ) -> None:
        """Whether writes flow, why not, and what can be done about it."""
        notice = breaker_status(state, trouble=trouble)

        first = notice.description.splitlines()[0]
        assert (notice.title.removeprefix("Sync breaker: "), first) == said
        assert [button.label for button in notice.buttons] == pressable
        assert [name for name, _ in notice.fields] == fields
