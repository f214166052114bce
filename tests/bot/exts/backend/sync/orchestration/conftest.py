"""A guild, a site, a store and a channel in memory, and processes that come and go among them."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog

from bot.exts.backend.sync._core.messages.progress import Ending, RunView
from bot.exts.backend.sync._core.messages.reply import Reply
from bot.exts.backend.sync._core.site import wire
from tests.fakes.clock import HandClock
from tests.fakes.guild import Discord
from tests.fakes.mod_log import Channel
from tests.fakes.process import Process
from tests.fakes.site import Fate, Rows
from tests.fakes.store import Kept

BY = "<@7>"
OWNER: contextvars.ContextVar[Process | None] = contextvars.ContextVar("OWNER", default=None)
NEVER = 1e6
DOWN = Fate(commits_s=None, unreachable=True)
ILL = Fate(commits_s=None, status=500)
REFUSED = Fate(commits_s=None, status=401, body=b'{"detail":"Invalid token."}')


@dataclass(kw_only=True)
class Stage:
    """What outlives a process, and the processes of a test."""

    cached: bool = True
    clock: HandClock = field(default_factory=HandClock)
    discord: Discord = field(default_factory=Discord)
    rows: Rows = field(default_factory=Rows)
    kept: Kept = field(default_factory=Kept)
    channel: Channel = field(default_factory=Channel)
    processes: list[Process] = field(default_factory=list)
    tasks: dict[asyncio.Task[Any], Process] = field(default_factory=dict)
    site_works: set[asyncio.Task[None]] = field(default_factory=set)

    def guild(self, *ids: int, stored: bool = True) -> None:
        """Make a guild of these members and one role, which the site knows already, or not."""
        self.discord.create_role(5)
        for id_ in ids:
            self.discord.join(id_)
        if stored:
            self.rows.fill(self.discord.members, self.discord.roles)

    async def start(
        self,
        seconds: float = 5.0,
        *,
        prepare: Callable[[Process], None] = lambda _: None,
        **settings: Any,
    ) -> Process:
        """Start a process, once it is prepared, and let some time pass."""
        process = Process(
            discord=self.discord,
            rows=self.rows,
            kept=self.kept,
            channel=self.channel,
            clock=self.clock,
            name=f"process {len(self.processes)}",
            seed=len(self.processes),
            cached=self.cached,
            later=self.later,
            **settings,
        )
        self.processes.append(process)
        prepare(process)
        context = contextvars.copy_context()
        context.run(OWNER.set, process)
        context.run(process.start)
        await self.clock.advance(seconds)
        return process

    async def let_nothing_be_written(self, process: Process) -> None:
        """See that a process writes nothing for an hour."""
        sent = len(process.site.writes)
        await self.clock.advance(3600)
        assert len(process.site.writes) == sent

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Let the site do something in its own time, whatever becomes of who asked for it."""

        async def wait() -> None:
            await self.clock.sleep(seconds)
            act()

        task = contextvars.Context().run(self.clock_loop().create_task, wait())
        self.site_works.add(task)
        task.add_done_callback(self.site_works.discard)

    @staticmethod
    def clock_loop() -> asyncio.AbstractEventLoop:
        """Return the loop that all of them share."""
        return asyncio.get_running_loop()

    async def kill(self, process: Process) -> None:
        """Let a process be gone from one moment to the next: nothing that it still does counts."""
        process.die()
        for _ in range(3):  # what it does about being cancelled is cancelled, too
            for task in [task for task in self.tasks if self.tasks[task] is process]:
                task.cancel()
            await self.clock.settle()

    def make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any
    ) -> asyncio.Task[Any]:
        """Make a task, and note which process it is of."""
        task = asyncio.Task(coro, loop=loop, **kwargs)
        owner = OWNER.get()
        if owner is not None:
            self.tasks[task] = owner
            task.add_done_callback(lambda done: self.tasks.pop(done, None))
        return task

    def runs(self) -> list[RunView]:
        """Return how every run so far has ended, of all processes, oldest first."""
        views = [view for process in self.processes for view, _ in process.telemetry.finished]
        return sorted(views, key=lambda view: view.now)

    def endings(self) -> list[Ending | None]:
        """Return the endings of all runs so far."""
        return [view.ending for view in self.runs()]

    def in_step(self) -> bool:
        """Say whether the rows are those that the guild is due."""
        due = {id_: wire.member_row(member) for id_, member in self.discord.of_now().items()}
        here = {id_: row for id_, row in self.rows.users.items() if row["in_guild"]}
        return here == due and self.rows.roles.keys() == self.discord.roles.keys()


def failing_writes(fate: Fate = ILL) -> Callable[..., Fate]:
    """Return the fates of a site that fails all writes and answers all reads."""
    return lambda request: fate if request.writes else Fate()


def text(reply: Reply) -> str:
    """Return what an answer says, its fields as well."""
    notice = reply.notice
    return "\n".join(
        [
            notice.title,
            notice.description,
            *(f"{name}: {value}" for name, value in notice.fields),
            notice.footer,
        ]
    )


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Render no tracebacks: hundreds of planned ones take minutes."""
    with structlog.testing.capture_logs():
        yield


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to the full tests what is the same with a member cache and without one."""
    for item in items:
        if item.get_closest_marker("either_mode") and isinstance(item, pytest.Function):
            params = getattr(item, "callspec", None)
            if params is not None and params.params.get("stage") is False:
                item.add_marker(pytest.mark.slow)


@pytest.fixture(params=[True, False], ids=["cached", "uncached"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Set the stage, once with a member cache and once without."""
    made = Stage(cached=request.param)
    asyncio.get_running_loop().set_task_factory(made.make_task)  # type: ignore[arg-type] # typeshed has a type of its own for it
    yield made
    for process in made.processes:
        await made.kill(process)
    for task in made.site_works:
        task.cancel()
