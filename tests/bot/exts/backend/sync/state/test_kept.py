"""Attempts, past runs and alerts are read back from the store as they were, or refused by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from bot.exts.backend.sync._core.messages import alert, history
from bot.exts.backend.sync._core.messages.alert import Alert
from bot.exts.backend.sync._core.messages.buttons import Action, Button
from bot.exts.backend.sync._core.messages.notice import Notice, Tone
from bot.exts.backend.sync._core.model.members import RoleId
from bot.exts.backend.sync._core.plan import drift
from bot.exts.backend.sync._core.plan.drift import Drift
from bot.exts.backend.sync._core.plan.planner import Cause, Reason
from bot.exts.backend.sync._core.policy import attempt, news
from bot.exts.backend.sync._core.policy.attempt import StopEvidence, ending_of_stop
from bot.exts.backend.sync._core.policy.breaker import AttemptEnding
from bot.exts.backend.sync._core.policy.news import Told, Topic
from tests.bot.exts.backend.sync.state.examples import ATTEMPT, NOW, PAST, VIEW

ALERT: Final = Alert(
    id="abc",
    created_at=NOW,
    notice=Notice(
        title="Sync recovered",
        description="It did.",
        tone=Tone.GOOD,
        fields=(("Rows", "5"),),
        footer="alert abc",
        ping=True,
        buttons=(Button(action=Action.RETRY_PARKED, argument="r1"),),
    ),
)
Read = Callable[[object], object]


def kept(value: object) -> Any:
    """Return a value as a store gives it back."""
    return json.loads(json.dumps(value))


def test_a_past_run_is_what_its_last_view_said() -> None:
    """History keeps the figures that mod-log showed at the end."""
    assert history.past_run(VIEW, AttemptEnding.FAILED, requests=8, curve=PAST.curve) == PAST
    well = history.past_run(replace(VIEW, failure=None), AttemptEnding.NEUTRAL, requests=8)
    assert [well.reason, well.ending] == ["", "neutral"]


def test_past_runs_are_kept_in_the_order_of_time() -> None:
    """Keys ascend as the runs began."""
    later = replace(PAST, started_at=NOW + timedelta(seconds=1), run_id="a")

    assert sorted([history.key_of(later), history.key_of(PAST)]) == [
        "history/2021-01-12T12:00:00+00:00/r1",
        "history/2021-01-12T12:00:01+00:00/a",
    ]


@pytest.mark.parametrize(
    ("value", "written", "read"),
    [
        (ATTEMPT, attempt.to_json(ATTEMPT), attempt.from_json),
        (PAST, history.to_json(PAST), history.from_json),
        (ALERT, alert.to_json(ALERT), alert.from_json),
        (Drift(at=NOW, rows=3), drift.to_json(Drift(at=NOW, rows=3)), drift.from_json),
    ],
    ids=["attempt", "past run", "alert", "drift"],
)
def test_what_was_kept_comes_back(value: object, written: object, read: Read) -> None:
    """Every field survives the store."""
    assert read(kept(written)) == value


@pytest.mark.parametrize(
    ("written", "read", "fault"),
    [
        ({"full": 1}, attempt.from_json, "full of the attempt is int, not true or false"),
        ({"tone": "LOUD"}, alert.from_json, "tone of the alert is 'LOUD', not a tone"),
        ({"fields": "x"}, alert.from_json, "fields of the alert is not a list of pairs of texts"),
        ({"fields": [[1, 2]]}, alert.from_json, "fields of the alert is not a list of pairs"),
        ({"buttons": None}, alert.from_json, "buttons of the alert is not a list of texts"),
        ({"buttons": [5]}, alert.from_json, "buttons of the alert is not a list of texts"),
        ({"planned": -1}, history.from_json, "planned of the past run is -1, below 0"),
        *(
            ({"curve": curve}, history.from_json, "curve of the past run is not a list of pairs")
            for curve in (None, [5], [[1]], [["1", 2]], [[1, -2]], [[1, True]], [[1, 1e300]])
        ),
    ],
)
def test_what_is_not_ours_is_refused(written: dict[str, object], read: Read, fault: str) -> None:
    """The error names the field."""
    whole = {**attempt.to_json(ATTEMPT), **history.to_json(PAST), **alert.to_json(ALERT)}

    with pytest.raises(ValueError, match=fault):
        read(kept({**whole, **written}))


def test_what_an_older_version_kept_is_read() -> None:
    """It knew neither buttons nor curves; what a newer one adds to them is left out."""
    older = kept({k: v for k, v in alert.to_json(ALERT).items() if k != "buttons"})
    newer = alert.to_json(ALERT) | {"buttons": ["sync:explode:1", "sync:retry:r1"]}
    past = kept({k: v for k, v in history.to_json(PAST).items() if k != "curve"})

    assert alert.from_json(older).notice.buttons == ()
    assert alert.from_json(kept(newer)) == ALERT
    assert history.from_json(past) == replace(PAST, curve=())


def test_drift_is_counted_by_cause() -> None:
    """Each kind of cause has its figure, those of nothing too: a gauge must fall back to 0."""
    found = Drift(
        at=NOW,
        rows=5,
        causes=(
            Cause(reason=Reason.ROLE_REMOVED, role_id=RoleId(1), count=3),
            Cause(reason=Reason.ROLE_REMOVED, role_id=RoleId(2), count=1),
            Cause(reason=Reason.LEFT, role_id=None, count=1),
        ),
    )

    counts = found.counts()

    assert set(counts) == set(Reason)
    assert {reason: count for reason, count in counts.items() if count} == {
        Reason.ROLE_REMOVED: 4,
        Reason.LEFT: 1,
    }


def test_what_was_told_comes_back_but_for_unknown_topics() -> None:
    """A newer version's topics are no reason to refuse the others."""
    told = {Topic.RUN: Told(reason="500", since=NOW, at=NOW + timedelta(hours=1))}
    written = {**news.told_to_json(told), "weather": {}}

    assert news.told_from_json(kept(written)) == told


@pytest.mark.parametrize(
    ("evidence", "ending"),
    [
        (
            StopEvidence(unanswered=False, failing=False, applied=True, due=True),
            AttemptEnding.NEUTRAL,
        ),
        (
            StopEvidence(unanswered=False, failing=False, applied=False, due=False),
            AttemptEnding.NEUTRAL,
        ),
        (
            StopEvidence(unanswered=False, failing=False, applied=False, due=True),
            AttemptEnding.INTERRUPTED,
        ),
        (
            StopEvidence(unanswered=True, failing=False, applied=True, due=True),
            AttemptEnding.INTERRUPTED,
        ),
        (
            StopEvidence(unanswered=False, failing=True, applied=True, due=True),
            AttemptEnding.INTERRUPTED,
        ),
    ],
)
def test_a_stop_is_forgiven_only_where_the_site_showed_no_trouble(
    evidence: StopEvidence, ending: AttemptEnding
) -> None:
    """An operator stops the bot exactly when it is killing the site."""
    assert ending_of_stop(evidence) is ending
