"""No secret and nobody's credentials in what is kept or shown, and all else as it was."""

import ast
import inspect
import itertools
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.redaction import (
    Redaction,
    without_credentials,
    without_quoted,
    without_values,
)
from bot.exts.backend.sync._core.policy.request_backoff import FailureKind
from bot.exts.backend.sync._core.site import wire
from bot.exts.backend.sync._core.site.outcome import (
    Answer,
    Applied,
    Lost,
    Purpose,
    classify,
)
from bot.exts.backend.sync._core.site.wire import WireError

from .examples import NOW

SECRET = "S3cret/\"of'+the=site&1"
MARK = "0123456789abcdef0123456789abcdef01234567"  # as the site's framework makes its tokens
BOT = "MTA4NTU0NDU3NzMwNDU3NjAy.Gx1Yz2.abcdefghijklmnopqrstuvwxyz0123456789AB"


@pytest.mark.parametrize(
    "body",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps({SECRET: [SECRET]}),
        json.dumps(SECRET).replace("/", "\\/"),
        repr(SECRET),
        quote(SECRET),
        quote(SECRET, safe=""),
        "S3cret/&quot;of&#x27;+the=site&amp;1",
        "S3cret/&quot;of&#39;+the=site&amp;1",
        "S3cret\\u002f\\u0022of\\u0027\\u002bthe\\u003dsite\\u00261",
        "UzNjcmV0LyJvZicrdGhlPXNpdGUmMQ==",
    ],
)
def test_a_known_secret_is_found_in_every_spelling(body: str) -> None:
    """Pages escape, URLs quote, encoders differ."""
    redacted = Redaction([SECRET]).body(f"<{body}>".encode()).decode()

    assert "cret" not in redacted
    assert "UzNjcmV0" not in redacted
    assert "[redacted]" in redacted


def test_json_without_its_secret_is_still_json() -> None:
    """The rows around it are read as they were."""
    body = json.dumps({"id": 5, "name": f"x{SECRET}y", "roles": [1]}).encode()

    assert json.loads(Redaction([SECRET]).body(body)) == {
        "id": 5,
        "name": "x[redacted]y",
        "roles": [1],
    }


@given(st.binary(max_size=50))
def test_what_holds_no_secret_is_as_it_was(body: bytes) -> None:
    """A secret of a few letters guards nothing, and is not looked for."""
    assert Redaction(["", "key", "a secret that is never drawn"]).body(body) == body


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"Authorization: Token {MARK}", "Authorization: [redacted]"),
        (f'{{"Authorization": "Token {MARK}"}}', '{"Authorization": "[redacted]"}'),
        (f"{{'HTTP_AUTHORIZATION': 'Token {MARK}', 'x': 1}}", None),
        (f"HTTP_AUTHORIZATION = Token {MARK}\nHTTP_HOST = x", None),
        ("proxy-authorization: Basic dXNlcjpwYXNz", "proxy-authorization: [redacted]"),
        ("Cookie: sessionid=abcdefgh; csrftoken=ijklmnop", "Cookie: [redacted]"),
        ("X-API-Key: abcdefgh", "X-API-Key: [redacted]"),
        (f"sent was Token {MARK}.", "sent was Token [redacted]"),
        (f"Bearer\n{MARK} is bad", "Bearer\n[redacted] is bad"),
        ("Basic dXNlcjpwYXNzd29yZA== is bad", "Basic [redacted] is bad"),
        (f"the bot said {BOT} twice", "the bot said [redacted] twice"),
        ("redis://user:pa55@host:6379/0 is away", "redis://[redacted]@host:6379/0 is away"),
    ],
)
def test_what_looks_like_credentials_is_not_shown(text: str, redacted: str | None) -> None:
    """Another's, or ours in a spelling that nobody thought of."""
    shown = without_credentials(text)

    assert shown == redacted or redacted is None
    for secret in (MARK, "dXNl", "sessionid", "abcdefgh", BOT, "pa55"):
        assert secret not in shown


@pytest.mark.parametrize(
    "text",
    [
        "detail: Invalid token.",
        "detail: Invalid token header. Token string should not contain spaces.",
        "Authentication credentials were not provided.",
        "name: Ensure this field has no more than 32 characters.",
        "User with id 777 not found.",
        "redis://host:6379/0 is away",
        "<!doctype html><title>Log in</title>",
        "Role with ID 267628507062992896 does not exist",
    ],
)
def test_what_people_need_is_shown(text: str) -> None:
    """The site's own sentences are no credentials."""
    assert without_credentials(text) == text


STATUSES = (200, 302, 400, 401, 403, 404, 409, 413, 429, 500, 503, 600)


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize(
    "value",
    [
        {"detail": f"Authorization: Token {MARK}"},
        {"Authorization": [f"Token {MARK}"]},
        {"id": f"Token {MARK}", "roles": 5},
        [{}, {"name": [f"'HTTP_AUTHORIZATION': 'Token {MARK}'"]}],
        f"Token {MARK}",
        {"detail": f"User with id 7 not found. Token {MARK}"},
    ],
)
def test_no_outcome_tells_credentials(purpose: Purpose, value: object) -> None:
    """Not even those of a token that is not known to be one."""

    def read(_: object) -> object:
        raise WireError(f"it holds {value!r}")

    bodies = (json.dumps(value).encode(), f"<p>{value}</p>".encode())
    for status, body in itertools.product(STATUSES, bodies):
        answer = Answer(status=status, body=body, retry_after=MARK, date=MARK, seconds=0.1)
        for reading in (None, read):
            outcome = classify(answer, purpose=purpose, now=NOW, rows=2, read=reading)

            assert isinstance(outcome, Applied) or MARK not in str(outcome)


NAMES = (
    "Zaphod",
    "zaphod_beeblebrox",
    "Zaphod Beeblebrox",
    "zaph0d",
    "Зафод",
    "ザフォド",
    "★ Zaphod ★",
    "Zaphod's",
    "O'Zaphod",
    "zaphod.b",
    "🐙zaphod🐙",
)
DEBUG_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta name="robots" content="NONE,NOARCHIVE">
<title>IntegrityError
          at /api/bot/users/bulk_patch</title><style>html * { padding:0; }</style>
<script>function show(zaphod) {}</script></head>
<body><h1>IntegrityError</h1><pre class="exception_value">new row for relation
&quot;api_user&quot; violates check constraint DETAIL: Failing row contains (5, Zaphod).</pre>
<td>DATABASES</td><td><pre>{'PASSWORD': 'hunter2', 'password=hunter2'}</pre></td></body></html>"""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text",
    [
        '{"name": ["“NAME” is not allowed."]}',
        "name: NAME is a reserved name.",
        "display_name: Value 'NAME' is too long (max 32).",
        "NAME",
        'DETAIL:  Failing row contains (5, NAME, "NAME", {}, t).',
        'duplicate key value violates unique constraint "x"\nDETAIL:  Key (name)=(NAME) exists.',
        "User NAME/NAME: not found|NAME|NAME;NAME",
        "<p>No NAME here</p>",
        "\x1b[31mNAME\x1b[0m",
    ],
)
def test_no_name_is_repeated(text: str, name: str) -> None:
    """Wherever it stands, however it is written, in whatever script."""
    told = without_values(text.replace("NAME", name)).lower()

    for part in ("zaph", "beeb", "зафод", "ザ", "★", "🐙"):
        assert part not in told


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2",
        "PASSWORD: 'hunter2'",
        '{"DB_PASSWORD": "hunter2"}',
        "password = admin",
        "the pwd=12345 was",
        "postgres://site:hunter2@db/site",
        "SECRET_KEY='django-insecure-hunter2'",
        "sessionid=hunter2; csrftoken=hunter2",
        'token: ["hunter2"]',
        "api_key=hunter2&user=5",
        "Api-Key hunter2",
    ],
)
def test_no_secret_is_repeated(text: str) -> None:
    """Whosever it is: a known word or a number is one, too, behind a word that says so."""
    told = without_values(text)

    for secret in ("hunter", "admin", "12345", "insecure"):
        assert secret not in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "name: Ensure this field has no more than 32 characters.",
            "name: Ensure this field has no more than 32 characters.",
        ),
        (
            "roles: Role with ID 267628507062992896 does not exist",
            "roles: Role with ID 267628507062992896 does not exist",
        ),
        (
            "display_name: “Zaphod” is not a valid choice.",
            "display_name: “…” is not a valid choice.",
        ),
        ("name: Zaphod Beeblebrox is banned.", "name: … is banned."),
        ("id: 5 | 1234567 | 20210112", "id: 5 | … | …"),
        (DEBUG_PAGE, "page: IntegrityError\n          at /api/bot/users/bulk_patch"),
        (
            "<html><head><title>502 Bad Gateway</title></head><body><center>nginx/1.18.0</center>",
            "page: 502 Bad Gateway",
        ),
        ("<h1>Not &lt;Found&gt;</h1><p>/api/zaphod", "page: Not Found  /api/…"),
        ("upstream connect error or disconnect/reset before headers", None),
        ("name: Zaphod | roles: Zaphod", "name: … | roles: …"),
        ("", ""),
    ],
)
def test_what_an_error_is_told_in_is_repeated(text: str, told: str | None) -> None:
    """Fields, the words for what is wrong, limits, ids and statuses: enough to act upon."""
    assert without_values(text) == (told or text.replace("disconnect", "…"))


@pytest.mark.parametrize("text", [*FailureKind, *Lost])
def test_our_own_words_are_repeated(text: str) -> None:
    """What we add to the site's words passes where they pass."""
    assert without_values(text) == text


def test_what_we_say_of_an_answer_is_repeated() -> None:
    """It goes along with the site's words, on their way."""
    said = [
        part.value
        for node in ast.walk(ast.parse(inspect.getsource(wire)))
        if isinstance(node, ast.Raise)
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and " " in part.value
    ]

    assert len(said) > 10
    assert [text for text in said if without_values(text) != text] == []


@given(st.text())
def test_what_was_repeated_once_is_repeated_unchanged(text: str) -> None:
    """So it can be asked for once more wherever something leaves the process."""
    told = without_values(text)

    assert without_values(told) == told


@given(st.text(), st.sampled_from(NAMES))
def test_nothing_around_it_lets_a_name_through(text: str, name: str) -> None:
    """Not even what would begin a tag, a quotation or a word with it."""
    told = without_values(f"{text}{name}{text}").lower()

    assert "zaphod" not in told
    assert "зафод" not in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("KeyError: 'Zaphod'", "KeyError: '…'"),
        ('ValueError("bad \\"Zaphod\\"")', 'ValueError("bad \\"…\\"")'),
        ("AttributeError: 'NoneType' object has no attribute 'roles'", None),
        ("RuntimeError: boom", None),
        ("it can't be Zaphod's fault", None),
    ],
)
def test_an_error_is_told_without_what_it_quotes(text: str, told: str | None) -> None:
    """Python quotes values; what is said of them is the programmer's."""
    assert without_quoted(text) == (told or text)
