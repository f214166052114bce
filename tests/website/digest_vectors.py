"""Write docs/digest-vectors.json: rows and what is hashed of them, tables and what is answered.

`python -m tests.website.digest_vectors` renews it, by the reference alone; a test asks the website.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from tests.website.digest_reference import Row, answer, row_hash, row_text

PAGE: Final = Path(__file__).parents[2] / "docs" / "digest-vectors.json"
LARGEST: Final = 2**63 - 1
_ABOUT: Final = [
    "Test vectors for `GET bot/sync/digests`, which docs/site-contract.md specifies.",
    "`rows`: a row; the text that is hashed of it, as UTF-8; its MD5; the first 15 digits of that.",
    "`tables`: what a site holds (`places`, from 0, in the list that `of` names); query; answer.",
    "`refused`: query strings that are answered 400.",
    "Ids go up to 2^63-1. A reader of JSON that knows only doubles must take them as text.",
]


def _row(id_: int, name: str, display_name: str, *roles: int, discriminator: int = 0) -> Row:
    return {
        "id": id_,
        "name": name,
        "display_name": display_name,
        "discriminator": discriminator,
        "roles": [*roles],
        "in_guild": True,
    }


_GUILD, _MOD = 267624335836053506, 1118456389414604860
_CASES: Final[tuple[tuple[str, Row], ...]] = (
    ("a plain row", _row(165023948638126080, "ferris", "Ferris", _GUILD, _MOD)),
    ("no display name, no roles", _row(165023948638126081, "ferris", "")),
    ("the least id, and an old name's discriminator", _row(0, "a", "a", 1, discriminator=9999)),
    ("the greatest id that a range can hold", _row(LARGEST - 1, "z", "z", LARGEST)),
    ("roles that don't ascend: as stored", _row(1000, "order", "Order", 3, 20, 1)),
    ("the same roles in another order: another hash", _row(1001, "order", "Order", 1, 3, 20)),
    ("a role that stands twice: as stored", _row(1002, "twice", "Twice", 7, 7)),
    ("commas and colons, the text's own marks", _row(1003, "a,b:c", ",1:x,", 5)),
    ("what would read the same without the lengths, I", _row(1004, "a,b", "c", 5)),
    ("what would read the same without the lengths, II", _row(1004, "a", "b,c", 5)),
    ("digits", _row(1005, "12", "3", 4)),
    ("quotes, backslashes, percent", _row(1006, "'\"`\\n", "%s %(id)s {0} $1", 5)),
    ("line breaks and tabs inside", _row(1007, "a\nb", "c\r\n\td", 5)),
    ("blanks inside, one of them unbreakable", _row(1008, "a  b", "a\u00a0b", 5)),
    ("two bytes a character", _row(1009, "zoë", "Ünïcödé", 5)),
    ("the same to the eye, decomposed: other bytes", _row(1009, "zoe\u0308", "Ünïcödé", 5)),
    ("three bytes a character", _row(1010, "日本語", "คนไทย", 5)),
    ("four bytes a character, 32 of them", _row(1011, "😀" * 32, "😀", 5)),
    ("several code points, one sign", _row(1012, "👩‍👩‍👧‍👦", "🇵🇹❤️", 5)),
    ("from right to left, with marks of direction", _row(1013, "שלום", "\u202eمرحبا\u202c", 5)),  # noqa: RUF001
    ("nothing that can be seen", _row(1014, "\u200b", "\ufeff\u2060", 5)),
    ("the last code point", _row(1015, "\U0010ffff", "\uffff", 5)),
    ("a control character", _row(1016, "\u0001", "\u001b[0m", 5)),
)
_CROWD: Final = (
    *(_row(2000 + 10 * place, f"member{place}", f"Member {place}", _GUILD) for place in range(40)),
    {**_row(2005, "left", "Left", _GUILD), "in_guild": False},
)
_REFUSED: Final = (
    "",
    "bounds=",
    "bounds=5",
    "bounds=5,5",
    "bounds=6,5",
    "bounds=1,2,2",
    "bounds=-1,5",
    "bounds=%2B1,5",
    "bounds=1,%202",
    "bounds=1,2,",
    "bounds=,1,2",
    "bounds=1;2",
    "bounds=0x1,0x2",
    "bounds=1e3,2e3",
    "bounds=1.0,2.0",
    "bounds=%D9%A1,%D9%A2",  # Arabic digits
    "bounds=0,9223372036854775808",
    "bounds=0,99999999999999999999999999999999999999999999999999",
    f"bounds={','.join(map(str, range(130)))}",
    "bounds=1,2&bounds=3,4",
    "bounds=1,2&in_guild=true",
)


def vectors() -> dict[str, Any]:
    """Return all vectors, as JSON has them."""
    place_by_id = {row["id"]: place for place, (_, row) in enumerate(_CASES)}
    cases = [*place_by_id.values()]  # of two that share an id, only one can be in a table
    crowd = [*range(len(_CROWD))]
    return {
        "about": _ABOUT,
        "rows": [_vector(about, row) for about, row in _CASES],
        "crowd": _CROWD,
        "tables": [
            _table("nobody", "rows", [], [0, 1, LARGEST]),
            _table("everybody in one range", "rows", cases, [0, LARGEST]),
            _table("a range each", "rows", cases, [0, 1, *range(1000, 1018), LARGEST]),
            _table("some to a range", "rows", cases, [0, 500, 1003, 1004, 1005, 10**17]),
            _table("sums beyond 2^64 begin anew", "crowd", crowd, [0, LARGEST]),
            _table("the lower bound belongs to a range", "crowd", crowd, [2010, 2020, 2030]),
            _table("who is not in the guild counts nowhere", "crowd", crowd, [2001, 2010]),
            _table("below and above all", "crowd", crowd, [0, 1, 2000, 2391, LARGEST]),
            _table("as many ranges as there may be", "crowd", crowd, [*range(1995, 2511, 4)]),
        ],
        "refused": _REFUSED,
    }


def _vector(about: str, row: Row) -> dict[str, Any]:
    text = row_text(row)
    return {
        "about": about,
        "row": row,
        "text": text.decode("utf-8"),
        "md5": hashlib.md5(text, usedforsecurity=False).hexdigest(),
        "hash": format(row_hash(row), "015x"),
    }


def _table(about: str, of: str, places: list[int], bounds: list[int]) -> dict[str, Any]:
    rows = _CROWD if of == "crowd" else tuple(row for _, row in _CASES)
    return {
        "about": about,
        "of": of,
        "places": places,
        "query": f"bounds={','.join(map(str, bounds))}",
        "answer": answer([rows[place] for place in places], bounds),
    }


def rendered() -> str:
    """Return the file as it is due: plain ASCII, so that no editor changes a name; a line each."""
    parts = []
    for name, entries in vectors().items():
        lines = ",\n".join(f"    {json.dumps(entry)}" for entry in entries)
        parts.append(f"  {json.dumps(name)}: [\n{lines}\n  ]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    PAGE.write_text(rendered(), "utf-8")
