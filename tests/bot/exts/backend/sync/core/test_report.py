"""What people read of a run: every state of its message, and no text that could break one."""

import unicodedata
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.delivery.chunks import ParkedRow, Tally
from bot.exts.backend.sync._core.messages import notice as notices
from bot.exts.backend.sync._core.messages.buttons import Action, Button
from bot.exts.backend.sync._core.messages.notice import (
    Notice,
    Tone,
    code,
    fit,
    quote,
    span,
)
from bot.exts.backend.sync._core.messages.progress import (
    Ending,
    Phase,
    RoleTally,
    RunView,
)
from bot.exts.backend.sync._core.messages.report import failure_alert, render
from bot.exts.backend.sync._core.model.members import RoleId, UserId
from bot.exts.backend.sync._core.plan.planner import Cause, Reason
from bot.exts.backend.sync._core.policy.request_backoff import Failure, FailureKind
from bot.exts.backend.sync._core.policy.verification import Verification
from tests.bot.exts.backend.sync.state.notices import all_notices

from .examples import NOW
from .markup import assert_marked_up_alike, assert_within_limits

DEVELOPERS = Cause(reason=Reason.ROLE_REMOVED, role_id=RoleId(7), count=79_812)
RENAMED = Cause(reason=Reason.NAME, role_id=None, count=192)
START = RunView(
    run_id="r1",
    what="roles and users",
    trigger="at start-up",
    phase=Phase.GUILD,
    started_at=NOW,
    now=NOW + timedelta(seconds=24),
)
READING = replace(START, phase=Phase.SITE, members=80_000, rows_read=20_000)
WRITING = replace(
    START,
    phase=Phase.USERS,
    members=80_000,
    rows_read=80_000,
    planned=80_004,
    done=60_003,
    rate=10_000.0,
    causes=(DEVELOPERS, RENAMED),
    role_names=((7, "Developers"),),
    chunk_items=1000,
    request_s=0.064,
)
TROUBLED = replace(
    WRITING,
    parked=tuple(ParkedRow(id=UserId(id_), reason=f"name: no {id_}") for id_ in range(1, 8)),
    parked_roles=("role x: name is empty",),
    still_parked=1234,
    withheld=600,
    withheld_reason="600 of 1,001 are gone.",
    withheld_roles=9,
    withheld_roles_reason="9 of 20 are gone.",
)
ENDED = replace(
    WRITING,
    phase=Phase.ENDED,
    done=80_004,
    tally=Tally(created=2, updated=80_001, departed=1),
    roles=RoleTally(created=1, updated=2, deleted=3, planned=6),
)
SITE_ERROR = Failure(kind=FailureKind.FAILING, reason="<h1>Server *Error*</h1>", status=500)
TROUBLE_FIELDS = (
    (
        "Parked: 8 rejected by the site",
        "\n".join(
            [
                *[f"`{id_}` name\\: no {id_}" for id_ in (1, 2, 3, 4, 5)],
                "role x\\: name is empty",
                "and 2 more",
            ]
        ),
    ),
    ("Parked before", "1,234 rows, not tried again yet"),
    ("Departures withheld: 600", "600 of 1,001 are gone."),
    ("Role deletions withheld: 9", "9 of 20 are gone."),
)
CAUSES = "79,812: role *Developers* removed\n192: renamed"
TOTALS = (
    ("Users", "2 created, 80,001 updated, 1 left"),
    ("Roles", "1 created, 2 updated, 3 deleted"),
)


STEERING = tuple(
    Button(action=action, argument="r1") for action in (Action.PAUSE, Action.CANCEL, Action.DETAILS)
)
ABOUT_PARKED = tuple(
    Button(action=action, argument="r1") for action in (Action.RETRY_PARKED, Action.SHOW_PARKED)
)
LOOK_AFTER = (
    "**You can** check the site; its log has each request of this run under the run's id "
    "(`X-Request-ID`)."
)


def notice(title: str, *lines: str, tone: Tone, **more: Any) -> Notice:
    """Return a notice of run r1."""
    return Notice(title=title, description="\n".join(lines), tone=tone, footer="run r1", **more)


def live(*lines: str, tone: Tone = Tone.RUNNING, **more: Any) -> Notice:
    """Return the message of a run that is on."""
    more = {"buttons": STEERING} | more
    told = notice("Syncing roles and users", *lines, tone=tone, **more)
    return replace(told, footer="run r1 · live")


def unread(status: int | None, what: str, look_after: str) -> tuple[RunView, Notice]:
    """Return a run that Discord gave no list of members, and what is shown of it."""
    failure = Failure(kind=FailureKind.SOURCE, reason="no list", status=status)
    return replace(START, ending=Ending.FAILED, failure=failure), notice(
        "Sync of roles and users failed",
        what,
        "Stopped while reading the guild, after 24 s.",
        look_after,
        tone=Tone.BAD,
    )


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        (START, live("**Reading the guild**, at start-up")),
        (
            READING,
            live(
                "**Reading the site**, at start-up",
                "`█████░░░░░░░░░░░░░░░` 25%",
                "20,000 rows read, 80,000 members in the guild",
            ),
        ),
        (
            replace(READING, rows_read=90_000),
            live(
                "**Reading the site**, at start-up",
                "`████████████████████` 100%",
                "90,000 rows read, 80,000 members in the guild",
            ),
        ),
        (replace(READING, members=0), live("**Reading the site**, at start-up")),
        (
            replace(START, phase=Phase.ROLES, planned=0),
            live("**Writing roles**, at start-up"),
        ),
        (
            WRITING,
            live(
                "**Writing users**, at start-up",
                "`███████████████░░░░░` 75%",
                "**60,003** of **80,004** changes, 10,000 a second, about 2.0 s left",
                fields=(("Cause", CAUSES), ("Pace", "1,000 rows a request; the last took 0.06 s")),
            ),
        ),
        (
            replace(READING, phase=Phase.COMPARING, compared=799),
            live(
                "**Comparing members and rows**, at start-up",
                "`░░░░░░░░░░░░░░░░░░░░` 0%",
                "799 of 80,000 members compared",
                "Nothing differs so far",
            ),
        ),
        (
            replace(READING, compared=20_000, planned=1_010, done=9),
            live(
                "**Reading the site**, at start-up",
                "`█████░░░░░░░░░░░░░░░` 25%",
                "20,000 of 80,000 members compared, about 72 s left",
                "**9** of **1,010** changes found so far are written",
            ),
        ),
        (
            replace(WRITING, causes=(), chunk_items=0, compared=80_001),
            live(
                "**Writing users**, at start-up",
                "`████████████████████` 100%",
                "80,001 of 80,000 members compared",
                "**60,003** of **80,004** changes found so far are written",
            ),
        ),
        (
            replace(WRITING, causes=(), chunk_items=0, done=80_003, slow="the site is *over*"),
            live(
                "**Writing users**, at start-up",
                "`███████████████████░` 99%",
                "**80,003** of **80,004** changes, 10,000 a second, about 0.0 s left",
                "**Waiting for the site:** the site is \\*over\\*",
                tone=Tone.WARNING,
            ),
        ),
        (
            replace(WRITING, causes=(), request_s=3.21, target_s=0.5, tuned="Set by <@1>."),
            live(
                "**Writing users**, at start-up",
                "`███████████████░░░░░` 75%",
                "**60,003** of **80,004** changes, 10,000 a second, about 2.0 s left",
                "**The site is slow:** 3.2 s a request where 0.5 s is the target, so requests are "
                "kept small.",
                tone=Tone.WARNING,
                fields=(("Pace", "1,000 rows a request; the last took 3.21 s\nSet by <@1>."),),
            ),
        ),
        (
            replace(WRITING, causes=(), chunk_items=0, slow="500", paused_by="<@1>"),
            live(
                "**Writing users**, at start-up",
                "`███████████████░░░░░` 75%",
                "**60,003** of **80,004** changes, 10,000 a second, about 2.0 s left",
                "**Paused** by <@1>: nothing is written until it is resumed.",
                tone=Tone.WARNING,
                buttons=(replace(STEERING[0], action=Action.RESUME), *STEERING[1:]),
            ),
        ),
        (
            replace(WRITING, causes=(), chunk_items=0, away="no _list_", paused_by="<@1>"),
            live(
                "**Writing users**, at start-up",
                "`███████████████░░░░░` 75%",
                "**60,003** of **80,004** changes, 10,000 a second, about 2.0 s left",
                "**Waiting for Discord:** no \\_list\\_",
                "**Paused** by <@1>: nothing is written until it is resumed.",
                tone=Tone.WARNING,
                buttons=(replace(STEERING[0], action=Action.RESUME), *STEERING[1:]),
            ),
        ),
        (
            replace(TROUBLED, phase=Phase.VERIFYING, causes=(), chunk_items=0, done=80_004),
            live(
                "**Verifying what was written**, at start-up",
                "`████████████████████` 100%",
                "**80,004** of **80,004** changes",
                fields=TROUBLE_FIELDS,
            ),
        ),
    ],
    ids=[
        "guild",
        "site",
        "more rows than members",
        "members unknown",
        "roles",
        "users",
        "the first hundredth compared",
        "a quarter compared",
        "all compared",
        "waiting",
        "slow",
        "paused",
        "waiting for Discord",
        "verifying",
    ],
)
def test_a_run_that_is_on(view: RunView, shown: Notice) -> None:
    """Bar, counts, rate, time left, cause, pace and why it waits: each where it is known."""
    assert render(view) == shown


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        (
            replace(ENDED, ending=Ending.VERIFIED),
            notice(
                "Sync of roles and users finished",
                "**80,004** changes written. Main cause: role *Developers* removed (79,812).",
                "**Verified** in 24 s.",
                tone=Tone.GOOD,
                fields=(*TOTALS, ("Causes", CAUSES)),
            ),
        ),
        (
            replace(START, ending=Ending.VERIFIED, rows_read=80_000),
            notice(
                "Sync of roles and users finished",
                "Nothing to change: 80,000 rows agree with the guild.",
                "**Verified** in 24 s.",
                tone=Tone.GOOD,
            ),
        ),
        (
            replace(START, what="roles", ending=Ending.VERIFIED, roles_read=7),
            notice(
                "Sync of roles finished",
                "Nothing to change: 7 roles agree with the guild.",
                "**Verified** in 24 s.",
                tone=Tone.GOOD,
            ),
        ),
        (
            replace(
                START,
                ending=Ending.VERIFIED,
                planned=1,
                done=1,
                tally=Tally(updated=1),
                causes=(replace(RENAMED, count=1),),
            ),
            notice(
                "Sync of roles and users finished",
                "**1** change written. Cause: renamed.",
                "**Verified** in 24 s.",
                tone=Tone.GOOD,
                fields=(("Users", "0 created, 1 updated, 0 left"),),
            ),
        ),
        (
            replace(START, ending=Ending.VERIFIED, rows_read=100, withheld=7, withheld_reason="So"),
            notice(
                "Sync of roles and users finished",
                "Nothing else to change: 93 rows agree with the guild.",
                "**Verified** in 24 s.",
                tone=Tone.WARNING,
                fields=(("Departures withheld: 7", "So"),),
            ),
        ),
        (
            replace(START, ending=Ending.VERIFIED, roles=RoleTally(updated=1, planned=1)),
            notice(
                "Sync of roles and users finished",
                "**Verified** in 24 s.",
                tone=Tone.GOOD,
                fields=(("Roles", "0 created, 1 updated, 0 deleted"),),
            ),
        ),
        (
            replace(TROUBLED, ending=Ending.VERIFIED, causes=(RENAMED,), next_step="More later."),
            notice(
                "Sync of roles and users finished",
                "**0** of **80,004** changes written. Main cause: renamed (192).",
                "**Verified** in 24 s.",
                "More later.",
                tone=Tone.WARNING,
                fields=(("Users", "0 created, 0 updated, 0 left"), *TROUBLE_FIELDS),
                buttons=ABOUT_PARKED,
            ),
        ),
        (
            replace(
                ENDED,
                ending=Ending.VERIFIED,
                causes=(),
                still_parked=1,
                approved=("list `a`, by <@1>: 2 departures are written.",),
            ),
            notice(
                "Sync of roles and users finished",
                "**80,004** changes written.",
                "**Verified** in 24 s.",
                tone=Tone.GOOD,
                fields=(
                    *TOTALS,
                    ("Parked before", "1 rows, not tried again yet"),
                    ("Approved", "list `a`, by <@1>: 2 departures are written."),
                ),
                buttons=ABOUT_PARKED,
            ),
        ),
        (
            replace(
                ENDED,
                ending=Ending.CANCELLED,
                done=10_000,
                causes=(),
                next_step="Cancelled by <@1>.",
            ),
            notice(
                "Sync of roles and users cancelled",
                "Stopped at **10,000** of **80,004** changes.",
                "Cancelled by <@1>.",
                tone=Tone.WARNING,
                fields=TOTALS,
            ),
        ),
        (
            replace(START, ending=Ending.PLANNED, rows_read=21, members=20),
            notice(
                "Plan for roles and users",
                "21 rows compared with 20 members; nothing was written.",
                "**Nothing differs.**",
                tone=Tone.RUNNING,
            ),
        ),
        (
            replace(
                TROUBLED,
                ending=Ending.PLANNED,
                roles=RoleTally(planned=3),
                parked=(),
                parked_roles=(),
            ),
            notice(
                "Plan for roles and users",
                "80,000 rows compared with 80,000 members; nothing was written.",
                "**80,004** changes of users, **3** of roles.",
                tone=Tone.RUNNING,
                fields=(("Cause", CAUSES), *TROUBLE_FIELDS[1:]),
            ),
        ),
        (
            replace(START, ending=Ending.PLANNED, roles=RoleTally(planned=1)),
            notice(
                "Plan for roles and users",
                "0 rows compared with 0 members; nothing was written.",
                "**0** changes of users, **1** of roles.",
                tone=Tone.RUNNING,
            ),
        ),
        (
            replace(
                ENDED,
                ending=Ending.FAILED,
                done=10_000,
                tally=Tally(updated=10_000),
                failure=SITE_ERROR,
                next_step="**Next:** later.",
            ),
            notice(
                "Sync of roles and users failed",
                "**The site kept failing** (HTTP 500): \\<h1\\>Server \\*Error\\*\\<\\/h1\\>",
                "Stopped at **10,000** of **80,004** changes after 24 s; what was written stays; "
                "the next sync picks up the rest.",
                "**Next:** later.",
                LOOK_AFTER,
                tone=Tone.BAD,
                fields=(
                    ("Users", "0 created, 10,000 updated, 0 left"),
                    TOTALS[1],
                    ("Causes", CAUSES),
                ),
            ),
        ),
        unread(
            None,
            "**The guild's members could not be read in full**: no list",
            "**You can** check https://discordstatus.com; if all is well there, check that "
            "the bot is "
            'in the server and has the "Server Members Intent".',
        ),
        unread(
            403,
            "**The guild's members could not be read in full** (HTTP 403): no list",
            '**You can** check that the bot is in the server and has the "Server Members Intent".',
        ),
        unread(
            500,
            "**The guild's members could not be read in full** (HTTP 500): no list",
            "**You can** check https://discordstatus.com: Discord is failing, not the bot or "
            "the site.",
        ),
        (
            replace(START, ending=Ending.FAILED),
            notice(
                "Sync of roles and users failed",
                "Stopped while reading the guild, after 24 s.",
                tone=Tone.BAD,
            ),
        ),
    ],
    ids=[
        "verified",
        "in step",
        "roles in step",
        "one change",
        "in step but for some",
        "roles alone",
        "troubled",
        "approved",
        "cancelled",
        "empty plan",
        "plan",
        "plan of roles",
        "failed writing",
        "failed reading",
        "failed reading for want of access",
        "failed reading from an ill Discord",
        "failed without a word",
    ],
)
def test_a_run_that_has_ended(view: RunView, shown: Notice) -> None:
    """The summary: what was done and why, what is left over, what comes next."""
    assert render(view) == shown


def test_a_few_parked_rows_are_all_named() -> None:
    """Where none is left over, none is counted."""
    view = replace(ENDED, ending=Ending.VERIFIED, parked=TROUBLED.parked[:2], causes=())

    assert render(view).fields == (
        *TOTALS,
        ("Parked: 2 rejected by the site", "`1` name\\: no 1\n`2` name\\: no 2"),
    )


def test_an_alert_is_the_failure_without_its_figures() -> None:
    """It pings, names status, error and run, and leaves the rest to the message beside it."""
    failed = replace(ENDED, ending=Ending.FAILED, done=10_000, failure=SITE_ERROR)

    assert failure_alert(failed) == replace(render(failed), fields=(), ping=True)


@pytest.mark.parametrize(
    "leftover",
    [
        {"parked": TROUBLED.parked},
        {"parked_roles": TROUBLED.parked_roles},
        {"withheld": 1, "withheld_reason": "So."},
        {"withheld_roles": 1},
    ],
)
def test_what_is_left_over_takes_the_green_away(leftover: dict[str, Any]) -> None:
    """Green means that the site is in step in everything."""
    clean = render(replace(ENDED, ending=Ending.VERIFIED))
    other = render(replace(ENDED, ending=Ending.VERIFIED, **leftover))

    assert (clean.tone, other.tone) == (Tone.GOOD, Tone.WARNING)


# -- its parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("done", "planned", "bar", "percent"),
    [
        (0, 80_000, 0, "0%"),
        (799, 80_000, 0, "0%"),
        (800, 80_000, 0, "1%"),
        (3_999, 80_000, 0, "4%"),
        (4_000, 80_000, 1, "5%"),
        (40_000, 80_000, 10, "50%"),
        (79_999, 80_000, 19, "99%"),
        (80_000, 80_000, 20, "100%"),
        (80_001, 80_000, 20, "100%"),
        (2, 7, 5, "28%"),
    ],
)
def test_the_bar_is_rounded_down(done: int, planned: int, bar: int, percent: str) -> None:
    """It is full, and says 100 %, when all is done and not before."""
    shown = render(replace(WRITING, done=done, planned=planned)).description.splitlines()[1]

    assert shown == f"`{'█' * bar}{'░' * (20 - bar)}` {percent}"


@pytest.mark.parametrize(
    ("done", "rate", "told"),
    [
        (799, 10_000.0, ""),
        (800, 10_000.0, ", 10,000 a second, about 7.9 s left"),
        (800, 79.2, ", 79 a second, about 17 min left"),
        (800, 1.0, ", 1 a second, about 22 h left"),
        (800, 0.0221, ", 0 a second, about 995 h left"),
        (800, 0.02, ", 0 a second"),
        (800, 5e-324, ", 0 a second"),
        (800, 0.0, ""),
        (80_000, 10_000.0, ""),
        (80_001, 10_000.0, ""),
    ],
)
def test_no_time_is_promised_before_one_percent(done: int, rate: float, told: str) -> None:
    """Before, an estimate is a guess; afterwards, there is nothing left to estimate."""
    view = replace(WRITING, planned=80_000, done=done, rate=rate)

    assert render(view).description.splitlines()[2] == f"**{done:,}** of **80,000** changes{told}"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (99.4, "99 s"),
        (100, "2 min"),
        (5999, "100 min"),
        (6000, "2 h"),
        (360_000, "100 h"),
    ],
)
def test_a_span_has_two_digits_or_so(seconds: float, told: str) -> None:
    """Nobody needs the seconds of an hour."""
    assert span(timedelta(seconds=seconds)) == told


ROLE = RoleId(7)


@pytest.mark.parametrize(
    ("cause", "names", "told"),
    [
        (DEVELOPERS, ((7, "Developers"),), "role *Developers* removed"),
        (replace(DEVELOPERS, reason=Reason.ROLE_ADDED), ((7, "x"),), "role *x* added"),
        (DEVELOPERS, ((8, "Other"),), "role `7` removed"),
        (DEVELOPERS, ((7, ""),), "role `7` removed"),
        (DEVELOPERS, ((7, "\u200b \u2060"),), "role `7` removed"),
        (DEVELOPERS, ((7, "*@here*"),), "role *\\*\\@\u200bhere\\** removed"),
        *(
            (Cause(reason=reason, role_id=None, count=1), (), told)
            for reason, told in [
                (Reason.NAME, "renamed"),
                (Reason.DISPLAY_NAME, "display name changed"),
                (Reason.DISCRIMINATOR, "discriminator changed"),
                (Reason.ROLE_ORDER, "roles put in order"),
                (Reason.JOINED, "joined"),
                (Reason.RETURNED, "returned"),
                (Reason.LEFT, "left"),
            ]
        ),
    ],
)
def test_a_cause_in_words(cause: Cause, names: tuple[tuple[int, str], ...], told: str) -> None:
    """Roles by the name that people know, or by id where there is none that shows."""
    view = replace(ENDED, ending=Ending.VERIFIED, causes=(cause,), role_names=names)

    due = f"**80,004** changes written. Main cause: {told} ({cause.count:,})."
    assert render(view).description.splitlines()[0] == due


@pytest.mark.parametrize("others", [0, 4])
def test_five_causes_are_told_and_the_rest_is_counted(others: int) -> None:
    """A plan with hundreds of causes has a message all the same."""
    causes = tuple(
        Cause(reason=Reason.ROLE_ADDED, role_id=RoleId(id_), count=1000 * id_)
        for id_ in range(9, 4 - others, -1)
    )

    assert dict(render(replace(WRITING, causes=causes)).fields)["Cause"].splitlines() == [
        "9,000: role `9` added",
        "8,000: role `8` added",
        "7,000: role *Developers* added",
        "6,000: role `6` added",
        "5,000: role `5` added",
        *["10,000: other causes"] * (others > 0),
    ]


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain text, ümläut, 🧑", "plain text, ümläut, 🧑"),
        ("  a\tb\r\nc\u2028d  ", "a b c d"),
        ("a\u202eb\u200bc\x85d\ud83ee", "a b c d e"),
        ("**b** _i_ ~~s~~ `c` ||x||", "\\*\\*b\\*\\* \\_i\\_ \\~\\~s\\~\\~ \\`c\\` \\|\\|x\\|\\|"),
        ("# head > quote - item", "\\# head \\> quote \\- item"),
        ("[x](http://y)", "\\[x\\]\\(http\\:\\/\\/y\\)"),
        ("<@1> <#2> </a:3> <:e:4>", "\\<\\@\u200b1\\> \\<\\#2\\> \\<\\/a\\:3\\> \\<\\:e\\:4\\>"),
        ("@everyone", "\\@\u200beveryone"),
        ("back\\slash\\", "back\\\\slash\\\\"),
        ("", ""),
        ("\n", ""),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
        ("*" * 300, "\\*" * 199 + "…"),
    ],
)
def test_quoted_text_shows_as_it_is(text: str, quoted: str) -> None:
    """On one line, escaped, cut before it is escaped so that no escape is torn."""
    assert quote(text) == quoted


@pytest.mark.parametrize(
    ("text", "span_of_code"),
    [
        ("var/sync.db", "`var/sync.db`"),
        ("a`b``c", "`a'b''c`"),
        ("@everyone", "`@\u200beveryone`"),
        ("a\nb", "`a b`"),
        ("", "` `"),
        ("x" * 300, f"`{'x' * 200}`"),
    ],
)
def test_text_in_a_code_span_stays_in_it(text: str, span_of_code: str) -> None:
    """A backtick would end the span, and an empty one is none."""
    assert code(text) == span_of_code


# -- for any text at all --------------------------------------------------------------------------

HOSTILE_PARTS = [
    *r"\*_~`|>#[]()<@:/-!",
    "@everyone",
    "@here",
    "<@123>",
    "<@&123>",
    "<#123>",
    "</sync:1>",
    "<t:1:R>",
    "[x](https://y)",
    "```\n",
    "\n# ",
    "\n> ",
    "\n- ",
    "\u202e",
    "\u200b",
    "\x85",
    "\ud83e",
    "🧑",
    "word ",
]
# Never blank, for a name that is blank is told as an id instead.
HOSTILE = st.lists(
    st.one_of(st.sampled_from(HOSTILE_PARTS), st.text(st.characters(), max_size=5)), max_size=120
).map(lambda parts: "".join(parts) + "x")
COUNTS = st.integers(0, 10**9)


@st.composite
def views(
    draw: st.DrawFn, text: st.SearchStrategy[str], *, ours: st.SearchStrategy[str]
) -> RunView:
    """Draw any view: `text` is of users and the site, `ours` what this program says itself."""
    roles = draw(st.lists(st.integers(1, 9), unique=True, max_size=9))
    return RunView(
        run_id=draw(ours),
        what=draw(ours),
        trigger=draw(ours),
        phase=draw(st.sampled_from(Phase)),
        started_at=NOW,
        now=NOW + timedelta(seconds=draw(st.integers(0, 10**6))),
        members=draw(COUNTS),
        rows_read=draw(COUNTS),
        planned=draw(COUNTS),
        done=draw(COUNTS),
        tally=Tally(created=draw(COUNTS), updated=draw(COUNTS), departed=draw(COUNTS)),
        roles=RoleTally(created=draw(COUNTS), planned=draw(COUNTS)),
        causes=tuple(
            Cause(reason=draw(st.sampled_from(Reason)), role_id=RoleId(id_), count=draw(COUNTS))
            for id_ in roles
        ),
        role_names=tuple((id_, draw(text)) for id_ in roles),
        rate=draw(st.floats(0, 10**6)),
        chunk_items=draw(COUNTS),
        request_s=draw(st.floats(0, 10**6)),
        target_s=draw(st.floats(0, 10**6)),
        tuned=draw(ours),
        paused_by=draw(st.none() | ours),
        slow=draw(st.none() | text),
        away=draw(st.none() | text),
        parked=tuple(
            ParkedRow(id=UserId(2**63 + number), reason=draw(text))
            for number in range(draw(st.integers(0, 7)))
        ),
        parked_roles=tuple(draw(st.lists(text, max_size=7))),
        still_parked=draw(COUNTS),
        withheld=draw(COUNTS),
        withheld_roles=draw(COUNTS),
        withheld_reason=draw(ours),
        withheld_roles_reason=draw(ours),
        approved=tuple(draw(st.lists(ours, max_size=2))),
        ending=draw(st.none() | st.sampled_from([e for e in Ending if e != "interrupted"])),
        failure=draw(
            st.none()
            | st.builds(
                Failure,
                kind=st.sampled_from(FailureKind),
                reason=text,
                status=st.none() | st.integers(100, 999),
            )
        ),
        next_step=draw(ours),
    )


@given(views(HOSTILE, ours=HOSTILE | st.just("")))
def test_no_view_breaks_discords_limits(view: RunView) -> None:
    """Whatever stands in any of its fields, however long: the message can be sent."""
    assert_within_limits(render(view))
    assert_within_limits(failure_alert(view))


def embed(title: int, description: int, footer: int, *fields: tuple[int, int]) -> Notice:
    """Return a notice whose parts have so many characters."""
    return Notice(
        title="t" * title,
        description="d" * description,
        tone=Tone.BAD,
        fields=tuple(("n" * name, "v" * value) for name, value in fields),
        footer="f" * footer,
    )


@pytest.mark.parametrize(
    ("given_sizes", "left"),
    [
        ((256, 4096, 1648), (256, 4096, 1648)),
        ((257, 4097, 0), (256, 4096, 0)),
        ((10, 10, 2048), (10, 10, 2048)),
        ((10, 10, 2049), (10, 10, 2048)),
        ((256, 4096, 2048), (256, 3696, 2048)),
        ((10, 10, 10, (256, 1024)), (10, 10, 10, (256, 1024))),
        ((10, 10, 10, (257, 1025)), (10, 10, 10, (256, 1024))),
        ((10, 10, 10, (0, 0)), (10, 10, 10, (1, 1))),
        ((10, 10, 10, *[(1, 1)] * 25), (10, 10, 10, *[(1, 1)] * 25)),
        ((10, 10, 10, *[(1, 1)] * 26), (10, 10, 10, *[(1, 1)] * 25)),
        ((10, 3000, 10, *[(100, 890)] * 3, (9, 1)), (10, 3000, 10, *[(100, 890)] * 3, (9, 1))),
        ((10, 3000, 10, *[(100, 890)] * 3, (9, 2)), (10, 3000, 10, *[(100, 890)] * 3)),
        ((10, 3000, 10, *[(100, 890)] * 3, (9, 2), (1, 1)), (10, 3000, 10, *[(100, 890)] * 3)),
    ],
)
def test_each_limit_is_kept_to_the_character(given_sizes: Any, left: Any) -> None:
    """Parts are cut to their own limits, and fields from the last on to the limit of all."""
    fitted = fit(embed(*given_sizes))

    sizes = [len(fitted.title), len(fitted.description), len(fitted.footer)]
    assert (*sizes, *((len(name), len(value)) for name, value in fitted.fields)) == left


@given(
    title=st.text(max_size=400),
    description=st.integers(0, 7000),
    footer=st.integers(0, 3000),
    fields=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2000)), max_size=40),
)
def test_any_notice_can_be_fitted(
    title: str, description: int, footer: int, fields: list[tuple[int, int]]
) -> None:
    """The last fields go first; what is cut ends in an ellipsis; what fits is left as it is."""
    given_notice = Notice(
        title=title,
        description="d" * description,
        tone=Tone.BAD,
        fields=tuple(("n" * name, "v" * value) for name, value in fields),
        footer="f" * footer,
        ping=True,
    )

    fitted = fit(given_notice)

    assert_within_limits(fitted)
    assert (fitted.tone, fitted.ping) == (Tone.BAD, True)
    for (name, value), (whole_name, whole_value) in zip(
        fitted.fields, given_notice.fields, strict=False
    ):
        assert name in {whole_name or "\u200b", whole_name[:255] + "…"}
        assert value in {whole_value or "\u200b", whole_value[:1023] + "…"}
    assert fit(fitted) == fitted
    room = 6000 - len(fitted.title) - len(fitted.description) - len(fitted.footer)
    used = sum(len(part) for field in fitted.fields for part in field)
    if len(fitted.fields) < min(25, len(fields)):
        name_size, value_size = fields[len(fitted.fields)]
        following = min(max(name_size, 1), 256) + min(max(value_size, 1), 1024)
        assert used + following > room


def tamed(view: RunView) -> RunView:
    """Return the view with a letter for each text of users and of the site."""
    failure = view.failure
    return replace(
        view,
        role_names=tuple((id_, "x") for id_, _ in view.role_names),
        parked=tuple(replace(row, reason="x") for row in view.parked),
        parked_roles=tuple("x" for _ in view.parked_roles),
        slow=None if view.slow is None else "x",
        away=None if view.away is None else "x",
        failure=None if failure is None else replace(failure, reason="x"),
    )


@given(views(HOSTILE, ours=st.just("ours")))
def test_no_text_of_others_formats_links_or_mentions(view: RunView) -> None:
    """The message has the markup of one whose texts are a letter each, as far as it goes."""
    like = tamed(view)

    assert_marked_up_alike(render(view), render(like))
    assert_marked_up_alike(failure_alert(view), failure_alert(like))


@given(HOSTILE)
def test_no_alert_is_broken_by_a_text_of_others(text: str) -> None:
    """The same holds for every notice that is no run's message."""
    for shown, plain in zip(all_notices(text), all_notices("x"), strict=True):
        assert_within_limits(shown)
        assert_marked_up_alike(shown, plain)


@given(HOSTILE)
def test_quoted_text_hides_nothing(text: str) -> None:
    """No control characters, no marks that turn the direction, nothing that UTF-8 can't hold."""
    quoted = quote(text)

    assert quoted.encode()
    assert not [c for c in quoted if unicodedata.category(c) in {"Cc", "Zl", "Zp"}]
    assert not [c for c in quoted if unicodedata.bidirectional(c) in {"RLO", "LRO", "RLE", "LRE"}]
    assert "@everyone" not in quoted
    assert len(quoted) <= 3 * notices._MAX_QUOTE


@pytest.mark.parametrize(
    ("verification", "said"),
    [
        (None, "**Verified** in 24 s."),
        (Verification.DIGESTS, "24 s: the site's digests of all rows are the guild's."),
        (Verification.ROWS, "24 s: every written row was read again."),
        (Verification.SAMPLE, "24 s: by the site's answers and 312 written rows read again."),
    ],
)
def test_a_summary_says_what_verified_rests_on(
    verification: Verification | None, said: str
) -> None:
    """Digests, all rows, or a sample; nothing where nothing was written."""
    view = replace(ENDED, ending=Ending.VERIFIED, verification=verification, sampled=312)

    assert said in render(view).description
