"""The REST API, as far as a bot that mirrors a guild and speaks in a channel needs it.

Whatever is not here answers 404 with a message that says so.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from . import bodies
from .state import Edit, Message

if TYPE_CHECKING:
    from .faults import Faults
    from .gateway import Gateway
    from .interactions import Interaction, Interactions
    from .ratelimit import RateLimiter
    from .state import Channel, Guild, Json, State

log = logging.getLogger(__name__)

BASE: Final = "/api/v10"
_NONCE_S: Final = 300.0
_MAX_PAGE, _MAX_MEMBERS = 100, 1000
_EPHEMERAL_DEFERRED: Final = 1 << 6
# Without it discord.py takes a 429 for a ban by Cloudflare, and does not try again.
_VIA: Final = {"Via": "1.1 sandbox"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DiscordError(Exception):
    """An error answer in Discord's form."""

    def __init__(self, status: int, code: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"message": message, "code": code, **more}


class Rest:
    """All REST handlers over one state."""

    def __init__(
        self,
        state: State,
        gateway: Gateway,
        faults: Faults,
        interactions: Interactions,
        limiter: RateLimiter,
    ) -> None:
        self._state = state
        self._gateway = gateway
        self._faults = faults
        self._interactions = interactions
        self._nonces: dict[tuple[int, str], tuple[float, Message]] = {}
        self.limiter = limiter
        self.calls: Counter[str] = Counter()
        self.faulted = 0

    def routes(self) -> list[web.RouteDef]:
        channel, webhook = "/channels/{channel}/messages", "/webhooks/{application}/{token}"
        commands = "/applications/{application}/commands"
        guild_commands = "/applications/{application}/guilds/{guild}/commands"
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/gateway", self.get_gateway),
            ("GET", "/gateway/bot", self.get_gateway),
            ("GET", "/users/@me", self.get_me),
            ("GET", "/oauth2/applications/@me", self.get_application),
            ("GET", "/applications/@me", self.get_application),
            ("GET", "/guilds/{guild}", self.get_guild),
            ("GET", "/guilds/{guild}/roles", self.get_roles),
            ("GET", "/guilds/{guild}/channels", self.get_channels),
            ("GET", "/guilds/{guild}/members", self.list_members),
            ("GET", "/guilds/{guild}/members/{member}", self.get_member),
            ("GET", "/channels/{channel}", self.get_channel),
            ("POST", "/channels/{channel}/typing", self.type_in_channel),
            ("GET", channel, self.list_messages),
            ("POST", channel, self.create_message),
            ("GET", channel + "/{message}", self.get_message),
            ("PATCH", channel + "/{message}", self.edit_message),
            ("DELETE", channel + "/{message}", self.delete_message),
            ("GET", commands, self.get_commands),
            ("POST", commands, self.post_command),
            ("PUT", commands, self.put_commands),
            ("DELETE", commands + "/{command}", self.delete_command),
            ("GET", guild_commands, self.get_commands),
            ("POST", guild_commands, self.post_command),
            ("PUT", guild_commands, self.put_commands),
            ("DELETE", guild_commands + "/{command}", self.delete_command),
            ("POST", "/interactions/{interaction}/{token}/callback", self.respond),
            ("POST", webhook, self.follow_up),
            ("GET", webhook + "/messages/{message}", self.get_answer),
            ("PATCH", webhook + "/messages/{message}", self.edit_answer),
            ("DELETE", webhook + "/messages/{message}", self.delete_answer),
        ]
        return [web.route(method, BASE + path, handler) for method, path, handler in table]

    def counters(self) -> dict[str, int]:
        """Return the calls of each kind of route, and how many met a limit, or a fault."""
        calls = {f"rest {kind}": count for kind, count in self.calls.items()}
        return {"rest_rate_limited": self.limiter.refused, "rest_faults": self.faulted, **calls}

    # -- who and where ----------------------------------------------------------------------------

    async def get_gateway(self, _request: web.Request) -> web.Response:
        limit = {
            "total": 1000,
            "remaining": int(self._faults.session_starts),
            "reset_after": int(self._faults.session_reset_s * 1000),
            "max_concurrency": 1,
        }
        return _json({"url": self._gateway.url, "shards": 1, "session_start_limit": limit})

    async def get_me(self, _request: web.Request) -> web.Response:
        return _json(self._state.bot.user() | {"verified": True, "mfa_enabled": False})

    async def get_application(self, _request: web.Request) -> web.Response:
        return _json(
            {
                "id": str(self._state.application_id),
                "name": self._state.bot.name,
                "icon": None,
                "description": "",
                "summary": "",
                "bot_public": False,
                "bot_require_code_grant": False,
                "verify_key": "",
                "flags": 1 << 15 | 1 << 19,
                "owner": self._state.bot.user(),
                "team": None,
            }
        )

    async def get_guild(self, request: web.Request) -> web.Response:
        guild = self._guild(request)
        return _json(guild.payload(()) | {"approximate_member_count": guild.member_count})

    async def get_roles(self, request: web.Request) -> web.Response:
        return _json([role.payload() for role in self._guild(request).roles.values()])

    async def get_channels(self, request: web.Request) -> web.Response:
        return _json([channel.payload() for channel in self._guild(request).channels.values()])

    async def list_members(self, request: web.Request) -> web.Response:
        guild = self._guild(request)
        limit = min(int(request.query.get("limit", 1)), _MAX_MEMBERS)
        found = guild.after(int(request.query.get("after", 0)), limit)
        return _json([member.payload() for member in found])

    async def get_member(self, request: web.Request) -> web.Response:
        member = self._guild(request).members.get(int(request.match_info["member"]))
        if member is None:
            raise DiscordError(404, 10007, "Unknown Member")
        return _json(member.payload())

    async def get_channel(self, request: web.Request) -> web.Response:
        return _json(self._channel(request).payload())

    async def type_in_channel(self, request: web.Request) -> web.Response:
        self._channel(request)
        return web.Response(status=204)

    # -- messages ---------------------------------------------------------------------------------

    async def create_message(self, request: web.Request) -> web.Response:
        channel = self._channel(request)
        guild = self._state.guilds[channel.guild_id]
        body = await bodies.read(request, self._state)
        nonce = str(body["nonce"]) if body.get("nonce") is not None else None
        if nonce is not None and body.get("enforce_nonce"):
            seen_at, known = self._nonces.get((channel.id, nonce), (0.0, None))
            if known is not None and not known.deleted and time.monotonic() - seen_at < _NONCE_S:
                return _json(self._state.message_payload(guild, known))
        _check(body, new=True)
        kept = bodies.keep(body) | bodies.mentions(body, guild)
        message = self._state.post(guild, channel, self._state.bot, kept, nonce=nonce)
        if nonce is not None:
            self._nonces[channel.id, nonce] = (time.monotonic(), message)
        return _json(self._state.message_payload(guild, message))

    async def edit_message(self, request: web.Request) -> web.Response:
        channel, message = self._message(request)
        guild = self._state.guilds[channel.guild_id]
        if message.author["id"] != str(self._state.bot.id):
            raise DiscordError(403, 50005, "Cannot edit a message authored by another user")
        age_s = (datetime.now(UTC) - message.created_at).total_seconds()
        if age_s > self._faults.max_edit_age_s:
            raise DiscordError(
                429, 30046, "Maximum number of edits to messages older than 1 hour reached",
                retry_after=5.0,
            )  # fmt: skip
        body = await bodies.read(request, self._state)
        _check(body, new=False)
        merged = message.body | bodies.keep(body, message.body)
        message.edits.append(Edit(at=datetime.now(UTC), body=merged))
        payload = self._state.message_payload(guild, message)
        self._state.emit(guild.id, "MESSAGE_UPDATE", payload)
        self._state.note(message)
        return _json(payload)

    async def get_message(self, request: web.Request) -> web.Response:
        channel, message = self._message(request)
        return _json(self._state.message_payload(self._state.guilds[channel.guild_id], message))

    async def list_messages(self, request: web.Request) -> web.Response:
        channel = self._channel(request)
        guild = self._state.guilds[channel.guild_id]
        limit = min(int(request.query.get("limit", 50)), _MAX_PAGE)
        present = [message for message in channel.messages.values() if not message.deleted]
        query = {name: int(id_) for name, id_ in request.query.items() if name != "limit"}
        match query:
            case {"after": id_}:
                found = [message for message in present if message.id > id_][:limit]
            case {"before": id_}:
                found = [message for message in present if message.id < id_][-limit:]
            case {"around": id_}:
                half = limit // 2
                older = [message for message in present if message.id < id_]
                found = older[-half:] if half else []
                found += [message for message in present if message.id >= id_][: limit - half]
            case _:
                found = present[-limit:]
        return _json([self._state.message_payload(guild, m) for m in reversed(found)])

    async def delete_message(self, request: web.Request) -> web.Response:
        channel, message = self._message(request)
        self._state.delete_message(channel, message)
        return web.Response(status=204)

    # -- commands and interactions ----------------------------------------------------------------

    async def get_commands(self, request: web.Request) -> web.Response:
        return _json(self._state.commands.get(_command_scope(request), []))

    async def put_commands(self, request: web.Request) -> web.Response:
        scope = _command_scope(request)
        known = {command["name"]: command["id"] for command in self._state.commands.get(scope, [])}
        kept = [self._command(scope, told, known) for told in await request.json()]
        self._state.commands[scope] = kept
        return _json(kept)

    async def post_command(self, request: web.Request) -> web.Response:
        scope = _command_scope(request)
        others = self._state.commands.get(scope, [])
        known = {command["name"]: command["id"] for command in others}
        made = self._command(scope, await request.json(), known)
        kept = [command for command in others if command["name"] != made["name"]]
        self._state.commands[scope] = [*kept, made]
        return _json(made, status=200 if made["name"] in known else 201)

    async def delete_command(self, request: web.Request) -> web.Response:
        scope, id_ = _command_scope(request), request.match_info["command"]
        known = self._state.commands.get(scope, [])
        kept = [command for command in known if command["id"] != id_]
        if len(kept) == len(known):
            raise DiscordError(404, 10063, "Unknown application command")
        self._state.commands[scope] = kept
        return web.Response(status=204)

    def _command(self, scope: int | None, told: Json, known: dict[str, str]) -> Json:
        """Return a command as Discord keeps it; one of a name that is known keeps its id."""
        return {
            "application_id": str(self._state.application_id),
            "version": "1",
            "default_member_permissions": None,
            "dm_permission": True,
            "description": "",
            "type": 1,
            **({} if scope is None else {"guild_id": str(scope)}),
            **told,
            "id": known.get(told["name"]) or str(self._state.snowflake()),
        }

    async def respond(self, request: web.Request) -> web.Response:
        interaction = self._interactions.by_token(request.match_info["token"])
        if (
            interaction is None
            or str(interaction.id) != request.match_info["interaction"]
            or self._interactions.is_forgotten(interaction)
        ):
            raise DiscordError(404, 10062, "Unknown interaction")
        if interaction.acknowledged:
            raise DiscordError(400, 40060, "Interaction has already been acknowledged.")
        body = await bodies.read(request, self._state)
        self._interactions.acknowledge(interaction)
        kind, data = body["type"], body.get("data") or {}
        message: Message | None = None
        if kind == 4:  # noqa: PLR2004 - "channel message with source"
            _check(data, new=True)
            kept = bodies.keep(data) | bodies.mentions(data, interaction.guild)
            message = self._interactions.answer(interaction, kept, original=True)
        elif kind == 5:  # noqa: PLR2004 - "deferred channel message": thinking
            flags = int(data.get("flags") or 0) & _EPHEMERAL_DEFERRED
            thinking = {"content": "", "flags": flags | 1 << 7}
            message = self._interactions.answer(interaction, thinking, original=True)
        elif kind == 7 and interaction.message is not None:  # noqa: PLR2004 - "update message"
            _check(data, new=False)
            self._edit(interaction, interaction.message, data)
            message = interaction.message
        elif kind == 6:  # noqa: PLR2004 - "deferred update": the message stays as it is
            interaction.original = interaction.message
        else:
            interaction.answers.append({"type": kind, "data": data})
        if request.query.get("with_response") not in {"true", "True", "1"}:
            return web.Response(status=204)
        told: Json = {
            "interaction": {
                "id": str(interaction.id),
                "type": 2,
                "response_message_loading": kind == 5,  # noqa: PLR2004 - as above
                "response_message_ephemeral": message is not None
                and message.visible_to is not None,
            },
            "resource": {"type": kind},
        }
        if message is not None:
            told["interaction"]["response_message_id"] = str(message.id)
            told["resource"]["message"] = self._state.message_payload(interaction.guild, message)
        return _json(told)

    async def follow_up(self, request: web.Request) -> web.Response:
        interaction = self._token(request)
        body = await bodies.read(request, self._state)
        _check(body, new=True)
        original = interaction.original
        if original is not None and self._interactions.is_awaited(original):
            # The first follow-up takes the place of "thinking", and is as ephemeral as that.
            self._edit(interaction, original, body)
            return _json(self._state.message_payload(interaction.guild, original))
        kept = bodies.keep(body) | bodies.mentions(body, interaction.guild)
        message = self._interactions.answer(interaction, kept, original=False)
        return _json(self._state.message_payload(interaction.guild, message))

    async def get_answer(self, request: web.Request) -> web.Response:
        interaction = self._token(request)
        message = self._answer(request, interaction)
        return _json(self._state.message_payload(interaction.guild, message))

    async def edit_answer(self, request: web.Request) -> web.Response:
        interaction = self._token(request)
        message = self._answer(request, interaction)
        body = await bodies.read(request, self._state)
        _check(body, new=False)
        self._edit(interaction, message, body)
        return _json(self._state.message_payload(interaction.guild, message))

    async def delete_answer(self, request: web.Request) -> web.Response:
        interaction = self._token(request)
        message = self._answer(request, interaction)
        self._state.delete_message(interaction.channel, message)
        return web.Response(status=204)

    def _edit(self, interaction: Interaction, message: Message, body: Json) -> None:
        self._interactions.edited(message, bodies.keep(body, message.body))
        if message.visible_to is None:
            payload = self._state.message_payload(interaction.guild, message)
            self._state.emit(interaction.guild.id, "MESSAGE_UPDATE", payload)

    # -- looking up -------------------------------------------------------------------------------

    def _guild(self, request: web.Request) -> Guild:
        guild = self._state.guilds.get(int(request.match_info["guild"]))
        if guild is None or self._state.bot.id not in guild.members:
            raise DiscordError(404, 10004, "Unknown Guild")
        return guild

    def _channel(self, request: web.Request) -> Channel:
        channel = self._state.channel(int(request.match_info["channel"]))
        if channel is None:
            raise DiscordError(404, 10003, "Unknown Channel")
        if channel.forbidden:
            raise DiscordError(403, 50001, "Missing Access")
        return channel

    def _message(self, request: web.Request) -> tuple[Channel, Message]:
        channel = self._channel(request)
        message = channel.messages.get(int(request.match_info["message"]))
        if message is None or message.deleted:
            raise DiscordError(404, 10008, "Unknown Message")
        return channel, message

    def _token(self, request: web.Request) -> Interaction:
        interaction = self._interactions.by_token(request.match_info["token"])
        if interaction is None:
            raise DiscordError(404, 10015, "Unknown Webhook")
        if self._interactions.is_expired(interaction):
            raise DiscordError(401, 50027, "Invalid Webhook Token")
        return interaction

    def _answer(self, request: web.Request, interaction: Interaction) -> Message:
        wanted = request.match_info["message"]
        if wanted == "@original" and interaction.original is not None:
            return interaction.original
        for message in interaction.messages:
            if str(message.id) == wanted and not message.deleted:
                return message
        raise DiscordError(404, 10008, "Unknown Message")

    # -- what stands before every handler ---------------------------------------------------------

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the token, the limits and the faults, and give errors Discord's form."""
        if not request.path.startswith(BASE):
            return await handler(request)
        path = request.path.removeprefix(BASE)
        kind, key = _bucket(request, path)
        self.calls[kind] += 1
        open_to_all = path.startswith(("/interactions/", "/webhooks/"))
        if not open_to_all and request.headers.get("Authorization") != f"Bot {self._state.token}":
            return _json({"message": "401: Unauthorized", "code": 0}, status=401)
        fault = self._faults.rest_fault(request.method, path)
        if fault is not None:
            self.faulted += 1
            await asyncio.sleep(fault.delay_s)
            if fault.status is not None and not fault.after:
                return _json(fault.body(), status=fault.status, headers=_VIA)
        verdict = self.limiter.take(kind, key)
        if not verdict.allowed:
            body = {
                "message": "You are being rate limited.",
                "retry_after": verdict.retry_after_s,
                "global": False,
            }
            return _json(body, status=429, headers=verdict.headers | _VIA)
        try:
            response = await handler(request)
        except DiscordError as exc:
            response = _json(exc.body, status=exc.status)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
            said = f"sandbox: not implemented: {request.method} {path}"
            log.warning(said)
            response = _json({"message": said, "code": 0}, status=404)
        if fault is not None and fault.status is not None:
            response = _json(fault.body(), status=fault.status)
        response.headers.update(verdict.headers | _VIA)
        return response


def _json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Answer with JSON; as from Discord without a charset, or discord.py takes it for text."""
    content = json.dumps(value).encode()
    return web.Response(
        body=content, status=status, headers=headers, content_type="application/json"
    )


def _check(body: Json, *, new: bool) -> None:
    refusal = bodies.refusal(body)
    if refusal is not None:
        raise DiscordError(400, refusal["code"], refusal["message"], errors=refusal["errors"])
    if new and bodies.is_empty(body):
        raise DiscordError(400, 50006, "Cannot send an empty message")


def _command_scope(request: web.Request) -> int | None:
    guild = request.match_info.get("guild")
    return None if guild is None else int(guild)


def _bucket(request: web.Request, path: str) -> tuple[str, str]:
    """Return the kind of a route and its major parameter, which together make a bucket."""
    parts = path.split("/")
    major = parts[2] if len(parts) > 2 else ""  # noqa: PLR2004 - "/channels/<id>/…"
    if path.startswith("/channels/") and "/messages" in path:
        names = {"POST": "message create", "PATCH": "message edit", "DELETE": "message delete"}
        return names.get(request.method, "message read"), major
    return f"{request.method} {parts[1]}", major
