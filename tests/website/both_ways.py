"""Whatever is taken as a whole would be taken row by row, and comes to the same.

`python -m tests.website.both_ways` tries it in a process of its own, since it needs settings
(`DJANGO_SETTINGS_MODULE=website.settings`); no database is asked. It prints how many bodies were
taken as a whole; a body that is not has nothing to be compared with.
"""

import json
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any, Final

import django
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

django.setup()

from website.api import bulk, items, whole  # noqa: E402  Django has to be set up first
from website.api.rows import FIELDS  # noqa: E402

EXAMPLES: Final = 300

_Texts = st.SearchStrategy[str]
right: dict[str, _Texts] = {
    "id": st.integers(0, 2**63 - 1).map(str),
    "name": st.text(min_size=1, max_size=4).map(json.dumps) | st.just(json.dumps("😀" * 32)),
    "display_name": st.text(max_size=4).map(lambda text: json.dumps(text, ensure_ascii=False)),
    "discriminator": st.integers(0, 9999).map(str),
    "roles": st.lists(st.integers(0, 2**63 - 1), max_size=4, unique=True).map(json.dumps),
    "in_guild": st.sampled_from(["true", "false"]),
}
# What decoders take differently, and what Python's own calls by the same name.
ODD: Final = [
    *("-0", "1.0", "1e0", "1E2", "01", "-1", "9999", "10000", "9223372036854775808", "1" * 5_000),
    *("1e999", "NaN", "Infinity", "null", "True", "tru", "true", '"1"', '"true"', "[[1]]", "{}"),
    *('""', '" a"', '"a\\u0085"', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\q"', '"\t"'),
    *('"\u2028"', '"\x1f"', '"\ufeff"', '"' + "😀" * 33 + '"', "'a'", "[1,1]", "[1.0]", '["1"]'),
    *("[true]", "[1,]", "[-0]", "[-1]", "[9223372036854775808]", "[" * 2_000 + "]" * 2_000),
    json.dumps([*range(1_001)]),
]
blanks: _Texts = st.sampled_from([*[""] * 5, *[" ", "\n\t"] * 4, "\x0c", "\u00a0"])


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """Draw the text of a list of rows: mostly right, and if not mostly in one place."""
    fields = ["id", *draw(st.lists(st.sampled_from(FIELDS[1:]), unique=True))]
    if draw(st.booleans()):
        fields = [*FIELDS]
    rows = [
        [(field, draw(right[field])) for field in fields] for _ in range(draw(st.integers(1, 3)))
    ]
    if draw(st.integers(0, 2)) == 0:
        row = draw(st.sampled_from(rows))
        if draw(st.booleans()):
            row.pop(draw(st.integers(0, len(row) - 1)))
        name = draw(st.sampled_from([*FIELDS, "\\u0069d", "else", "ID"]))
        row.append((name, draw(st.sampled_from(ODD) | right["id"])))  # perhaps a second time
    gap = draw(blanks)
    objects = [
        "{" + ",".join([f'{gap}"{name}":{gap}{value}' for name, value in row]) + "}" for row in rows
    ]
    text = f"{draw(blanks)}[{gap}{','.join(objects)}]{draw(blanks)}"
    if draw(st.integers(0, 9)) == 0:  # a slip of the pen
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.sampled_from(list('{}[],:"0- '))) + text[place + 1 :]
    return text


def odd_bodies() -> Iterator[str]:
    """Yield rows that are right but for one thing: each odd value in each place."""
    row = {"id": "1", "name": '"n"', "display_name": '""', "discriminator": "0"}
    row |= {"roles": "[1]", "in_guild": "true"}
    before = _in_json(row | {"id": "2"})
    yield f"[{before},{before}]"
    for name, value in product([*FIELDS, "else"], ODD):
        odd = _in_json(row | {name: value})
        yield f"[{before},{odd}]"
        yield f'[{odd[:-1]},"{name}":{row.get(name, 0)}}}]'


def _in_json(row: dict[str, str]) -> str:
    return "{" + ",".join([f'"{name}":{value}' for name, value in row.items()]) + "}"


def compare(text: str) -> bool:
    """Compare the two ways, as an update and, where all fields are given, as a creation.

    Returns whether the text was taken as a whole.
    """
    chunk = whole.read(text, most_rows=2_500)
    if chunk is None:
        return False
    for partial in (True, False) if chunk.fields == FIELDS[1:] else (True,):
        known: frozenset[int] = frozenset(json.loads(chunk.roles))
        batch = bulk.check(items.items(text), partial=partial, known_roles=known)

        by_row: list[Any] = [json.loads(row) for row in batch.json_by_id.values()]
        assert [*batch.json_by_id] == chunk.ids
        assert by_row == json.loads(chunk.rows)
        assert batch.has_changes == bool(chunk.fields)
        assert known == {role for row in by_row for role in row.get("roles", [])}
    return True


@settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
@given(bodies())
def compare_any(text: str) -> None:
    """Compare the two ways of a body that was made up."""
    taken.append(compare(text))


taken: list[bool] = []

if __name__ == "__main__":
    taken += map(compare, odd_bodies())
    compare_any()
    sys.stdout.write(f"{sum(taken)}\n")
