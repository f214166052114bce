"""What must hold in every world, whatever happens there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bot.exts.backend.sync._core.messages import alert
from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from bot.exts.backend.sync._core.policy.request_backoff import FailureKind
from bot.exts.backend.sync._core.site import wire

if TYPE_CHECKING:
    from bot.exts.backend.sync._core.messages.progress import RunView
    from tests.fakes.site import Call
    from tests.simulator.world import Life, World

_RIVAL: Final = alert.rival("", where="").title


_LIVE_S: Final = 900.0  # longer than any of a drain's waits


class Broken(Exception):  # noqa: N818 - it is a finding, not an error
    """A rule that did not hold, and how things stood."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule


@dataclass(slots=True)
class Judged:
    """What is known of a life's runs."""

    verified: bool = False  # its last full run was, and nothing failed since
    cancelled: bool = False  # by a person, who was obeyed
    waits_since: float | None = None  # ids, with nothing that would hold them back
    written: dict[str, list[tuple[int, bool]]] = field(default_factory=dict)


class Rules:
    """The rules, held against a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lives: dict[int, Judged] = {}
        self.broken: Broken | None = None
        self.held: set[str] = set()  # rules that had something to judge

    def judged(self, life: Life) -> Judged:
        """Return what is known of a life."""
        return self._lives.setdefault(life.number, Judged())

    def _break(self, rule: str, detail: str) -> None:
        if self.broken is None:
            self._world.note(f"!! {rule}: {detail}")
            self.broken = Broken(rule, detail)

    # -- in step ----------------------------------------------------------------------------------

    def claims(self, life: Life) -> str | None:
        """Return why a process does not say that it is in step; None if it does."""
        process = life.process
        service = process.service
        state = service.repository.state
        checks = (
            ("it is gone", not life.is_alive or life.stopping),
            ("it does not lead", not service.leadership.is_leading),
            ("a sync is on", service.supervisor._sync is not None),
            ("a sync is wanted", service.scheduler._pending is not None),
            ("no full sync was verified", not self.judged(life).verified),
            ("ids wait", len(service.queue) > 0 or bool(service.queue.waiting.unsettled)),
            ("ids are in doubt", len(service.writes) > 0),
            ("the breaker is open", state.breaker.state is not BreakerState.CLOSED),
            ("a retry is due", state.breaker.retry_at is not None),
            ("a process before it may still write", service._predecessor.may_write),
            ("it is paused", state.pause is not None),
            ("a request is on its way", process.site.in_flight > 0 or life.singles > 0),
            ("Discord has more to say", process.guild.behind > 0),
            ("the session was lost", process.guild not in self._world.discord.connected),
            ("the guild is unproven", process.guild.proof is None),
        )
        return next((reason for reason, holds in checks if holds), None)

    def look(self) -> None:
        """Hold rows against the guild where a process says that both are in step."""
        leaders = [life for life in self._world.alive() if life.leads]
        for life in leaders:
            if self.claims(life) is None:
                self.held.add("in step")
                wrong = self.differing(life)
                if wrong:
                    what = wrong[0].partition(" ")[0]
                    self._break(f"says in step, and is not: a {what}", "; ".join(wrong))
        if self.broken is not None:
            raise self.broken

    def differing(self, life: Life) -> list[str]:
        """Return in what the site differs from the guild, but for what is parked or withheld."""
        world = self._world
        repository = life.process.service.repository
        due = world.discord.of_now()
        wrong = []
        for id_, member in due.items():
            row = world.rows.users.get(id_)
            if id_ not in repository.parked and row != wire.member_row(member):
                wrong.append(f"row {id_} is {row}, not {wire.member_row(member)}")
        wrong += [
            f"row {id_} is in the guild, and the member is not"
            for id_, row in world.rows.users.items()
            if row["in_guild"] and id_ not in due and id_ not in repository.parked
        ]
        if not repository.withheld:
            roles: dict[int, object] = {
                id_: wire.role_row(role) for id_, role in world.discord.roles.items()
            }
            wrong += [
                f"role {id_} is {world.rows.roles.get(id_)}, not {roles.get(id_)}"
                for id_ in sorted({*roles, *world.rows.roles})
                if world.rows.roles.get(id_) != roles.get(id_)
            ]
        return wrong

    # -- single requests --------------------------------------------------------------------------

    def on_send(self, life: Life, call: Call) -> None:
        """Judge a write as it leaves."""
        if not call.request.writes:
            return
        process = life.process
        state = process.service.repository.state
        if process.site.in_flight > 1:
            self._break("one write in flight", f"{process.site.in_flight} of {life.tag.name}")
        for other in self._world.alive():
            if other is not life and other.process.site.in_flight:
                self._break("one leader writes", f"{life.tag.name} beside {other.tag.name}")
        if state.pause is not None:
            self._break("no write while paused", call.request_id)
        run_id = call.request_id.partition("-")[0]
        if state.breaker.state is BreakerState.OPEN or (
            state.breaker.state is BreakerState.HALF_OPEN and run_id != state.breaker.probing_run
        ):
            self._break("no write while the breaker is open", call.request_id)
        if not process.guild.is_proven:
            self._break("no write from an unproven guild", call.request_id)
        if process.store.lease_left_s() <= 0:
            self._break("no write without the lease", call.request_id)

    def on_commit(self, life: Life, call: Call) -> None:
        """Note what a write has brought, and judge what it has made of the rows."""
        if not call.request.writes:
            return
        run_id = call.request_id.partition("-")[0]
        self.judged(life).written.setdefault(run_id, []).extend(call.changes)
        self._world.note(
            f"   commits {call.request_id} {call.request.method} {call.request.path} "
            f"{(call.request.body or b'').decode()[:200]}"
        )
        try:
            self.look()
        except Broken:
            return  # noted already: the world ends with this step

    # -- runs -------------------------------------------------------------------------------------

    def on_finished(self, life: Life, view: RunView) -> None:
        """Judge a run that has ended."""
        judged = self.judged(life)
        failure = view.failure
        self._world.note(
            f"   run {view.run_id} of {view.what} ({view.trigger}): {view.ending} "
            f"{failure.reason if failure else ''}"
        )
        if failure is not None and failure.kind is FailureKind.INTERNAL:
            self._break("no error of ours", failure.reason)
        sync = life.process.service.supervisor._sync
        if view.what == "roles and users" and sync is not None and not sync.spec.dry:
            judged.verified = view.ending is Ending.VERIFIED
            judged.cancelled = view.ending is Ending.CANCELLED
        if view.ending is Ending.VERIFIED:
            self.held.add("totals")
            rows = judged.written.get(view.run_id, [])
            # A round that begins anew may write a row twice, which are two changes.
            written = len(set(rows) if self._world.story.cached else rows)
            if view.tally.total > written:
                told = f"{view.tally.total} told, {written} rows written"
                self._break("totals are rows written", f"run {view.run_id}: {told}")

    # -- the end ----------------------------------------------------------------------------------

    def is_settled(self) -> bool:
        """Say whether some process says that all is in step, and nothing is under way."""
        return any(self.claims(life) is None for life in self._world.alive())

    def reason(self) -> str:
        """Return why the process that leads does not say that all is in step."""
        life = self._world.leader()
        return "nobody leads" if life is None else str(self.claims(life))

    def standing(self) -> str:
        """Return how things stand, for a finding."""
        return "; ".join(
            f"{life.tag.name}: {self.claims(life)}, "
            f"{life.process.service.leadership.trouble[:80]!r}, "
            f"breaker {life.process.service.repository.state.breaker.state.value}, "
            f"{len(life.process.service.queue)} wait"
            for life in self._world.alive()
        )

    def look_at_live_changes(self) -> None:
        """Judge whether live changes flow where nothing holds them: no sync need come for them."""
        now = self._world.loop.time()
        for life in self._world.alive():
            service, process = life.process.service, life.process
            state = service.repository.state
            held = (
                not service.leadership.is_leading
                or service.supervisor.is_on
                or service.scheduler.is_one_to_come
                or state.pause is not None
                or process.guild not in self._world.discord.connected
            )
            judged = self.judged(life)
            if held or not len(service.queue):
                judged.waits_since = None
            elif judged.waits_since is None:
                judged.waits_since = now
            elif now - judged.waits_since > _LIVE_S:
                self._break("live changes flow", f"{len(service.queue)} ids stand still")

    def at_the_end(self) -> None:
        """Judge what must hold once all is quiet."""
        leaders = [life for life in self._world.alive() if life.leads]
        if len(leaders) != 1:
            raise Broken("one process leads", f"{len(leaders)} do")
        repository = leaders[0].process.service.repository
        if repository.alerts:
            raise Broken("alerts are delivered", f"{len(repository.alerts)} are not")
        open_ = [
            shown.run_id
            for shown in self._world.channel.messages
            if shown.run_id is not None and shown.notice.title.startswith("Syncing")
        ]
        if open_:
            raise Broken("live messages end", f"those of {open_} did not")
        # All processes of a world have one store: whoever another hears of had it before.
        if _RIVAL in self._world.channel.titles:
            raise Broken("no rival is told of", "one is")

    def check_errors(self) -> None:
        """Judge what asyncio or the log has to say."""
        if self._world.loop.errors:
            error: Any = self._world.loop.errors[0]
            self._break("no error of ours", f"{error.get('message')}: {error.get('exception')!r}")
