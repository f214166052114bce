"""What is taken out of every text that comes from outside, before anybody keeps or shows it.

A debug page or a gateway may answer with the headers of the request, the token among them; a
rejection with the row that was sent, a member's name in it; a database with its own password. What
is known is taken out of whole answers: our secrets, in every spelling that pages and encoders give
them. What is repeated of an answer, to people or to machines, is less: `without_values` leaves of
it the words that errors are told in, field names, and numbers that can hardly be anything else. A
name or a secret that nobody thought of is no such word, and so does not pass.
"""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus

from .vocabulary import KNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REDACTED: Final = "[redacted]"
# Anything shorter guards nothing, and occurs by chance in words that must stay whole.
_SHORTEST: Final = 6

# A header that carries credentials, with its value up to the end of its line or string.
_HEADER: Final = re.compile(
    r"((?:proxy[-_])?authorization|(?:set[-_])?cookie|x[-_]api[-_]key|x[-_]auth[-_]token)"
    r"(\W{1,12})([^\s\"'<>\[][^\"'\r\n<>]{0,2000})",
    re.IGNORECASE,
)
# Credentials by themselves, behind the name of their scheme; words of a sentence hold no digits.
_SCHEME: Final = re.compile(
    r"\b(token|bearer|basic|bot|digest)(\s+)(?=[\w.~+/=-]*[\d=])[\w.~+/=-]{8,}", re.IGNORECASE
)
_USER_OF_URL: Final = re.compile(r"(://)[^/\s@\"'<>]{1,500}@")
_DISCORD_TOKEN: Final = re.compile(r"\b[\w-]{23,30}\.[\w-]{6,7}\.[\w-]{27,50}\b")

MASK: Final = "…"
# A word with what may stand inside of it, or anything that is neither a word nor plain punctuation.
_WORD: Final = re.compile(
    r"[^\W_](?:[\w'\u2019]*\w)?|_+\w*|[^\x00-\x7f\u2013\u2014\u2018\u2019\u201c\u201d]"
)
_MASKS: Final = re.compile(rf"{MASK}(?:[^\w{MASK}|]*{MASK})+")
# What stands behind these words is a secret, though it be a number or a word that is known.
_KEYED: Final = re.compile(
    r"(\b\w*(?:passw|passwd|pwd|secret|token|api_?key|dsn|credential|session|cookie|otp)\w*"
    r"[\"']?\s*[=:]\s*[\"'(\[]*)([^\s\"'()\[\],;|&<>]+)",
    re.IGNORECASE,
)
_FEW_DIGITS: Final = 5  # a status, a length, a limit, a line
_ID_DIGITS: Final = range(17, 21)  # of Discord's ids
_TAG: Final = re.compile(
    r"<!--.*?-->|<(script|style)\b.*?</\1\s*>|<[^<>]*>?", re.DOTALL | re.IGNORECASE
)
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title", re.DOTALL | re.IGNORECASE)
_MARKUP: Final = re.compile(
    r"<(?:!doctype|html|head|body|title|h1|center|p|pre|div)\b", re.IGNORECASE
)
_QUOTED: Final = re.compile(r"(?<!\w)('(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")")


class Redaction:
    """The secrets that are known; any shorter than six characters guards nothing."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = {
            spelling
            for secret in secrets
            if len(secret) >= _SHORTEST
            for spelling in _spellings(secret)
        }
        longest_first = sorted(spellings, key=len, reverse=True)  # one may hold another
        self._spellings = tuple(spelling.encode() for spelling in longest_first)

    def body(self, body: bytes) -> bytes:
        """Return a body without the secrets; JSON that was whole is whole."""
        for spelling in self._spellings:
            if spelling in body:
                body = body.replace(spelling, REDACTED.encode())
        return body


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret as it may stand in a page, a URL, a program's output, JSON of any encoder."""
    yield secret
    yield html.escape(secret)
    yield html.escape(secret).replace("&#x27;", "&#39;")
    yield quote(secret)
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield repr(secret)[1:-1]
    as_json = json.dumps(secret)[1:-1]
    yield as_json
    yield as_json.replace("/", "\\/")
    yield "".join(c if c.isalnum() else f"\\u{ord(c):04x}" for c in secret)
    yield "".join(c if c.isalnum() else f"\\u{ord(c):04X}" for c in secret)
    yield base64.b64encode(secret.encode()).decode()


def without_credentials(text: str) -> str:
    """Return a text to be shown without whatever looks like somebody's credentials."""
    text = _HEADER.sub(rf"\1\2{REDACTED}", text)
    text = _SCHEME.sub(rf"\1\2{REDACTED}", text)
    text = _USER_OF_URL.sub(rf"\1{REDACTED}@", text)
    return _DISCORD_TOKEN.sub(REDACTED, text)


def without_values(text: str) -> str:
    """Return of what a site says the words for errors; whatever else is in it becomes `…`.

    Of a page its title, or its text where it has none, behind `page:`. What was returned is
    returned unchanged.
    """
    if _MARKUP.search(text):
        title = _TITLE.search(text)
        text = html.unescape(_TAG.sub(" ", text if title is None else title[1]))
        text = f"page: {text.replace('<', '').replace('>', '').strip()}"
    text = _KEYED.sub(rf"\1{MASK}", text)
    return _MASKS.sub(MASK, _WORD.sub(_known_or_masked, text))


def without_quoted(text: str) -> str:
    """Return an error's text without the values that it quotes, as Python quotes them."""
    return _QUOTED.sub(lambda quoted: without_values(quoted[0]), text)


def _known_or_masked(word: re.Match[str]) -> str:
    text = word[0]
    if text.isascii() and text.isdigit():
        return text if len(text) <= _FEW_DIGITS or len(text) in _ID_DIGITS else MASK
    return text if text.lower().replace("\u2019", "'") in KNOWN else MASK
