"""One world: a guild, a site, a store, a channel, processes that come and go, and a story."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import random
from asyncio import events
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.policy.departures import Decision
from bot.exts.backend.sync._runs.run import Scope
from bot.exts.backend.sync._service.supervisor import Refusal
from tests.fakes.guild import Discord
from tests.fakes.mod_log import Channel
from tests.fakes.process import Process
from tests.fakes.site import WELL, Fate, Rows
from tests.fakes.store import Kept
from tests.simulator.loop import PROCESS, LoopClock, Tag, VirtualLoop
from tests.simulator.rules import Broken, Rules
from tests.simulator.story import LATEST_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from bot.exts.backend.sync._core.messages.reply import Reply
    from bot.exts.backend.sync._core.site.requests import Request
    from tests.simulator.story import Move, Story

WHO: Final = "<@7>"
AWAY: Final = Fate(commits_s=None, cut=True)
READ_ONLY: Final = Fate(commits_s=None, status=503)
SLOW: Final = Fate(answers_s=2.0)
_SETTLE_S: Final = 30 * 3600.0  # longer than the longest wait of the breaker
_LONG_S: Final = 3600.0
_LOOK_EVERY_S: Final = 10.0
_MAX_LOOK_S: Final = 600.0
_SETTLINGS: Final = 3
_MAX_STEPS: Final = 600_000  # a world takes some thousands
_STAYS_S: Final = 600.0  # longer than anything that is late can be


@dataclass(slots=True)
class Commit:
    """A request that the site is still at work on."""

    at: float
    act: Callable[[], None]
    handle: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class Life:
    """A process of the world, from its start to its end."""

    number: int
    process: Process
    tag: Tag
    context: contextvars.Context
    commits: list[Commit] = field(default_factory=list)
    stopping: bool = False
    singles: int = 0

    @property
    def is_alive(self) -> bool:
        return not self.tag.is_dead

    @property
    def leads(self) -> bool:
        return self.process.service.leadership.is_leading


class World:
    """A world in which a story happens; `play` returns what was broken, if anything was."""

    def __init__(
        self, story: Story, *, sabotage: Callable[[Process], None] = lambda _: None
    ) -> None:
        """`sabotage` does something to each process before it starts."""
        self.story = story
        self._sabotage = sabotage
        chance = random.Random(story.schedule)
        self.loop = VirtualLoop(chance, hurry=story.hurry)
        self.discord = Discord()
        offers = {"pages_by_id": True, "digests": 4 if story.digests else 0}
        self.rows = Rows(offers=offers if story.by_id else None)
        self.kept = Kept(lease_s=story.lease_s)
        self.channel = Channel()
        self.lives: list[Life] = []
        self.rules = Rules(self)
        self.log: list[str] = []
        self.skew_s = 0.0
        self.roles_made: list[int] = []
        self.roles: dict[int, int] = {}  # the ids, which never come again, by those of the story
        self.site_is_away = self.site_is_read_only = self.site_is_slow = False
        self.unanswered_s: float | None = None  # the next write of users commits so much later
        self.is_calm = False  # the story is over, and nothing goes wrong any more
        self.reached: set[str] = set()  # kinds of trouble that were met
        self._writes = self._reads = self._delays = 0
        self._back: dict[str, asyncio.TimerHandle] = {}

    # -- playing ----------------------------------------------------------------------------------

    def play(self) -> Broken | None:
        """Let the story happen, and all that follows from it."""
        try:
            self._play()
        except Broken as broken:
            # Without the frames that it came through, which would keep the whole world.
            broken.__context__ = None
            return broken.with_traceback(None)
        finally:
            self.loop.close()
        return None

    def _play(self) -> None:
        story = self.story
        self.run(0.0)
        for id_ in story.members:
            self.discord.join(id_)
        for role in (2, 3):
            self.create_role(role)
        if story.stored:
            self.rows.fill(self.discord.members, self.discord.roles)
        self.start()
        for move in story.moves:
            self.run(move.at)
            self.note(f"{move}")
            self.do(move)
            self.rules.look()
        self.run(self.loop.time() + 1.0)
        self.calm()
        for _ in range(_SETTLINGS):
            self.settle()
            self.rules.look()
            # Whatever was late has come by then; an order that was given before may have, too.
            self.run(self.loop.time() + _STAYS_S)
            if self.rules.is_settled():
                break
        else:
            raise Broken(f"does not stay settled: {self.rules.reason()}", self.rules.standing())
        self.rules.look()
        self.rules.at_the_end()

    def settle(self) -> None:
        """Let everything happen until some process says that all is in step."""
        end = self.loop.time() + _SETTLE_S
        long_at = self.loop.time() + _LONG_S
        pause_s = _LOOK_EVERY_S
        while not self.rules.is_settled():
            if self.loop.time() >= end:
                raise Broken(f"nothing moves on: {self.rules.reason()}", self.rules.standing())
            self.run(self.loop.time() + pause_s)
            pause_s = min(pause_s * 1.5, _MAX_LOOK_S)
            is_patient = long_at < math.inf and bool(self.story.schedule % 2)
            self.undo_orders(starts=not is_patient)
            self.rules.look_at_live_changes()
            if self.loop.time() >= long_at:
                long_at = math.inf
                self.look_after()

    def look_after(self) -> None:
        """Let an operator look at what has been standing for an hour.

        A process too many is ended, and in two worlds of three the breaker is reset: a world whose
        breaker opens again by itself, after a day, takes as many steps as twenty others.
        """
        for life in self.alive():
            if not life.process.service.leadership.is_leading:
                self._in(life, life.tag.die)
            elif self.story.schedule % 3:
                self.order(life, life.process.commands.reset_breaker(WHO))

    def run(self, until: float) -> None:
        """Let everything happen up to a moment."""
        self.loop.run_until(until, stop=self._is_over)
        if self.loop.steps > _MAX_STEPS:
            raise Broken("goes round without end", self.rules.standing())
        self.rules.check_errors()
        if self.rules.broken is not None:
            raise self.rules.broken

    def _is_over(self) -> bool:
        return self.rules.broken is not None or self.loop.steps > _MAX_STEPS

    def do(self, move: Move) -> None:
        """Let a move happen."""
        with self._running():
            getattr(self, move.kind)(*move.args)

    def note(self, text: str) -> None:
        """Write something into the world's own log."""
        self.log.append(f"{self.loop.time():10.3f} {text}")

    def calm(self) -> None:
        """End every trouble, as far as machines are concerned."""
        self.note("-- calm")
        self.is_calm = True
        for timer in self._back.values():
            timer.cancel()
        self.site_is_away = self.site_is_read_only = self.site_is_slow = False
        self.discord.loses_requests = False
        self.kept.locked = self.channel.away = False
        self.kept.reachable = True
        alive = [life for life in self.lives if life.is_alive and not life.stopping]
        for life in alive:
            life.tag.steps_left = None
            if life.process.guild not in self.discord.connected:
                self._in(life, life.process.guild.connect)
        if not alive:
            self.start()

    def undo_orders(self, *, starts: bool) -> None:
        """Let a moderator take back what holds writes for good, as one who wants them to go on.

        One who `starts` a sync in the place of one that was cancelled leaves nothing to those live
        changes that would have to go by themselves.
        """
        for life in self.alive():
            service = life.process.service
            state = service.repository.state
            if not service.leadership.is_leading:
                continue
            if state.pause is not None:
                self.order(life, life.process.commands.resume(WHO))
            elif state.breaker.opened_by is not None:
                self.order(life, life.process.commands.reset_breaker(WHO))
            elif self.rules.judged(life).cancelled and service.supervisor.current is None:
                if starts:
                    self.command("all")
            elif life.process.questions.list_ids():
                self.order(life, life.process.commands.decide(None, Decision.APPROVED, WHO))

    # -- processes --------------------------------------------------------------------------------

    def alive(self) -> list[Life]:
        """Return the processes that live."""
        return [life for life in self.lives if life.is_alive]

    def leader(self) -> Life | None:
        """Return the process that leads, if one does."""
        return next((one for one in self.alive() if one.leads), None)

    def start(self) -> None:
        """Start a process, unless one lives."""
        if not any(not life.stopping for life in self.alive()):
            self._start()

    def rival(self) -> None:
        """Start another process beside the one that lives."""
        if len(self.alive()) < 2:
            self.reached.add("rival")
            self._start()

    def _start(self) -> None:
        number = len(self.lives)
        tag = Tag(f"process {number}", lambda: self._died(life))
        context = contextvars.copy_context()
        context.run(PROCESS.set, tag)
        clock = LoopClock(self.loop)
        clock.skew_s = self.skew_s
        with self._running():
            process = context.run(self._make, number, clock)
            life = Life(number=number, process=process, tag=tag, context=context)
            process.site.fate = self._fate
            process.site.on_given_up = lambda: self.give_up(life)
            process.site.on_send = lambda call: self.rules.on_send(life, call)
            process.site.on_commit = lambda call: self.rules.on_commit(life, call)
            process.site._later = lambda seconds, act: self._commit_later(life, seconds, act)
            process.telemetry.on_finished = lambda view: self.rules.on_finished(life, view)
            self._sabotage(process)
            self.lives.append(life)
            self.loop.add(tag)
            context.run(process.start)

    def _make(self, number: int, clock: LoopClock) -> Process:
        return Process(
            discord=self.discord,
            rows=self.rows,
            kept=self.kept,
            channel=self.channel,
            clock=clock,
            name=f"process {number}",
            seed=self.story.schedule + number,
            cached=self.story.cached,
            delay_s=self._delay_s,
            run_above=4,
        )

    def kill(self, steps: int) -> None:
        """Kill a process after so many of its next steps."""
        for life in self.alive()[:1]:
            life.tag.steps_left = steps
            self.reached.add("kill")

    def stop(self) -> None:
        """Stop a process in order."""
        for life in self.alive()[:1]:
            if not life.stopping:
                life.stopping = True
                self.reached.add("stop")
                self._in(life, self._stop, life)

    def _stop(self, life: Life) -> None:
        async def stop() -> None:
            await life.process.stop()
            life.tag.die()

        self.loop.create_task(stop())

    def _died(self, life: Life) -> None:
        self.note(f"{life.tag.name} is gone")
        life.process.die()
        self.give_up(life)

    def _in(self, life: Life, call: Callable[..., Any], *args: Any) -> None:
        """Call something as if this process did."""
        with self._running():
            life.context.run(call, *args)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        before = events._get_running_loop()
        events._set_running_loop(self.loop)
        try:
            yield
        finally:
            events._set_running_loop(before)

    # -- the site ---------------------------------------------------------------------------------

    def _fate(self, request: Request) -> Fate:
        if self.is_calm:
            return WELL
        if self.site_is_away:
            return AWAY
        if self.site_is_read_only:
            return READ_ONLY if request.writes else SLOW
        if self.site_is_slow:
            return SLOW
        if self.unanswered_s is not None and request.writes and request.role is None:
            commits_s, self.unanswered_s = self.unanswered_s, None
            return Fate(commits_s=commits_s, answers_s=math.inf)
        if request.writes:
            fate = self.story.fates.get(self._writes)
            self._writes += 1
        else:
            fate = self.story.reads.get(self._reads)
            self._reads += 1
        if fate is not None:
            self.reached.add(_class_of(fate))
        return fate or WELL

    def _commit_later(self, life: Life, seconds: float, act: Callable[[], None]) -> None:
        commit = Commit(at=self.loop.time() + seconds, act=act)
        life.commits.append(commit)

        def come() -> None:
            life.commits.remove(commit)
            act()

        outside = contextvars.Context()
        commit.handle = self.loop.call_later(seconds, come, context=outside)

    def give_up(self, life: Life) -> None:
        """Let the site end, in due time, whatever this process no longer waits for."""
        latest = self.loop.time() + LATEST_S
        for commit in life.commits[:]:
            if commit.at > latest and commit.handle is not None:
                commit.handle.cancel()
                life.commits.remove(commit)
                self._commit_later(life, LATEST_S * ((commit.at * 997) % 1), commit.act)

    # -- the guild --------------------------------------------------------------------------------

    def join(self, id_: int) -> None:
        """Let somebody join who is not there."""
        if UserId(id_) not in self.discord.members:
            self.discord.join(id_)

    def leave(self, id_: int) -> None:
        """Let somebody leave, but not the last one."""
        if len(self.discord.members) > 1:
            self.discord.leave(id_)

    def rename(self, id_: int, name: str) -> None:
        """Rename somebody."""
        self.discord.change(id_, name=name.strip())

    def set_roles(self, id_: int, roles: tuple[int, ...]) -> None:
        """Give somebody the roles of these that there are."""
        held = [self.roles.get(role, 0) for role in roles]
        self.discord.change(id_, roles=[role for role in held if role in self.discord.roles])

    def create_role(self, id_: int) -> None:
        """Make a role that is not there."""
        if self.roles.get(id_, 0) not in self.discord.roles:
            self.roles[id_] = id_ + 10 * len(self.roles_made)
            self.roles_made.append(id_)
            self.discord.create_role(self.roles[id_])

    def rename_role(self, id_: int, name: str) -> None:
        """Rename a role."""
        self.discord.rename_role(self.roles.get(id_, 0), name.strip())

    def delete_role(self, id_: int) -> None:
        """Delete a role."""
        self.discord.delete_role(self.roles.get(id_, 0))

    def _delay_s(self, _kind: str) -> float:
        delay = 0.0 if self.is_calm else self.story.delays.get(self._delays, 0.0)
        self._delays += 1
        return 0.01 + delay

    def session_lost(self, seconds: float) -> None:
        """Let the gateway's session be lost with what was under way, and a new one begin."""
        self.reached.add("session lost")
        for life in self.alive():
            life.process.guild.lose_session()

        def connect() -> None:
            for life in self.alive():
                if not life.stopping and life.process.guild not in self.discord.connected:
                    self._in(life, life.process.guild.connect)

        self._later("session", seconds, connect)

    def requests_lost(self, seconds: float) -> None:
        """Let member requests get no answer."""
        self.discord.loses_requests = True
        self.reached.add("requests lost")
        self._later("requests", seconds, lambda: setattr(self.discord, "loses_requests", False))

    # -- the store and mod-log --------------------------------------------------------------------

    def store_locked(self, seconds: float) -> None:
        """Let the store be locked by something else."""
        self.kept.locked = True
        self.reached.add("store locked")
        self._later("locked", seconds, lambda: setattr(self.kept, "locked", False))

    def store_away(self, seconds: float) -> None:
        """Let the store not answer."""
        self.kept.reachable = False
        self.reached.add("store away")
        self._later("away", seconds, lambda: setattr(self.kept, "reachable", True))

    def store_lost(self) -> None:
        """Let the store lose everything, together with the process beside it."""
        for life in self.alive():
            life.tag.die()
        self.kept.lose()
        self.reached.add("store lost")
        self.start()

    def site_away(self, seconds: float) -> None:
        """Let nobody reach the site."""
        self.site_is_away = True
        self.reached.add("site away")
        self._later("site", seconds, lambda: setattr(self, "site_is_away", False))

    def site_read_only(self, seconds: float) -> None:
        """Let the site take no writes and read slowly, as one does that is being restored."""
        self.site_is_read_only = True
        self.reached.add("site read only")
        self._later("read only", seconds, lambda: setattr(self, "site_is_read_only", False))

    def site_slow(self, seconds: float) -> None:
        """Let the site be well again after whatever it had, and slow."""
        self.site_is_away = self.site_is_read_only = False
        self.site_is_slow = True
        self.reached.add("site slow")
        self._later("slow", seconds, lambda: setattr(self, "site_is_slow", False))

    def unanswered(self, seconds: float) -> None:
        """Let the next write of users get no answer, and be carried out all the same."""
        self.unanswered_s = seconds
        self.reached.add("unanswered")

    def mod_log_away(self, seconds: float) -> None:
        """Let nobody read or write mod-log."""
        self.channel.away = True
        self.reached.add("mod-log away")
        self._later("mod-log", seconds, lambda: setattr(self.channel, "away", False))

    def clock(self, seconds: float) -> None:
        """Let the wall clocks jump."""
        self.skew_s += seconds
        self.reached.add("clock")
        for life in self.lives:
            if isinstance(life.process.clock, LoopClock):
                life.process.clock.skew_s = self.skew_s

    def _later(self, name: str, seconds: float, act: Callable[[], object]) -> None:
        if name in self._back:
            self._back[name].cancel()
        self._back[name] = self.loop.call_later(seconds, act, context=contextvars.Context())

    # -- people -----------------------------------------------------------------------------------

    def command(self, name: str) -> None:
        """Let a moderator type a command to the process that leads."""
        life = self.leader()
        if life is None:
            return
        self.reached.add(f"command {name}")
        commands = life.process.commands
        at_once: dict[str, Callable[[], Reply]] = {
            "all": lambda: commands.start(Scope.ALL, WHO, forced=False),
            "users": lambda: commands.start(Scope.USERS, WHO, forced=False),
            "roles": lambda: commands.start(Scope.ROLES, WHO, forced=False),
            "force": lambda: commands.start(Scope.ALL, WHO, forced=True),
            "cancel": lambda: commands.cancel(WHO),
            "status": life.process.questions.status,
        }
        in_time: dict[str, Callable[[], Coroutine[Any, Any, Reply]]] = {
            "plan": lambda: commands.plan(WHO),
            "pause": lambda: commands.pause(WHO),
            "resume": lambda: commands.resume(WHO),
            "open": lambda: commands.open_breaker(WHO, "to look"),
            "reset": lambda: commands.reset_breaker(WHO),
            "retry": commands.retry_parked,
            "approve": lambda: commands.decide(None, Decision.APPROVED, WHO),
            "reject": lambda: commands.decide(None, Decision.REJECTED, WHO),
        }
        if name in at_once:
            self._in(life, lambda: self._heard(name, at_once[name]()))
        else:
            self.order(life, in_time[name]())

    def single(self, id_: int) -> None:
        """Let a moderator sync one member."""
        life = self.leader()
        if life is None:
            return
        self.reached.add("single")

        async def work() -> None:
            life.singles += 1
            try:
                async for reply in life.process.commands.single(UserId(id_)):
                    self._heard(f"user {id_}", reply)
            finally:
                life.singles -= 1

        self._in(life, lambda: self.loop.create_task(work()))

    def order(self, life: Life, order: Coroutine[Any, Any, Reply]) -> None:
        """Let a process carry out an order."""

        async def work() -> None:
            self._heard("order", await order)

        self._in(life, lambda: self.loop.create_task(work()))

    def _heard(self, what: str, reply: Reply | Refusal) -> None:
        text = reply.reason if isinstance(reply, Refusal) else reply.notice.description
        self.note(f"   {what}: {text[:100]}")


def _class_of(fate: Fate) -> str:
    if fate.status is not None:
        return f"status {fate.status}"
    if fate.cut:
        return "cut"
    return "lost" if fate.answers_s >= 30 else "late"
