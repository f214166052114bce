"""The table of outcomes: what each answer of the site means for each kind of request."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.changes import Kind
from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.site import requests, wire
from bot.exts.backend.sync._core.site.outcome import (
    MAX_RETRY_AFTER,
    AlreadyThere,
    Answer,
    Applied,
    Blocked,
    Failing,
    Lost,
    NoAnswer,
    NotFound,
    Outcome,
    Overloaded,
    ProtocolError,
    Purpose,
    Refused,
    RejectedRows,
    RejectedWhole,
    TooLarge,
    TroubleKind,
    UnknownUser,
    classify,
    leaves_doubt,
    read_retry_after,
    trouble_kind,
)
from bot.exts.backend.sync._core.site.wire import RowFault

from .examples import NOW, member, role, role_ids
from .samples import SAMPLES

ROLE = role(5)
HTML = b"<!doctype html><title>Log in</title>"
WRITES = [
    Purpose.CREATE,
    Purpose.UPDATE,
    Purpose.CREATE_ROLE,
    Purpose.UPDATE_ROLE,
    Purpose.DELETE_ROLE,
]
READS = [Purpose.READ, Purpose.READ_ONE]  # what is discovered has a test of its own


def answer(status: int, body: bytes = b"", *, retry_after: str | None = None) -> Answer:
    """Return an answer that took a tenth of a second."""
    return Answer(status=status, body=body, retry_after=retry_after, seconds=0.1)


def meaning(
    status: int,
    body: bytes = b"",
    *,
    purpose: Purpose,
    rows: int = 1,
    retry_after: str | None = None,
) -> Outcome:
    """Return what an answer without any reading of its success means."""
    given_answer = answer(status, body, retry_after=retry_after)
    return classify(given_answer, purpose=purpose, now=NOW, rows=rows)


# -- recorded answers ------------------------------------------------------------------------------


def rejected(index: int, reason: str, *unknown_roles: int) -> RejectedRows:
    """Return the outcome that names one row."""
    fault = RowFault(index=index, reason=reason, unknown_roles=frozenset(role_ids(*unknown_roles)))
    return RejectedRows(faults=(fault,))


UNREADABLE_ROW = "name: Ensure this field has no more than 32 characters."
UNKNOWN_ROLE = "roles: Role with ID 12345 does not exist"
HTML_PAGE = Failing(status=500, reason="(an HTML error page)", lost=True)

RECORDED: dict[str, Outcome] = {
    "healthcheck": Applied(),
    "users page": Applied(),
    "users last page": Applied(),
    "users page past the end": NotFound(),
    "user by id": Applied(),
    "user unknown": NotFound(),
    "create list": Applied(),
    "create list with an existing id": Applied(),
    "read back id 2": Applied(),
    "create list, same id twice": RejectedWhole(
        status=400, reason="id: User with ID 5 given multiple times."
    ),
    "create list, unknown role": rejected(1, UNKNOWN_ROLE, 12345),
    "create list, name too long": rejected(1, UNREADABLE_ROW),
    "create list, name with NUL": rejected(1, "name: Null characters are not allowed."),
    "create list, empty name": rejected(1, "name: This field may not be blank."),
    "create list, negative id and discriminator too large": rejected(
        0,
        "id: Ensure this value is greater than or equal to 0. | "
        "discriminator: Ensure this value is less than or equal to 9999.",
    ),
    "create list, id above 2^63": HTML_PAGE,
    "create empty list": Applied(),
    "bulk patch": Applied(),
    "bulk patch, unknown id": UnknownUser(id=UserId(777)),
    "bulk patch, unknown role": rejected(0, UNKNOWN_ROLE, 12345),
    "bulk patch, name too long": rejected(0, UNREADABLE_ROW),
    "bulk patch, only id": RejectedWhole(
        status=400, reason="non_field_errors: Insufficient data provided."
    ),
    "bulk patch, no id": RejectedWhole(status=400, reason="id: This field is required."),
    "bulk patch, same id twice": RejectedWhole(
        status=400, reason="id: User with ID 2 given multiple times."
    ),
    "bulk patch, empty list": HTML_PAGE,
    "bulk patch, not a list": RejectedWhole(
        status=400,
        reason='non_field_errors: Expected a list of items but got type "dict".',
    ),
    "malformed JSON": ProtocolError(
        status=415, reason='detail: Unsupported media type "" in request.'
    ),
    "no token": Refused(status=401, reason="detail: Authentication credentials were not provided."),
    "wrong token": Refused(status=401, reason="detail: Invalid token."),
    "roles": Applied(),
    "create role": Applied(),
    "create role again": AlreadyThere(),
    "put role": Applied(),
    "put unknown role": NotFound(),
    "create role, name too long": RejectedWhole(
        status=400, reason="name: Ensure this field has no more than 100 characters."
    ),
    "create role, permissions above 2^53": Applied(),
    "create role, permissions 2^63": RejectedWhole(
        status=400,
        reason="permissions: Ensure this value is less than or equal to 9223372036854775807.",
    ),
    "create role, position -1": Applied(),
    "create role, position -2": Applied(),
    "delete role": Applied(),
    "delete unknown role": NotFound(),
    "body over the server's limit": TooLarge(),
}
# The client writes users in lists only.
NEVER_ASKED = {
    "create one",
    "create one again",
    "put user",
    "put unknown user",
    "patch user",
    "patch unknown user",
}


def test_every_recorded_answer_has_its_outcome() -> None:
    """All that the real site said to requests as ours are, in the words of the table."""
    outcomes = {
        name: classify(sample.answer, purpose=sample.purpose, now=NOW, rows=sample.rows)
        for name, sample in SAMPLES.items()
        if name not in NEVER_ASKED
    }

    assert outcomes == RECORDED


# -- successes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 204, 299])
@pytest.mark.parametrize("purpose", WRITES)
def test_a_write_is_applied_if_the_site_says_so(status: int, purpose: Purpose) -> None:
    """A site may answer a write with rows or with nothing; a page of somebody else's says nothing.

    A proxy that wants a log-in, or to see a human, answers 200 as well.
    """
    page = "not JSON: Expecting value: line 1 column 1 (char 0): page: Log in"

    assert [meaning(status, body, purpose=purpose) for body in (b"", b" ", b"[]", HTML)] == [
        Applied(),
        Applied(),
        Applied(),
        Failing(status=status, reason=page, lost=True),
    ]


@pytest.mark.parametrize(
    ("request_", "said", "odd"),
    [
        (requests.write_users(Kind.CREATE, b"[]", users=()), b'[{"id":5}]', b'{"error":"Busy."}'),
        (requests.write_users(Kind.UPDATE, b"[]", users=()), b"[]", b'{"error":"Busy."}'),
        (requests.create_role(ROLE), b'{"id":5}', b"[]"),
        (requests.update_role(ROLE), b'{"id":5}', b'"done"'),
    ],
    ids=["create", "update", "create role", "update role"],
)
def test_a_write_is_answered_in_the_contracts_shape(
    request_: requests.Request, said: bytes, odd: bytes
) -> None:
    """An error with status 200 is not taken for a success."""

    def means(body: bytes) -> Outcome:
        return classify(answer(200, body), purpose=request_.purpose, now=NOW, read=request_.read)

    assert means(b"") == Applied()
    assert isinstance(means(said), Applied)
    assert isinstance(means(odd), ProtocolError)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"[]", ()),
        (wire.encode([wire.member_row(member(5))]), (member(5),)),
        (wire.encode([wire.member_row(member(5)), {"id": 6}]), ()),
        (b'[{"id":5}]', ()),
        (b"[null]", ()),
    ],
)
def test_what_a_site_says_it_has_written(body: bytes, value: object) -> None:
    """Rows as it has them now, or what is no use: they were written whatever is said of them."""
    request = requests.write_users(Kind.UPDATE, b"[]", users=())

    assert classify(
        answer(200, body), purpose=request.purpose, now=NOW, read=request.read
    ) == Applied(value=value)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"status":"ok"}', Applied()),
        (
            b"",
            Failing(
                status=200,
                reason="not JSON: Expecting value: line 1 column 1 (char 0): (no body)",
                lost=False,
            ),
        ),
        (
            HTML,
            Failing(
                status=200,
                reason="not JSON: Expecting value: line 1 column 1 (char 0): page: Log in",
                lost=False,
            ),
        ),
        (
            b'{"status":"degraded"}',
            ProtocolError(status=200, reason='not a healthcheck\'s answer: {"status":"degraded"}'),
        ),
        (
            b'{"status":"' + b"x" * 300 + b'"}',
            ProtocolError(status=200, reason='not a healthcheck\'s answer: {"status":"…"}'),
        ),
    ],
    ids=["well", "empty", "html", "not well", "long"],
)
def test_a_read_is_applied_only_if_it_can_be_read(body: bytes, outcome: Outcome) -> None:
    """A 200 with another body than the contract's is none; 200 characters tell why.

    What is no JSON is hardly the site's: a challenge, or half an answer, and may pass.
    """
    request = requests.healthcheck()

    assert (
        classify(answer(200, body), purpose=request.purpose, now=NOW, read=request.read) == outcome
    )


def test_what_was_read_is_the_value() -> None:
    """The page is handed on as it was read."""
    page = SAMPLES["users page"]

    assert classify(page.answer, purpose=page.purpose, now=NOW, read=wire.read_page) == Applied(
        value=wire.read_page(page.value)
    )


# -- refusals and failures -------------------------------------------------------------------------


def page(status: int, *, of: Purpose, said: str = "page: Log in") -> Outcome:
    """Return what a 4xx means in words that are not the site's own."""
    reason = f"not in the site's own words: {said}"
    if of.reads and status not in {401, 403}:
        return Failing(status=status, reason=reason, lost=False)
    return Blocked(status=status, reason=reason)


@pytest.mark.parametrize("purpose", [*READS, *WRITES])
@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (401, b'{"detail":"Invalid token."}', Refused(status=401, reason="detail: Invalid token.")),
        (403, b'{"detail":"No."}', Refused(status=403, reason="detail: No.")),
        (429, b"", Overloaded(status=429, retry_after=None)),
        (503, HTML, Overloaded(status=503, retry_after=None)),
        (500, HTML, Failing(status=500, reason="page: Log in", lost=False)),
        (500, b"{}", Failing(status=500, reason="{}", lost=False)),
        (502, b"", Failing(status=502, reason="(no body)", lost=False)),
        (504, b'{"detail":"x"}', Failing(status=504, reason="detail: …", lost=False)),
        (524, b"\0", Failing(status=524, reason="(no body)", lost=False)),
        (599, b"[]", Failing(status=599, reason="[]", lost=False)),
        (408, b"", Failing(status=408, reason="(no body)", lost=False)),
        (409, b"{}", Failing(status=409, reason="{}", lost=False)),
        (421, HTML, Failing(status=421, reason="page: Log in", lost=False)),
        (425, b'{"detail":"x"}', Failing(status=425, reason="detail: …", lost=False)),
        (100, b"", ProtocolError(status=100, reason="(no body)")),
        (300, b"", ProtocolError(status=300, reason="(no body)")),
        (301, b"", ProtocolError(status=301, reason="(no body)")),
        (302, HTML, ProtocolError(status=302, reason="page: Log in")),
        (404, b'{"detail":"Not found."}', ProtocolError(status=404, reason="detail: Not found.")),
        (405, b'{"detail":"No."}', ProtocolError(status=405, reason="detail: No.")),
        (415, b'{"detail":"No."}', ProtocolError(status=415, reason="detail: No.")),
        (418, b'[{"a":["b"]}]', ProtocolError(status=418, reason='[{"a":["…"]}]')),
        (600, b"", ProtocolError(status=600, reason="(no body)")),
    ],
)
def test_what_means_the_same_to_every_request(
    status: int, body: bytes, outcome: Outcome, purpose: Purpose
) -> None:
    """Credentials, overload, failures, and whatever of the site's the contract does not know.

    A write that was answered in the site's place may be at work there still.
    """
    if isinstance(outcome, Failing):
        outcome = replace(outcome, lost=not purpose.reads)

    assert meaning(status, body, purpose=purpose) == outcome


@pytest.mark.parametrize("purpose", [*READS, *WRITES])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 415, 418, 422, 451, 499])
def test_a_page_of_somebody_elses_says_nothing_of_our_credentials(
    status: int, purpose: Purpose
) -> None:
    """A firewall may mean one write for what is in it; and what it says to a read may pass."""
    others = {
        b"": "(no body)",
        HTML: "page: Log in",
        b"5": "5",
        b"{}": "{}",
        b"[]": "[]",
        b"[1]": "[1]",
        b'{"message":"Forbidden"}': "message: Forbidden",
        b'{"detail":7}': "detail: 7",
        b'{"detail":""}': "detail:",
    }

    assert {body: meaning(status, body, purpose=purpose) for body in others} == {
        body: page(status, of=purpose, said=said) for body, said in others.items()
    }


@pytest.mark.parametrize("body", [b"", HTML, b'{"detail":"Too much."}'])
def test_too_large_is_what_is_written(body: bytes) -> None:
    """Whoever says it, a smaller request helps; a read has nothing that could be halved."""
    written = {meaning(413, body, purpose=purpose) for purpose in WRITES}
    read = {type(meaning(413, body, purpose=purpose)) for purpose in READS}

    assert written == {TooLarge()}
    assert read <= {Failing, ProtocolError}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b'{"max_items":5}', Applied(value=wire.Capabilities(max_items=5))),
        (200, HTML, NotFound()),
        (200, b"", NotFound()),
        (302, b"", NotFound()),
        (400, HTML, NotFound()),
        (403, HTML, NotFound()),
        (403, b'{"detail":"No."}', NotFound()),
        (404, HTML, NotFound()),
        (404, b'{"detail":"Not found."}', NotFound()),
        (405, b"", NotFound()),
        (401, b'{"detail":"No."}', Refused(status=401, reason="detail: No.")),
        (401, HTML, page(401, of=Purpose.DISCOVER)),
        (409, b"", Failing(status=409, reason="(no body)", lost=False)),
        (429, b"", Overloaded(status=429, retry_after=None)),
        (500, b"", Failing(status=500, reason="(no body)", lost=False)),
    ],
)
def test_what_is_not_offered(status: int, body: bytes, outcome: Outcome) -> None:
    """No site has to know the question, and each may say so in its own way."""
    request = requests.capabilities()

    assert (
        classify(answer(status, body), purpose=request.purpose, now=NOW, read=request.read)
        == outcome
    )


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("purpose", WRITES)
def test_a_rejection_names_rows_or_none(status: int, purpose: Purpose) -> None:
    """Of two rows: a list aligned with them names one; any other list or object names none."""
    bodies = [[{}, {"name": ["Bad."]}], [{"name": ["Bad."]}], [{}, {}], {"name": ["Bad."]}]

    assert [
        meaning(status, json.dumps(body).encode(), purpose=purpose, rows=2) for body in bodies
    ] == [
        rejected(1, "name: Bad."),
        RejectedWhole(status=status, reason='[{"name": ["Bad."]}]'),
        RejectedWhole(status=status, reason="[{}, {}]"),
        RejectedWhole(status=status, reason="name: Bad."),
    ]


@pytest.mark.parametrize("purpose", READS)
@pytest.mark.parametrize("status", [400, 422])
def test_no_read_is_rejected(status: int, purpose: Purpose) -> None:
    """There is no row of a read that could be parked: the contract knows no such answer."""
    assert meaning(status, b'{"page": ["Bad."]}', purpose=purpose) == ProtocolError(
        status=status, reason="page: Bad."
    )


@pytest.mark.parametrize(
    ("body", "of_reads", "of_writes"),
    [
        (b'{"detail":"Invalid page."}', NotFound, ProtocolError),
        (b'{"detail":"No Role matches the given query."}', NotFound, NotFound),
        (b'{"detail":"User with id 7 not found."}', ProtocolError, UnknownUser),
    ],
)
def test_what_is_not_there(body: bytes, of_reads: type[Outcome], of_writes: type[Outcome]) -> None:
    """A 404 means something only in the words that the contract has for that kind of request."""
    found = {purpose: type(meaning(404, body, purpose=purpose)) for purpose in [*READS, *WRITES]}

    assert found == dict.fromkeys(READS, of_reads) | dict.fromkeys(WRITES, of_writes)


@pytest.mark.parametrize("purpose", Purpose)
def test_a_role_is_there_already_only_for_who_creates_it(purpose: Purpose) -> None:
    """The same words about anything else are a rejection."""
    body = b'{"id":["role with this ID already exists."]}'
    outcome = meaning(400, body, purpose=purpose)

    assert isinstance(outcome, AlreadyThere) is (purpose is Purpose.CREATE_ROLE)


def test_another_roles_name_is_no_role_that_is_there() -> None:
    """A site may want names to be unique: that this one exists says nothing of the id."""
    body = b'{"name":["role with this name already exists."]}'

    assert meaning(400, body, purpose=Purpose.CREATE_ROLE) == RejectedWhole(
        status=400, reason="name: role with this name already exists."
    )


@pytest.mark.parametrize(
    ("cause", "detail", "outcome"),
    [
        (
            Lost.DEADLINE,
            "",
            Failing(
                status=None,
                reason="no whole answer within the deadline",
                lost=True,
                cause=Lost.DEADLINE,
            ),
        ),
        (
            Lost.CONNECTION,
            "ReadError",
            Failing(
                status=None,
                reason="the connection was lost (ReadError)",
                lost=True,
                cause=Lost.CONNECTION,
            ),
        ),
        (
            Lost.TOO_LONG,
            "",
            Failing(
                status=None,
                reason="the answer is longer than the limit",
                lost=True,
                cause=Lost.TOO_LONG,
            ),
        ),
        (
            Lost.ENCODED,
            "",
            Failing(
                status=None,
                reason="the answer is encoded in a way that was not asked for",
                lost=True,
                cause=Lost.ENCODED,
            ),
        ),
        (
            Lost.UNREACHABLE,
            "ConnectError",
            Failing(
                status=None,
                reason="the site can't be reached (ConnectError)",
                lost=False,
                cause=Lost.UNREACHABLE,
            ),
        ),
    ],
)
def test_without_an_answer_the_site_is_failing(cause: Lost, detail: str, outcome: Outcome) -> None:
    """Only a request that never reached the site can't be running there still."""
    lost = NoAnswer(cause=cause, detail=detail, seconds=30)

    assert classify(lost, purpose=Purpose.UPDATE, now=NOW) == outcome
    assert len(Lost) == 5, "each has its case here"


@given(
    status=st.integers(100, 999),
    body=st.binary(max_size=40)
    | st.recursive(
        st.none() | st.integers() | st.text(st.characters()),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["detail", "id", "roles"]), inner, max_size=3)
        ),
        max_leaves=5,
    ).map(lambda value: json.dumps(value).encode()),
    purpose=st.sampled_from(Purpose),
    rows=st.integers(1, 3),
    retry_after=st.none() | st.text(max_size=20),
)
@example(
    200, b"Mon, 12 Jan 2026", Purpose.READ, 1, "Mon, 12 Jan 2026 12:00:00 +99999999999999999999"
)
def test_every_answer_has_an_outcome(
    status: int, body: bytes, purpose: Purpose, rows: int, retry_after: str | None
) -> None:
    """No status and no body is too odd, and nothing but JSON with a 2xx is taken for applied."""
    outcome = meaning(status, body, purpose=purpose, rows=rows, retry_after=retry_after)

    if isinstance(outcome, Applied):
        assert 200 <= status <= 299
        assert json.loads(body.strip() or b"null") is not Ellipsis
    reasons = [getattr(outcome, "reason", "")]
    if isinstance(outcome, RejectedRows):
        reasons = [fault.reason for fault in outcome.faults]
    assert all(len(reason) <= 200 and "\n" not in reason for reason in reasons)


# -- Server-Timing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (None, None),
        ("", None),
        ("total;dur=12.5", 0.0125),
        ('db;dur=3, total;desc="all of it";dur=53', 0.053),
        ("app;dur=7", 0.007),
        ("app;dur=7,total;dur=9", 0.009),
        ('TOTAL; DUR="40"', 0.04),
        ("total", None),
        ("total;dur=", None),
        ("total;dur=-1", None),
        ("total;dur=1e3", None),
        ("total;dur=nan", None),
        ("db;dur=5", None),
        ("total;dur=1;dur=2", 0.001),
        (";;,,=;dur=3", None),
    ],
)
def test_what_a_site_says_of_its_own_time(sent: str | None, seconds: float | None) -> None:
    """Of the whole request, in milliseconds; whatever else stands there says nothing."""
    told = Answer(status=200, body=b"", retry_after=None, server_timing=sent, seconds=0.1)

    assert told.site_s == (None if seconds is None else pytest.approx(seconds))


# -- Retry-After -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "wait_s"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("-5", None),
        ("\u0663", None),
        ("0", 0),
        (" 7 ", 7),
        ("300", 300),
        ("301", 300),
        ("9" * 500, 300),
        ("Mon, 12 Jan 2026 12:01:30 GMT", 90),
        ("Mon, 12 Jan 2026 12:01:30 -0000", 90),
        ("Mon, 12 Jan 2026 13:01:30 +0100", 90),
        ("Mon, 12 Jan 2026 11:59:59 GMT", 0),
        ("Tue, 13 Jan 2026 12:00:00 GMT", 300),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 300),
        ("Mon, 12 Jan 99999 12:00:00 GMT", None),
        ("Mon, 99 Jan 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(sent: str | None, wait_s: float | None) -> None:
    """Never in the past, never more than five minutes; None where it says nothing."""
    wait = None if wait_s is None else timedelta(seconds=wait_s)

    assert read_retry_after(sent, now=NOW) == wait
    assert meaning(503, purpose=Purpose.READ, retry_after=sent) == Overloaded(
        status=503, retry_after=wait
    )


@given(st.text(max_size=40))
@example("Mon, 12 Jan 2026 12:00:00 +9999")
@example("Mon, 12 Jan 2026 12:00:00 +99999999999999999999")
@example("Mon, 12 Jan 2026 99999999999999999999:00:00 GMT")
@example("Mon, 99999999999999999999 Jan 2026 12:00:00 GMT")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Sat, 01 Jan 0000 00:00:00 GMT")
@example("1 Jan 0001 00:00:00 +2359")
def test_no_retry_after_is_too_odd(sent: str) -> None:
    """Whatever a proxy writes there is a wait within bounds, or none."""
    wait = read_retry_after(sent, now=NOW)

    assert wait is None or timedelta() <= wait <= MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("date", "wait_s"),
    [
        (None, 90),
        ("Mon, 12 Jan 2026 12:00:00 GMT", 90),
        ("Mon, 12 Jan 2026 12:01:00 GMT", 30),
        ("Mon, 12 Jan 2026 13:00:00 GMT", 0),
        ("Mon, 12 Jan 2026 11:59:00 GMT", 150),
        ("yesterday", 90),
        ("Mon, 12 Jan 2026 12:00:00 +99999999999999999999", 90),
    ],
)
def test_a_date_counts_from_the_answers_own(date: str | None, wait_s: float) -> None:
    """The site's clock may be behind ours, or before it; what it means is a difference."""
    until = "Mon, 12 Jan 2026 12:01:30 GMT"
    told = Answer(status=503, body=b"", retry_after=until, date=date, seconds=0.1)

    assert classify(told, purpose=Purpose.READ, now=NOW) == Overloaded(
        status=503, retry_after=timedelta(seconds=wait_s)
    )


@given(st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2026, 2, 1)))  # noqa: DTZ001
def test_a_date_is_read_to_the_second(naive: datetime) -> None:
    """What a server means by a date is how long it is from now."""
    until = naive.replace(tzinfo=UTC, microsecond=0)

    wait = read_retry_after(format_datetime(until, usegmt=True), now=NOW)

    assert wait == max(timedelta(), min(until - NOW, MAX_RETRY_AFTER))


@pytest.mark.parametrize(
    ("outcome", "doubt"),
    [
        (Applied(), False),
        (RejectedRows(faults=()), False),
        (RejectedWhole(status=400, reason=""), False),
        (UnknownUser(id=UserId(1)), False),
        (NotFound(), False),
        (AlreadyThere(), False),
        (TooLarge(), False),
        (Refused(status=401, reason=""), False),
        (Overloaded(status=429, retry_after=None), False),
        (Overloaded(status=503, retry_after=None), True),
        (Failing(status=500, reason="", lost=True), True),
        (Failing(status=504, reason="", lost=True), True),
        (Failing(status=None, reason="", lost=True), True),
        (Failing(status=None, reason="it can't be reached", lost=False), False),
        (ProtocolError(status=200, reason=""), True),
    ],
    ids=repr,
)
def test_only_the_contracts_own_answer_leaves_no_doubt(outcome: Outcome, *, doubt: bool) -> None:
    """A proxy's 5xx says that nobody waits any more, and not that nothing was done."""
    assert leaves_doubt(outcome) is doubt


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Applied(), None),
        (RejectedRows(faults=()), None),
        (RejectedWhole(status=400, reason=""), None),
        (NotFound(), None),
        (Failing(status=None, reason="", lost=False, cause=Lost.UNREACHABLE), "unreachable"),
        (Failing(status=None, reason="", lost=True, cause=Lost.DEADLINE), "timeout"),
        (Failing(status=None, reason="", lost=True, cause=Lost.CONNECTION), "connection_lost"),
        (Failing(status=None, reason="", lost=True, cause=Lost.TOO_LONG), "unreadable"),
        (Failing(status=None, reason="", lost=True, cause=Lost.ENCODED), "unreadable"),
        (Failing(status=None, reason="slow", lost=False), "other"),
        (Failing(status=500, reason="", lost=True), "server_error"),
        (Failing(status=409, reason="", lost=True), "other"),
        (Overloaded(status=429, retry_after=None), "overloaded"),
        (Refused(status=401, reason=""), "refused"),
        (Blocked(status=403, reason=""), "blocked"),
        (ProtocolError(status=418, reason=""), "protocol"),
    ],
    ids=repr,
)
def test_trouble_is_of_one_of_a_few_kinds(outcome: Outcome, kind: str | None) -> None:
    """Machines tell a stopped site from one that answers 500, whatever either says."""
    assert trouble_kind(outcome) == (None if kind is None else TroubleKind(kind))
