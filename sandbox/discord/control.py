"""The control API: what a test or a replay does to this Discord, and sees of it, under /control.

JSON over HTTP, ids as numbers. Bad input answers 400, something unknown 404, each as
`{"error": text}`. `client.DiscordControl` speaks it and documents every call.
"""

from __future__ import annotations

import asyncio
import functools
import json
from dataclasses import fields, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiohttp import web

from . import bodies
from .faults import Faults, RestFault
from .state import ADMINISTRATOR, Channel, Member, Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from .gateway import Gateway
    from .interactions import Interactions
    from .rest import Rest
    from .state import Change, Guild, Json, Message, State

_SWITCHES: Final = frozenset(
    {
        "refuse_connections",
        "member_interval_s",
        "max_edit_age_s",
        "hold_after_chunks",
        "session_starts",
        "session_reset_s",
        "ahead_s",
    }
)
_COUNTED: Final = frozenset(
    {
        "refuse_resume",
        "ignore_user_requests",
        "ignore_member_requests",
        "rate_limit_members",
        "rate_limit_repeats",
        "chunks_only",
        "drop_after_chunks",
    }
)
_BURST: Final = 200  # operations between two turns of the event loop
_TICK_S: Final = 0.01
_ROWS: Final = 1000


class _UnknownError(LookupError):
    """A guild, channel, member, message or role that is not there."""


class Place(NamedTuple):
    """A channel, and the guild that it is in."""

    guild: Guild
    channel: Channel


def routes(
    state: State,
    gateway: Gateway,
    faults: Faults,
    interactions: Interactions,
    rest: Rest,
) -> list[web.RouteDef]:
    """Return the routes below /control, over the parts that they steer and look into."""
    control = _Control(state, gateway, faults, interactions, rest)
    guild, channel = "/control/guilds/{guild_id}", "/control/channels/{channel_id}"
    return [
        web.post("/control/guilds", _told(control.create_guild)),
        web.patch(guild, _told(control.change_guild)),
        web.get(f"{guild}/members", _told(control.members)),
        web.post(f"{guild}/history", _told(control.record)),
        web.get(f"{guild}/history", _told(control.history)),
        web.get(f"{guild}/roles", _told(control.roles)),
        web.post(f"{guild}/roles", _told(control.create_role)),
        web.post(f"{guild}/operations", _told(control.operations)),
        web.post(f"{guild}/administrators", _told(control.make_administrator)),
        web.post(f"{guild}/channels", _told(control.create_channel)),
        web.get(f"{guild}/channels", _told(control.channels)),
        web.patch(channel, _told(control.change_channel)),
        web.delete(channel, _told(control.delete_channel)),
        web.get(f"{channel}/messages", _told(control.messages)),
        web.post(f"{channel}/messages", _told(control.post)),
        web.delete(f"{channel}/messages/{{message_id}}", _told(control.delete_message)),
        web.post(f"{channel}/commands", _told(control.invoke)),
        web.post(f"{channel}/messages/{{message_id}}/press", _told(control.press)),
        web.get("/control/interactions/{interaction_id}", _told(control.responses)),
        web.get("/control/interactions/{interaction_id}/state", _told(control.interaction_state)),
        web.get("/control/feed", _told(control.feed)),
        web.get("/control/commands", _told(control.commands)),
        web.get("/control/counters", _told(control.counters)),
        web.patch("/control/faults", _told(control.set_faults)),
        web.post("/control/faults/rest", _told(control.add_rest_fault)),
        web.delete("/control/faults/rest", _told(control.remove_rest_faults)),
        web.delete("/control/faults", _told(control.clear_faults)),
        web.put("/control/rate-limits", _told(control.set_rate_limit)),
        web.put("/control/intents", _told(control.set_intents)),
        web.post("/control/gateway/drop", _told(control.drop)),
        web.post("/control/gateway/reconnect", _told(control.reconnect)),
        web.post("/control/gateway/invalidate", _told(control.invalidate)),
        web.post("/control/gateway/outage", _told(control.outage)),
    ]


def _told(handler: Callable[[web.Request], Awaitable[Any]]) -> Any:
    """Answer with what the handler returns, and with its errors in one sentence."""

    @functools.wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            result = await handler(request)
        except _UnknownError as error:
            return web.json_response({"error": str(error)}, status=404)
        except (KeyError, TypeError, ValueError) as error:
            told = f"{type(error).__name__}: {error}"
            return web.json_response({"error": told}, status=400)
        return result if isinstance(result, web.StreamResponse) else web.json_response(result)

    return answer


async def _body(request: web.Request) -> Json:
    """Read a JSON object of any size: the server's limit is for what the bot sends."""
    text = await request.content.read()
    body = json.loads(text) if text else {}
    if not isinstance(body, dict):
        raise TypeError("the body is not a JSON object")
    return body


def _member(row: Json) -> Member:
    return Member(**{**row, "roles": tuple(row.get("roles", ()))})


def _change(change: Change) -> Json:
    return {
        "at": change.at.isoformat(),
        "op": change.op,
        "id": change.id,
        "row": change.row,
        "told": change.told,
    }


def _message(message: Message) -> Json:
    return {
        "id": message.id,
        "author_id": int(message.author["id"]),
        "edits": [{"at": edit.at.isoformat(), "body": edit.body} for edit in message.edits],
        "deleted": message.deleted,
        "nonce": message.nonce,
    }


async def _rows(request: web.Request, rows: Iterator[Json]) -> web.StreamResponse:
    """Answer with a line for each row, in parts that leave others their turn."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    while part := list(islice(rows, _ROWS)):
        await response.write("".join(json.dumps(row) + "\n" for row in part).encode())
    await response.write_eof()
    return response


class _Control:
    """The handlers; what each takes and answers stands with `client.DiscordControl`."""

    def __init__(
        self,
        state: State,
        gateway: Gateway,
        faults: Faults,
        interactions: Interactions,
        rest: Rest,
    ) -> None:
        self._state = state
        self._gateway = gateway
        self._faults = faults
        self._interactions = interactions
        self._rest = rest

    # -- finding ----------------------------------------------------------------------------------

    def _guild(self, id_: int | str) -> Guild:
        guild = self._state.guilds.get(int(id_))
        if guild is None:
            raise _UnknownError(f"no guild {id_}")
        return guild

    def _place(self, request: web.Request) -> Place:
        id_ = int(request.match_info["channel_id"])
        for guild in self._state.guilds.values():
            if id_ in guild.channels:
                return Place(guild, guild.channels[id_])
        raise _UnknownError(f"no channel {id_}")

    def _known(self, guild: Guild, member_id: int) -> Member:
        member = guild.members.get(member_id)
        if member is None:
            raise _UnknownError(f"no member {member_id} in guild {guild.id}")
        return member

    def _known_message(self, channel: Channel, request: web.Request) -> Message:
        message = channel.messages.get(int(request.match_info["message_id"]))
        if message is None:
            raise _UnknownError(f"no message {request.match_info['message_id']} in {channel.id}")
        return message

    # -- guilds -----------------------------------------------------------------------------------

    async def create_guild(self, request: web.Request) -> Json:
        body = await _body(request)
        if "seed" in body:
            self._state.random.seed(body["seed"])
        guild = self._state.create_guild(
            guild_id=body["guild_id"],
            members=body["members"],
            roles=body["roles"],
            everyone_holds=body.get("everyone_holds"),
            awkward_names=bool(body.get("awkward_names")),
        )
        self._gateway.outage(guild, begin=False)  # whoever is connected already sees it come
        held = next((r.id for r in guild.roles.values() if r.name == body.get("everyone_holds")), 0)
        return {
            "guild_id": guild.id,
            "mod_log_channel_id": next(iter(guild.channels)),
            "everyone_holds_role_id": held or None,
        }

    async def change_guild(self, request: web.Request) -> Json:
        guild = self._guild(request.match_info["guild_id"])
        guild.told_count = (await _body(request))["told_count"]
        return {}

    async def members(self, request: web.Request) -> web.StreamResponse:
        members = self._guild(request.match_info["guild_id"]).members.values()
        return await _rows(request, (member.row() for member in list(members)))

    async def record(self, request: web.Request) -> Json:
        self._guild(request.match_info["guild_id"]).history = []
        return {}

    async def history(self, request: web.Request) -> web.StreamResponse:
        changes = self._guild(request.match_info["guild_id"]).history
        if changes is None:
            raise _UnknownError("nobody asked for this guild's history")
        after = int(request.query.get("after", "0"))
        return await _rows(request, (_change(change) for change in changes[after:]))

    async def roles(self, request: web.Request) -> list[Json]:
        guild = self._guild(request.match_info["guild_id"])
        return [role.row() for role in guild.roles.values()]

    async def create_role(self, request: web.Request) -> Json:
        guild = self._guild(request.match_info["guild_id"])
        body = await _body(request)
        silent = bool(body.pop("silent", False))
        role = self._new_role(guild, **body)
        self._state.put_role(guild, role, silent=silent)
        return role.row()

    def _new_role(self, guild: Guild, *, name: str, **rest: Any) -> Role:
        top = max(role.position for role in guild.roles.values())
        return Role(**{"id": self._state.snowflake(), "name": name, "position": top + 1, **rest})

    async def make_administrator(self, request: web.Request) -> Json:
        guild = self._guild(request.match_info["guild_id"])
        member = self._known(guild, (await _body(request))["member_id"])
        role = next((r for r in guild.roles.values() if r.permissions & ADMINISTRATOR), None)
        if role is None:
            role = self._new_role(guild, name="administrators", permissions=ADMINISTRATOR)
            self._state.put_role(guild, role)
        if role.id not in member.roles:
            self._state.put_member(guild, replace(member, roles=(*member.roles, role.id)))
        return {"role_id": role.id}

    # -- many changes -----------------------------------------------------------------------------

    async def operations(self, request: web.Request) -> Json:
        guild = self._guild(request.match_info["guild_id"])
        body = await _body(request)
        operations: Iterator[Json] = iter(body["operations"])
        per_s, silent, done = body.get("per_s"), bool(body.get("silent", False)), 0
        loop = asyncio.get_running_loop()
        started = loop.time()
        due = _BURST
        while True:
            if per_s is not None:
                due = min(_BURST, int((loop.time() - started) * per_s) + 1 - done)
            part = list(islice(operations, max(due, 0)))
            for operation in part:
                self._operate(guild, operation, silent=silent)
            done += len(part)
            if done == len(body["operations"]):
                return {"done": done}
            await asyncio.sleep(0 if per_s is None else _TICK_S)

    def _operate(self, guild: Guild, operation: Json, *, silent: bool) -> None:
        match operation:
            case {"op": "put", "member": row}:
                self._state.put_member(guild, _member(row), silent=silent)
            case {"op": "change", "id": id_, **change}:
                if "roles" in change:
                    change["roles"] = tuple(change["roles"])
                changed = replace(self._known(guild, id_), **change)
                self._state.put_member(guild, changed, silent=silent)
            case {"op": "leave", "id": id_}:
                self._known(guild, id_)
                self._state.remove_member(guild, id_, silent=silent)
            case {"op": "put_role", "role": role}:
                self._state.put_role(guild, Role(**role), silent=silent)
            case {"op": "delete_role", "id": id_}:
                if id_ not in guild.roles:
                    raise _UnknownError(f"no role {id_} in guild {guild.id}")
                self._state.delete_role(guild, id_, silent=silent)
            case _:
                raise ValueError(f"not an operation: {json.dumps(operation)[:200]}")

    # -- channels, messages, interactions ---------------------------------------------------------

    async def create_channel(self, request: web.Request) -> Json:
        guild = self._guild(request.match_info["guild_id"])
        name = (await _body(request))["name"]
        channel = Channel(id=self._state.snowflake(), guild_id=guild.id, name=name)
        guild.channels[channel.id] = channel
        self._state.emit(guild.id, "CHANNEL_CREATE", channel.payload())
        return {"id": channel.id}

    async def channels(self, request: web.Request) -> list[Json]:
        guild = self._guild(request.match_info["guild_id"])
        member = self._known(guild, int(request.query["member_id"]))
        return [
            {"id": channel.id, "name": channel.name}
            for channel in guild.channels.values()
            if self._state.may_see(guild, channel, member)
        ]

    async def change_channel(self, request: web.Request) -> Json:
        guild, channel = self._place(request)
        body = await _body(request)
        if "forbidden" in body:
            channel.forbidden = bool(body["forbidden"])
        if "viewers" in body:
            viewers = body["viewers"]
            channel.viewers = None if viewers is None else frozenset(map(int, viewers))
            self._state.emit(guild.id, "CHANNEL_UPDATE", channel.payload())
        return {}

    async def delete_channel(self, request: web.Request) -> Json:
        guild, channel = self._place(request)
        del guild.channels[channel.id]
        self._state.emit(guild.id, "CHANNEL_DELETE", channel.payload())
        return {}

    async def messages(self, request: web.Request) -> list[Json]:
        return [_message(message) for message in self._place(request).channel.messages.values()]

    def _there(self, place: Place, member_id: int) -> Member:
        """Return a member who may see the channel, and so may do something in it."""
        member = self._known(place.guild, member_id)
        if not self._state.may_see(place.guild, place.channel, member):
            raise ValueError(f"member {member_id} may not see channel {place.channel.id}")
        return member

    async def post(self, request: web.Request) -> Json:
        guild, channel = place = self._place(request)
        body = await _body(request)
        author = self._there(place, body["member_id"])
        said = {"content": body["content"]}
        told = said | bodies.mentions(said, guild)
        return {"id": self._state.post(guild, channel, author, told).id}

    async def delete_message(self, request: web.Request) -> Json:
        channel = self._place(request).channel
        message = self._known_message(channel, request)
        self._state.delete_message(channel, message)
        return {}

    async def invoke(self, request: web.Request) -> Json:
        guild, channel = place = self._place(request)
        body = await _body(request)
        member = self._there(place, body["member_id"])
        id_ = self._interactions.invoke(
            guild,
            channel,
            member,
            body["name"],
            body.get("options") or {},
            focused=body.get("focused"),
        )
        return {"id": id_}

    async def press(self, request: web.Request) -> Json:
        guild, channel = place = self._place(request)
        body = await _body(request)
        member = self._there(place, body["member_id"])
        message = self._known_message(channel, request)
        id_ = self._interactions.press(guild, channel, message, member, body["custom_id"])
        return {"id": id_}

    async def responses(self, request: web.Request) -> list[Json]:
        id_ = int(request.match_info["interaction_id"])
        if self._interactions.get(id_) is None:
            raise _UnknownError(f"no interaction {id_}")
        return self._interactions.responses(id_)

    async def interaction_state(self, request: web.Request) -> Json:
        interaction = self._interactions.get(int(request.match_info["interaction_id"]))
        if interaction is None:
            raise _UnknownError(f"no interaction {request.match_info['interaction_id']}")
        return {
            "acknowledged": interaction.acknowledged,
            "forgotten": self._interactions.is_forgotten(interaction),
        }

    async def feed(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        news: asyncio.Queue[Message | Json] = asyncio.Queue()
        self._state.watchers.add(news.put_nowait)
        try:
            await response.write(b'{"watching": true}\n')
            while True:
                line = self._told_of(await news.get())
                await response.write(json.dumps(line).encode() + b"\n")
        except ConnectionError:  # whoever watched is gone
            return response
        finally:
            self._state.watchers.discard(news.put_nowait)

    def _told_of(self, news: Message | Json) -> Json:
        if isinstance(news, dict):
            return news
        guild = next(g for g in self._state.guilds.values() if news.channel_id in g.channels)
        return {
            "message": self._state.message_payload(guild, news),
            "interaction": news.interaction,
            "visible_to": news.visible_to,
            "deleted": news.deleted,
        }

    async def commands(self, _request: web.Request) -> Json:
        known = self._state.commands.items()
        return {"global" if scope is None else str(scope): told for scope, told in known}

    # -- faults -----------------------------------------------------------------------------------

    async def counters(self, _request: web.Request) -> Json:
        return {**self._gateway.counters, **self._rest.counters()}

    async def set_faults(self, request: web.Request) -> Json:
        for name, value in (await _body(request)).items():
            if name in _SWITCHES:
                setattr(self._faults, name, value)
            elif name in _COUNTED:
                self._faults.counts[name] = int(value)
            else:
                raise ValueError(f"no fault {name}; there are {sorted(_SWITCHES | _COUNTED)}")
        return {}

    async def add_rest_fault(self, request: web.Request) -> Json:
        self._faults.rest.append(RestFault(**await _body(request)))
        return {}

    async def remove_rest_faults(self, request: web.Request) -> Json:
        pattern = (await _body(request))["pattern"]
        self._faults.rest = [fault for fault in self._faults.rest if fault.pattern != pattern]
        return {}

    async def clear_faults(self, _request: web.Request) -> Json:
        fresh = Faults()
        for field in fields(fresh):
            setattr(self._faults, field.name, getattr(fresh, field.name))
        return {}

    async def set_rate_limit(self, request: web.Request) -> Json:
        body = await _body(request)
        self._rest.limiter.set(str(body["kind"]), int(body["limit"]), float(body["window_s"]))
        return {}

    async def set_intents(self, request: web.Request) -> Json:
        self._state.intents_allowed = bool((await _body(request))["allowed"])
        return {}

    async def drop(self, request: web.Request) -> Json:
        body = await _body(request)
        await self._gateway.drop(resumable=body["resumable"], code=body.get("code", 4000))
        return {}

    async def reconnect(self, _request: web.Request) -> Json:
        await self._gateway.reconnect()
        return {}

    async def invalidate(self, _request: web.Request) -> Json:
        await self._gateway.invalidate()
        return {}

    async def outage(self, request: web.Request) -> Json:
        body = await _body(request)
        self._gateway.outage(self._guild(body["guild_id"]), begin=bool(body["begin"]))
        return {}
