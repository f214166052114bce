"""What is taken out of every text that comes from outside, before anybody keeps or shows it.

A debug page or a gateway may answer with the headers of the request, the token among them. Two
things are taken out: the secrets that are known, in every spelling that pages and encoders give
them; and whatever looks like somebody's credentials, for a secret may be one of others. The first
out of whole answers, which stay readable by that. The second only out of what is shown, where a
member's name that happens to look so does no harm.
"""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus

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
