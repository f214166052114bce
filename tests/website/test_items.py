"""Lists of JSON, read item by item."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from website.api import items

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # The decoder hands lone surrogates on, and the text here can't be made with them.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


def outcome(read: Any, text: str) -> Any:
    """Return what was read, or the error's words."""
    try:
        return read(text)
    except ValueError as exc:
        return str(exc)


@given(st.lists(values, max_size=6), st.sampled_from([None, 0, 3]), st.sampled_from(["", " \n\t"]))
def test_items_are_those_of_the_whole_list(
    whole: list[Any], indent: int | None, blanks: str
) -> None:
    """Any list is read as the standard library reads it, however it is laid out."""
    text = blanks + json.dumps(whole, indent=indent) + blanks

    assert list(items.items(text)) == whole


@pytest.mark.parametrize(
    "text",
    ["[", "[1", "[1,", "[1,]", "[1 2]", "[1]]", "[1] x", "[,]", "[{]", '["a', "[nul]", "[1}", "[ "],
)
def test_what_is_no_list_is_refused_in_the_same_words(text: str) -> None:
    """A broken list is refused where the standard library refuses it, in its words."""
    assert outcome(lambda broken: list(items.items(broken)), text) == outcome(json.loads, text)


@pytest.mark.parametrize("text", ["[NaN]", "[Infinity]", "[-Infinity]", "[" * 200_000])
def test_what_json_does_not_have_is_refused(text: str) -> None:
    """Values that no JSON has, and nesting too deep to follow, are errors like any other."""
    with pytest.raises(ValueError, match=r"not JSON compliant|nested too deeply"):
        list(items.items(text))
