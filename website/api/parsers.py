from collections.abc import Iterator, Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError

# The stubs are older than get_encoding.
from rest_framework.parsers import BaseParser, get_encoding  # type: ignore[attr-defined]

from website.api import items


class ListBody:
    """A request body that is a JSON list, not decoded yet. It can be read once.

    `text` is the whole of it, until then.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def let_go(self) -> None:
        """Keep the text no longer: a request may live on until Python looks for cycles."""
        self.text = ""

    def __iter__(self) -> Iterator[Any]:
        """Yield item by item; raise ParseError where the text stops being JSON."""
        text, self.text = self.text, ""
        try:
            yield from items.items(text)
        except ValueError as exc:
            raise ParseError(f"JSON parse error - {exc}") from exc


class PlainJSONParser(BaseParser):
    """DRF's JSON parser, but for two things.

    Nesting deeper than the decoder can follow is a 400 here, not a 500; and since it is no
    subclass of that one, DRF hands it the stream instead of a copy that lives as long as the
    request.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002  part of DRF's interface
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the decoded body, or raise ParseError."""
        try:
            return self.read(str(stream.read(), get_encoding(parser_context or {})))
        except ValueError as exc:
            raise ParseError(f"JSON parse error - {exc}") from exc

    def read(self, text: str) -> Any:
        """Return the decoded text, or raise ValueError."""
        return items.decode(text)


class LazyListParser(PlainJSONParser):
    """As above, but a list is handed on as a `ListBody`."""

    def read(self, text: str) -> Any:
        """Return a ListBody, or any other value decoded; raise ValueError."""
        return ListBody(text) if items.is_list(text) else super().read(text)
