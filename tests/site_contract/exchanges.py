"""The real site's answers: its samples, sent again to a site that should answer the same."""

import json
from pathlib import Path
from typing import Any, Final

import httpx

_SAMPLES: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("samples.json").read_text())
_LEFT_OUT: Final = "(the rest left out)"

EXCHANGES: Final[list[dict[str, Any]]] = _SAMPLES["exchanges"]
# The state before the first: these roles, and 80,000 users, of whom the answers show these.
ROLES: Final[list[dict[str, Any]]] = _SAMPLES["state_before"]["roles"]
USERS: Final = 80_000
SHOWN_USERS: Final[list[dict[str, Any]]] = [
    row for exchange in EXCHANGES[1:3] for row in exchange["response"]["json"]["results"]
]


def send(exchange: dict[str, Any], client: httpx.Client, *, url: str, token: str) -> httpx.Response:
    """Send the sample's request to the site at `url`, with the token unless it has headers."""
    request = exchange["request"]
    content = request.get("content")
    if content and content.startswith("("):
        content = b"[" + b" " * (53 * 2**20) + b"]"
    return client.request(
        request["method"],
        f"{url}{request['path']}",
        params=request["params"],
        headers=request.get("headers", {"Authorization": f"Token {token}"}),
        **({"json": request["json"]} if request["json"] is not None else {"content": content}),
    )


def in_its_form(response: httpx.Response) -> dict[str, Any]:
    """Return an answer in the samples' form."""
    is_json = response.headers.get("Content-Type") == "application/json"
    answer = {
        "status": response.status_code,
        "content_type": response.headers.get("Content-Type"),
        "json": response.json() if is_json else None,
    }
    return answer if is_json else {**answer, "text": response.text}


def shortened(answer: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """Leave out the rows that the sample leaves out."""
    rows = like["json"]
    if not isinstance(rows, list) or _LEFT_OUT not in rows:
        return answer
    shown = len(rows) - 1
    return {**answer, "json": [*answer["json"][:shown], rows[-1]]}
