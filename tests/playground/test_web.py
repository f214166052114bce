"""Who may look and click: our own page with the token, nobody else; what a stranger sees."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from sandbox.playground.ground import MODERATOR, OWNER, STRANGER

if TYPE_CHECKING:
    from sandbox.playground.web import Site
    from sandbox.playground.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


def _visitor() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def test_the_token_becomes_a_cookie_and_leaves_the_address(site: Site) -> None:
    """So that it stands in no history, and no script reads it."""
    async with _visitor() as visitor:
        async with visitor.get(site.address, allow_redirects=False) as moved:
            assert (moved.status, moved.headers["Location"]) == (303, "/")
            cookie = moved.headers["Set-Cookie"]
        async with visitor.get(f"{site.origin}/") as page:
            assert page.status == 200
            policy = page.headers["Content-Security-Policy"]

    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("path", ["/", "/events", "/commands", "/static/main.js", "/?token=wrong"])
async def test_nobody_looks_without_the_token(site: Site, path: str) -> None:
    """The page, its stream and its scripts are for whoever has it."""
    async with _visitor() as visitor, visitor.get(f"{site.origin}{path}") as answer:
        assert answer.status == 403


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "https://elsewhere.example"}, {"Origin": "null"},
     {"Origin": "OURS", "Host": "elsewhere.example"}],
)  # fmt: skip
async def test_another_page_cannot_click(site: Site, world: World, headers: dict[str, str]) -> None:
    """A click needs our own `Origin` and `Host`, whatever cookie comes with it."""
    sent = {name: site.origin if value == "OURS" else value for name, value in headers.items()}
    async with _visitor() as visitor:
        await visitor.get(site.address)
        async with visitor.post(
            f"{site.origin}/do", json={"do": "kill-site"}, headers=sent
        ) as answer:
            assert answer.status == 403

    assert world.ground.website.running


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/do", {"redo": "x"}, 400), ("/say", {"as": "nobody", "channel": "general"}, 400),
     ("/say", {"as": STRANGER, "channel": "staff", "content": "hi"}, 409),
     ("/story", {"start": "unknown"}, 400), ("/press", {"message": "1", "custom_id": "x"}, 400)],
)  # fmt: skip
async def test_bad_clicks_are_refused(site: Site, path: str, body: Any, status: int) -> None:
    """Nothing happens, and the answer says why in a line."""
    async with _visitor() as visitor:
        await visitor.get(site.address)
        async with visitor.post(
            f"{site.origin}{path}", json=body, headers={"Origin": site.origin}
        ) as answer:
            assert answer.status == status
            assert len((await answer.text()).splitlines()) == 1


async def test_each_sees_what_they_may(site: Site, world: World) -> None:
    """The staff's channels are hidden from a stranger, from the start and later."""
    await world.say(OWNER, "staff", "for the staff")
    await world.say(OWNER, "general", "for all")

    seen = {who: await _look(site, who) for who in (OWNER, MODERATOR, STRANGER)}

    assert (
        seen[OWNER]
        == seen[MODERATOR]
        == (
            {"mod-log", "staff", "general"},
            {"for the staff", "for all"},
        )
    )
    assert seen[STRANGER] == ({"general"}, {"for all"})


async def _look(site: Site, who: str) -> tuple[set[str], set[str]]:
    """Return the channels and the words of the first event of a stream."""
    async with _visitor() as visitor:
        await visitor.get(site.address)
        async with visitor.get(f"{site.origin}/events?as={who}") as stream:
            data = b""
            while not data.endswith(b"\n\n"):
                data += await stream.content.readany()
    snapshot = json.loads(data.removeprefix(b"data: "))["data"]
    words = {view["content"][0] for view in snapshot["messages"] if view["content"]}
    return {channel["name"] for channel in snapshot["channels"]}, words
