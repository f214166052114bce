"""What people see of a run: values in, the text of a message out.

Nothing from users or the site may break a message's form: names and error texts are escaped and
cut, and every limit of Discord's is kept for any input.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ..plan.planner import Reason
from ..policy.departures import Decision
from ..policy.request_backoff import FailureKind
from ..policy.verification import Verification
from . import buttons
from .marks import Mark, footer, without_mark
from .notice import (
    YOU_CAN,
    Notice,
    Tone,
    capital,
    fit,
    quote,
    span,
    when,
)
from .progress import (
    Ending,
    Phase,
    RunView,
    bar,
)

if TYPE_CHECKING:
    from ..plan.planner import Cause
    from ..policy.attempt import Attempt
    from ..policy.departures import WithheldList
    from ..policy.pace import Tuning
    from ..policy.request_backoff import Failure
    from .buttons import Button
    from .history import PastRun


_TOP_CAUSES: Final = 5
_SHOWN_PARKED: Final = 5
_LONGEST_ETA_S: Final = 1000 * 3600
_FOLLOWED: Final = "Followed by run"


_LOOK_AFTER: Final = (
    "check the site; its log has each request of this run under the run's id (`X-Request-ID`)."
)
_ADVICE: Final = {
    FailureKind.REFUSED: "set the right token (`SITE_API_TOKEN`) and restart the bot.",
    FailureKind.PROTOCOL: "check what answers at `SITE_API_URL`: a proxy, or another version of "
    "the site?",
    FailureKind.FAILING: _LOOK_AFTER,
    FailureKind.STALLED: _LOOK_AFTER,
    FailureKind.REJECTED: "check whether the site's rules for these rows have changed.",
    FailureKind.UNVERIFIED: "check whether something else also writes the site's users.",
    FailureKind.STORE: "check the state store (`SYNC_STATE_URL`).",
    FailureKind.LEASE: "make sure that only one bot syncs this server.",
    FailureKind.INTERNAL: "report this with the bot's log of the run.",
}


_NO_ACCESS: Final = frozenset({401, 403, 404})
_INTENT: Final = 'that the bot is in the server and has the "Server Members Intent".'


def _advice(failure: Failure) -> str | None:
    """Return what people can do about a failure, if it is anything."""
    if failure.kind is not FailureKind.SOURCE:
        return _ADVICE.get(failure.kind)
    if failure.status in _NO_ACCESS:
        return f"check {_INTENT}"
    if failure.status is not None:
        return "check https://discordstatus.com: Discord is failing, not the bot or the site."
    return f"check https://discordstatus.com; if all is well there, check {_INTENT}"


def render(view: RunView) -> Notice:
    """Return the live message of a run, which ends as its summary."""
    if view.ending is None:
        return _live(view)
    if view.ending is Ending.FAILED:
        return _failed(view)
    if view.ending is Ending.PLANNED:
        return _planned(view)
    return _summary(view)


def _live(view: RunView) -> Notice:
    lines = [f"**{capital(view.phase.value)}**, {view.trigger}"]
    if view.compared is not None:
        lines.append(bar(view.compared, max(view.members, view.compared)))
        lines.append(f"{view.compared:,} of {view.members:,} members compared{_time_left(view)}")
        found = f"**{view.done:,}** of **{view.planned:,}** changes found so far are written"
        lines.append(found if view.planned else "Nothing differs so far")
    elif view.phase is Phase.SITE and view.members:
        lines.append(bar(view.rows_read, max(view.members, view.rows_read)))
        lines.append(f"{view.rows_read:,} rows read, {view.members:,} members in the guild")
    elif view.planned and view.phase is not Phase.SITE:
        lines.append(bar(view.done, view.planned))
        lines.append(f"**{view.done:,}** of **{view.planned:,}** changes{_eta(view)}")
    if view.away:
        lines.append(f"**Waiting for Discord:** {quote(view.away)}")
    if view.paused_by is not None:
        lines.append(f"**Paused** by {view.paused_by}: nothing is written until it is resumed.")
    elif view.slow:
        lines.append(f"**Waiting for the site:** {quote(view.slow)}")
    elif _is_slow(view):
        lines.append(
            f"**The site is slow:** {view.request_s:.1f} s a request where {view.target_s:g} s is "
            "the target, so requests are kept small."
        )
    fields = []
    if view.causes:
        fields.append(("Cause", _causes(view)))
    if view.chunk_items:
        pace = f"{view.chunk_items:,} rows a request; the last took {view.request_s:.2f} s"
        fields.append(("Pace", f"{pace}\n{view.tuned}" if view.tuned else pace))
    fields.extend(_trouble(view))
    return fit(
        Notice(
            title=f"Syncing {view.what}",
            description="\n".join(lines),
            tone=Tone.WARNING if _is_held_up(view) else Tone.RUNNING,
            fields=tuple(fields),
            footer=footer(run_id=view.run_id, mark=Mark.LIVE),
            buttons=buttons.of_run(view.run_id, paused=view.paused_by is not None),
        )
    )


def _is_slow(view: RunView) -> bool:
    # The bound at which the pace halves.
    return view.phase is Phase.USERS and 0 < view.target_s * 2 < view.request_s


def _is_held_up(view: RunView) -> bool:
    return bool(view.slow or view.away) or view.paused_by is not None or _is_slow(view)


def _summary(view: RunView) -> Notice:
    cancelled = view.ending is Ending.CANCELLED
    lines = []
    if cancelled:
        lines.append(f"Stopped at **{view.done:,}** of **{view.planned:,}** changes.")
    elif not view.planned and not view.roles.total:
        left = view.withheld + view.withheld_roles
        nothing = "Nothing else to change" if left else "Nothing to change"
        lines.append(f"{nothing}: {_agreeing(view)} agree with the guild.")
    if view.planned and not cancelled:
        lines.append(_written(view))
    if not cancelled:
        lines.append(f"**Verified** in {duration(view)}{_by(view)}.")
    if view.next_step:
        lines.append(view.next_step)
    name = "cancelled" if cancelled else "finished"
    clean = not view.parked and not view.parked_roles and not view.withheld and not cancelled
    return fit(
        Notice(
            title=f"Sync of {view.what} {name}",
            description="\n".join(lines),
            tone=Tone.GOOD if clean and not view.withheld_roles else Tone.WARNING,
            fields=(*_totals(view), *_all_causes(view), *_trouble(view)),
            footer=footer(run_id=view.run_id),
            buttons=_of_ended(view),
        )
    )


def _by(view: RunView) -> str:
    """Say what was read again, if users were written."""
    match view.verification:
        case Verification.DIGESTS:
            return ": the site's digests of all rows are the guild's"
        case Verification.ROWS:
            return ": every written row was read again"
        case Verification.SAMPLE:
            return f": by the site's answers and {view.sampled:,} written rows read again"
        case _:
            return ""


def _agreeing(view: RunView) -> str:
    """Say how many rows, or where no users were compared how many roles."""
    if view.rows_read or not view.roles_read:
        return f"{max(0, view.rows_read - view.withheld):,} rows"
    roles = max(0, view.roles_read - view.withheld_roles)
    return f"{roles:,} role{'' if roles == 1 else 's'}"


def _written(view: RunView) -> str:
    """Say how many changes were written, and what caused most of them."""
    written = min(view.planned, view.tally.total)
    part = "" if written == view.planned else f" of **{view.planned:,}**"
    line = f"**{written:,}**{part} change{'' if view.planned == 1 else 's'} written."
    if not view.causes:
        return line
    cause = view.causes[0]
    if cause.count == view.planned:
        return f"{line} Cause: {_cause(cause, view)}."
    return f"{line} Main cause: {_cause(cause, view)} ({cause.count:,})."


def _planned(view: RunView) -> Notice:
    lines = [
        f"{view.rows_read:,} rows compared with {view.members:,} members; nothing was written."
    ]
    if not view.planned and not view.roles.planned:
        lines.append("**Nothing differs.**")
    else:
        lines.append(f"**{view.planned:,}** changes of users, **{view.roles.planned:,}** of roles.")
    fields = [("Cause", _causes(view))] if view.causes else []
    fields.extend(_trouble(view))
    return fit(
        Notice(
            title=f"Plan for {view.what}",
            description="\n".join(lines),
            tone=Tone.RUNNING,
            fields=tuple(fields),
            footer=footer(run_id=view.run_id),
        )
    )


def _failed(view: RunView) -> Notice:
    failure = view.failure
    lines = []
    if failure is not None:
        status = f" (HTTP {failure.status})" if failure.status is not None else ""
        lines.append(f"**{capital(failure.kind.value)}**{status}: {quote(failure.reason)}")
    if view.planned:
        # Not `done`, which rows that were parked are as well.
        written = min(view.done, view.tally.total)
        lines.append(
            f"Stopped at **{written:,}** of **{view.planned:,}** changes after {duration(view)}; "
            "what was written stays; the next sync picks up the rest."
        )
    else:
        lines.append(f"Stopped while {view.phase.value}, after {duration(view)}.")
    if view.next_step:
        lines.append(view.next_step)
    advice = None if failure is None else _advice(failure)
    if advice is not None:
        lines.append(f"{YOU_CAN} {advice}")
    return fit(
        Notice(
            title=f"Sync of {view.what} failed",
            description="\n".join(lines),
            tone=Tone.BAD,
            fields=(*_totals(view), *_all_causes(view), *_trouble(view)),
            footer=footer(run_id=view.run_id),
            buttons=_of_ended(view),
        )
    )


def ended_late(*, what: str, run_id: str, attempt: Attempt | None, past: PastRun | None) -> Notice:
    """Return what the live message of a run says whose process ended before it could.

    `past` is what was kept of its end, `attempt` what was kept while it was on, if anything was.
    """
    if past is not None:
        ending = "finished" if past.ending == "verified" else past.ending
        lines = [f"It ended {when(past.ended_at)}: {past.ending}."]
        done = past.created + past.updated + past.departed
        if past.planned:
            lines.append(f"**{done:,}** of **{past.planned:,}** changes were written.")
    else:
        ending = Ending.INTERRUPTED.value
        at = "" if attempt is None else reached(attempt)
        lines = [f"Interrupted{at and f' {at}'}: the bot stopped in the middle of it."]
        lines.append("What was written stays; the next sync picks up the rest.")
    return fit(
        Notice(
            title=f"Sync of {what} {ending}",
            description="\n".join(lines),
            tone=Tone.WARNING,
            footer=footer(run_id=run_id, mark=Mark.INTERRUPTED if past is None else None),
        )
    )


def reached(attempt: Attempt) -> str:
    """Say how far a run that was cut off had come: what is kept is seconds old, so at least."""
    if attempt.planned:
        return f"after at least **{attempt.done:,}** of **{attempt.planned:,}** changes"
    return "before its progress was recorded"


def followed(notice: Notice, *, run_id: str, url: str) -> Notice:
    """Return the end of an interrupted run with a link to the run that followed it."""
    line = f"{_FOLLOWED} `{run_id}`: {url}"
    text = f"{notice.description}\n{line}"
    return fit(replace(notice, description=text, footer=without_mark(notice.footer)))


def rolled(view: RunView, *, url: str) -> Notice:
    """Return what a live message says whose run is shown by a newer one, at `url`."""
    return fit(
        Notice(
            title=f"Sync of {view.what} continues below",
            description=f"A newer message shows this run: {url}",
            tone=Tone.RUNNING,
            footer=footer(run_id=view.run_id),
        )
    )


def failure_alert(view: RunView) -> Notice:
    """Return the alert about a failed run: a message of its own, since edits ping nobody."""
    notice = _failed(view)
    return fit(
        Notice(
            title=notice.title,
            description=notice.description,
            tone=Tone.BAD,
            footer=notice.footer,
            ping=True,
        )
    )


def tuned(by: str, tuning: Tuning) -> str:
    """Say who has set what for a run that is on."""
    parts = []
    if tuning.target_s is not None:
        parts.append(f"{tuning.target_s:g} s a request is the target")
    if tuning.max_items is not None:
        parts.append(f"at most {tuning.max_items:,} rows a request")
    return f"Set by {by}: {', '.join(parts)}."


def withheld_because(list_: WithheldList) -> str:
    """Say why something is not written that a list withholds, or that is not on an approved one."""
    digest = list_.digest
    if list_.decision is Decision.APPROVED:
        return (
            f"They are not on list `{digest}`, which {list_.by} approved; the sync after this one "
            "asks about them."
        )
    if list_.decision is Decision.REJECTED:
        return (
            f"{list_.by} rejected list `{digest}` {when(list_.decided_at or list_.asked_at)}; "
            f"asked again {when(list_.until)}."
        )
    return (
        f"Too many to accept without a moderator, who was asked {when(list_.asked_at)}: `!sync "
        f"approve {digest}` or `!sync reject {digest}`."
    )


def carried_out(list_: WithheldList, *, due: int) -> str:
    """Say what a run writes of an approved list; `due` counts what still holds."""
    text = f"list `{list_.digest}`, by {list_.by}: {due:,} {list_.what.value} are written"
    rest = len(list_.ids) - due
    return f"{text}, {rest:,} are back." if rest else f"{text}."


def pressed_by(by: str, button: Button, what: str) -> str:
    """Return the line that tells below an alert who pressed its button, and what came of it."""
    return f"*{by} pressed {button.label}.* {what}"


def _totals(view: RunView) -> tuple[tuple[str, str], ...]:
    fields = []
    if view.tally.total or view.planned:
        tally = view.tally
        fields.append(
            (
                "Users",
                f"{tally.created:,} created, {tally.updated:,} updated, {tally.departed:,} left",
            )
        )
    if view.roles.total:
        roles = view.roles
        fields.append(
            (
                "Roles",
                f"{roles.created:,} created, {roles.updated:,} updated, {roles.deleted:,} deleted",
            )
        )
    return tuple(fields)


def _trouble(view: RunView) -> tuple[tuple[str, str], ...]:
    fields = []
    if view.parked or view.parked_roles:
        lines = [f"`{row.id}` {quote(row.reason)}" for row in view.parked[:_SHOWN_PARKED]]
        lines += [quote(text) for text in view.parked_roles[:_SHOWN_PARKED]]
        count = len(view.parked) + len(view.parked_roles)
        if count > len(lines):
            lines.append(f"and {count - len(lines):,} more")
        fields.append((f"Parked: {count:,} rejected by the site", "\n".join(lines)))
    if view.still_parked:
        fields.append(("Parked before", f"{view.still_parked:,} rows, not tried again yet"))
    if view.withheld:
        fields.append((f"Departures withheld: {view.withheld:,}", view.withheld_reason))
    if view.withheld_roles:
        name = f"Role deletions withheld: {view.withheld_roles:,}"
        fields.append((name, view.withheld_roles_reason))
    if view.approved:
        fields.append(("Approved", "\n".join(view.approved)))
    return tuple(fields)


def _of_ended(view: RunView) -> tuple[Button, ...]:
    has_parked = view.parked or view.still_parked
    return buttons.of_parked(view.run_id) if has_parked else ()


def _all_causes(view: RunView) -> tuple[tuple[str, str], ...]:
    # That of a run that ended well stands above already, if it is but one.
    told = 1 if view.ending is Ending.VERIFIED else 0
    return (("Causes", _causes(view)),) if len(view.causes) > told else ()


def _causes(view: RunView) -> str:
    lines = [f"{cause.count:,}: {_cause(cause, view)}" for cause in view.causes[:_TOP_CAUSES]]
    if len(view.causes) > _TOP_CAUSES:
        rest = sum(cause.count for cause in view.causes[_TOP_CAUSES:])
        lines.append(f"{rest:,}: other causes")
    return "\n".join(lines)


def _cause(cause: Cause, view: RunView) -> str:
    if cause.role_id is None:
        return cause.reason.value
    # Quoted first: of a name of nothing but invisible characters nothing is left.
    name = quote(dict(view.role_names).get(cause.role_id, ""))
    role = f"role *{name}*" if name else f"role `{cause.role_id}`"
    return f"{role} {'removed' if cause.reason is Reason.ROLE_REMOVED else 'added'}"


def _eta(view: RunView) -> str:
    # Before 1 % an estimate is a guess, and people remember the guess.
    if view.rate <= 0 or view.done * 100 < view.planned or view.done >= view.planned:
        return ""
    left_s = (view.planned - view.done) / view.rate
    # At a rate next to nothing the time is beyond what a timedelta holds, and nobody's business.
    left = f", about {span(timedelta(seconds=left_s))} left" if left_s < _LONGEST_ETA_S else ""
    return f", {view.rate:,.0f} a second{left}"


def _time_left(view: RunView) -> str:
    compared = view.compared or 0
    if compared * 100 < view.members or compared >= view.members:
        return ""
    taken = (view.now - view.started_at).total_seconds()
    left = timedelta(seconds=taken * (view.members - compared) / compared)
    return f", about {span(left)} left"


def duration(view: RunView) -> str:
    """Say how long the run has taken."""
    return span(view.now - view.started_at)
