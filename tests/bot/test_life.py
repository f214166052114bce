"""The program from its start to its end, as a process of its own, with the real Discord client."""

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from discord.utils import time_snowflake, utcnow

ROOT = Path(__file__).parents[2]
TOKEN = "tok.en-with.secret"
USER = {"id": "7", "username": "bot", "discriminator": "0", "avatar": None, "bot": True}
APPLICATION = {
    "id": "8",
    "name": "bot",
    "description": "",
    "summary": "",
    "verify_key": "",
    "flags": 0,
    "bot_public": False,
    "bot_require_code_grant": False,
    "owner": USER,
    "team": None,
    "icon": None,
}
PERSON = {"id": "12", "username": "someone", "discriminator": "0", "avatar": None}
MESSAGE = {
    "id": "10",
    "type": 0,
    "channel_id": "9",
    "author": PERSON,
    "content": "!boom",
    "timestamp": "2026-01-01T00:00:00+00:00",
    "edited_timestamp": None,
    "tts": False,
    "pinned": False,
    "mention_everyone": False,
    "mentions": [],
    "mention_roles": [],
    "attachments": [],
    "embeds": [],
}


def slash(name: str) -> dict[str, Any]:
    """Call a slash command in direct messages; its token is its name."""
    return {
        "id": str(time_snowflake(utcnow())),  # the client answers nothing older than 15 min
        "application_id": "8",
        "type": 2,
        "token": name,
        "version": 1,
        "channel_id": "9",
        "channel": {"id": "9", "type": 1},
        "user": PERSON,
        "locale": "en-US",
        "entitlements": [],
        "authorizing_integration_owners": {},
        "context": 1,
        "attachment_size_limit": 0,
        "app_permissions": "0",
        "data": {"id": "13", "name": name, "type": 1},
    }


# Text and slash commands of an extension, and an end that says it was awaited.
EXTENSION = """
import asyncio, os
from discord import app_commands
from discord.ext import commands

class Ours(commands.Cog):
    @commands.hybrid_command(description="Fails")
    async def boom(self, context):
        raise RuntimeError("boom")

    @app_commands.command(description="Fails too")
    async def crash(self, interaction):
        raise RuntimeError("crash")

    async def cog_unload(self):
        print("unloading", flush=True)
        await asyncio.sleep(float(os.environ.get("UNLOAD_S", "0")))
        print("unloaded", flush=True)

async def setup(bot):
    await bot.add_cog(Ours())
"""


def answer(body: object, *, status: int = 200) -> web.Response:
    """Answer as Discord does: discord.py takes JSON with a charset in its type for text."""
    headers = {"Content-Type": "application/json"}
    return web.Response(body=json.dumps(body).encode(), status=status, headers=headers)


class Discord:
    """As much of Discord as a start needs, which can refuse each step of it.

    It knows one bot, no guild, and direct messages.
    """

    def __init__(self) -> None:
        self.api_answers: list[int] = []  # statuses for the next requests, before all is well
        self.dropped_handshakes = 0
        limit = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
        self.sessions = {"url": "", "shards": 1, "session_start_limit": limit}
        self.close_code: int | None = None  # how the gateway answers IDENTIFY, if not with READY
        self.registered: list[list[str]] = []  # command names, a list per registration
        self.events: list[tuple[str, dict[str, Any]]] = []  # sent after READY
        self.said: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()  # where, and the body
        self.url = ""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Discord"]:
        """Listen on a free port."""
        app = web.Application(middlewares=[self._fail])
        app.router.add_get("/api/users/@me", self._reply(USER))
        app.router.add_get("/api/oauth2/applications/@me", self._reply(APPLICATION))
        app.router.add_put("/api/applications/8/commands", self._register)
        app.router.add_post("/api/channels/9/messages", self._hear)
        app.router.add_post("/api/interactions/{id}/{token}/callback", self._hear)
        app.router.add_get("/api/gateway/bot", self._reply(self.sessions))
        app.router.add_get("/gateway", self._gateway)
        app.router.add_get("/page/users/@me", self._page)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"127.0.0.1:{runner.addresses[0][1]}"
        yield self
        await runner.cleanup()

    @web.middleware
    async def _fail(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path.startswith("/api/") and self.api_answers:
            return answer({"message": "no"}, status=self.api_answers.pop(0))
        response: web.StreamResponse = await handler(request)
        return response

    def _reply(self, body: dict[str, Any]) -> Any:
        async def reply(_request: web.Request) -> web.Response:
            return answer(body)

        return reply

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome</html>", content_type="text/html")

    async def _register(self, request: web.Request) -> web.Response:
        self.registered.append([command["name"] for command in await request.json()])
        return answer([])

    async def _hear(self, request: web.Request) -> web.Response:
        token = request.match_info.get("token")
        self.said.put_nowait((token or "channel", await request.json()))
        return answer(MESSAGE if token is None else {})

    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        if self.dropped_handshakes:
            self.dropped_handshakes -= 1
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": 40_000}})
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            match message.json()["op"]:
                case 1:
                    await socket.send_json({"op": 11})
                case 2 if self.close_code is not None:
                    await socket.close(code=self.close_code)
                case 2:
                    await socket.send_json({"op": 0, "t": "READY", "s": 1, "d": self._ready()})
                    for sequence, (event, payload) in enumerate(self.events, start=2):
                        await socket.send_json({"op": 0, "t": event, "s": sequence, "d": payload})
        return socket

    def _ready(self) -> dict[str, Any]:
        return {
            "user": USER,
            "guilds": [],
            "session_id": "s",
            "resume_gateway_url": f"ws://{self.url}/gateway",
            "application": {"id": "8", "flags": 0},
        }


class Program:
    """A running `python -m bot`, its output read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def until(self, text: str) -> dict[str, Any]:
        """Read on until a line holds the text; return it, parsed if it is JSON."""
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            async for raw in self.process.stdout:
                self.lines.append(raw.decode())
                if text in self.lines[-1]:
                    is_json = self.lines[-1].startswith("{")
                    return json.loads(self.lines[-1]) if is_json else {}
        pytest.fail(f"{text} never came; instead: {self.lines}")

    async def end(self) -> tuple[int, str]:
        """Wait for the end; return exit code and standard error."""
        async with asyncio.timeout(20):
            out, errors = await self.process.communicate()
        self.lines += out.decode().splitlines()
        assert self.process.returncode is not None
        return self.process.returncode, errors.decode()

    def events(self) -> list[str]:
        """List the events logged by the bot itself so far, and what the extension printed."""
        return [
            json.loads(line)["event"] if line.startswith("{") else line.strip()
            for line in self.lines
            if not line.startswith("{") or json.loads(line)["event"].startswith("bot.")
        ]


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    """Run a Discord for one test."""
    async with Discord().serve() as server:
        yield server


@asynccontextmanager
async def bot(directory: Path, discord: Discord, **settings: str) -> AsyncIterator[Program]:
    """Run the program against a Discord, with the extension above, and end it with the test."""
    (directory / "ours.py").write_text(EXTENSION)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        cwd=directory,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "BOT_TOKEN": TOKEN,
            "BOT_EXTENSIONS": "bot.exts.backend.error_handler,ours",
            "DISCORD_API_URL": f"http://{discord.url}/api",
            "DISCORD_GATEWAY_URL": f"ws://{discord.url}/gateway",
        }
        | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


PORTAL = "https://discord.com/developers/applications"
WRONG_TOKEN = (
    "bot: BOT_TOKEN is wrong: Discord refuses it; copy the token from the Bot page of the "
    f"application at {PORTAL}\n"
)
MISSING_INTENTS = (
    'bot: Discord refuses the privileged intents: switch on "Server Members Intent" and '
    f'"Message Content Intent" on the Bot page of this application at {PORTAL}\n'
)


@pytest.mark.parametrize(
    ("status", "close_code", "line"),
    [(401, None, WRONG_TOKEN), (None, 4004, WRONG_TOKEN), (None, 4014, MISSING_INTENTS)],
    ids=["token", "token-at-the-gateway", "intents"],
)
async def test_what_discord_refuses_is_named(
    tmp_path: Path, discord: Discord, status: int | None, close_code: int | None, line: str
) -> None:
    """A wrong token or a missing intent ends the program with 78 and one line that says so."""
    discord.api_answers = [] if status is None else [status]
    discord.close_code = close_code

    async with bot(tmp_path, discord) as program:
        end = await program.end()

    assert (end, program.events()[-3:], TOKEN in "".join(program.lines)) == (
        (78, line),
        ["unloading", "unloaded", "bot.stopped"],
        False,
    )


@pytest.mark.parametrize("path", ["nothing", "page"])
async def test_a_wrong_api_address_is_named(tmp_path: Path, discord: Discord, path: str) -> None:
    """Where no Discord API answers, but a 404 or a web page, the setting is named."""
    url = f"http://{discord.url}/{path}"
    async with bot(tmp_path, discord, DISCORD_API_URL=url) as program:
        end = await program.end()

    assert end == (78, f"bot: DISCORD_API_URL is wrong: no Discord API answers at {url}\n")


async def test_told_to_stop_it_ends_in_order(tmp_path: Path, discord: Discord) -> None:
    """SIGTERM unloads the extensions, says how long the loop stood still, and exits with 0."""
    async with bot(tmp_path, discord) as program:
        await program.until("bot.commands.synced")
        program.process.send_signal(signal.SIGTERM)
        stopped = await program.until("bot.stopped")
        end = await program.end()

    assert (end, program.events(), stopped["loop_stall_max_ms"] > 0, discord.registered) == (
        (0, ""),
        [
            "bot.starting",
            "bot.ready",
            "bot.commands.synced",
            "bot.stopping",
            "unloading",
            "unloaded",
            "bot.stopped",
        ],
        True,
        [["boom", "crash"]],
    )


@pytest.mark.parametrize(
    ("second", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["term", "int"]
)
async def test_a_second_signal_ends_it_at_once(
    tmp_path: Path, discord: Discord, second: signal.Signals, code: int
) -> None:
    """Whoever can't wait for a slow end signals again."""
    async with bot(tmp_path, discord, UNLOAD_S="60") as program:
        await program.until("logging in")
        program.process.send_signal(signal.SIGTERM)
        await program.until("unloading")
        program.process.send_signal(second)

        assert await program.end() == (code, "")


@pytest.mark.slow
async def test_an_end_that_hangs_says_where(tmp_path: Path, discord: Discord) -> None:
    """Whoever would kill it in the end learns what it waited for."""
    async with bot(tmp_path, discord, UNLOAD_S="60") as program:
        await program.until("logging in")
        program.process.send_signal(signal.SIGTERM)
        hung = await program.until("bot.close.timed_out")
        end = await program.end()

    assert end == (1, "")
    assert any("Ours.cog_unload" in task for task in hung["tasks"])


async def test_an_unreachable_discord_is_waited_for(tmp_path: Path, discord: Discord) -> None:
    """API and gateway may fail at first: each failure is one line, and the bot comes online."""
    discord.api_answers = [503]
    discord.dropped_handshakes = 1

    async with bot(tmp_path, discord) as program:
        await program.until("bot.ready")
        program.process.send_signal(signal.SIGTERM)
        end = await program.end()

    assert (end, program.events()[:4]) == (
        (0, ""),
        ["bot.starting", "bot.discord.unreachable", "bot.discord.unreachable", "bot.ready"],
    )


async def test_a_fault_is_answered_with_its_reference(tmp_path: Path, discord: Discord) -> None:
    """Whoever called a failing command reads one sentence; after a slash command nobody else."""
    discord.events = [
        ("MESSAGE_CREATE", MESSAGE),
        ("INTERACTION_CREATE", slash("boom")),
        ("INTERACTION_CREATE", slash("crash")),
    ]

    async with bot(tmp_path, discord) as program:
        logged = [await program.until("bot.command.failed") for _ in discord.events]
        async with asyncio.timeout(20):
            said = dict([await discord.said.get() for _ in discord.events])

    private = {name: said[name]["data"] for name in ("boom", "crash")}
    assert (
        {said["channel"]["content"], *(reply["content"] for reply in private.values())},
        said["channel"]["allowed_mentions"],
        [reply["flags"] for reply in private.values()],
        sorted(line["exception"].splitlines()[-1] for line in logged),
    ) == (
        {
            f"Something went wrong, and it was reported. Reference: `{line['reference']}`"
            for line in logged
        },
        {"parse": []},
        [64, 64],
        ["RuntimeError: boom", "RuntimeError: boom", "RuntimeError: crash"],
    )


async def test_a_bot_that_is_connected_is_live_and_ready(tmp_path: Path, discord: Discord) -> None:
    """The image's health check passes, and a person with curl sees how it stands."""
    async with bot(tmp_path, discord, METRICS_PORT="0") as program:
        port = (await program.until("bot.metrics.listening"))["port"]
        await program.until("bot.commands.synced")
        healthy = await check_health(port)
        live, ready, status = [await asyncio.to_thread(ask, port, path) for path in PATHS]
        page = await asyncio.to_thread(read_metrics, port)
        nothing = await asyncio.to_thread(ask, port, "/nothing")

    seen = status[1]
    assert (healthy, live[0], nothing[0]) == (0, 200, 404)
    assert ready == (200, {"ok": True, "waits_for": []})
    assert (seen["version"], seen["gateway_connected"], seen["cogs"]) == ("0.1.0", True, {})
    assert "\nbot_loop_stall_max_seconds " in page
    assert "\nbot_gateway_connected 1.0\n" in page


async def test_a_bot_that_discord_keeps_waiting_is_live_and_not_ready(
    tmp_path: Path, discord: Discord
) -> None:
    """Whoever restarted it for that would only ask more of Discord."""
    discord.api_answers = [503] * 100
    async with bot(tmp_path, discord, METRICS_PORT="0") as program:
        port = (await program.until("bot.metrics.listening"))["port"]
        await program.until("bot.discord.unreachable")
        healthy = await check_health(port)
        live, ready, _ = [await asyncio.to_thread(ask, port, path) for path in PATHS]

    assert (healthy, live[0]) == (0, 200)
    assert ready == (503, {"ok": False, "waits_for": ["Discord's gateway"]})


PATHS = ("/live", "/ready", "/status")


def ask(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Ask as an orchestrator does; return the status and what is said."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as exc:
        return exc.code, json.loads(exc.read())


async def check_health(port: int) -> int:
    """Run the image's health check; return its exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "deploy" / "bot_healthcheck.py"),
        env={"METRICS_PORT": str(port)},
    )
    return await process.wait()


def read_metrics(port: int) -> str:
    """Fetch the page that Prometheus would."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        page: str = answer.read().decode()
    return page
