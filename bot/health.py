"""What the bot says of itself over HTTP: to Prometheus, to an orchestrator, to a person with curl.

| path | answers 200 |
|---|---|
| `/live` | while the event loop turns; whatever Discord, a site or a store do |
| `/ready` | while the gateway is connected, and each cog that has a `status()` is ready by it |
| `/status` | always, with all that is known, as JSON |
| `/metrics` | always, for Prometheus |

A thread of its own answers, which a loop that hangs does not keep from saying so.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from socket import AF_INET6
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import prometheus_client

from bot import __version__

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from bot.bot import Bot

_TICK_AGE_LIMIT_S: Final = 10.0
_ANSWER_LIMIT_S: Final = 2.0  # of the loop; probes wait for some seconds
_IDLE_S: Final = 10.0
_POLL_S: Final = 0.1  # how soon it notices that it is to end
_LOOP_HANGS: Final = "the event loop does not turn"


class Health:
    """The answers; they may be asked for by any thread, and look at the bot on its own loop."""

    def __init__(self, bot: "Bot", loop: asyncio.AbstractEventLoop) -> None:
        self._bot = bot
        self._loop = loop

    def live(self) -> tuple[bool, dict[str, object]]:
        """Say whether the event loop turns."""
        age_s = self._bot.loop_watch.age_s(self._loop.time())
        # NaN, before its first turn, compares false.
        return age_s < _TICK_AGE_LIMIT_S, {"loop_tick_age_s": round(age_s, 3)}

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Say whether the bot does what it is for, or what of it does not."""
        waits = _waits_for(self._look())
        return not waits, {"waits_for": waits}

    def status(self) -> tuple[bool, dict[str, object]]:
        """Say all that is known."""
        is_live, values = self.live()
        seen = self._look()
        waits = _waits_for(seen)
        about = {"version": __version__, "live": is_live, "ready": not waits, "waits_for": waits}
        return True, {**about, **values, **(seen or {})}

    def _look(self) -> dict[str, Any] | None:
        """Look at the bot from within its loop; None if that does not answer in time."""
        looking = self._seen()
        try:
            asked = asyncio.run_coroutine_threadsafe(looking, self._loop)
        except RuntimeError:  # it has ended
            looking.close()
            return None
        try:
            return asked.result(_ANSWER_LIMIT_S)
        except TimeoutError:
            asked.cancel()
            return None

    async def _seen(self) -> dict[str, Any]:
        statuses = {name: getattr(cog, "status", None) for name, cog in self._bot.cogs.items()}
        cogs = {name: _status_of(status) for name, status in statuses.items() if callable(status)}
        return {"gateway_connected": self._bot.gateway_connected, "cogs": cogs}


def _waits_for(seen: Mapping[str, Any] | None) -> list[str]:
    """Name what of a bot is not ready; None: its loop did not answer."""
    if seen is None:
        return [_LOOP_HANGS]
    waits = [] if seen["gateway_connected"] else ["Discord's gateway"]
    return waits + [name for name, one in seen["cogs"].items() if not one.get("ready")]


def _status_of(status: Callable[[], Mapping[str, object]]) -> dict[str, object]:
    try:
        return dict(status())
    except Exception as exc:  # noqa: BLE001 - whatever is wrong in a cog, the others are told of
        return {"ready": False, "trouble": type(exc).__name__}


class HealthServer:
    """Serves these answers, and metrics, for as long as it is open."""

    def __init__(self, health: Health, *, host: str, port: int) -> None:
        """Listen; port 0 takes any that is free. Raises `OSError` if it can't."""
        answers = {"/live": health.live, "/ready": health.ready, "/status": health.status}
        metrics = prometheus_client.make_wsgi_app()

        def app(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
            path = environ.get("PATH_INFO", "").rstrip("/")
            answer = answers.get(path)
            if answer is not None:
                return _answer(start, *answer())
            if path in {"", "/metrics"}:
                return metrics(environ, start)  # type: ignore[no-any-return] # as any WSGI application
            return _answer(start, False, {"paths": [*answers, "/metrics"]}, "404 Not Found")  # noqa: FBT003 - it is not well

        kind = _ServerOf6 if ":" in host else _Server
        self._server = make_server(host, port, app, kind, handler_class=_Handler)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="health", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _answer(
    start: "StartResponse",
    well: bool,  # noqa: FBT001 - it comes with its values
    values: Mapping[str, object],
    otherwise: str = "503 Service Unavailable",
) -> list[bytes]:
    headers = [("Content-Type", "application/json; charset=utf-8"), ("Cache-Control", "no-store")]
    start("200 OK" if well else otherwise, headers)
    return [json.dumps({"ok": well, **values}).encode() + b"\n"]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ServerOf6(_Server):
    address_family = AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _IDLE_S

    def log_message(self, *_arguments: object) -> None:
        """Log no request: there is one every few seconds."""
