"""The way between bot and site: what it passes on, and what it does where the site is down."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from sandbox.site_proxy import Answer, Call, Forward, SiteProxy, first, lose


@pytest.fixture
async def upstream() -> AsyncIterator[web.TCPSite]:
    """Run a site that answers with what it was asked, until it is stopped."""

    async def echo(request: web.Request) -> web.Response:
        body = await request.text()
        told = {"path": request.path_qs, "id": request.headers["X-Request-ID"], "body": body}
        return web.json_response(told, status=202, headers={"Retry-After": "7"})

    app = web.Application()
    app.router.add_route("*", "/api/{path:.*}", echo)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield site
    await runner.cleanup()


@pytest.fixture
async def proxy(upstream: web.TCPSite) -> AsyncIterator[SiteProxy]:
    """Give a proxy to that site."""
    async with SiteProxy(f"{upstream.name}/api/") as running:
        yield running


async def ask(proxy: SiteProxy, path: str, body: str = "") -> tuple[int, str, str | None]:
    """Send a request; return its answer's status, body and `Retry-After`."""
    headers = {"X-Request-ID": "run-1"}
    async with (
        aiohttp.ClientSession(base_url=proxy.api_url, headers=headers) as session,
        session.patch(path, data=body) as answer,
    ):
        return answer.status, await answer.text(), answer.headers.get("Retry-After")


async def test_requests_and_answers_pass_unchanged(proxy: SiteProxy) -> None:
    """The site sees path, query, request id and body as they were sent, the bot its answer."""
    answer = await ask(proxy, "bot/users/bulk_patch?page=2", '[{"id": 5}, {"id": 7}]')

    told = '{"path": "/api/bot/users/bulk_patch?page=2", "id": "run-1", "body": '
    assert answer == (202, told + r'"[{\"id\": 5}, {\"id\": 7}]"}', "7")
    assert [(c.request_id, c.writes_users, c.ids) for c in proxy.calls] == [
        ("run-1", True, frozenset({5, 7}))
    ]


async def test_a_site_that_is_down_is_a_bad_gateway(
    upstream: web.TCPSite, proxy: SiteProxy
) -> None:
    """As behind any proxy: a page of HTML, not a refused connection."""
    await upstream.stop()

    status, text, _ = await ask(proxy, "bot/users/9", "{}")
    assert (status, "502 Bad Gateway" in text, proxy.calls[0].ids) == (502, True, frozenset({9}))


async def test_a_fault_strikes_as_often_as_it_is_told(proxy: SiteProxy) -> None:
    """A lost answer closes the connection; the next request passes."""

    async def lost(call: Call, forward: Forward) -> Answer:
        await forward(call)
        return lose(call)

    proxy.fault = first(1, lost)

    with pytest.raises(aiohttp.ClientError):
        await ask(proxy, "bot/users", "[]")
    assert (await ask(proxy, "bot/users", "[]"))[0] == 202
