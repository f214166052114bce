"""What no fault may break: who wrote when, and what mod-log told of it.

Pure: values in, the list of what is wrong out, empty if nothing is. Nothing here comes from the
bot: requests are what its proxy or the site's log saw, the rest is what people read in mod-log.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sandbox.replay.checks import Difference, ModLogMessage

_RUN: Final = re.compile(r"\brun ([0-9a-f]{8})\b")
_ALERT: Final = re.compile(r"\balert ([0-9A-Za-z-]+)")
_ID: Final = re.compile(r"`(\d{15,20})`")
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request that left the bot at `at`; the site may have seen it later, or never."""

    request_id: str
    at: datetime
    writes: bool

    @property
    def run_id(self) -> str:
        """Return the run, or the drain of live changes, that the request belongs to."""
        return self.request_id.rpartition("-")[0]


class State(StrEnum):
    """What a run's message says of it; the value is the last word of the title."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


_BAD: Final = frozenset({State.FAILED, State.INTERRUPTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as its live message tells of it."""

    run_id: str
    state: State
    is_probe: bool
    began_at: datetime
    changed_at: datetime


class Kind(StrEnum):
    """The alerts that the checks know; the value is the title."""

    INTERRUPTED = "Sync was interrupted"
    OPENED = "Sync breaker opened"
    PROBE_FAILED = "Sync probe failed"
    RECOVERED = "Sync recovered"
    WITHHELD = "Start-up sync withheld"
    PARKED = "Rows parked"
    STORE_UNREACHABLE = "State store unreachable"
    STORE_BACK = "State store reachable again"
    STORE_LOST = "State store lost"
    BY_HAND = "Sync breaker opened by hand"
    RESET = "Sync breaker reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert; `run_id` is the run that it speaks of, if it does of one."""

    id: str
    title: str
    run_id: str | None
    at: datetime
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A time in which the breaker was open, and the runs that were its probes.

    It ends with the last request of the probe that was verified: what comes after that may be
    written again, however late mod-log tells of the recovery.
    """

    since: datetime
    until: datetime
    probes: frozenset[str]


def runs(messages: Iterable[ModLogMessage]) -> list[Run]:
    """Return every run that mod-log has a live message of, in the order of their beginnings."""
    found: dict[str, Run] = {}
    for message in messages:
        if message.deleted or _alert_id(message) is not None:
            continue
        for at, body in message.states:
            for embed in body.get("embeds") or ():
                match = _RUN.search(_footer(embed))
                state = _state(embed.get("title") or "")
                if match is None or state is None:
                    continue
                run_id = match[1]
                before = found.get(run_id)
                # Only while it runs: a run that opened the breaker ends with words on the probe.
                probe = state is State.RUNNING and "probe" in _words(embed)
                found[run_id] = Run(
                    run_id=run_id,
                    state=state,
                    is_probe=probe or (before is not None and before.is_probe),
                    began_at=at if before is None else before.began_at,
                    changed_at=at,
                )
    return list(found.values())


def alerts(messages: Iterable[ModLogMessage]) -> list[Alert]:
    """Return every alert in the order in which people saw them."""
    found = []
    for message in messages:
        id_ = _alert_id(message)
        if id_ is None or message.deleted:
            continue
        embed = message.embeds[0]
        run = _RUN.search(_footer(embed))
        found.append(
            Alert(
                id=id_,
                title=embed.get("title") or "",
                run_id=None if run is None else run[1],
                at=message.states[0][0],
                text=message.text,
            )
        )
    return found


def openings(messages: Sequence[ModLogMessage], sent: Iterable[Sent]) -> list[Opening]:
    """Return the times in which the breaker was open, as mod-log tells them."""
    seen_runs = runs(messages)
    seen_alerts = alerts(messages)
    last_sent: dict[str, datetime] = {}
    for request in sent:
        last_sent[request.run_id] = max(request.at, last_sent.get(request.run_id, request.at))
    probes = {run.run_id for run in seen_runs if run.is_probe} | {
        alert.run_id
        for alert in seen_alerts
        if alert.run_id is not None and alert.title in {Kind.PROBE_FAILED, Kind.RECOVERED}
    }
    found: list[Opening] = []
    since: datetime | None = None
    for alert in seen_alerts:
        if alert.title in {Kind.OPENED, Kind.BY_HAND} and since is None:
            since = alert.at
        elif alert.title in {Kind.RECOVERED, Kind.RESET} and since is not None:
            until = alert.at if alert.run_id is None else last_sent.get(alert.run_id, alert.at)
            found.append(Opening(since=since, until=until, probes=frozenset(probes)))
            since = None
    if since is not None:
        found.append(Opening(since=since, until=_NEVER, probes=frozenset(probes)))
    return found


def writes_while_open(openings: Sequence[Opening], sent: Iterable[Sent]) -> list[str]:
    """Name each write that was sent while the breaker was open, but for the probes'."""
    return [
        f"write {request.request_id} was sent at {request.at:%H:%M:%S.%f} while the breaker was"
        f" open, since {opening.since:%H:%M:%S.%f}"
        for request in sent
        if request.writes
        for opening in openings
        if opening.since < request.at < opening.until and request.run_id not in opening.probes
    ]


def overlapping_runs(run_ids: Iterable[str], sent: Iterable[Sent]) -> list[str]:
    """Name each run that sent something after a later run had begun to."""
    known = set(run_ids)
    spans: dict[str, tuple[datetime, datetime]] = {}
    for request in sent:
        if request.run_id in known:
            first, last = spans.get(request.run_id, (request.at, request.at))
            spans[request.run_id] = min(first, request.at), max(last, request.at)
    found = []
    ordered = sorted(spans.items(), key=lambda item: item[1])
    for place, (run_id, (_, last)) in enumerate(ordered):
        for other, (first, _) in ordered[place + 1 :]:
            if first < last:
                found.append(f"run {run_id} still asked the site after run {other} had begun")
    return found


def doubled_alerts(messages: Sequence[ModLogMessage]) -> list[str]:
    """Name each alert that people saw more often than it happened."""
    seen = alerts(messages)
    found = [
        f"alert {id_} stands {count} times in mod-log"
        for id_, count in Counter(alert.id for alert in seen).items()
        if count > 1
    ]
    found += [
        f"{title!r} of run {run_id} is told {count} times"
        for (title, run_id), count in Counter((a.title, a.run_id) for a in seen if a.run_id).items()
        if count > 1
    ]
    return found + _out_of_turn(seen) + _parked_twice(seen)


def lost_alerts(
    messages: Sequence[ModLogMessage],
    sent: Iterable[Sent],
    *,
    threshold: int,
    poisoned: Iterable[int] = (),
    store_was_away: bool = False,
) -> list[str]:
    """Name each alert that was called for in vain.

    That is by the runs' own messages, by the poisoned rows, and by a store that was away for longer
    than its lease. Only runs that asked the site for something are attempts, of which people must
    hear.
    """
    seen = alerts(messages)
    told = {(alert.title, alert.run_id) for alert in seen}
    asked = {request.run_id for request in sent}
    attempts = [run for run in runs(messages) if run.run_id in asked]
    found = [
        f"no alert tells that run {run.run_id} was interrupted"
        for run in attempts
        if run.state is State.INTERRUPTED and (Kind.INTERRUPTED, run.run_id) not in told
    ]
    found += [
        f"no alert tells that probe {run.run_id} was verified"
        for run in attempts
        if run.is_probe and run.state is State.FINISHED and (Kind.RECOVERED, run.run_id) not in told
    ]
    found += _first_failures_untold(attempts, seen)
    found += _openings_untold(attempts, seen, threshold=threshold)
    parked = parked_ids(messages)
    found += [f"no alert tells that row {id_} was parked" for id_ in poisoned if id_ not in parked]
    titles = {alert.title for alert in seen}
    if store_was_away:
        called_for = (Kind.STORE_UNREACHABLE, Kind.STORE_BACK)
        found += [f"no alert {kind.value!r}" for kind in called_for if kind not in titles]
    return found


def _first_failures_untold(attempts: Sequence[Run], seen: Sequence[Alert]) -> list[str]:
    """Name each run whose failure is the first since one that ended well, and is not told.

    Further failures are told only if they have another reason.
    """
    named = {alert.run_id for alert in seen}
    found = []
    well = True
    for run in attempts:
        if run.state is State.FAILED and well and run.run_id not in named:
            found.append(f"no alert tells that run {run.run_id} failed")
        if run.state in {State.FINISHED, *_BAD}:
            well = run.state is State.FINISHED
    return found


def _openings_untold(
    attempts: Sequence[Run], seen: Sequence[Alert], *, threshold: int
) -> list[str]:
    """Name each series of bad runs that opened the breaker, or kept it open, with no alert of it.

    The bot may have counted more than mod-log shows, since a run can be killed before its message
    stands there; it can't have counted less. Of probes that fail alike one after the other people
    hear once.
    """
    opened_by = {alert.run_id for alert in seen if alert.title == Kind.OPENED}
    probes_told = sum(alert.title == Kind.PROBE_FAILED for alert in seen)
    found = []
    probes_bad = 0
    for series in _series(attempts):
        bad = [run for run in series if run.state in _BAD]
        ordinary = [run.run_id for run in bad if not run.is_probe]
        if len(ordinary) >= threshold and opened_by.isdisjoint(ordinary):
            found.append(f"no alert tells that runs {', '.join(ordinary)} opened the breaker")
        probes_bad += any(run.is_probe for run in bad)
    if probes_told < probes_bad:
        found.append(f"{probes_bad} openings had bad probes, and {probes_told} alerts tell of any")
    return found


def _series(attempts: Sequence[Run]) -> list[list[Run]]:
    """Cut the attempts behind each one that ended well."""
    series: list[list[Run]] = [[]]
    for run in attempts:
        series[-1].append(run)
        if run.state is State.FINISHED:
            series.append([])
    return series


def parked_ids(messages: Iterable[ModLogMessage]) -> set[int]:
    """Return the users that mod-log's alerts call parked."""
    return {
        int(id_)
        for alert in alerts(messages)
        if alert.title == Kind.PARKED
        for id_ in _ID.findall(alert.text)
    }


def ids_in(text: str) -> set[int]:
    """Return the users that a text names as the bot does."""
    return {int(id_) for id_ in _ID.findall(text)}


def is_answer(message: ModLogMessage) -> bool:
    """Tell whether a message is neither a run's nor an alert, but the bot's answer to somebody."""
    return bool(message.embeds) and not any(
        _RUN.search(_footer(embed)) or _ALERT.search(_footer(embed)) for embed in message.embeds
    )


def lost_rows(differences: Iterable[Difference], parked: Iterable[int]) -> list[str]:
    """Name each difference that is not of a parked row."""
    excused = set(parked)
    return [
        str(difference)
        for difference in differences
        if difference.what != "user" or difference.id not in excused
    ]


def misparked(parked: Iterable[int], poisoned: Iterable[int]) -> list[str]:
    """Name each row that was parked without being poisoned, or the other way round."""
    parked, poisoned = set(parked), set(poisoned)
    return [f"row {id_} was parked and is well" for id_ in sorted(parked - poisoned)] + [
        f"row {id_} is poisoned and was not parked" for id_ in sorted(poisoned - parked)
    ]


def unfinished_runs(messages: Iterable[ModLogMessage]) -> list[str]:
    """Name each message that still says that its run is on."""
    return [
        f"mod-log still shows run {match[1]} as running, in message {message.id}"
        for message in messages
        if not message.deleted
        for embed in message.embeds
        if _state(embed.get("title") or "") is State.RUNNING
        and (match := _RUN.search(_footer(embed))) is not None
    ]


def is_open(messages: Iterable[ModLogMessage]) -> bool:
    """Tell whether the breaker is open, by mod-log."""
    turns = [
        alert.title
        for alert in alerts(messages)
        if alert.title in {Kind.OPENED, Kind.BY_HAND, Kind.RECOVERED, Kind.RESET}
    ]
    return bool(turns) and turns[-1] in {Kind.OPENED, Kind.BY_HAND}


def rival_writes(
    sent: Iterable[Sent], *, bot_of: Mapping[str, str], ended: Mapping[str, datetime]
) -> list[str]:
    """Name each write of a bot that came while another had written and still lived.

    `bot_of` tells which bot sent a request, `ended` when a bot's process was gone.
    """
    found = []
    holder: str | None = None
    for request in sorted((each for each in sent if each.writes), key=lambda each: each.at):
        bot = bot_of[request.request_id]
        if holder is not None and bot != holder and request.at < ended.get(holder, _NEVER):
            found.append(f"bot {bot} sent write {request.request_id} while bot {holder} was at it")
        holder = bot
    return found


def _out_of_turn(seen: Sequence[Alert]) -> list[str]:
    """Name alerts that repeat, word for word or in effect, what was told already."""
    found = []
    is_open = is_away = was_withheld = False
    for alert in seen:
        repeated = False
        match alert.title:
            case Kind.OPENED:
                repeated, is_open, was_withheld = is_open, True, False
            case Kind.BY_HAND:
                is_open = True
            case Kind.RECOVERED | Kind.RESET:
                repeated, is_open = not is_open, False
            case Kind.WITHHELD if is_open:
                repeated, was_withheld = was_withheld, True
            case Kind.STORE_UNREACHABLE:
                repeated, is_away = is_away, True
            case Kind.STORE_BACK:
                repeated, is_away = not is_away, False
            case _:
                pass
        if repeated:
            found.append(f"alert {alert.id} tells {alert.title!r} out of turn")
    return found


def _parked_twice(seen: Sequence[Alert]) -> list[str]:
    """Name what is told again of parked rows; a list that has grown is news, with all its rows."""
    told = Counter(alert.text.rpartition("\n")[0] for alert in seen if alert.title == Kind.PARKED)
    return [
        f"{count} alerts tell alike that rows {sorted(ids_in(text))} were parked"
        for text, count in told.items()
        if count > 1
    ]


def _state(title: str) -> State | None:
    if title.startswith("Syncing"):
        return State.RUNNING
    word = title.rpartition(" ")[2]
    ended = (State.FINISHED, State.FAILED, State.CANCELLED, State.INTERRUPTED)
    return next((state for state in ended if title.startswith("Sync of") and word == state), None)


def _alert_id(message: ModLogMessage) -> str | None:
    for embed in message.embeds:
        match = _ALERT.search(_footer(embed))
        if match is not None:
            return match[1]
    return None


def _footer(embed: Mapping[str, Any]) -> str:
    return str((embed.get("footer") or {}).get("text") or "")


def _words(embed: Mapping[str, Any]) -> str:
    return f"{embed.get('title') or ''} {embed.get('description') or ''}".casefold()
