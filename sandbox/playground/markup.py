"""Discord's markdown as a tree of plain values, which a page can draw without reading HTML.

A node is text, or a mapping with its tag under "t" and, if it holds others, those under "c":
strong, em, u, s, spoiler, quote, h1 to h3, small (`-#`), ul, ol, li, p, br; code and pre with their
text under "v"; link with "href"; time with "at" (Unix seconds) and "style"; mention with "kind",
"id" and "name".
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

Node = str | dict[str, Any]
# What a mention of this kind ("user", "role", "channel") and id is called, None if it is unknown.
Names = Callable[[str, int], str | None]

_RULES: Final = (
    "backticks", "blockquote", "emphasis", "escape", "fence", "heading", "link", "list", "newline",
    "strikethrough",
)  # fmt: skip
_TAGS: Final = {
    "strong_open": "strong",
    "em_open": "em",
    "s_open": "s",
    "spoiler_open": "spoiler",
    "blockquote_open": "quote",
    "small_open": "small",
    "bullet_list_open": "ul",
    "ordered_list_open": "ol",
    "list_item_open": "li",
    "paragraph_open": "p",
}
_SPECIAL: Final = re.compile(
    r"<t:(?P<at>-?\d{1,13})(?::(?P<style>[tTdDfFR]))?>"
    r"|<@!?(?P<user>\d{1,20})>|<@&(?P<role>\d{1,20})>|<#(?P<channel>\d{1,20})>"
    r"|<(?P<address>https?://[^\s>]+)>"
)
_PLAIN: Final = re.compile(
    r"(?P<link>https?://[^\s<]*[^\s<.,:;!?\")\]])|(?P<all>@(?:everyone|here))"
)


def parse(text: str, names: Names) -> list[Node]:
    """Return the tree of a text; a single paragraph is not wrapped as one."""
    tokens = _READER.parse(text)
    nodes = _Tree(names).nodes(iter(tokens), until=None)
    match nodes:
        case [{"t": "p", "c": inner}]:
            return list(inner)
        case _:
            return nodes


def plain(nodes: Sequence[Node]) -> str:
    """Return the words of a tree, as a reader sees them; a time is its Unix seconds."""
    return "".join(_plain(node) for node in nodes)


def _plain(node: Node) -> str:
    match node:
        case str():
            return node
        case {"v": str(code)}:
            return code
        case {"t": "br"}:
            return "\n"
        case {"t": "time", "at": at}:
            return f"<t:{at}>"
        case {"t": "mention", "name": str(name)}:
            return name
        case {"c": children}:
            return plain(children)
        case _:
            return ""


class _Tree:
    """Turns markdown-it's flat tokens into nodes."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def nodes(self, tokens: Iterator[Token], *, until: str | None) -> list[Node]:
        made: list[Node] = []
        for token in tokens:
            if token.type == until:
                break
            made += self._made(token, tokens)
        return made

    def _made(self, token: Token, rest: Iterator[Token]) -> list[Node]:
        match token.type:
            case "inline":
                return self.nodes(iter(token.children or ()), until=None)
            case "text":
                return list(_words(token.content))
            case "softbreak" | "hardbreak":
                return [{"t": "br"}]
            case "code_inline":
                return [{"t": "code", "v": token.content}]
            case "fence":
                return [{"t": "pre", "v": token.content, "lang": token.info.strip()}]
            case "special":
                return [self._special(token.meta)]
            case "link_open":
                href = str(token.attrs.get("href", ""))
                return [{"t": "link", "href": href, "c": self.nodes(rest, until="link_close")}]
            case "heading_open":
                return [{"t": token.tag, "c": self.nodes(rest, until="heading_close")}]
            case kind if kind in _TAGS:
                # Discord reads two underscores as underlining, CommonMark as strong.
                tag = "u" if token.markup == "__" else _TAGS[kind]
                inner = self.nodes(rest, until=kind.replace("_open", "_close"))
                # The paragraphs of a tight list's items are hidden.
                return inner if token.hidden else [{"t": tag, "c": inner}]
            case _:
                return [token.content] if token.content else []

    def _special(self, found: dict[str, str | None]) -> Node:
        match found:
            case {"at": str(at), "style": style}:
                return {"t": "time", "at": int(at), "style": style or "f"}
            case {"address": str(address)}:
                return {"t": "link", "href": address, "c": [address]}
            case _:
                kind = next(k for k in ("user", "role", "channel") if found[k] is not None)
                id_ = int(found[kind] or 0)
                name = self._names(kind, id_) or f"unknown-{kind}"
                sign = "#" if kind == "channel" else "@"
                return {"t": "mention", "kind": kind, "id": str(id_), "name": f"{sign}{name}"}


def _words(text: str) -> Iterator[Node]:
    """Find addresses, and calls to all, in plain text."""
    position = 0
    for found in _PLAIN.finditer(text):
        if found.start() > position:
            yield text[position : found.start()]
        position = found.end()
        word = found.group()
        if found["link"]:
            yield {"t": "link", "href": word, "c": [word]}
        else:
            yield {"t": "mention", "kind": "all", "id": "", "name": word}
    if position < len(text):
        yield text[position:]


def _special(state: StateInline, silent: bool) -> bool:  # noqa: FBT001  as markdown-it calls it
    """Read `<t:…>`, mentions and addresses in angle brackets."""
    found = _SPECIAL.match(state.src, state.pos)
    if found is None:
        return False
    if not silent:
        state.push("special", "", 0).meta = found.groupdict()
    state.pos = found.end()
    return True


def _spoiler(state: StateInline, silent: bool) -> bool:  # noqa: FBT001  as above
    """Read `||hidden||`."""
    start = state.pos + 2
    end = state.src.find("||", start)
    if not state.src.startswith("||", state.pos) or end <= start or end > state.posMax:
        return False
    if not silent:
        most = state.posMax
        state.push("spoiler_open", "spoiler", 1)
        state.pos, state.posMax = start, end
        state.md.inline.tokenize(state)
        state.push("spoiler_close", "spoiler", -1)
        state.posMax = most
    state.pos = end + 2
    return True


def _small(state: StateBlock, line: int, _end: int, silent: bool) -> bool:  # noqa: FBT001  as above
    """Read a line of small words, `-# …`."""
    start = state.bMarks[line] + state.tShift[line]
    if not state.src.startswith("-# ", start):
        return False
    if not silent:
        state.push("small_open", "small", 1)
        inline = state.push("inline", "", 0)
        inline.content = state.src[start + 3 : state.eMarks[line]].strip()
        inline.children = []
        inline.map = [line, line + 1]
        state.push("small_close", "small", -1)
        state.line = line + 1
    return True


def _reader() -> MarkdownIt:
    reader = MarkdownIt("zero", {"breaks": True}).enable(list(_RULES))
    reader.inline.add_terminator_char("|")
    reader.inline.ruler.before("link", "special", _special)
    reader.inline.ruler.before("link", "spoiler", _spoiler)
    reader.block.ruler.before("list", "small", _small, {"alt": ["paragraph", "blockquote", "list"]})
    return reader


_READER: Final = _reader()
