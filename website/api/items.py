"""Read a JSON list item by item.

`json.loads` of 8 MB would hold the interpreter's lock all the while, which a healthcheck feels, and
build all rows at once, which costs ten times the text. Here one item lives at a time.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Never

_BLANKS = re.compile(r"[ \t\n\r]*")


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"Out of range float values are not JSON compliant: {name!r}")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def is_list(text: str) -> bool:
    """Tell whether the text, if it is JSON at all, is a list."""
    return text.startswith("[", _skip_blanks(text, 0))


def decode(text: str) -> Any:
    """Decode one whole JSON value; raise ValueError if it is none."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("The value is nested too deeply.") from None


def items(text: str) -> Iterator[Any]:
    """Yield the items of a JSON list one by one; raise ValueError where it stops being one."""
    position = _skip_blanks(text, _skip_blanks(text, 0) + 1)
    if not text.startswith("]", position):
        while True:
            try:
                item, position = _DECODER.raw_decode(text, position)
            except RecursionError:
                raise ValueError("The value is nested too deeply.") from None
            yield item
            position = _skip_blanks(text, position)
            if text.startswith("]", position):
                break
            if not text.startswith(",", position):
                raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
            position = _skip_blanks(text, position + 1)
    position = _skip_blanks(text, position + 1)
    if position != len(text):
        raise json.JSONDecodeError("Extra data", text, position)


def _skip_blanks(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return blanks.end() if blanks else position
