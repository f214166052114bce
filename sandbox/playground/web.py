"""The page and what it asks for, on the loopback: whoever has the token may click.

A click may kill processes, so each request must come from our own page: its cookie, its `Host`,
and with every click its `Origin`, must be ours. The token comes in the address once, becomes the
cookie, and leaves the address.
"""

import asyncio
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
from aiohttp import web

from sandbox.playground.feed import Event
from sandbox.playground.ground import MODERATOR, OWNER, STRANGER
from sandbox.playground.stories import STORIES, Teller
from sandbox.playground.world import EXPECTED, World, in_a_line

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATIC: Final = Path(__file__).parent / "static"
_COOKIE: Final = "playground"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_PEOPLE: Final = (OWNER, MODERATOR, STRANGER)
_BEAT_S: Final = 10.0
_PICTURES: Final = {".png": "image/png", ".jpg": "image/jpeg", ".gif": "image/gif",
                    ".webp": "image/webp"}  # fmt: skip


class Site:
    """The page's server; `address` holds the token, and opens the page once and again."""

    def __init__(self, world: World, *, port: int = 0) -> None:
        self._world = world
        self.teller = Teller(world)
        self._token = secrets.token_urlsafe(24)
        self._port = port
        self._runner: web.AppRunner | None = None
        self._streams: set[asyncio.Task[Any]] = set()
        self._clicks: set[asyncio.Task[None]] = set()

    @property
    def origin(self) -> str:
        """The origin of the page."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def address(self) -> str:
        """Where a browser is sent."""
        return f"{self.origin}/?token={self._token}"

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._checked])
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/events", self._events),
                web.get("/commands", self._commands),
                web.get("/members", self._members),
                web.get("/files/{id}/{name}", self._file),
                web.post("/do", self._do),
                web.post("/say", self._say),
                web.post("/press", self._press),
                web.post("/command", self._command),
                web.post("/complete", self._complete),
                web.post("/story", self._story),
                web.static("/static", STATIC),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.teller.stop()
        for task in [*self._streams, *self._clicks]:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    # -- who may ----------------------------------------------------------------------------------

    @web.middleware
    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in only our own page, and give every answer its headers."""
        try:
            response = await self._answered(request, handler)
        except web.HTTPException as exc:
            exc.headers.update(_HEADERS)
            raise
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # Another name that leads here would be another's page (DNS rebinding).
        if request.host != f"127.0.0.1:{self._port}":
            raise web.HTTPForbidden(text="This page is at 127.0.0.1 only.")
        given = request.query.get("token")
        if request.path == "/" and given is not None and self._is_token(given):
            moved = web.HTTPSeeOther("/")
            moved.set_cookie(_COOKIE, self._token, httponly=True, samesite="Strict", path="/")
            raise moved
        if not self._is_token(request.cookies.get(_COOKIE, "")):
            raise web.HTTPForbidden(text="Open the address that the command printed.")
        if request.method != "GET" and request.headers.get("Origin") != self.origin:
            raise web.HTTPForbidden(text="Only this page itself may do that.")
        try:
            return await handler(request)
        except (KeyError, ValueError, TypeError) as exc:
            raise web.HTTPBadRequest(text=f"{type(exc).__name__}: {in_a_line(exc)}") from exc
        except (*EXPECTED, RuntimeError) as exc:
            raise web.HTTPConflict(text=in_a_line(exc)) from exc

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())

    # -- what is shown ----------------------------------------------------------------------------

    async def _page(self, _request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html")

    async def snapshot(self, who: str) -> Json:
        """Return all that a page must know to begin, as one of the three people may see it."""
        world, place = self._world, self._world.ground.place
        channels = await world.ground.control.channels(place.guild, place.people[who])
        seen = {channel["id"] for channel in channels}
        return {
            "who": who,
            "people": [
                {"id": str(place.people[p]), "who": p, "name": world.name("user", place.people[p])}
                for p in _PEOPLE
            ],
            "pinged": self._pinged(who),
            "channels": [
                {"id": str(id_), "name": name}
                for name, id_ in place.channels.items()
                if id_ in seen
            ],
            "messages": [
                event.data
                for _, event in sorted(world.messages.items())
                if self._may_see(event, who, seen)
            ],
            "panel": world.panel(),
            "lines": world.lines,
            "samples": world.samples,
            "stories": [{"id": s.id, "title": s.title, "about": s.about} for s in STORIES],
            "story": self.teller.state,
            "members": world.ground.members,
        }

    def _pinged(self, who: str) -> list[str]:
        """Return what calls this person: themselves, everyone, and the roles that alert."""
        place = self._world.ground.place
        roles = [str(place.moderators)] if who == MODERATOR else []
        return [str(place.people[who]), "everyone", *roles]

    def _may_see(self, event: Event, who: str, channels: set[int]) -> bool:
        if event.channel is not None and event.channel not in channels:
            return False
        return event.visible_to in {None, self._world.ground.place.people[who]}

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Stream the world from now on to one page, first as it is."""
        who = self._who(request.query)
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a handler runs in one
        self._streams.add(task)
        # Heard from before the snapshot is made: what comes meanwhile is only told twice.
        events = self._world.feed.events()
        coming = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        try:
            snapshot = await self.snapshot(who)
            seen = {int(channel["id"]) for channel in snapshot["channels"]}
            await response.prepare(request)
            await _write(response, {"at": 0, "kind": "snapshot", "data": snapshot})
            while True:
                done, _ = await asyncio.wait({coming}, timeout=_BEAT_S)
                if not done:
                    await response.write(b": still here\n\n")
                    continue
                event = coming.result()
                if self._may_see(event, who, seen):
                    await _write(response, event.as_json())
                coming = asyncio.ensure_future(anext(events))
        except (ConnectionError, StopAsyncIteration):
            return response
        finally:
            coming.cancel()
            self._streams.discard(task)

    async def _commands(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._world.commands())

    async def _members(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._world.found(request.query.get("typed", "")))

    async def _file(self, request: web.Request) -> web.StreamResponse:
        """Fetch a file from the local Discord: pictures to be shown, all else to be saved."""
        id_, name = int(request.match_info["id"]), request.match_info["name"]
        kind = _PICTURES.get(Path(name).suffix.lower(), "application/octet-stream")
        url = f"{self._world.ground.discord.url}/files/{id_}/{name}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            if answer.status != 200:  # noqa: PLR2004  the one that means it is there
                raise web.HTTPNotFound
            headers = {} if kind.startswith("image/") else {"Content-Disposition": "attachment"}
            return web.Response(body=await answer.read(), content_type=kind, headers=headers)

    # -- what is clicked --------------------------------------------------------------------------

    async def _do(self, request: web.Request) -> web.StreamResponse:
        """Do or undo an action; how it went is told in the feed."""
        body = await request.json()
        match body:
            case {"undo": "all"}:
                self._begin(self._world.undo_all())
            case {"undo": str(id_)}:
                self._begin(self._world.undo(id_))
            case {"do": str(id_)}:
                self._begin(self._world.act(id_))
            case _:
                raise ValueError("do or undo what?")
        return web.json_response({})

    def _begin(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._clicks.add(task)
        task.add_done_callback(self._clicks.discard)

    async def _say(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        await self._world.say(self._who(body), body["channel"], str(body["content"]))
        return web.json_response({})

    async def _press(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        await self._world.press(self._who(body), int(body["message"]), str(body["custom_id"]))
        return web.json_response({})

    async def _command(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        await self._world.command(
            self._who(body), body["channel"], str(body["name"]), dict(body["options"])
        )
        return web.json_response({})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return web.json_response(
            await self._world.complete(
                self._who(body), body["channel"], body["name"], body["option"], str(body["typed"])
            )
        )

    async def _story(self, request: web.Request) -> web.StreamResponse:
        match await request.json():
            case {"start": str(id_)}:
                self.teller.start(id_)
            case {"stop": True}:
                await self.teller.stop()
            case _:
                raise ValueError("start or stop what?")
        return web.json_response({})

    def _who(self, given: Any) -> str:
        who = str(given.get("as", OWNER))
        if who not in _PEOPLE:
            raise ValueError(f"nobody is called {who!r}")
        return who


async def _write(response: web.StreamResponse, event: Json) -> None:
    await response.write(f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode())
