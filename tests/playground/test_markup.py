"""Discord's markdown is read as Discord reads it, and nothing of it becomes HTML."""

from __future__ import annotations

import pytest

from sandbox.playground.markup import Node, parse, plain

NAMES = {("user", 1): "Olivia", ("role", 2): "Moderators", ("channel", 3): "mod-log"}


def read(text: str) -> list[Node]:
    """Read a text with three names known."""
    return parse(text, lambda kind, id_: NAMES.get((kind, id_)))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("**bold** *slanted* _so_", [
            {"t": "strong", "c": ["bold"]}, " ", {"t": "em", "c": ["slanted"]}, " ",
            {"t": "em", "c": ["so"]}]),
        ("__under__ ~~gone~~", [{"t": "u", "c": ["under"]}, " ", {"t": "s", "c": ["gone"]}]),
        ("||a **b**||", [{"t": "spoiler", "c": ["a ", {"t": "strong", "c": ["b"]}]}]),
        ("one\ntwo", ["one", {"t": "br"}, "two"]),
        ("`a * b`", [{"t": "code", "v": "a * b"}]),
        ("```py\nx = 1\n```", [{"t": "pre", "v": "x = 1\n", "lang": "py"}]),
        ("\\*not\\* a_b_c", ["*not* a_b_c"]),
        ("<t:1700000000:R>", [{"t": "time", "at": 1_700_000_000, "style": "R"}]),
        ("<@1> <@&2> <#3>", [
            {"t": "mention", "kind": "user", "id": "1", "name": "@Olivia"}, " ",
            {"t": "mention", "kind": "role", "id": "2", "name": "@Moderators"}, " ",
            {"t": "mention", "kind": "channel", "id": "3", "name": "#mod-log"}]),
        ("<@9>", [{"t": "mention", "kind": "user", "id": "9", "name": "@unknown-user"}]),
        ("@everyone", [{"t": "mention", "kind": "all", "id": "", "name": "@everyone"}]),
        ("see https://a.example/b.", ["see ", {
            "t": "link", "href": "https://a.example/b", "c": ["https://a.example/b"]}, "."]),
        ("[a](https://b.example)", [{"t": "link", "href": "https://b.example", "c": ["a"]}]),
        ("-# small", [{"t": "small", "c": ["small"]}]),
        ("> said", [{"t": "quote", "c": [{"t": "p", "c": ["said"]}]}]),
        ("- a\n- b", [{"t": "ul", "c": [{"t": "li", "c": ["a"]}, {"t": "li", "c": ["b"]}]}]),
        ("# Title", [{"t": "h1", "c": ["Title"]}]),
    ],
)  # fmt: skip
def test_each_piece_of_markdown_is_read(text: str, tree: list[Node]) -> None:
    """Underscores underline, pipes hide, times and mentions are values of their own."""
    assert read(text) == tree


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;b&gt; &amp;",
     "'; DROP TABLE api_user; --", "\\", "||", "**", "<t:>", "<@>", "\u202ereversed"],
)  # fmt: skip
def test_other_text_stays_as_it_is(text: str) -> None:
    """HTML, entities and loose signs are words like any others."""
    assert plain(read(text)) == text


def test_a_script_is_no_address() -> None:
    """Only what a browser may follow harmlessly is a link."""
    assert read("[a](javascript:alert(1))") == ["[a](javascript:alert(1))"]
