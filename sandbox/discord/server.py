"""The local Discord as one server: gateway, REST and the control API on one port."""

from __future__ import annotations

from typing import Self

from aiohttp import web

from . import control
from .faults import Faults
from .gateway import Gateway
from .interactions import Interactions
from .ratelimit import RateLimiter
from .rest import BASE, Rest
from .state import State

_MAX_BODY = 32 * 1024 * 1024


class DiscordServer:
    """A Discord on a port of this machine; port 0 takes a free one, known once it is entered.

    Whoever is let in by another `host` finds the gateway at the name by which they reached it.
    """

    def __init__(
        self, *, token: str, host: str = "127.0.0.1", port: int = 0, seed: int = 0
    ) -> None:
        self._host = host
        self.state = State(token=token, seed=seed)
        self.faults = Faults()
        self.gateway = Gateway(self.state, self.faults)
        self.interactions = Interactions(self.state, self.faults)
        self.limiter = RateLimiter()
        self.rest = Rest(self.state, self.gateway, self.faults, self.interactions, self.limiter)
        self.port = port
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The base of everything, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        """What DISCORD_API_URL is set to."""
        return self.url + BASE

    @property
    def gateway_url(self) -> str:
        """What DISCORD_GATEWAY_URL is set to."""
        return f"ws://127.0.0.1:{self.port}/gateway"

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self.rest.middleware], client_max_size=_MAX_BODY)
        app.add_routes(self.rest.routes())
        app.add_routes(
            control.routes(
                self.state,
                self.gateway,
                self.faults,
                self.interactions,
                self.rest,
            )
        )
        app.add_routes(
            [
                web.get("/gateway", self.gateway.handle),
                web.get("/gateway/", self.gateway.handle),
                web.get("/files/{id}/{name}", self._file),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.gateway.url = self.gateway_url
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.gateway.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _file(self, request: web.Request) -> web.Response:
        content = self.state.files.get(int(request.match_info["id"]))
        if content is None:
            raise web.HTTPNotFound
        return web.Response(body=content)
