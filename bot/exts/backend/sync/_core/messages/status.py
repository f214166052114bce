"""What `status` and `parked` say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..policy.breaker import AttemptEnding, BreakerState
from ..site.curve import sparks
from .buttons import OF_BREAKER, OF_ORDER
from .notice import (
    Notice,
    Tone,
    fit,
    quote,
    span,
    when,
)
from .report import render

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..plan.drift import Drift
    from ..policy.memory import ParkedRecord
    from ..policy.state import State
    from .history import PastRun
    from .progress import RunView

_SHOWN: Final = 20
_SHOWN_RUNS: Final = 10
_STATES: Final = {
    BreakerState.CLOSED: "closed",
    BreakerState.OPEN: "open",
    BreakerState.HALF_OPEN: "half-open",
}


def status(
    state: State,
    view: RunView | None,
    *,
    waiting: int,
    parked: int,
    max_items: int,
    trouble: str | None,
    drift: Drift | None,
    mod_log: str | None = None,
) -> Notice:
    """Say how the sync that is on, or the last one, stands, and what holds others back.

    `waiting` counts live changes, `trouble` says why this process may not write, `mod_log` why
    nobody sees there what it does.
    """
    notice = render(view) if view is not None else _nothing_yet()
    fields = list(notice.fields)
    tone = notice.tone
    for name, text in (
        ("This bot", None if trouble is None else f"can't write now: {quote(trouble)}"),
        ("Mod-log", None if mod_log is None else _mod_log(mod_log)),
        ("Paused", None if state.pause is None else f"by {state.pause.by} {when(state.pause.at)}"),
        ("Breaker", _breaker(state)),
        ("Most rows a request", _ceiling(state, max_items)),
        ("Parked rows", f"{parked:,}" if parked else None),
        ("Live changes waiting", f"{waiting:,}" if waiting else None),
    ):
        if text is not None:
            fields.append((name, text))
            tone = Tone.WARNING if tone is Tone.GOOD else tone
    if drift is not None:
        fields.append(("Drift", f"{drift.rows:,} rows at the last check, {when(drift.at)}"))
    return fit(
        Notice(
            title=notice.title,
            description=notice.description,
            tone=tone,
            fields=tuple(fields),
            footer=notice.footer,
        )
    )


def breaker(state: State, *, trouble: str | None) -> Notice:
    """Say whether the breaker lets syncs write; `trouble` says why this process may not."""
    stands, now = state.breaker, _breaker(state)
    is_closed = stands.state is BreakerState.CLOSED
    lines = [
        f"It {'is' if stands.opened_by is None else 'was'} {now}."
        if now is not None
        else "It is closed: writes are allowed. No sync has failed since the last verified one.",
        "`!sync breaker open <reason>` stops all writes until `!sync breaker reset`."
        if is_closed
        else "`!sync breaker reset` closes it and clears the failure count.",
    ]
    fields = []
    if state.pause is not None:
        paused = f"by {state.pause.by} {when(state.pause.at)}: nothing is written regardless"
        fields.append(("Paused", paused))
    if trouble is not None:
        fields.append(("This bot", f"can't write now: {quote(trouble)}"))
    return fit(
        Notice(
            title=f"Sync breaker: {_STATES[stands.state]}",
            description="\n".join(lines),
            tone=Tone.GOOD if now is None and not fields else Tone.WARNING,
            fields=tuple(fields),
            buttons=() if is_closed else OF_ORDER if stands.opened_by is not None else OF_BREAKER,
        )
    )


def parked_list(records: Iterable[ParkedRecord]) -> Notice:
    """List the rows that the site does not take, the latest first."""
    rows = sorted(records, key=lambda row: row.parked_at, reverse=True)
    lines = [
        f"<@{row.id}> `{row.id}` since {when(row.parked_at)}, tried {_times(row.tries)}, again "
        f"{when(row.next_try_at)}: {quote(row.reason)}"
        for row in rows[:_SHOWN]
    ]
    if len(rows) > _SHOWN:
        lines.append(f"and {len(rows) - _SHOWN:,} more")
    return fit(
        Notice(
            title="Parked rows" if rows else "No row is parked",
            description="\n".join(lines) or "The site accepts every row.",
            tone=Tone.WARNING if rows else Tone.GOOD,
        )
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def past(run: PastRun) -> Notice:
    """Tell of a run that has ended."""
    fields = [
        ("Trigger", run.trigger),
        ("Began", f"{when(run.started_at)}, took {span(run.ended_at - run.started_at)}"),
        (
            "Users",
            (
                f"{run.created:,} created, {run.updated:,} updated, {run.departed:,} left, of "
                f"{run.planned:,} changes"
            ),
        ),
        ("Requests", f"{run.requests:,}"),
    ]
    if run.curve:
        slowest = max(seconds for _, seconds in run.curve)
        fields.append(("Latency", f"`{sparks(run.curve)}` at most {slowest:.2f} s a request"))
    if run.parked:
        fields.append(("Parked", f"{run.parked:,} rejected by the site"))
    if run.withheld:
        fields.append(("Departures withheld", f"{run.withheld:,}"))
    if run.reason:
        fields.append(("Reason", quote(run.reason)))
    return fit(
        Notice(
            title=f"Run {run.run_id} has ended: {run.ending}",
            description=f"It synced {run.what}.",
            tone=Tone.GOOD if run.ending == AttemptEnding.VERIFIED else Tone.WARNING,
            fields=tuple(fields),
            footer=f"run {run.run_id}",
        )
    )


def history(runs: Sequence[PastRun]) -> Notice:
    """List the runs that have ended, the latest first; `runs` are oldest first."""
    lines = [
        f"`{run.run_id}` {when(run.started_at)}: **{run.ending}** after "
        f"{span(run.ended_at - run.started_at)}, {_written(run):,} of {run.planned:,} changes of "
        f"{run.what}, {run.trigger}"
        for run in reversed(runs[-_SHOWN_RUNS:])
    ]
    if runs:
        lines.append("`!sync history <run>` shows the details of one.")
    return fit(
        Notice(
            title="Latest runs" if runs else "No run has ended yet",
            description="\n".join(lines),
            tone=Tone.RUNNING,
        )
    )


def _written(run: PastRun) -> int:
    return run.created + run.updated + run.departed


def _nothing_yet() -> Notice:
    return Notice(
        title="Sync", description="No sync has run since the bot started.", tone=Tone.RUNNING
    )


def _breaker(state: State) -> str | None:
    breaker = state.breaker
    if breaker.state is BreakerState.HALF_OPEN:
        return f"half-open: run `{breaker.probing_run}` probes the site"
    if breaker.opened_by is not None:
        return f"opened by {breaker.opened_by}, until a reset. {quote(breaker.reason)}"
    if breaker.retry_at is None:
        return None
    if breaker.state is BreakerState.OPEN:
        return f"open: {quote(breaker.reason)}; the site is tried {when(breaker.retry_at)}"
    return (
        f"closed after {breaker.failures} failure{'' if breaker.failures == 1 else 's in a row'} "
        f"({quote(breaker.reason)}); tried again {when(breaker.retry_at)}"
    )


def _mod_log(trouble: str) -> str:
    return (
        f"nothing can be posted there: {quote(trouble)}. Give the bot access to the channel "
        "`MOD_LOG_CHANNEL_ID`; its messages are kept and follow."
    )


def _ceiling(state: State, max_items: int) -> str | None:
    ceiling = state.memory.max_items(max_items)
    return None if ceiling == max_items else f"{ceiling:,}, since a sync was cut off"
