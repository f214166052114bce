"""What both adapters make of the texts that are kept: JSON, or what is put aside."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

from .._ports import Unreadable

if TYPE_CHECKING:
    from .._ports import Json

ENCODING_ERRORS: Final = "surrogateescape"  # a byte that is no UTF-8 becomes half a surrogate pair
_DEEPEST: Final = 32  # what nests deeper than anything of ours could be read, and not written again


def read(text: str) -> Json | Unreadable:
    """Return the value that a text stands for; what `json.dumps` could not write is unreadable."""
    if not is_utf8(text):
        return _unreadable(text, "not UTF-8")
    try:
        value: Json = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as exc:
        return _unreadable(text, f"not JSON: {exc}")
    if value is None:
        return _unreadable(text, "null")
    return value if _is_shallow(value) else _unreadable(text, "nested too deep")


def is_utf8(text: str) -> bool:
    """Say whether a text that was decoded with `ENCODING_ERRORS` was UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """Return such a text with its foreign bytes as escapes, so that it can be kept and shown."""
    return text.encode("utf-8", ENCODING_ERRORS).decode("utf-8", "backslashreplace")


def _unreadable(text: str, fault: str) -> Unreadable:
    return Unreadable(text=printable(text), fault=fault)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is beyond all numbers")
    return number


def _is_shallow(value: Json) -> bool:
    level: list[object] = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return True
    return False
