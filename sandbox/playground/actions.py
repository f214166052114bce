"""What can be done to the world by a click: what it says, what it does, how it is undone."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox.playground import memory_limit, site_faults
from sandbox.servers import Bot, Server, ServerError, memory

if TYPE_CHECKING:
    from sandbox.discord.client import DiscordControl
    from sandbox.playground.ground import Ground

Json = dict[str, Any]
Undo = Callable[[], Awaitable[None]]

BURST_PER_S, BURST_S = 500, 6
_JOIN: Final = 1_000
_GONE: Final = 0.6
ROOM_MB: Final = 24
LARGE: Final = 8_000
_REST: Final = "* /channels/*"
_FOREVER: Final = 1_000_000
_NEWCOMERS: Final = 800_000_000_000_000_000
DISLIKED: Final = "'; DROP TABLE api_user; --"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A button of the world panel.

    `run` does it and returns how it is undone. One that is `lasting` is on until it is undone; any
    other may be done again before.
    """

    id: str
    group: str
    label: str
    does: str
    run: Callable[[Ground], Awaitable[Undo]]
    undo: str = "Undo"
    lasting: bool = False


class People:
    """The guild's members as far as actions need them."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._control: DiscordControl = ground.control
        self._guild = ground.place.guild

    async def others(self) -> list[Json]:
        """Return everybody but the bot and the three that the page speaks for, by id."""
        spared = set(self._ground.place.people.values())
        found = [m async for m in self._control.members(self._guild)]
        return sorted(
            (m for m in found if not m["bot"] and m["id"] not in spared), key=lambda m: int(m["id"])
        )

    async def one(self) -> Json:
        """Return one of them; raise LookupError if there is nobody else."""
        found = await self.others()
        if not found:
            raise LookupError("nobody but the three people of this page is left in the guild")
        return found[len(found) // 2]

    async def do(self, *operations: Json, per_s: float | None = None) -> None:
        """Let these things happen in the guild."""
        await self._control.operations(self._guild, operations, per_s=per_s)

    async def put_back(self, *members: Json) -> None:
        """Let members be as they were, roles that are gone left out."""
        roles = {role["id"] for role in await self._control.roles(self._guild)}
        await self.do(
            *(
                {"op": "put", "member": m | {"roles": [r for r in m["roles"] if r in roles]}}
                for m in members
            )
        )


async def _join_many(ground: Ground) -> Undo:
    return await _let_join(ground, _JOIN)


async def _grow(ground: Ground) -> Undo:
    people = len(await People(ground).others())
    return await _let_join(ground, max(0, LARGE - people))


async def _let_join(ground: Ground, count: int) -> Undo:
    people = People(ground)
    taken = max([_NEWCOMERS, *(m["id"] for m in await people.others())])
    ids = range(taken + 1, taken + 1 + count)
    # With the role that all hold, as long as there is one.
    roles = {role["id"] for role in await ground.control.roles(ground.place.guild)}
    held = [ground.place.shared_role] if ground.place.shared_role in roles else []
    await people.do(
        *(
            {"op": "put", "member": {"id": id_, "name": f"newcomer{id_ % 10**6}", "roles": held}}
            for id_ in ids
        )
    )

    async def undo() -> None:
        there = {m["id"] for m in await people.others()}
        await people.do(*({"op": "leave", "id": id_} for id_ in ids if id_ in there))

    return undo


async def _leave_many(ground: Ground) -> Undo:
    people = People(ground)
    others = await people.others()
    gone = others[: round(len(others) * _GONE)]
    await people.do(*({"op": "leave", "id": member["id"]} for member in gone))

    async def undo() -> None:
        await people.put_back(*gone)

    return undo


async def _delete_shared_role(ground: Ground) -> Undo:
    people, place, control = People(ground), ground.place, ground.control
    roles = await control.roles(place.guild)
    role = next((role for role in roles if role["id"] == place.shared_role), None)
    if role is None:
        raise LookupError("that role is gone already")
    holders = [m["id"] async for m in control.members(place.guild) if role["id"] in m["roles"]]
    await control.delete_role(place.guild, role["id"])

    async def undo() -> None:
        await people.do({"op": "put_role", "role": role})
        there = {m["id"]: m async for m in control.members(place.guild)}
        back = [there[id_] for id_ in holders if id_ in there]
        await people.do(
            *(
                {"op": "change", "id": m["id"], "roles": [*m["roles"], role["id"]]}
                for m in back
                if role["id"] not in m["roles"]
            )
        )

    return undo


async def _rename(ground: Ground) -> Undo:
    return await _call(ground, "Renamed by a click")


async def _rename_badly(ground: Ground) -> Undo:
    return await _call(ground, DISLIKED)


async def _call(ground: Ground, nick: str) -> Undo:
    people = People(ground)
    member = await people.one()
    await people.do({"op": "change", "id": member["id"], "nick": nick})

    async def undo() -> None:
        await people.do({"op": "change", "id": member["id"], "nick": member["nick"]})

    return undo


async def _join(ground: Ground) -> Undo:
    return await _let_join(ground, 1)


async def _leave(ground: Ground) -> Undo:
    people = People(ground)
    member = await people.one()
    await people.do({"op": "leave", "id": member["id"]})

    async def undo() -> None:
        await people.put_back(member)

    return undo


async def _burst(ground: Ground) -> Undo:
    people = People(ground)
    others = await people.others()
    if not others:
        raise LookupError("nobody but the three people of this page is left in the guild")
    count = BURST_PER_S * BURST_S
    changes = [
        {"op": "change", "id": others[turn % len(others)]["id"], "nick": f"burst {turn}"}
        for turn in range(count)
    ]
    await people.do(*changes, per_s=BURST_PER_S)
    changed = others[:count]

    async def undo() -> None:
        there = {m["id"] for m in await people.others()}
        await people.do(
            *(
                {"op": "change", "id": m["id"], "nick": m["nick"]}
                for m in changed
                if m["id"] in there
            )
        )

    return undo


# -- Discord --------------------------------------------------------------------------------------


async def _nothing() -> None:
    """Undo what has no end of its own."""


async def _drop(ground: Ground) -> Undo:
    await ground.control.drop(resumable=True)
    return _nothing


async def _new_session(ground: Ground) -> Undo:
    await ground.control.drop(resumable=False)
    return _nothing


async def _refuse_gateway(ground: Ground) -> Undo:
    await ground.control.fault("refuse_connections", 1)
    await ground.control.drop(resumable=True)

    async def undo() -> None:
        await ground.control.fault("refuse_connections", 0)

    return undo


async def _cut_list(ground: Ground) -> Undo:
    # Once for each request of the whole list; asked for at once, by a session that is new.
    await ground.control.fault("hold_after_chunks", 1)
    await ground.control.drop(resumable=False)

    async def undo() -> None:
        await ground.control.fault("hold_after_chunks", 0)

    return undo


async def _limit_list(ground: Ground) -> Undo:
    await ground.control.fault("rate_limit_members", _FOREVER)
    await ground.control.drop(resumable=False)

    async def undo() -> None:
        await ground.control.fault("rate_limit_members", 0)

    return undo


async def _fail_rest(ground: Ground) -> Undo:
    await ground.control.rest_fault(_REST, count=_FOREVER, status=503)

    async def undo() -> None:
        await ground.control.remove_rest_faults(_REST)

    return undo


async def _outage(ground: Ground) -> Undo:
    await ground.control.outage(ground.place.guild, begin=True)

    async def undo() -> None:
        await ground.control.outage(ground.place.guild, begin=False)

    return undo


# -- the site -------------------------------------------------------------------------------------


def _switch(fault: str) -> Callable[[Ground], Awaitable[Undo]]:
    async def run(ground: Ground) -> Undo:
        if fault == site_faults.REJECTS:
            ground.faults.rejected = {(await People(ground).one())["id"]}
        ground.faults.active.add(fault)

        async def undo() -> None:
            ground.faults.active.discard(fault)

        return undo

    return run


async def _stop_site(ground: Ground) -> Undo:
    await ground.website.stop()
    return _starting(ground.website)


async def _kill_site(ground: Ground) -> Undo:
    ground.website.kill()
    return _starting(ground.website)


async def _kill_database(ground: Ground) -> Undo:
    ground.postgres.kill()
    return _starting(ground.postgres)


def _starting(server: Server) -> Undo:
    async def undo() -> None:
        if not server.running:
            await server.start()

    return undo


async def _limit_site(ground: Ground) -> Undo:
    """Allow the site little more than it has, and start it again whenever that ends it."""
    site = ground.website
    keeper = SiteKeeper(ground)
    keeper.limit()

    async def undo() -> None:
        await keeper.end()
        await _starting(site)()

    return undo


class SiteKeeper:
    """Limits the site's memory, and starts it again as Docker would when that has ended it."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._site = ground.website
        self.means = ""
        self._lift: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None

    def limit(self) -> None:
        """Begin; raise OSError if this machine can't."""
        self._bound()
        self._task = asyncio.create_task(self._keep())

    async def end(self) -> None:
        """Lift the limit, and look after the site no longer."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._lift()
        self._ground.limit_means = ""

    def _bound(self) -> None:
        means, self._lift = memory_limit.limit(memory.tree(self._site.pid), ROOM_MB)
        self.means = self._ground.limit_means = f"{ROOM_MB} MB more than it had, by {means}"

    async def _keep(self) -> None:
        while True:
            if not self._site.running:
                self._lift()
                with contextlib.suppress(ServerError):
                    await self._site.start()
                    self._bound()
            await asyncio.sleep(0.1)


async def _plain_site(ground: Ground) -> Undo:
    await ground.start_site(plain=not ground.plain)

    async def undo() -> None:
        await ground.start_site(plain=not ground.plain)

    return undo


# -- the store and the bot ------------------------------------------------------------------------


async def _lock_store(ground: Ground) -> Undo:
    # Another thread may be the one that rolls it back.
    held = sqlite3.connect(ground.store, isolation_level=None, timeout=5, check_same_thread=False)
    try:
        held.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error:
        held.close()
        raise

    async def undo() -> None:
        held.close()

    return undo


async def _lose_store(ground: Ground) -> Undo:
    await ground.bot.stop()
    kept = ground.store.parent / "store-before"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for file in ground.store.parent.glob("sync.db*"):
        file.rename(kept / file.name)
    await ground.bot.start()

    async def undo() -> None:
        await ground.bot.stop()
        for file in ground.store.parent.glob("sync.db*"):
            file.unlink()
        for file in kept.iterdir():
            file.rename(ground.store.parent / file.name)
        await ground.bot.start()

    return undo


async def _kill_bot(ground: Ground) -> Undo:
    _expect(ground.bot, running=True)
    ground.bot.kill()
    return _starting(ground.bot)


async def _stop_bot(ground: Ground) -> Undo:
    _expect(ground.bot, running=True)
    await ground.bot.stop()
    return _starting(ground.bot)


async def _start_bot(ground: Ground) -> Undo:
    _expect(ground.bot, running=False)
    await ground.bot.start()

    async def undo() -> None:
        await ground.bot.stop()

    return undo


async def _second_bot(ground: Ground) -> Undo:
    second = ground.second()
    await second.start()

    async def undo() -> None:
        await second.stop()

    return undo


def _expect(bot: Bot, *, running: bool) -> None:
    if bot.running is not running:
        raise LookupError(f"the bot {'runs already' if bot.running else 'does not run'}")


GUILD, DISCORD, SITE, STORE, BOT = "Guild", "Discord", "Website", "State store", "Bot"

ACTIONS: Final[tuple[Action, ...]] = (
    Action(id="join-many", group=GUILD, label="Add 1,000 members", run=_join_many,
           does="1,000 people join at once.", undo="Let them leave"),
    Action(id="grow", group=GUILD, label=f"Grow to {LARGE:,} members", run=_grow, lasting=True,
           does="As many join as it takes.", undo="Let them leave"),
    Action(id="leave-many", group=GUILD, label="Remove 60 % of the members", run=_leave_many,
           does="Six of ten members leave, and Discord says so for each.", undo="Bring them back",
           lasting=True),
    Action(id="delete-role", group=GUILD, label="Delete the role that all hold", lasting=True,
           run=_delete_shared_role, undo="Put it back",
           does="Every member's row differs at once, as on the day of the incident."),
    Action(id="rename", group=GUILD, label="Rename a member", run=_rename,
           undo="Name them as before", lasting=True,
           does="Somebody gets another nickname: one row differs."),
    Action(id="rename-badly", group=GUILD, label="Give a member a nasty name", run=_rename_badly,
           does="Somebody calls themselves '; DROP TABLE api_user; --. Good sites don't mind.",
           undo="Name them as before", lasting=True),
    Action(id="join", group=GUILD, label="Let somebody join", run=_join, does="One new member.",
           undo="Let them leave"),
    Action(id="leave", group=GUILD, label="Let somebody leave", run=_leave, does="One member less.",
           undo="Bring them back"),
    Action(id="burst", group=GUILD, label="Burst: 500 changes a second", run=_burst,
           does=f"Nicknames change 500 times a second for {BURST_S} s.",
           undo="Name them as before"),
    Action(id="drop", group=DISCORD, label="Drop the gateway connection", run=_drop,
           does="The bot connects again and resumes: no event is lost.", undo="Done"),
    Action(id="new-session", group=DISCORD, label="End the gateway session", run=_new_session,
           does="The bot must begin a new session; what happened in between, it can't know.",
           undo="Done"),
    Action(id="refuse-gateway", group=DISCORD, label="Refuse connections", run=_refuse_gateway,
           does="The gateway lets nobody in.", undo="Let the bot in", lasting=True),
    Action(id="cut-list", group=DISCORD, label="Cut the member list short", run=_cut_list,
           does="Discord stops after the first 1,000 members.", undo="Give the whole list",
           lasting=True),
    Action(id="limit-list", group=DISCORD, label="Rate limit the member list", run=_limit_list,
           does="Requests for all members are refused for now.", undo="Allow them", lasting=True),
    Action(id="fail-rest", group=DISCORD, label="Answer 503 to messages", run=_fail_rest,
           does="Nothing that the bot says reaches a channel.", undo="Answer again", lasting=True),
    Action(id="outage", group=DISCORD, label="Make the server unavailable", run=_outage,
           does="A Discord outage: the guild is gone for a while.", undo="End the outage",
           lasting=True),
    Action(id="slow", group=SITE, label="Slow", run=_switch(site_faults.SLOW), lasting=True,
           does="Each request takes 2 s longer.", undo="As fast as before"),
    Action(id="errors", group=SITE, label="Answer 500", run=_switch(site_faults.ERRORS),
           does="Every request fails.", undo="Work again", lasting=True),
    Action(id="overloaded", group=SITE, label="Answer 503, Retry-After 5 s", lasting=True,
           run=_switch(site_faults.OVERLOADED), does="The site asks to be left alone.",
           undo="Work again"),
    Action(id="hangs", group=SITE, label="Hang", run=_switch(site_faults.HANGS), lasting=True,
           does="Requests are never answered.", undo="Answer again"),
    Action(id="refuses", group=SITE, label="Refuse the token", run=_switch(site_faults.REFUSES),
           does="401 to every request, as if the token had been revoked.", undo="Accept it",
           lasting=True),
    Action(id="firewall", group=SITE, label="Firewall that dislikes DROP TABLE", lasting=True,
           run=_switch(site_faults.FIREWALL),
           does="Something in front of the site blocks requests that hold such a name.",
           undo="Remove the firewall"),
    Action(id="rejects", group=SITE, label="Reject one member's row", lasting=True,
           run=_switch(site_faults.REJECTS), does="The site says that this name is not allowed.",
           undo="Accept the row"),
    Action(id="stop-site", group=SITE, label="Take it down", run=_stop_site, undo="Start it",
           does="The website stops in order: connections are refused.", lasting=True),
    Action(id="kill-site", group=SITE, label="Kill it", run=_kill_site, undo="Start it",
           does="SIGKILL to the website, in whatever it does.", lasting=True),
    Action(id="limit-site", group=SITE, label="Limit its memory", run=_limit_site, lasting=True,
           does=f"It may take {ROOM_MB} MB more than it has now, and starts again when that "
           "ends it.", undo="Lift the limit"),
    Action(id="kill-database", group=SITE, label="Kill its database", run=_kill_database,
           does="SIGKILL to PostgreSQL.", undo="Start it", lasting=True),
    Action(id="plain-site", group=SITE, label="Use the other site", run=_plain_site, lasting=True,
           does="A plain Django site that offers nothing beyond the contract, instead of ours.",
           undo="Back to the first one"),
    Action(id="lock-store", group=STORE, label="Lock the bot's store", run=_lock_store,
           does="Nobody can read or write the bot's state.", undo="Unlock it", lasting=True),
    Action(id="lose-store", group=STORE, label="Lose the bot's store", run=_lose_store,
           does="The bot restarts without its state.", undo="Put the state back", lasting=True),
    Action(id="kill-bot", group=BOT, label="kill -9", run=_kill_bot, undo="Start it",
           does="The bot dies at once, in whatever it does.", lasting=True),
    Action(id="stop-bot", group=BOT, label="Stop", run=_stop_bot, undo="Start it",
           does="The bot ends in order.", lasting=True),
    Action(id="start-bot", group=BOT, label="Start", run=_start_bot, undo="Stop it",
           does="The bot starts."),
    Action(id="second-bot", group=BOT, label="Run it twice at once", run=_second_bot, lasting=True,
           does="A second bot on the same server and state: it must wait for its turn.",
           undo="Stop the second"),
)  # fmt: skip
BY_ID: Final = {action.id: action for action in ACTIONS}
assert len(BY_ID) == len(ACTIONS)  # noqa: S101  two of one id would hide one
