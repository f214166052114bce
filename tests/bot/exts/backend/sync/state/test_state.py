"""What outlives the process moves as one: attempt, breaker, crash memory, pause, what was told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeAlias

import pytest

from bot.exts.backend.sync._core.messages.alert import in_words, source_unproven
from bot.exts.backend.sync._core.messages.notice import Notice, Tone
from bot.exts.backend.sync._core.policy import state as s
from bot.exts.backend.sync._core.policy.attempt import Attempt
from bot.exts.backend.sync._core.policy.breaker import (
    AttemptEnding,
    Breaker,
    BreakerState,
    Start,
)
from bot.exts.backend.sync._core.policy.memory import CrashMemory
from bot.exts.backend.sync._core.policy.news import Told, Topic
from bot.exts.backend.sync._core.policy.state import (
    Moved,
    Pause,
    State,
    StateLimits,
)
from bot.exts.backend.sync._core.policy.sync_retries import BreakerLimits

NOW: Final = datetime(2021, 1, 12, 12, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
LIMITS: Final = StateLimits(breaker=BreakerLimits(), default_items=1000)
ATTEMPT: Final = Attempt(
    run_id="r1",
    what="roles and users",
    trigger="at start-up",
    full=True,
    probe=False,
    started_at=NOW,
    done=10,
    planned=80,
)
FAILURE: Final = Notice(title="Sync of users failed", description="It failed.", tone=Tone.BAD)


Shown: TypeAlias = tuple[State, tuple[Notice, ...]]


def told(moved: Moved) -> Shown:
    """Return a state, and what people read of what has happened."""
    state, news = moved
    return state, tuple(in_words(one.what, failure=FAILURE) for one in news)


def begun(
    state: State | None = None, *, start: Start = Start.AUTOMATIC, **changes: object
) -> State:
    """Return a state with an open attempt."""
    attempt = replace(ATTEMPT, **changes)  # type: ignore[arg-type]  # the tests name its fields
    return s.begun(state or State(), attempt, start=start, now=NOW)


def ended(state: State, ending: AttemptEnding, **further: object) -> Shown:
    """End the open attempt of a state."""
    return told(s.ended(state, ending, now=NOW, jitter=0.5, limits=LIMITS, **further))  # type: ignore[arg-type]


def loaded(state: State, *, own_run: str | None = None) -> Shown:
    """Load a state with the credentials of before."""
    moved = s.loaded(state, credentials="same", now=NOW, jitter=0.5, limits=LIMITS, own_run=own_run)
    return told(moved)


def fails(state: State, *, kind: str, now: datetime) -> Shown:
    """Let one more attempt fail at a moment."""
    state = begun(state, start=Start.FORCED)
    return told(
        s.ended(
            state, AttemptEnding.FAILED, now=now, jitter=0.5, limits=LIMITS, tells=True, kind=kind
        )
    )


def failed(times: int, *, reason: str = "500") -> tuple[State, list[str]]:
    """Let so many attempts in a row fail; return the state and the titles of what was told."""
    state, titles = State(), []
    for _ in range(times):
        state, notices = ended(
            begun(state, start=Start.FORCED),
            AttemptEnding.FAILED,
            reason=reason,
            tells=True,
            kind="FAILING 500",
        )
        titles += [notice.title for notice in notices]
    return state, titles


def test_an_attempt_that_ended_well_leaves_nothing() -> None:
    """A first verified full run is as if nothing had been, and nobody is told."""
    assert ended(begun(), AttemptEnding.VERIFIED) == (State(), ())


def test_the_same_failure_pings_once_until_the_breaker_opens() -> None:
    """Of three like failures the first and the opening are told, each with what comes next."""
    state, titles = failed(3)

    assert titles == ["Sync of users failed", "Sync breaker opened"]
    assert [state.breaker.state, state.breaker.failures] == [BreakerState.OPEN, 3]
    assert state.attempt is None


def test_a_failure_says_when_it_is_tried_again() -> None:
    """The alert ends with the retry that the breaker has scheduled."""
    state, (notice,) = ended(
        begun(), AttemptEnding.FAILED, reason="500", tells=True, kind="FAILING 500"
    )
    retry_at = NOW + MINUTE

    assert state.breaker.retry_at == retry_at
    assert notice.description == (
        f"It failed.\n**Next:** it is tried again <t:{int(retry_at.timestamp())}:R>."
    )


def test_another_failure_is_news() -> None:
    """Once for each change of reason, not once in all."""
    state, _ = failed(1)
    _, notices = ended(begun(state), AttemptEnding.FAILED, tells=True, kind="PROTOCOL")

    assert [notice.title for notice in notices] == ["Sync of users failed"]


def test_after_failures_the_first_good_run_says_so() -> None:
    """Whoever was pinged learns that it works again; after that, a failure is news once more."""
    state, _ = failed(1)

    state, notices = ended(begun(state), AttemptEnding.VERIFIED)

    assert [[notice.title for notice in notices], state] == [["Sync works again"], State()]


def test_a_verified_probe_closes_the_breaker_and_says_so() -> None:
    """One recovered notice, and none beside it."""
    state, _ = failed(3)

    state, notices = ended(begun(state, start=Start.FORCED), AttemptEnding.VERIFIED)

    assert [notice.title for notice in notices] == ["Sync recovered"]
    assert [state.breaker, set(state.told)] == [Breaker(), {Topic.BREAKER}]


def test_a_failed_probe_is_told_with_its_run() -> None:
    """The notice names the run, and stands in the place of the run's own alert."""
    state, _ = failed(3)

    _, notices = ended(
        begun(state, start=Start.FORCED), AttemptEnding.FAILED, reason="502", tells=True
    )

    assert [(notice.title, notice.footer) for notice in notices] == [
        ("Sync probe failed", "run r1 · breaker open")
    ]


def test_a_narrow_run_neither_resets_nor_tells() -> None:
    """Only a full run shows that the site is well."""
    state, _ = failed(2)

    assert ended(begun(state, full=False), AttemptEnding.VERIFIED) == (state, ())


def test_an_ending_without_an_attempt_changes_nothing() -> None:
    """What was never written down can't be struck off."""
    assert ended(State(), AttemptEnding.FAILED) == (State(), ())


def test_an_open_attempt_at_the_start_was_interrupted() -> None:
    """It counts as a failure, halves the ceiling, and is told with how far it was."""
    died = replace(begun(), memory=CrashMemory(largest=800))

    state, (notice,) = loaded(died)

    assert [state.attempt, state.breaker.failures, state.memory] == [
        None,
        1,
        CrashMemory(ceiling=400),
    ]
    assert notice.title == "Sync was interrupted"
    assert "was killed" in notice.description
    assert "after at least **10** of **80** changes" in notice.description
    assert notice.footer == "run r1"


def test_an_end_that_could_not_be_saved_is_not_called_a_death() -> None:
    """It counts all the same; people are sent to the store, not to what killed the bot."""
    state, (notice,) = loaded(begun(), own_run="r1")

    assert state.breaker.failures == 1
    assert "because the state store took nothing" in notice.description
    assert "killed" not in notice.description


def test_a_third_interruption_opens_the_breaker_before_anything_is_tried() -> None:
    """Three kills in a row end a restart loop, whoever restarts."""
    state, _ = failed(2)

    state, notices = loaded(begun(state, start=Start.FORCED))

    assert state.breaker.state is BreakerState.OPEN
    assert [notice.title for notice in notices] == ["Sync was interrupted", "Sync breaker opened"]


def test_a_half_open_breaker_without_its_attempt_counts_as_a_dead_probe() -> None:
    """However the two came apart, a breaker is never left half-open for good."""
    state, _ = failed(3)
    probing = replace(begun(state, start=Start.FORCED), attempt=None)

    state, notices = loaded(probing)

    assert [state.breaker.state, state.breaker.length] == [BreakerState.OPEN, 30 * MINUTE]
    assert [notice.title for notice in notices] == ["Sync probe failed"]


def test_nothing_open_at_the_start_is_nothing_to_tell() -> None:
    """A clean restart is silent."""
    assert loaded(State()) == (State(), ())


def test_a_lost_store_counts_as_an_open_breaker() -> None:
    """Nobody knows what it had counted, so the site is probed before anything is written."""
    state, (notice,) = told(
        s.lost(State(), where="x.db", why="it is empty", now=NOW, limits=LIMITS)
    )

    assert [state.breaker.state, state.breaker.retry_at] == [BreakerState.OPEN, NOW + 15 * MINUTE]
    assert [notice.title, notice.ping] == ["State store lost", True]


def test_a_lost_store_leaves_a_breaker_alone_that_was_opened_by_hand() -> None:
    """Mod-log has shown that it was, and nobody probes what a person has closed."""
    held, _ = told(s.opened_by_hand(State(), by="<@1>", reason="a move", now=NOW))
    state, (notice,) = told(s.lost(held, where="x.db", why="it is empty", now=NOW, limits=LIMITS))

    assert state.breaker == held.breaker
    assert "nothing until someone resets the breaker, which was, or" in notice.description


def test_what_a_person_may_have_ordered_holds_until_a_person_takes_it_back() -> None:
    """Its record can't be read, so nobody knows; a pause that can be read goes on as it was."""
    damaged = partial(
        s.lost, where="x.db", why="it is", now=NOW, limits=LIMITS, opened_by="?", paused_by="?"
    )
    held, notices = told(damaged(State()))
    paused, _ = told(s.paused(State(), by="<@1>", now=NOW))

    assert [held.breaker.opened_by, held.breaker.retry_at] == ["?", None]
    assert held.pause == s.Pause(by="?", at=NOW)
    assert [notice.title for notice in notices] == ["State store lost", "Sync is paused"]
    assert damaged(paused)[0].pause == paused.pause


def test_refused_credentials_of_a_live_write_open_the_breaker() -> None:
    """No attempt is needed to learn that the site does not know us any more."""
    state, (notice,) = told(
        s.refused_live(State(), credentials="hash", reason="401", now=NOW, limits=LIMITS)
    )

    assert [state.breaker.state, state.breaker.credentials] == [BreakerState.OPEN, "hash"]
    assert notice.title == "Sync breaker opened"


def test_a_breaker_opened_and_reset_by_hand_says_who() -> None:
    """Both orders are told, without a ping: somebody knows already."""
    state, (opening,) = told(s.opened_by_hand(State(), by="<@1>", reason="a move", now=NOW))
    closed, (closing,) = told(s.reset_by_hand(state, by="<@2>", now=NOW))

    assert [state.breaker.opened_by, closed.breaker] == ["<@1>", Breaker()]
    assert [opening.title, opening.ping, closing.title, closing.ping] == [
        "Sync breaker opened by hand",
        False,
        "Sync breaker reset",
        False,
    ]


def test_a_pause_holds_until_it_is_ended() -> None:
    """A second order changes nothing; what was told says who and, in the end, how long."""
    held, (telling,) = told(s.paused(State(), by="<@1>", now=NOW))
    again = told(s.paused(held, by="<@2>", now=NOW + MINUTE))
    free, (ending,) = told(s.resumed(held, by="<@3>", now=NOW + 2 * MINUTE))

    assert [held.pause, again, free.pause] == [Pause(by="<@1>", at=NOW), (held, ()), None]
    assert [telling.title, ending.title] == ["Sync is paused", "Sync resumed"]
    assert "<@3> ended the pause after 2 min" in ending.description
    assert told(s.resumed(free, by="<@3>", now=NOW)) == (free, ())


@pytest.mark.parametrize(
    ("passed", "titles"),
    [
        (timedelta(hours=23), []),
        (timedelta(hours=25), ["Sync is paused"]),
        (timedelta(hours=-1), ["Sync is paused"]),  # a clock that went back silences nothing
    ],
)
def test_a_pause_is_recalled_once_a_day(passed: timedelta, titles: list[str]) -> None:
    """Whoever forgot it is reminded, and nobody more than once a day."""
    held, _ = told(s.paused(State(), by="<@1>", now=NOW))

    state, notices = told(s.reminded(held, now=NOW + passed))

    assert [notice.title for notice in notices] == titles
    assert told(s.reminded(state, now=NOW + passed)) == (state, ())
    assert told(s.reminded(State(), now=NOW)) == (State(), ())


def test_an_order_to_open_the_breaker_is_recalled_once_a_day() -> None:
    """Nobody remembers after a week that it was opened for a move of hosts."""
    state, _ = told(s.opened_by_hand(State(), by="<@1>", reason="a move", now=NOW))
    day = timedelta(days=1)

    silent = told(s.reminded(state, now=NOW + day - MINUTE))[1]
    _, (again,) = told(s.reminded(state, now=NOW + day))

    assert [silent, again.title] == [(), "Sync breaker opened by hand"]
    assert "a move" in again.description


def test_a_member_list_that_is_whole_again_is_told_once() -> None:
    """And how long it was not; where nobody was told of trouble, nobody is told of its end."""
    state, _ = s.tell(State(), (source_unproven("20 of 30", run_id="r1"),), now=NOW)
    state, (notice,) = told(s.proven(state, now=NOW + timedelta(hours=2)))

    assert notice.title == "Member list complete again"
    assert "after 2 h" in notice.description
    assert told(s.proven(state, now=NOW)) == (state, ())


def test_the_same_kind_of_failure_pings_once_whatever_its_words() -> None:
    """A latency in the reason is another at each probe, and no news."""
    state, now = State(), NOW
    titles = []
    for number in range(6):
        state = begun(state, start=Start.FORCED)
        state, notices = told(
            s.ended(
                state,
                AttemptEnding.FAILED,
                now=now,
                jitter=0.5,
                limits=LIMITS,
                reason=f"bot/users took {number} s",
                tells=True,
                kind="FAILING",
            )
        )
        titles += [notice.title for notice in notices]

    assert titles == [FAILURE.title, "Sync breaker opened", "Sync probe failed"]


class TestAStartThatIsWithheld:
    """Mod-log shows once, for each reason, that the bot has started and does not sync."""

    @staticmethod
    def titles(state: State, *, at: datetime = NOW) -> list[str]:
        _, notices = told(s.start_withheld(state, now=at))
        return [notice.title for notice in notices]

    def test_not_where_nothing_withholds_it(self) -> None:
        """An ordinary start is no news, nor is one after the retry was due."""
        state, _ = failed(1)

        assert [self.titles(State()), self.titles(state, at=NOW + 2 * MINUTE)] == [[], []]

    @pytest.mark.parametrize("times", [1, 3], ids=["a retry", "an open breaker"])
    def test_once_until_the_reason_is_another(self, times: int) -> None:
        """Fifty restarts are one notice."""
        state, _ = failed(times)

        state, (notice,) = told(s.start_withheld(state, now=NOW))

        assert notice.title == "Start-up sync withheld"
        assert self.titles(state) == []

    def test_by_a_pause(self) -> None:
        """A pause is over only when somebody ends it, and the notice says so."""
        held, _ = told(s.paused(State(), by="<@1>", now=NOW))

        _, (notice,) = told(s.start_withheld(held, now=NOW))

        assert "**Next:** nothing until that ends." in notice.description

    def test_not_beside_the_notice_of_an_interruption(self) -> None:
        """That one has said when the next try comes; the next restart adds nothing either."""
        state, _ = loaded(begun())

        state, notices = told(s.start_withheld(state, now=NOW))

        assert [list(notices), self.titles(state)] == [[], []]


def test_what_is_over_is_news_again() -> None:
    """A topic that ended silently starts anew."""
    kept = {Topic.SOURCE: Told(reason="x", since=NOW, at=NOW)}

    assert s.over(State(told=kept), Topic.SOURCE) == State()


def test_what_lasts_is_told_again_with_its_beginning() -> None:
    """A reminder does not make a trouble younger than it is."""
    state, _ = failed(1)
    later = NOW + timedelta(days=2)

    state, notices = fails(state, kind="FAILING 500", now=later)

    assert len(notices) == 1
    assert state.told[Topic.RUN] == Told(reason="FAILING 500", since=NOW, at=later)


def test_a_pause_survives_the_store() -> None:
    """It comes back as it was, or is refused with the field's name."""
    pause = Pause(by="<@1>", at=NOW)

    assert s.pause_from_json(s.pause_to_json(pause)) == pause
    with pytest.raises(ValueError, match="by of the pause is missing, not text"):
        s.pause_from_json({"at": NOW.isoformat()})


def test_trouble_that_changes_is_as_old_as_it_was() -> None:
    """A site that fails in another way since an hour has failed for longer than that."""
    state, _ = failed(1)
    later = NOW + timedelta(hours=1)
    state, _ = fails(state, kind="PROTOCOL", now=later)
    state = begun(state, start=Start.FORCED)
    _, (notice,) = told(
        s.ended(state, AttemptEnding.VERIFIED, now=later + MINUTE, jitter=0.5, limits=LIMITS)
    )

    assert notice.title == "Sync works again"
    assert "61 min after the first failure" in notice.description


def test_another_count_of_members_is_no_news() -> None:
    """A list that stays incomplete is told once, however many are missing from it."""
    state, first = s.tell(State(), (source_unproven("20 of 1,030", run_id="r1"),), now=NOW)
    state, second = s.tell(state, (source_unproven("21 of 1,031", run_id="r2"),), now=NOW)
    _, third = s.tell(state, (source_unproven("HTTP error", run_id="r3"),), now=NOW)

    assert [len(first), len(second), len(third)] == [1, 0, 1]


def test_a_new_reason_for_an_open_breaker_is_told() -> None:
    """Also if the same person gives it."""
    state, _ = s.opened_by_hand(State(), by="<@1>", reason="a move", now=NOW)
    _, news = s.opened_by_hand(state, by="<@1>", reason="an attack", now=NOW)

    assert len(news) == 1
