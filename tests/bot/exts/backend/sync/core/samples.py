"""The real site's recorded answers, as the client meets them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.exts.backend.sync._core.site.outcome import Answer, Purpose

_LEFT_OUT: Final = "(the rest left out)"
_RECORDED: Final = Path(__file__).parents[5] / "site_contract" / "samples.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A request, as its method, path and JSON, and the answer to it."""

    method: str
    path: str
    json: Any
    answer: Answer

    @property
    def rows(self) -> int:
        """How many rows the request had."""
        return len(self.json) if isinstance(self.json, list) else 1

    @property
    def value(self) -> Any:
        """The answer's JSON."""
        return json.loads(self.answer.body)

    @property
    def purpose(self) -> Purpose:
        """What the client sends such a request for."""
        one = self.path.rpartition("/")[2].isdigit()
        if self.method == "GET":
            return Purpose.READ_ONE if one else Purpose.READ
        if self.path.startswith("bot/users"):
            return Purpose.CREATE if self.method == "POST" else Purpose.UPDATE
        return {
            "POST": Purpose.CREATE_ROLE,
            "PUT": Purpose.UPDATE_ROLE,
            "DELETE": Purpose.DELETE_ROLE,
        }[self.method]


def _read(exchange: dict[str, Any]) -> Sample:
    request, response = exchange["request"], exchange["response"]
    value = response["json"]
    if isinstance(value, list):
        value = [item for item in value if item != _LEFT_OUT]
    body = response.get("text", "") if value is None else json.dumps(value)
    return Sample(
        method=request["method"],
        path=request["path"].removeprefix("/api/"),
        json=request["json"],
        answer=Answer(status=response["status"], body=body.encode(), retry_after=None, seconds=0.1),
    )


SAMPLES: Final[dict[str, Sample]] = {
    exchange["name"]: _read(exchange) for exchange in json.loads(_RECORDED.read_text())["exchanges"]
}
