"""The gateway: sessions, events, member requests, and the faults that can befall them.

Source: Discord's documentation of the gateway, version 10.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import zlib
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSMsgType, web

if TYPE_CHECKING:
    from .faults import Faults
    from .state import Guild, Json, Member, State

log = logging.getLogger(__name__)

_HEARTBEAT_MS: Final = 41_250
_CHUNK: Final = 1000
_MAX_USER_IDS = _MAX_QUERIED = 100
_REPLAYED, _REPLAYED_CHARACTERS = 20_000, 16 * 2**20  # of what a session has been sent already
_LOST_SESSIONS: Final = 8
_ENDED_BY_CLIENT: Final = frozenset({1000, 1001})
_INBOUND, _INBOUND_WINDOW_S = 120, 60.0
_CLOSE_S: Final = 1.0
_HOLD_LOOK_S: Final = 0.01
_BOT_ALONE_ABOVE: Final = 75_000

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT = 0, 1, 2, 6, 7
REQUEST_MEMBERS, INVALID_SESSION, HELLO, ACK = 8, 9, 10, 11
UNKNOWN_OPCODE, NOT_AUTHENTICATED, AUTHENTICATION_FAILED = 4001, 4003, 4004
RATE_LIMITED, DISALLOWED_INTENTS = 4008, 4014
_MEMBERS_INTENT: Final = 1 << 1
_CONTENT_INTENT: Final = 1 << 15


@dataclass(slots=True, eq=False)
class Session:
    """What outlives a connection: its events by number, those to be sent and those to replay."""

    id: str
    large_threshold: int
    sequence: int = 0
    events: dict[int, str] = field(default_factory=dict)
    characters: int = 0
    connection: Connection | None = None
    over: bool = False
    # Set whenever there may be something for a sender to do, and whenever it has done it.
    news: asyncio.Event = field(default_factory=asyncio.Event)
    progress: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, event: str, body: str) -> None:
        """Give an event its number and keep it, for at least as long as it is unsent."""
        self.sequence += 1
        text = f'{{"op":0,"t":"{event}","s":{self.sequence},"d":{body}}}'
        self.events[self.sequence] = text
        self.characters += len(text)
        sent = self.sequence if self.connection is None else self.connection.sequence
        while len(self.events) > _REPLAYED or self.characters > _REPLAYED_CHARACTERS:
            oldest = next(iter(self.events))
            if oldest >= sent:
                break
            self.characters -= len(self.events.pop(oldest))
        self.news.set()

    def can_resume_after(self, sequence: int) -> bool:
        """Say whether every event after this one is still kept."""
        return sequence == self.sequence or (
            sequence < self.sequence and sequence + 1 >= next(iter(self.events))
        )

    async def all_but(self, unsent: int) -> None:
        """Wait until no more than so many events are unsent, through a loss of the connection."""
        while not self.over and (
            self.connection is None or self.connection.sequence + unsent < self.sequence
        ):
            self.progress.clear()
            await self.progress.wait()

    def end(self) -> None:
        """Let those who wait for the session know that it is over."""
        self.over = True
        self.news.set()
        self.progress.set()


class Connection:
    """One websocket, with zlib-stream compression if the client asked for it."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        *,
        compressed: bool,
    ) -> None:
        self.socket = socket
        self._transport = transport
        self.session: Session | None = None
        self.sequence = 0  # of the last event it got
        self.closed_here = False
        self._deflate = zlib.compressobj(1) if compressed else None
        self._sending = asyncio.Lock()
        self._received: deque[float] = deque(maxlen=_INBOUND)

    def receives_too_much(self, now_s: float) -> bool:
        """Count a message of the client's; say whether it is one too many."""
        full = len(self._received) == _INBOUND and now_s - self._received[0] < _INBOUND_WINDOW_S
        self._received.append(now_s)
        return full

    async def send(self, text: str) -> None:
        async with self._sending:
            if self.socket.closed:
                return
            try:
                if self._deflate is None:
                    await self.socket.send_str(text)
                    return
                data = self._deflate.compress(text.encode()) + self._deflate.flush(
                    zlib.Z_SYNC_FLUSH
                )
                await self.socket.send_bytes(data)
            except (ConnectionError, RuntimeError):
                log.debug("a client went away while it was being sent to")

    async def close(self, code: int) -> None:
        """Close, also on a client that has stopped reading."""
        self.closed_here = True
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self.socket.close(code=code)
        except TimeoutError:
            if self._transport is not None:
                self._transport.abort()

    async def send_op(self, op: int, payload: Any = None) -> None:
        await self.send(json.dumps({"op": op, "d": payload, "s": None, "t": None}))


class Gateway:
    """All sessions of this Discord."""

    def __init__(self, state: State, faults: Faults) -> None:
        self._state = state
        self._faults = faults
        self._sessions: dict[str, Session] = {}
        self._asked_at: dict[int, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.counters = dict.fromkeys(
            ("refused", "identify", "resume", "member_requests", "rate_limited"), 0
        )
        state.emit = self.emit

    # -- sending ----------------------------------------------------------------------------------

    def emit(self, guild_id: int, event: str, payload: Json) -> bool:
        """Send an event to every session; those whose connection is gone get it on resuming.

        Return whether there is any.
        """
        guild = self._state.guilds.get(guild_id)
        if guild is not None and guild.unavailable:
            return False
        body = json.dumps(payload)
        for session in self._sessions.values():
            self._dispatch(session, event, body)
        return bool(self._sessions)

    def _dispatch(self, session: Session, event: str, body: str) -> None:
        session.add(event, body)

    async def _deliver(self, session: Session, connection: Connection) -> None:
        """Send a session's events in their order, at the pace of this connection alone."""
        while session.connection is connection and not session.over:
            session.news.clear()
            while (text := session.events.get(connection.sequence + 1)) is not None:
                connection.sequence += 1
                await connection.send(text)
                session.progress.set()
            await session.news.wait()

    def _attach(self, session: Session, connection: Connection) -> None:
        connection.session, session.connection = session, connection
        session.news.set()
        session.progress.set()
        self.spawn(self._deliver(session, connection))

    def _detach(self, connection: Connection) -> None:
        """Keep the session of a lost connection for a resume, unless the client ended it."""
        session = connection.session
        if session is None or session.connection is not connection:
            return
        session.connection = None
        session.news.set()
        if not connection.closed_here and connection.socket.close_code in _ENDED_BY_CLIENT:
            self._end(session)
        lost = [each for each in self._sessions.values() if each.connection is None]
        for oldest in lost[:-_LOST_SESSIONS]:
            self._end(oldest)

    def _end(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
        session.end()

    async def close(self) -> None:
        """Close every connection and end what is under way."""
        await self.drop(resumable=False, code=1001)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- receiving --------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one websocket."""
        if self._faults.refuse_connections:
            self.counters["refused"] += 1
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(max_msg_size=2**20, timeout=_CLOSE_S)
        await socket.prepare(request)
        compressed = request.query.get("compress") == "zlib-stream"
        connection = Connection(socket, request.transport, compressed=compressed)
        await connection.send_op(HELLO, {"heartbeat_interval": _HEARTBEAT_MS})
        try:
            async for message in socket:
                if message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                    await self._receive(connection, json.loads(message.data))
        finally:
            self._detach(connection)
        return socket

    async def _receive(self, connection: Connection, message: Json) -> None:
        payload: Any = message.get("d")
        if connection.receives_too_much(asyncio.get_running_loop().time()):
            await connection.close(RATE_LIMITED)
            return
        match message["op"]:
            case 1:
                await connection.send_op(ACK)
            case 2:
                await self._identify(connection, payload)
            case 6:
                await self._resume(connection, payload)
            case 8 if connection.session is not None:
                self.spawn(self._members(connection.session, payload))
            case 3 | 4 | 8 if connection.session is None:
                await connection.close(NOT_AUTHENTICATED)
            case 3 | 4:
                pass  # presence and voice: nothing of this Discord's
            case _:
                await connection.close(UNKNOWN_OPCODE)

    async def _identify(self, connection: Connection, payload: Json) -> None:
        self.counters["identify"] += 1
        if payload["token"].removeprefix("Bot ") != self._state.token:
            await connection.close(AUTHENTICATION_FAILED)
            return
        wanted = payload["intents"] & (_MEMBERS_INTENT | _CONTENT_INTENT)
        if wanted and not self._state.intents_allowed:
            await connection.close(DISALLOWED_INTENTS)
            return
        session = Session(
            id=secrets.token_hex(16), large_threshold=payload.get("large_threshold", 50)
        )
        self._sessions[session.id] = session
        self._attach(session, connection)
        guilds = [g for g in self._state.guilds.values() if self._state.bot.id in g.members]
        self._dispatch(
            session,
            "READY",
            json.dumps(
                {
                    "v": 10,
                    "user": self._state.bot.user(),
                    "guilds": [{"id": str(g.id), "unavailable": True} for g in guilds],
                    "session_id": session.id,
                    "session_type": "normal",
                    "resume_gateway_url": self.url,
                    "shard": payload.get("shard") or [0, 1],
                    "application": {
                        "id": str(self._state.application_id),
                        "flags": 1 << 15 | 1 << 19,
                    },
                }
            ),
        )
        for guild in guilds:
            if not guild.unavailable:
                self._tell_of(guild, session)

    def _tell_of(self, guild: Guild, session: Session) -> None:
        """Send GUILD_CREATE, with all members of a small guild and hardly any of a large one."""
        bot = self._state.bot
        large = len(guild.members) > session.large_threshold
        if not large:
            named = list(guild.members.values())
        elif len(guild.members) > _BOT_ALONE_ABOVE:
            named = [bot]
        else:  # Discord names those who are online
            named = list(({bot.id: bot} | dict(islice(guild.members.items(), 3))).values())
        self._dispatch(session, "GUILD_CREATE", json.dumps(guild.payload(named, large=large)))

    async def _resume(self, connection: Connection, payload: Json) -> None:
        self.counters["resume"] += 1
        session = self._sessions.get(payload["session_id"])
        known = session is not None and payload["token"].removeprefix("Bot ") == self._state.token
        if (
            session is None
            or not known
            or not session.can_resume_after(payload["seq"])
            or self._faults.take("refuse_resume")
        ):
            if session is not None:
                self._end(session)
            await connection.send_op(INVALID_SESSION, payload=False)
            return
        connection.sequence = payload["seq"]
        self._attach(session, connection)
        self._dispatch(session, "RESUMED", "{}")

    # -- member requests --------------------------------------------------------------------------

    async def _members(self, session: Session, payload: Json) -> None:
        self.counters["member_requests"] += 1
        guild = self._state.guilds.get(int(payload["guild_id"]))
        if guild is None or guild.unavailable:
            return
        nonce = payload.get("nonce")
        if payload.get("user_ids"):
            ids = [int(id_) for id_ in payload["user_ids"]][:_MAX_USER_IDS]
            found = [guild.members[id_] for id_ in ids if id_ in guild.members]
            missing = [str(id_) for id_ in ids if id_ not in guild.members]
            if not self._faults.take("ignore_user_requests"):
                self._send_chunk(session, guild, found, nonce=nonce, missing=missing)
            return
        query, limit = payload.get("query") or "", payload.get("limit", 0)
        if query or limit:
            matching = (m for m in guild.members.values() if m.is_called(query.casefold()))
            found = list(islice(matching, min(limit or 1, _MAX_QUERIED)))
            self._send_chunk(session, guild, found, nonce=nonce)
            return
        await self._all_members(session, guild, nonce)

    async def _all_members(self, session: Session, guild: Guild, nonce: str | None) -> None:
        loop = asyncio.get_running_loop()
        asked_at, self._asked_at[guild.id] = self._asked_at.get(guild.id), loop.time()
        wait = 0.0 if asked_at is None else asked_at + self._faults.member_interval_s - loop.time()
        if (
            wait > 0
            or self._faults.take("rate_limit_members")
            or (asked_at is not None and self._faults.take("rate_limit_repeats"))
        ):
            self.counters["rate_limited"] += 1
            if asked_at is None:
                del self._asked_at[guild.id]
            else:
                self._asked_at[guild.id] = asked_at
            meta = {"guild_id": str(guild.id), "nonce": nonce}
            told = {"opcode": REQUEST_MEMBERS, "retry_after": max(wait, 0.1), "meta": meta}
            self._dispatch(session, "RATE_LIMITED", json.dumps(told))
            return
        if self._faults.take("ignore_member_requests"):
            return
        cut = self._faults.take_value("chunks_only")
        drop = self._faults.take_value("drop_after_chunks")
        everybody = list(guild.members.values())
        count = -(-len(everybody) // _CHUNK)
        for index in range(count):
            if cut is not None and index >= cut:
                return
            if drop is not None and index >= drop:
                await self.drop(resumable=False)
                return
            part = everybody[index * _CHUNK : (index + 1) * _CHUNK]
            here = [guild.members[member.id] for member in part if member.id in guild.members]
            self._send_chunk(session, guild, here, nonce=nonce, index=index, count=count)
            await session.all_but(2)
            await asyncio.sleep(0)  # others have their turn between two chunks
            while (  # noqa: ASYNC110  a fault is a number that may be set at any time
                0 < self._faults.hold_after_chunks <= index + 1 and not session.over
            ):
                await asyncio.sleep(_HOLD_LOOK_S)
            if session.over:
                return

    def _send_chunk(
        self,
        session: Session,
        guild: Guild,
        members: list[Member],
        *,
        nonce: str | None,
        index: int = 0,
        count: int = 1,
        missing: list[str] | None = None,
    ) -> None:
        payload: Json = {
            "guild_id": str(guild.id),
            "members": [member.payload() for member in members],
            "chunk_index": index,
            "chunk_count": count,
        }
        if nonce is not None:
            payload["nonce"] = nonce
        if missing:
            payload["not_found"] = missing
        self._dispatch(session, "GUILD_MEMBERS_CHUNK", json.dumps(payload))

    # -- faults -----------------------------------------------------------------------------------

    async def drop(self, *, resumable: bool, code: int = 4000) -> None:
        """Close every connection; without `resumable`, the sessions are forgotten too."""
        open_ = self._connections()
        if not resumable:
            self._end_all()
        await asyncio.gather(*(connection.close(code) for connection in open_))

    async def reconnect(self) -> None:
        """Ask every client to connect again and resume."""
        await asyncio.gather(*(each.send_op(RECONNECT) for each in self._connections()))

    async def invalidate(self) -> None:
        """Tell every client that its session is over."""
        open_ = self._connections()
        self._end_all()
        await asyncio.gather(*(each.send_op(INVALID_SESSION, payload=False) for each in open_))

    def _connections(self) -> list[Connection]:
        sessions = self._sessions.values()
        return [each.connection for each in sessions if each.connection is not None]

    def _end_all(self) -> None:
        for session in list(self._sessions.values()):
            self._end(session)

    def outage(self, guild: Guild, *, begin: bool) -> None:
        """Make a guild unavailable, or available again."""
        if begin:
            payload: Json = {"id": str(guild.id), "unavailable": True}
            self.emit(guild.id, "GUILD_DELETE", payload)
            guild.unavailable = True
        else:
            guild.unavailable = False
            for session in self._sessions.values():
                self._tell_of(guild, session)
