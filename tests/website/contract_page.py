"""Renew the table in docs/site-contract.md: ask a running site, method by method, and note it down.

`python -m tests.website.contract_page` starts the website on SQLite and writes what it answers
between the page's markers.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from sandbox.servers import Website

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = Path(__file__).parents[2] / "docs" / "site-contract.md"
_BLOCK: Final = re.compile(r"<!-- answers -->\n.*?<!-- end -->\n", re.DOTALL)
METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")
_ROLE: Final = {"id": 1, "name": "r", "colour": 0, "permissions": 0, "position": 0}
_USER: Final = {"id": 1, "name": "n", "display_name": "d", "discriminator": 0, "roles": [1]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A path, one that names nothing there, and what each method of it takes.

    `query` is what reading it needs, as documented and of a wrong type.
    """

    path: str
    shown: str
    missing: str | None
    bodies: dict[str, object]
    query: tuple[str, str] | None = None


ENDPOINTS: Final = (
    Endpoint(path="healthcheck", shown="/healthcheck", missing=None, bodies={}),
    Endpoint(path="healthcheck/live", shown="/healthcheck/live", missing=None, bodies={}),
    Endpoint(path="bot/sync/capabilities", shown="/bot/sync/capabilities", missing=None, bodies={}),
    Endpoint(
        path="bot/sync/digests",
        shown="/bot/sync/digests",
        missing=None,
        bodies={},
        query=("?bounds=0,9", "?bounds=0,x"),
    ),
    Endpoint(
        path="bot/roles", shown="/bot/roles", missing=None, bodies={"POST": {**_ROLE, "id": 9}}
    ),
    Endpoint(
        path="bot/roles/1",
        shown="/bot/roles/{id}",
        missing="bot/roles/7",
        bodies={"PUT": _ROLE, "PATCH": {"name": "s"}},
    ),
    Endpoint(
        path="bot/users", shown="/bot/users", missing=None, bodies={"POST": [{**_USER, "id": 9}]}
    ),
    Endpoint(
        path="bot/users/bulk_patch",
        shown="/bot/users/bulk_patch",
        missing=None,
        bodies={"PATCH": [{"id": 1, "name": "m"}]},
    ),
    Endpoint(
        path="bot/users/1",
        shown="/bot/users/{id}",
        missing="bot/users/7",
        bodies={"PUT": _USER, "PATCH": {"name": "m"}},
    ),
)


def rows_of(client: httpx.Client) -> Iterator[str]:
    """Yield a line of the table for each path and method, asked with the client's key."""
    for endpoint in ENDPOINTS:
        for method in METHODS:
            _reset(client)
            body = endpoint.bodies.get(method)
            path, spoilt = endpoint.path, None if body is None else (endpoint.path, _spoilt(body))
            if endpoint.query is not None and method in {"GET", "HEAD"}:
                path, spoilt = path + endpoint.query[0], (path + endpoint.query[1], None)
            unknown = f"{path}{'&' if '?' in path else '?'}no_such=1"
            statuses = [
                str(_ask(client, method, path, body, key=False)),
                str(_ask(client, method, path, body)),
                "" if spoilt is None else str(_ask(client, method, *spoilt)),
                str(_ask(client, method, unknown, body)),
                ""
                if endpoint.missing is None
                else str(_ask(client, method, endpoint.missing, body)),
            ]
            yield f"| `{endpoint.shown}` | {method} | {' | '.join(statuses)} |"


def _ask(client: httpx.Client, method: str, path: str, body: object, *, key: bool = True) -> int:
    headers = {} if key else {"Authorization": ""}
    return client.request(
        method,
        path,
        headers=headers,
        **({} if body is None else {"json": body}),  # type: ignore[arg-type] # of one name
    ).status_code


def _spoilt(body: object) -> Any:
    if isinstance(body, list):
        return [_spoilt(row) for row in body]
    assert isinstance(body, dict)
    return body | {"name": None}


def _reset(client: httpx.Client) -> None:
    for path in ("bot/users/1", "bot/users/9", "bot/roles/1", "bot/roles/9"):
        client.delete(path)
    client.post("bot/roles", json=_ROLE).raise_for_status()
    client.post("bot/users", json=[_USER]).raise_for_status()


def table(client: httpx.Client) -> str:
    """Return the block as it is due."""
    head = (
        "| path | method | without a key | as documented | a field of a wrong type | an unknown "
        "query parameter | nothing of that id |"
    )
    lines = [head, "|" + "---|" * 7, *rows_of(client)]
    return "<!-- answers -->\n" + "\n".join(lines) + "\n<!-- end -->\n"


def renewed(page: str, client: httpx.Client) -> str:
    """Return the page with what the site answers now."""
    block = table(client)
    assert len(_BLOCK.findall(page)) == 1
    return _BLOCK.sub(lambda _: block, page)


async def _main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/website.sqlite3"
        async with Website(Path(directory), database_url=url) as site:
            headers = {"Authorization": f"Token {site.token}"}
            with httpx.Client(base_url=site.api_url, headers=headers) as client:
                page = await asyncio.to_thread(renewed, PAGE.read_text("utf-8"), client)
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    asyncio.run(_main())
