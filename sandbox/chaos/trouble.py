"""The faults themselves: each is done to a real server or on the way to one, and then healed."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from aiohttp import web

from sandbox import judging
from sandbox.chaos.guild_life import GuildLife
from sandbox.chaos.plan import KILLS, Fault, Poison
from sandbox.chaos.settings import DEADLINE_S, LEASE_S, MEMBER_INTERVAL_S
from sandbox.replay.world import World
from sandbox.servers import Bot, Server, Valkey, until
from sandbox.site_proxy import Answer, Call, Forward, SiteProxy, lose

Strike = Callable[[Call, Forward], Awaitable[Answer]]

_LOOK_S: Final = 0.05
_STRUCK_S: Final = 15.0  # how long a fault waits for something to strike
_OPENED_S: Final = 12.0
_TRICKLED_S: Final = 30
_HTML: Final = "<!doctype html><title>Server Error (500)</title><h1>Server Error (500)</h1>"
# Pattern, how often, and what else `DiscordControl.rest_fault` takes.
_REST: Final[Sequence[tuple[str, int, Mapping[str, Any]]]] = (
    ("POST /channels/*/messages", 2, {"status": 500, "after": True}),
    ("POST /channels/*/messages", 3, {"status": 503, "after": True}),
    ("POST /channels/*/messages", 2, {"status": 429}),
    ("* /channels/*/messages*", 6, {"status": 503}),
    ("PATCH /channels/*/messages/*", 2, {"status": 500}),
    ("* /channels/*/messages*", 4, {"delay_s": 0.7}),
)


class Trouble:
    """What befalls one bot, its site and its Discord; `struck` counts what truly happened.

    It stands in the proxy between the bot and the site. `poison` says what the site does to a
    request that holds a certain user; that is never healed.
    """

    def __init__(
        self,
        world: World,
        *,
        proxy: SiteProxy,
        bot: Bot,
        valkey: Valkey,
        life: GuildLife,
        chance: random.Random,
        poison: Mapping[int, Poison],
        store_away: bool,
    ) -> None:
        self._world = world
        self._proxy = proxy
        self._bot = bot
        self._valkey = valkey
        self._life = life
        self._chance = chance
        self._poison = poison
        self._away = store_away
        self._armed: tuple[Fault, Strike] | None = None
        self._left = 0
        self._late: set[asyncio.Task[None]] = set()
        self._applied: list[Call] = []
        self._rest_faults: int | None = None
        self.struck: Counter[Fault] = Counter()
        self.late: set[str] = set()
        self.being_killed: Server | None = None
        proxy.fault = self._answer
        # What meets the bot's requests, and how many of them at most. Never three that fail in a
        # row: one whose row is alone would be rightly blamed, and parked until its next try.
        self._strikes: dict[Fault, tuple[Strike, int]] = {
            Fault.CONNECTION_RESET: (_reset, 2),
            Fault.TOO_MANY_REQUESTS: (_too_many, 2),
            Fault.UNAVAILABLE: (_unavailable, 2),
            Fault.HTML_500: (_html, 2),
            Fault.ANSWER_LOST: (self._lose_answer, 2),
            Fault.ONE_BYTE_A_SECOND: (self._trickle, 1),
            Fault.LATE_COMMIT: (self._hold, 1),
        }

    # -- on the way to the site -------------------------------------------------------------------

    async def _answer(self, call: Call, forward: Forward) -> Answer:
        poisoned = self._poisoned(call)
        if poisoned is not None:
            self.struck[Fault.POISONED_RECORD] += 1
            return poisoned
        if self._armed is not None and self._left:
            fault, strike = self._armed
            if fault is not Fault.LATE_COMMIT or self._life.movable(call.ids):
                self._left -= 1
                self.struck[fault] += 1
                return await strike(call, forward)
        return await self._forward(call, forward)

    async def _forward(self, call: Call, forward: Forward) -> web.Response:
        answer = await forward(call)
        if call.writes and 200 <= answer.status < 300:  # noqa: PLR2004  the range that means success
            self._applied.append(call)
        return answer

    def _poisoned(self, call: Call) -> web.Response | None:
        if not call.writes_users:
            return None
        found = {self._poison[id_] for id_ in call.ids if id_ in self._poison}
        if Poison.NAMED in found:
            fault = {"display_name": ["This name is not allowed here."]}
            named = [
                fault if self._poison.get(row["id"]) is Poison.NAMED else {} for row in call.rows
            ]
            return web.json_response(named, status=400)
        if Poison.UNNAMED in found:
            return web.json_response({"detail": "A row is not allowed here."}, status=400)
        if Poison.FAILING in found:
            return web.Response(status=500, text=_HTML, content_type="text/html")
        return None

    async def _lose_answer(self, call: Call, forward: Forward) -> Answer:
        await self._forward(call, forward)
        return lose(call)

    async def _trickle(self, call: Call, forward: Forward) -> Answer:
        whole = (await self._forward(call, forward)).body
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(call.request)
        with contextlib.suppress(ConnectionError):  # the bot has hung up
            for byte in bytes(whole or b"")[:_TRICKLED_S]:  # type: ignore[arg-type]  # bytes here
                await answer.write(bytes([byte]))
                await asyncio.sleep(1)
        return answer

    async def _hold(self, call: Call, forward: Forward) -> Answer:
        """Pass a write on only after a newer one of one of its rows, long after its deadline."""
        self.late.add(call.request_id)
        task = asyncio.create_task(self._commit_late(call, forward))
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        await asyncio.sleep(DEADLINE_S * 2)  # the bot has hung up by then
        return lose(call)

    async def _commit_late(self, call: Call, forward: Forward) -> None:
        id_ = self._chance.choice(self._life.movable(call.ids))
        await self._life.rename(id_)
        await asyncio.sleep(DEADLINE_S)
        await until(
            lambda: any(id_ in newer.ids and newer.at > call.at for newer in self._applied),
            timeout_s=DEADLINE_S * 3,
        )
        with contextlib.suppress(OSError, TimeoutError):  # a site that is down has lost it for good
            await forward(call)

    # -- the moments ------------------------------------------------------------------------------

    async def befall(self, fault: Fault) -> None:
        """Let a fault happen, and return once it is healed."""
        match fault:
            case Fault.BOT_KILLED:
                await self._kill(self._bot, fault)
            case Fault.WEBSITE_KILLED:
                await self._kill(self._world.website, fault)
            case Fault.POSTGRES_KILLED:
                await self._kill(self._world.postgres, fault)
            case Fault.VALKEY_KILLED:
                await self._kill(self._valkey, fault, down_s=LEASE_S + 2 if self._away else None)
            case Fault.GATEWAY_DROPPED:
                await self._world.control.drop(resumable=True)
                self.struck[fault] += 1
            case Fault.READY_MID_RUN:
                await self._ready()
            case Fault.DISCORD_REST_FAILING:
                await self._fail_rest()
            case Fault.DOWN_THEN_WELL:
                await self._fail_until_open()
            case _:
                strike, most = self._strikes[fault]
                await self._strike(fault, strike, times=self._chance.randint(1, most))

    async def heal(self) -> None:
        """Return once nothing goes wrong any more but the poison."""
        self._armed = None
        await asyncio.gather(*self._late)
        if self._rest_faults is not None:
            counters = await self._world.control.counters()
            self.struck[Fault.DISCORD_REST_FAILING] += counters["rest_faults"] - self._rest_faults
            self._rest_faults = None
        await heal_discord(self._world)

    @property
    def kills(self) -> int:
        """How many servers were killed."""
        return sum(count for fault, count in self.struck.items() if fault in KILLS)

    async def _kill(self, server: Server, fault: Fault, *, down_s: float | None = None) -> None:
        self.being_killed = server
        server.kill()
        self.struck[fault] += 1
        await asyncio.sleep(self._chance.uniform(0, 0.5) if down_s is None else down_s)
        await server.start()
        self.being_killed = None

    async def _strike(
        self,
        fault: Fault,
        strike: Strike,
        *,
        times: int,
        until: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Let the next requests meet the fault; return once they did, or `until` holds."""
        self._armed, self._left = (fault, strike), times
        deadline_s = time.monotonic() + (_STRUCK_S if until is None else _OPENED_S)
        while self._left and time.monotonic() < deadline_s:
            if until is not None and await until():
                break
            await asyncio.sleep(_LOOK_S)
        self._armed = None

    async def _fail_until_open(self) -> None:
        async def opened() -> bool:
            return judging.is_open(await self._world.mod_log())

        await self._strike(Fault.DOWN_THEN_WELL, _down, times=10_000, until=opened)

    async def _ready(self) -> None:
        """Give the bot a new session, in the middle of a run if there is one soon."""
        deadline_s = time.monotonic() + 2
        while time.monotonic() < deadline_s:
            if judging.unfinished_runs(await self._world.mod_log()):
                break
            await asyncio.sleep(_LOOK_S)
        if self._chance.random() < 0.5:  # noqa: PLR2004  a coin
            await self._world.control.invalidate()
        else:
            await self._world.control.drop(resumable=False)
        self.struck[Fault.READY_MID_RUN] += 1

    async def _fail_rest(self) -> None:
        """Let Discord fail while other things do, until all is healed."""
        self._rest_faults = (await self._world.control.counters())["rest_faults"]
        pattern, count, how = self._chance.choice(_REST)
        await self._world.control.rest_fault(pattern, count=count, **how)


async def _reset(call: Call, _forward: Forward) -> Answer:
    return lose(call)


async def _too_many(_call: Call, _forward: Forward) -> Answer:
    return web.Response(status=429, headers={"Retry-After": "1"})


async def _unavailable(_call: Call, _forward: Forward) -> Answer:
    # As a date, which is the other form that a proxy may use (RFC 9110, section 10.2.3).
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    return web.Response(status=503, headers={"Retry-After": at})


async def _down(_call: Call, _forward: Forward) -> Answer:
    return web.Response(status=503)


async def _html(_call: Call, _forward: Forward) -> Answer:
    return web.Response(status=500, text=_HTML, content_type="text/html")


async def heal_discord(world: World) -> None:
    """Let Discord be well, and as quick to answer as short rounds need."""
    await world.control.clear_faults()
    await world.control.fault("member_interval_s", MEMBER_INTERVAL_S)
    for kind in ("message create", "message edit"):
        await world.control.rate_limit(kind, 50, 1)
