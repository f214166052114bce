"""No secret and nobody's credentials in what is kept or shown, and all else as it was."""

import itertools
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.model.redaction import Redaction, without_credentials
from bot.exts.backend.sync._core.site.outcome import (
    Answer,
    Applied,
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
