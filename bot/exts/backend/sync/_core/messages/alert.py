"""What is told to people as a message of its own, in words.

Each text answers what happened, what it means, what happens next and what can be done. When it is
news is decided in `policy.news`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, assert_never

from ..model.stored import Stored
from ..policy.breaker import (
    BreakerState,
    ForcedOpen,
    Opened,
    ProbeFailed,
    Recovered,
    Reset,
)
from ..policy.departures import Decision, Subject
from ..policy.news import (
    INTERRUPTED,
    BreakerMoved,
    HeldBy,
    Interrupted,
    PauseBegan,
    PauseEnded,
    RunFailed,
    SourceProven,
    StartWithheld,
    StoreLost,
    Topic,
    WorksAgain,
)
from ..policy.request_backoff import FailureKind
from . import buttons
from .marks import Mark, footer, mark_of
from .notice import (
    YOU_CAN,
    Notice,
    Tone,
    capital,
    code,
    fit,
    quote,
    span,
    when,
)
from .report import reached

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from ..policy.attempt import Attempt
    from ..policy.breaker import Breaker
    from ..policy.departures import WithheldList
    from ..policy.memory import ParkedRecord
    from ..policy.news import Happening
    from .buttons import Button

_SHOWN_PARKED: Final = 10
_NUMBER: Final = re.compile(r"\d[\d,]*")

OPENED: Final = "Sync breaker opened"
OPENED_BY_HAND: Final = "Sync breaker opened by hand"
RESET: Final = "Sync breaker reset"
PROBE_FAILED: Final = "Sync probe failed"
RECOVERED: Final = "Sync recovered"
STORE_LOST: Final = "State store lost"


_WITHHELD_TOPICS: Final = {
    Subject.DEPARTURES: Topic.DEPARTURES,
    Subject.ROLE_DELETIONS: Topic.ROLE_DELETIONS,
}
_PROBE_OR_RESET: Final = (
    "**Probe now** (`!sync all force`) tries right away; **Reset** (`!sync breaker "
    "reset`) lets everything through without a trial."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Something to be told, if its `reason` is new for its topic."""

    topic: Topic
    reason: str
    notice: Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A message that has to reach mod-log exactly once; `id` is its nonce there."""

    id: str
    created_at: datetime
    notice: Notice


_SOME_RUN_FAILED: Final = Notice(
    title="Sync failed", description="**A sync failed.**", tone=Tone.BAD, ping=True
)


def in_words(what: Happening, *, failure: Notice | None = None) -> Notice:
    """Return what is said of something that has happened.

    Of a run that failed, `failure` is what is known of it.
    """
    match what:
        case BreakerMoved(run_id=run_id):
            notice = _breaker_moved(what)
            return notice if run_id is None else about_run(notice, run_id)
        case RunFailed(breaker=breaker):
            return run_failed(failure or _SOME_RUN_FAILED, breaker)
        case WorksAgain(lasted=lasted):
            return works_again(lasted=lasted)
        case Interrupted(attempt=attempt, retry_at=retry_at, unkept=unkept):
            return interrupted(attempt, retry_at=retry_at, unkept=unkept)
        case PauseBegan(by=by, since=since):
            return paused(by, since=since)
        case PauseEnded(by=by, lasted=lasted):
            return resumed(by, lasted=lasted)
        case StoreLost(where=where, why=why, until=until):
            return store_lost(where, why=why, until=until)
        case SourceProven(lasted=lasted):
            return source_proven(lasted=lasted)
        case StartWithheld():
            return start_withheld(what)
        case _:
            assert_never(what)


def _breaker_moved(moved: BreakerMoved) -> Notice:
    match moved.event:
        case Opened() as event:
            return opened(event, refused=moved.refused)
        case ProbeFailed() as event:
            return probe_failed(event)
        case Recovered() as event:
            return recovered(event)
        case ForcedOpen() as event:
            return forced_open(event)
        case Reset() as event:
            return reset(event)
        case _:
            assert_never(moved.event)


# -- texts ----------------------------------------------------------------------------------------


def next_step(breaker: Breaker) -> str:
    """Say what the breaker lets happen after a run has failed."""
    if breaker.opened_by is not None:
        return "**Next:** nothing until someone resets the breaker, which was opened by hand."
    if breaker.retry_at is None:
        return "**Next:** it runs again at the next start, or with `!sync all`."
    if breaker.state is BreakerState.CLOSED:
        return f"**Next:** it is tried again {when(breaker.retry_at)}."
    return f"**Next:** the breaker is open; the site is tried again {when(breaker.retry_at)}."


def run_failed(notice: Notice, breaker: Breaker) -> Notice:
    """Say that a run failed; `notice` holds what is known of it."""
    lines = [*notice.description.splitlines(), next_step(breaker)]
    # What can be done comes last, as in every alert.
    lines.sort(key=lambda line: line.startswith(YOU_CAN))
    text = "\n".join(lines)
    return fit(replace(notice, description=text))


def opened(event: Opened, *, refused: bool) -> Notice:
    """Say that nothing is written any more, why, and when the site is tried again."""
    return _opened_by_refusal(event) if refused else _opened_by_failures(event)


def _opened_by_failures(event: Opened) -> Notice:
    tries = "1 sync" if event.failures == 1 else f"{event.failures} syncs in a row"
    look_after = "check the site."
    if event.reason == INTERRUPTED:
        look_after = (
            "find out what keeps stopping the bot (check its log and memory), and check the site."
        )
    return _of_open_breaker(
        OPENED,
        f"**{tries} failed.** The last one: {quote(event.reason)}",
        "The breaker is open: nothing is written to the site, so that it can recover. Nothing is "
        "lost: waiting changes are sent later.",
        f"**Next:** a small trial sync {when(event.until)}. If it succeeds, everything else "
        "follows automatically.",
        f"{YOU_CAN} {look_after} {_PROBE_OR_RESET}",
    )


def _opened_by_refusal(event: Opened) -> Notice:
    said = event.reason.removeprefix(f"{FailureKind.REFUSED.value}: ")
    return _of_open_breaker(
        OPENED,
        f"**The site refuses the bot's token.** It says: {quote(said)}",
        "The breaker is open: nothing can be written until this is fixed. Nothing is lost: "
        "waiting changes are sent later.",
        f"**Next:** one try {when(event.until)}, or as soon as the bot starts with another token "
        "or URL.",
        f"{YOU_CAN} set the right token (`SITE_API_TOKEN`) and restart the bot; **Probe "
        "now** (`!sync all force`) tries the current one again.",
    )


def _of_open_breaker(title: str, *lines: str) -> Notice:
    return _notice(
        title,
        *lines,
        mark=Mark.BREAKER_OPEN,
        tone=Tone.BAD,
        ping=True,
        pressable=buttons.OF_BREAKER,
    )


def probe_failed(event: ProbeFailed) -> Notice:
    """Say that the site is not well yet, and when it is tried again."""
    return _of_open_breaker(
        PROBE_FAILED,
        f"**The site has not recovered yet.** The trial sync failed: {quote(event.reason)}",
        "The breaker stays open: nothing else is written. Nothing is lost: waiting changes are "
        "sent later.",
        f"**Next:** another try {when(event.until)}. You will hear again if the reason changes, "
        "when it is over, or after a day.",
        f"{YOU_CAN} check the site. {_PROBE_OR_RESET}",
    )


def recovered(event: Recovered) -> Notice:
    """Say that writes flow again, and how long they did not."""
    return _notice(
        RECOVERED,
        "**The site has recovered** and is in step: everything that was waiting is written and "
        "verified. "
        f"The breaker was open for {span(event.lasted)}.",
        "**Next:** changes are written as usual. There is nothing to do.",
        mark=Mark.BREAKER_CLOSED,
        tone=Tone.GOOD,
        ping=True,
    )


def works_again(*, lasted: timedelta) -> Notice:
    """Say that a sync ended well after others had failed, without a breaker opening."""
    return _notice(
        "Sync works again",
        f"The site is in step and verified, {span(lasted)} after the first failure.",
        "There is nothing to do.",
        tone=Tone.GOOD,
    )


def forced_open(event: ForcedOpen) -> Notice:
    """Say who ordered that nothing is written; also the daily reminder of it."""
    reason = f" Reason: {quote(event.reason)}" if event.reason else ""
    return _notice(
        OPENED_BY_HAND,
        f"{event.by} opened the breaker.{reason}",
        "Nothing is written to the site. Nothing is lost: waiting changes are sent later.",
        "**Next:** nothing until someone resets it.",
        f"{YOU_CAN} allow writes again with **Reset** (`!sync breaker reset`).",
        mark=Mark.BREAKER_HELD,
        tone=Tone.WARNING,
        pressable=buttons.OF_ORDER,
    )


def reset(event: Reset) -> Notice:
    """Say who let writes flow again."""
    return _notice(
        RESET,
        f"{event.by} closed the breaker and cleared the failure count: writes are allowed again.",
        "**Next:** a full sync starts now, unless one is running.",
        mark=Mark.BREAKER_CLOSED,
        tone=Tone.RUNNING,
    )


def interrupted(attempt: Attempt, *, retry_at: datetime | None, unkept: bool) -> Notice:
    """Say that a run was cut off, or might as well have been, and when the next one comes."""
    what = f"run `{attempt.run_id}` ({attempt.what})"
    if unkept:
        happened = f"How {what} ended could not be saved, because the state store took nothing."
        advice = "check the state store and its disk."
    else:
        happened = (
            f"The bot stopped in the middle of {what}, {reached(attempt)}: it was killed, or its "
            "machine failed."
        )
        advice = "find out what stopped the bot: check its log, its memory and its machine."
    following = "**Next:** it is tried again"
    following += f" {when(retry_at)}." if retry_at is not None else " now."
    return _notice(
        "Sync was interrupted",
        happened,
        "What was written stays. This counts as a failure, because the sync itself may have "
        "caused it; the next one sends smaller requests.",
        following,
        f"{YOU_CAN} {advice}",
        tone=Tone.WARNING,
        run_id=attempt.run_id,
    )


def start_withheld(held: StartWithheld) -> Notice:
    """Say that the sync at start-up does not run, why, and when it will."""
    reason = {
        HeldBy.PAUSE: f"{held.why} paused it.",
        HeldBy.BREAKER: f"the breaker is open: {quote(held.why)}",
        HeldBy.RETRY: f"the last sync failed: {quote(held.why)}",
    }[held.held_by]
    until = held.until
    following = (
        f"**Next:** it is tried {when(until)}; restarting again does not make it sooner."
        if until is not None
        else "**Next:** nothing until that ends."
    )
    return _notice(
        "Start-up sync withheld",
        f"The bot has started, but does not sync yet: {reason}",
        "Nothing is lost: waiting changes are sent later.",
        following,
        f"{YOU_CAN} see why with `!sync status`.",
        tone=Tone.WARNING,
    )


def paused(by: str, *, since: datetime) -> Notice:
    """Say that nothing is written by itself, and who ordered that; also the daily reminder."""
    return _notice(
        "Sync is paused",
        f"{by} paused it {when(since)}: nothing is written to the site, even after a restart.",
        "Nothing is lost: waiting changes are sent later.",
        "**Next:** nothing until someone resumes it; you are reminded once a day.",
        f"{YOU_CAN} continue with **Resume** (`!sync resume`).",
        mark=Mark.PAUSED,
        tone=Tone.WARNING,
        pressable=buttons.OF_PAUSE,
    )


def resumed(by: str, *, lasted: timedelta) -> Notice:
    """Say who let it go on."""
    return _notice(
        "Sync resumed",
        f"{by} ended the pause after {span(lasted)}; waiting changes are sent now.",
        mark=Mark.RESUMED,
        tone=Tone.RUNNING,
    )


def parked(records: Sequence[ParkedRecord], *, run_id: str) -> Draft:
    """Say which rows the site does not take."""
    count = "1 row" if len(records) == 1 else f"{len(records):,} rows"
    aside = "It is" if len(records) == 1 else "They are"
    lines = [f"<@{row.id}> `{row.id}`: {quote(row.reason)}" for row in records[:_SHOWN_PARKED]]
    if len(records) > _SHOWN_PARKED:
        lines.append(f"and {len(records) - _SHOWN_PARKED:,} more")
    return Draft(
        topic=Topic.PARKED,
        reason=_digest(f"{row.id} {row.reason}" for row in records),
        notice=_notice(
            "Rows parked",
            f"**The site rejects {count}**; all others were written. {aside} set aside:",
            *lines,
            "**Next:** each is tried again at later syncs, less and less often, or as soon as the "
            "member changes.",
            f"{YOU_CAN} fix what the site complains about; **Retry parked** (`!sync retry`) "
            "tries them now.",
            tone=Tone.WARNING,
            ping=True,
            run_id=run_id,
            pressable=buttons.of_parked(run_id),
        ),
    )


def source_unproven(reason: str, *, run_id: str) -> Draft:
    """Say that Discord's member list could not be shown to be whole."""
    return Draft(
        topic=Topic.SOURCE,
        reason=_NUMBER.sub("#", reason),  # one count or another is no news
        notice=_notice(
            "Member list incomplete",
            f"**Discord's member list may be incomplete:** {quote(reason)}",
            "Known members are written. Nobody is marked as having left, since they may only be "
            "missing from the list.",
            "**Next:** the list is requested again at the next sync.",
            f"{YOU_CAN} try now with `!sync all`. If it persists, check https://discordstatus.com "
            "and restart the bot.",
            tone=Tone.WARNING,
            ping=True,
            run_id=run_id,
        ),
    )


def source_proven(*, lasted: timedelta) -> Notice:
    """Say that the member list is whole again, and how long it was not."""
    return _notice(
        "Member list complete again",
        f"Discord's member list is complete again, after {span(lasted)}. Departures are "
        "written as before.",
        tone=Tone.GOOD,
    )


def topic_of(what: Subject) -> Topic:
    """Return the topic under which people are asked about what is withheld."""
    return _WITHHELD_TOPICS[what]


def withheld(list_: WithheldList) -> Draft:
    """Ask whether a list of departures or role deletions is to be believed."""
    departures = list_.what is Subject.DEPARTURES
    one = "members" if departures else "roles"
    return Draft(
        topic=topic_of(list_.what),
        reason=list_.digest,
        notice=_notice(
            f"{capital(list_.what.value)} withheld",
            f"**{len(list_.ids):,}** of the {list_.total:,} {one} that the site has seem to be "
            "gone from this server. That is too many to accept without a moderator.",
            f"They stay on the site{' as members' if departures else ''}; everything else is "
            "synced as usual.",
            f"**Next:** nothing until someone decides on this list, `{list_.digest}`. It expires "
            f"{when(list_.until)}; the sync after that asks again.",
            f"{YOU_CAN} check with **Show who**, then **Approve** (`!sync approve {list_.digest}`) "
            f"or **Reject** (`!sync reject {list_.digest}`). Anyone who is back by then is "
            "skipped.",
            tone=Tone.WARNING,
            ping=True,
            run_id=list_.run_id,
            pressable=buttons.of_withheld(list_.digest),
        ),
    )


def decided(list_: WithheldList) -> Draft:
    """Say who decided about a list, and what follows."""
    approved = list_.decision is Decision.APPROVED
    what, count = list_.what.value, len(list_.ids)
    following = (
        "a sync writes them as soon as it can. Anyone who is back by then is skipped; anyone who "
        "left since is not on the list."
        if approved
        else f"if as many are still missing {when(list_.until)}, you are asked again."
    )
    opposite = "reject" if approved else "approve"
    until = "Until a sync starts writing it, " if approved else ""
    following += f" {until}`!sync {opposite} {list_.digest}` undoes that."
    word = list_.decision.value
    return Draft(
        topic=topic_of(list_.what),
        reason="",
        notice=_notice(
            f"{capital(what)} {word}",
            f"{list_.by} {word} list `{list_.digest}`: {count:,} {what}"
            f"{'' if approved else ' are not written'}.",
            f"**Next:** {following}",
            mark=Mark(f"{what} {word}"),
            tone=Tone.RUNNING,
            run_id=list_.run_id,
        ),
    )


def store_new(where: str) -> Draft:
    """Say that state is kept from now on, and where."""
    return Draft(
        topic=Topic.STORE,
        reason="",
        notice=_notice(
            "New state store",
            f"State that must survive a restart is now kept in {code(where)}. This is expected at "
            "the first start only; at any other, the store was lost.",
            tone=Tone.RUNNING,
        ),
    )


def store_lost(where: str, *, why: str, until: datetime | None) -> Notice:
    """Say that what the store knew is gone, how that is known, and what it means."""
    following = (
        "nothing until someone resets the breaker, which was, or may have been, opened by hand."
        if until is None
        else f"a small trial sync {when(until)}. If it succeeds, everything else follows "
        "automatically."
    )
    return _notice(
        STORE_LOST,
        f"**{code(where)} has lost its record of earlier failures:** {why}.",
        "The breaker therefore counts as open: nothing is written. Nothing is lost: waiting "
        "changes are sent later.",
        f"**Next:** {following}",
        f"{YOU_CAN} make sure the store survives restarts (put it on a volume). {_PROBE_OR_RESET}",
        tone=Tone.BAD,
        ping=True,
        pressable=buttons.OF_BREAKER,
    )


def store_warning(text: str) -> Draft:
    """Say that the store is less durable than it must be."""
    return _store_needs_attention(
        text,
        f"**{quote(text)}**",
        "Syncing continues. The record of failures may not survive the next crash.",
        f"{YOU_CAN} fix this and restart the bot.",
    )


def store_aside(path: str) -> Draft:
    """Say that a file could not be read, where it is now, and what that means."""
    return _store_needs_attention(
        f"aside: {path}",
        f"**The state store could not be read.** It was set aside as {code(path)}, and a new "
        "one was created.",
        "Earlier failures, parked rows and a pause are forgotten.",
        "**Next:** syncing continues with the new one.",
        f"{YOU_CAN} find out what damaged it, and pause again if it was paused.",
    )


def _store_needs_attention(reason: str, *lines: str) -> Draft:
    return Draft(
        topic=Topic.STORE,
        reason=reason,
        notice=_notice("State store needs attention", *lines, tone=Tone.WARNING, ping=True),
    )


def store_unreachable(reason: str) -> Notice:
    """Say that the store does not answer, so that nothing is begun."""
    return _notice(
        "State store unreachable",
        f"**The bot can't read its record of earlier failures:** {quote(reason)}",
        "It can't tell whether a sync is safe, so none is started and nothing is written. Nothing "
        "is lost: waiting changes are sent later.",
        "**Next:** the bot tries again automatically, at least every half minute.",
        f"{YOU_CAN} check the store (`SYNC_STATE_URL`).",
        tone=Tone.BAD,
        ping=True,
    )


def store_back(*, lasted: timedelta) -> Notice:
    """Say that the store answers again, and how long it did not."""
    return _notice(
        "State store reachable again",
        f"It answers again, after {span(lasted)}. Waiting changes are sent now.",
        tone=Tone.GOOD,
    )


def cache_corrected(members: int) -> Notice:
    """Say that Discord was asked for all members anew, and how many had been missed."""
    who = "1 member has" if members == 1 else f"{members:,} members have"
    return _notice(
        "Member list corrected",
        f"{who} changed, joined or left, and Discord did not tell the bot. It requests all "
        "members once a day, and found out now.",
        "**Next:** their rows are written with the next live changes.",
        tone=Tone.RUNNING,
    )


def commands_missing(reason: str) -> Notice:
    """Say that slash commands could not be told to Discord."""
    return _notice(
        "Slash commands are missing",
        f"The bot's slash commands could not be registered with Discord: {quote(reason)}",
        "Syncing continues, and text commands work.",
        "**Next:** the bot tries again when it reconnects.",
        tone=Tone.WARNING,
    )


def waiting_for(holder: str | None) -> Notice:
    """Say that another process syncs this guild, and this one waits for it to end."""
    who = f"another process ({quote(holder)})" if holder else "another process"
    return _notice(
        "Sync waits for its turn",
        f"This server is kept in step by {who}. This one takes over when that ends.",
        "That is expected during an update or with a standby bot. Otherwise, stop one of them.",
        tone=Tone.RUNNING,
    )


def rival(run_id: str, *, where: str) -> Notice:
    """Say that another bot syncs this guild, with a store of its own; `where` is this one's."""
    return _notice(
        "Two bots sync this server",
        f"This channel shows a sync ({code(run_id)}) that this bot did not start. Another bot, or "
        "another process of this one, also syncs this server, with a state store of its own.",
        f"**Next:** both continue. This one's answers to commands say that it keeps its state in "
        f"{code(where)}.",
        f"{YOU_CAN} stop one of them, or give both the same store: then one leads and the other "
        "waits.",
        tone=Tone.WARNING,
        ping=True,
    )


def whose(where: str) -> str:
    """Say which of two bots answers: the one that keeps its state there."""
    return f"Another bot also syncs this server. This one keeps its state in {code(where)}."


def about_run(notice: Notice, run_id: str) -> Notice:
    """Say which run it was that a notice speaks of."""
    told = footer(run_id=run_id, mark=mark_of(notice.title, notice.footer))
    return replace(notice, footer=told)


def _notice(
    title: str,
    *lines: str,
    tone: Tone,
    ping: bool = False,
    run_id: str | None = None,
    mark: Mark | None = None,
    pressable: tuple[Button, ...] = (),
) -> Notice:
    return fit(
        Notice(
            title=title,
            description="\n".join(lines),
            tone=tone,
            footer=footer(run_id=run_id, mark=mark),
            ping=ping,
            buttons=pressable,
        )
    )


# -- in the store ---------------------------------------------------------------------------------


def to_json(alert: Alert) -> dict[str, object]:
    """Return the alert as `json.dumps` takes it."""
    notice = alert.notice
    return {
        "id": alert.id,
        "created_at": alert.created_at.isoformat(),
        "title": notice.title,
        "description": notice.description,
        "tone": notice.tone.name,
        "fields": [list(field) for field in notice.fields],
        "footer": notice.footer,
        "ping": notice.ping,
        "buttons": [button.custom_id for button in notice.buttons],
    }


def from_json(value: object) -> Alert:
    """Return the alert that `to_json` wrote; raise `ValueError` naming the field at fault."""
    record = Stored.of(value, what="the alert")
    tone = record.text("tone")
    if tone not in Tone.__members__:
        raise record.fault("tone", f"{tone[:40]!r}, not a tone")
    fields = record.fields.get("fields")
    if not isinstance(fields, list) or not all(map(_is_field, fields)):
        raise record.fault("fields", "not a list of pairs of texts")
    # An alert that an older version left has none; a button of a newer one is left out.
    custom_ids = record.fields.get("buttons", [])
    if not isinstance(custom_ids, list) or not all(isinstance(id_, str) for id_ in custom_ids):
        raise record.fault("buttons", "not a list of texts")
    return Alert(
        id=record.text("id"),
        created_at=record.time("created_at"),
        notice=Notice(
            title=record.text("title"),
            description=record.text("description"),
            tone=Tone[tone],
            fields=tuple((name, text) for name, text in fields),
            footer=record.text("footer"),
            ping=record.truth("ping"),
            buttons=tuple(
                button for id_ in custom_ids if (button := buttons.pressed(id_)) is not None
            ),
        ),
    )


def _digest(parts: Iterable[str]) -> str:
    text = "\n".join(sorted(parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _is_field(value: object) -> bool:
    return isinstance(value, list) and [type(part) for part in value] == [str, str]
