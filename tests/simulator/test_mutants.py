"""The planted faults of `tests.mutants` can still be planted."""

from collections import Counter

from tests.mutants import ALL, ROOT, SYNC


def test_each_text_stands_where_it_is_replaced() -> None:
    """Once: whoever changes such a line changes the list with it."""
    found = Counter(
        {m.name: (ROOT / SYNC / m.file).read_text(encoding="utf-8").count(m.old) for m in ALL}
    )
    assert {name: count for name, count in found.items() if count != 1} == {}
